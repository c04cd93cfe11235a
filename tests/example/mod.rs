//! Runs the examples as programs, for tests.

use std::{
    env,
    io::{self, Read},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use trunkline::crossbeam_channel as channel;

/// What a program wrote, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// An example, built if it is not there: `cargo test` builds all of them, `cargo test --test NAME` builds none.
///
/// It gets no credentials and no log settings from this process's environment.
pub(crate) fn example(name: &str) -> Command {
    let test = env::current_exe().expect("a test knows where it is");
    // target/PROFILE/deps/TEST
    let profile = test
        .ancestors()
        .nth(2)
        .expect("tests are in a folder of the profile's");
    let program = profile
        .join("examples")
        .join(name)
        .with_extension(env::consts::EXE_EXTENSION);
    if !program.exists() {
        build(name, profile.file_name() == Some("release".as_ref()));
    }
    assert!(program.exists(), "there is no {}", program.display());
    let mut command = Command::new(program);
    command
        .env_remove("APCA_API_KEY_ID")
        .env_remove("APCA_API_SECRET_KEY")
        .env_remove("RUST_LOG");
    command
}

fn build(name: &str, release: bool) {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--example", name]);
    cargo.current_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    if release {
        cargo.arg("--release");
    }
    assert!(cargo.status().is_ok_and(|status| status.success()));
}

/// Runs a program to its end, and kills one that has not ended within `bound`.
pub(crate) fn run(command: &mut Command, bound: Duration) -> Ran {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (done, read) = channel::bounded(2);
    thread::scope(|scope| {
        let also_done = done.clone();
        let stdout = scope.spawn(move || all_of(stdout, &done));
        let stderr = scope.spawn(move || all_of(stderr, &also_done));
        let deadline = channel::after(bound);
        let mut late = false;
        for _ in 0..2 {
            trunkline::select! {
                recv(read) -> _ => {}
                recv(deadline) -> _ => {
                    late = true;
                    child.kill().expect("the program can be killed");
                    break;
                }
            }
        }
        let ran = Ran {
            stdout: stdout.join().expect("it can be read"),
            stderr: stderr.join().expect("it can be read"),
            status: child.wait().expect("it can be waited for"),
        };
        assert!(!late, "not over after {bound:?}: {ran:?}");
        ran
    })
}

fn all_of(pipe: Option<impl Read>, done: &channel::Sender<()>) -> String {
    let mut text = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut text).expect("a pipe can be read");
    }
    let _ = done.send(());
    String::from_utf8_lossy(&text).into_owned()
}

/// A program that is killed at the latest when the test is over.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _: io::Result<()> = self.0.kill();
        let _ = self.0.wait();
    }
}
