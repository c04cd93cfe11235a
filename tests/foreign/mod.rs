//! Programs in other languages that judge this crate: where they stand, and the environments that they run in.
//!
//! An environment is made from its list of packages by whichever test comes first, in `target/tmp`, and found again by
//! later runs as long as the list is the same. Where it cannot be made the test says so and passes, unless
//! `TRUNKLINE_REQUIRE_PYTHON` or `TRUNKLINE_REQUIRE_NODE` is set.
#![allow(
    dead_code,
    reason = "every test binary compiles this file and uses a part of it"
)]
#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "it is a part of tests: it panics, and says what was skipped"
)]

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::example::run;

const INSTALL: Duration = Duration::from_secs(300);

/// A script or a list of packages that stands beside this file.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/foreign")
        .join(name)
}

/// A Python that has the packages of `requirements.txt`.
pub(crate) fn python() -> Option<PathBuf> {
    python_with("foreign-python", "requirements.txt")
}

/// A Python that has the packages of a list, in an environment of that name.
pub(crate) fn python_with(name: &str, list: &str) -> Option<PathBuf> {
    let home = environment(name, list, "TRUNKLINE_REQUIRE_PYTHON", |home, list| {
        let module = OsStr::new("-m");
        finish(
            Command::new("python3").args([module, "venv".as_ref(), home.as_os_str()]),
            "`python3 -m venv`",
        )?;
        finish(
            Command::new(interpreter(home))
                .args(["-m", "pip", "install", "--quiet", "--retries=1"])
                .args(["--timeout=10", "--disable-pip-version-check", "-r"])
                .arg(list),
            "`pip install`",
        )
    })?;
    Some(interpreter(&home))
}

/// A folder whose `node_modules` has the packages of `package.json`. `node` is on the path.
pub(crate) fn node() -> Option<PathBuf> {
    environment(
        "foreign-node",
        "package.json",
        "TRUNKLINE_REQUIRE_NODE",
        |home, list| {
            finish(Command::new("node").arg("--version"), "`node`")?;
            fs::create_dir_all(home)
                .and_then(|()| fs::copy(list, home.join("package.json")))
                .map_err(|error| format!("{} cannot be made: {error}", home.display()))?;
            finish(
                Command::new("npm")
                    .args(["install", "--no-audit", "--no-fund", "--silent", "--prefix"])
                    .arg(home),
                "`npm install`",
            )
        },
    )
}

fn interpreter(home: &Path) -> PathBuf {
    home.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    })
}

/// A folder that `make` has filled, by the list of packages that it was made from.
fn environment(
    name: &str,
    list: &str,
    required: &str,
    make: impl FnOnce(&Path, &Path) -> Result<(), String>,
) -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let list = script(list);
    let wanted = fs::read(&list).expect("the list of packages stands beside this file");
    // The list is written beside the folder last: what was interrupted is made anew.
    let made_from = home.with_extension("made-from");
    // Tests run side by side, in this process and in others.
    let lock = File::create(home.with_extension("lock")).expect("the target folder is writable");
    #[expect(
        clippy::incompatible_msrv,
        reason = "tests run with the toolchain of CI"
    )]
    lock.lock().expect("a file can be locked");
    if fs::read(&made_from).is_ok_and(|made| made == wanted) {
        return Some(home);
    }
    let _ = fs::remove_dir_all(&home);
    match make(&home, &list) {
        Ok(()) => {
            fs::write(&made_from, wanted).expect("the target folder is writable");
            Some(home)
        }
        Err(why) if env::var_os(required).is_some() => panic!("{why}"),
        Err(why) => {
            println!("skipped: {why}");
            None
        }
    }
}

fn finish(command: &mut Command, what: &str) -> Result<(), String> {
    // Found first, since starting it is what fails where there is none.
    if let Err(error) = Command::new(command.get_program())
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
    {
        return Err(format!("{what} cannot be run: {error}"));
    }
    let ran = run(command, INSTALL);
    if ran.status.success() {
        Ok(())
    } else {
        let said = ran.stderr.lines().last().unwrap_or("no message").to_owned();
        Err(format!("{what} failed: {said}"))
    }
}
