//! Runs the examples as programs, for tests.

use std::{
    env, fs,
    io::{self, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use parking_lot::Mutex;
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

/// An example, built if it is not there or its sources have changed since: `cargo test` builds all of them, `cargo test
/// --test NAME` builds none, and a test that ran the one of yesterday would pass whatever was broken today.
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
    {
        static BUILDING: Mutex<()> = Mutex::new(());
        // Nobody runs what is being replaced.
        let _one_at_a_time = BUILDING.lock();
        if !is_up_to_date(&program) {
            build(name, profile.file_name() == Some("release".as_ref()));
        }
    }
    assert!(program.exists(), "there is no {}", program.display());
    let mut command = Command::new(program);
    command
        .env_remove("APCA_API_KEY_ID")
        .env_remove("APCA_API_SECRET_KEY")
        .env_remove("RUST_LOG");
    command
}

/// Whether no source of a program is younger than it. Cargo lists them beside it.
fn is_up_to_date(program: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    let Ok(built) = modified(program) else {
        return false;
    };
    let listed = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let mut sources = listed.split_whitespace().skip(1).map(Path::new).peekable();
    // A folder that was copied from another one has programs of that one's sources.
    let is_from_here = sources
        .peek()
        .is_some_and(|source| source.starts_with(env!("CARGO_MANIFEST_DIR")));
    is_from_here && sources.all(|source| modified(source).is_ok_and(|at| at <= built))
}

fn build(name: &str, release: bool) {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--example", name]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    // Cargo tells its tests of the package. The build scripts of some dependencies look at that, and are run anew with all
    // that depends on them.
    for (name, _) in env::vars_os() {
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "OUT_DIR"];
        let text = name.to_string_lossy();
        if told.iter().any(|told| text.starts_with(told)) {
            cargo.env_remove(&name);
        }
    }
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
