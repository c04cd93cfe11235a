//! Where credentials come from: the environment and files, what is wrong with them, and what a look at them leaves.

use std::{
    fs,
    process::{Command, Stdio},
};

use trunkline::{Credentials, error::CredentialsFault};

use crate::{
    canary::{PLAIN, assert_clean},
    child::DONE,
};

/// Set in a child that is to read its environment.
const READS: &str = "TRUNKLINE_TEST_READS_ENVIRONMENT";
const TEST: &str = "the_environment_is_read_and_errors_say_what_is_missing";

/// What `from_env` makes of these variables, in a child process that has no others of the kind.
fn from_env(variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args([TEST, "--nocapture", "--test-threads=1"])
        .env(READS, "");
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.contains("PCA_") || name.contains("ALPACA"))
        {
            child.env_remove(name);
        }
    }
    let output = child
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains(DONE), "{text}");
    text
}

#[test]
fn the_environment_is_read_and_errors_say_what_is_missing() {
    const KEY: &str = "APCA_API_KEY_ID";
    const SECRET: &str = "APCA_API_SECRET_KEY";
    if std::env::var_os(READS).is_some() {
        return read();
    }
    let credentials = Credentials::new(PLAIN.key, PLAIN.secret).unwrap();
    let read = from_env(&[(KEY, PLAIN.key), (SECRET, PLAIN.secret)]);
    assert!(read.contains(&format!("{credentials:?}")), "{read}");
    assert_clean(PLAIN, &read);
    let spaced = format!("{} ", PLAIN.secret);
    for (variables, says) in [
        (
            &[][..],
            "APCA_API_KEY_ID is not set; what to do: `export APCA_API_KEY_ID=…`, or read",
        ),
        (
            &[(KEY, PLAIN.key)],
            "APCA_API_SECRET_KEY is not set; what to do: `export APCA_API_SECRET_KEY=…`, or read",
        ),
        (
            &[("ALPACA_API_KEY", PLAIN.key)],
            "APCA_API_KEY_ID is not set (ALPACA_API_KEY is); what to do: `export APCA_API_KEY_ID=\"$ALPACA_API_KEY\"`",
        ),
        (
            &[(KEY, PLAIN.key), ("ALPACA_SECRET_KEY", PLAIN.secret)],
            "APCA_API_SECRET_KEY is not set (ALPACA_SECRET_KEY is); what to do: `export APCA_API_SECRET_KEY=\"$ALPACA_SECRET_KEY\"`",
        ),
        (&[(KEY, PLAIN.key), (SECRET, "")], "the secret is empty"),
        (
            &[(KEY, PLAIN.key), (SECRET, &spaced)],
            "the secret holds white space",
        ),
    ] {
        let read = from_env(variables);
        assert!(read.contains(says), "{says}: {read}");
        assert!(read.contains("what to do: "), "{read}");
        assert_clean(PLAIN, &read);
    }
}

fn read() {
    println!("{:?}", Credentials::from_env());
    println!("{DONE}");
}

/// The variable of another SDK, for which no more than its presence counts.
#[cfg(target_os = "linux")]
#[test]
fn a_look_for_another_variable_leaves_no_copy_of_it() {
    use crate::hidden::{self, copies};

    const NAME: &str = "a_look_for_another_variable_leaves_no_copy_of_it";
    if std::env::var_os(READS).is_some() {
        let before = copies(hidden::SECRET).plain;
        assert!(!before.is_empty(), "the environment holds it");
        let error = Credentials::from_env().unwrap_err();
        assert!(error.to_string().contains("ALPACA_API_KEY is"), "{error}");
        assert_eq!(copies(hidden::SECRET).plain, before);
        return println!("{DONE}");
    }
    let secret: String = (0..hidden::SECRET.len)
        .map(|at| char::from(hidden::SECRET.at(at)))
        .collect();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([NAME, "--nocapture", "--test-threads=1"])
        .env(READS, "")
        .env_remove("APCA_API_KEY_ID")
        // Long, so that what an allocator writes into freed memory does not cover it.
        .env("ALPACA_API_KEY", format!("{}{secret}", "x".repeat(500)))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains(DONE),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_touch_is_refused_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt as _;

    let path = std::env::temp_dir().join(format!("trunkline-secrets-{}", std::process::id()));
    let with = |text: &str, mode: u32| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Credentials::from_file(&path)
    };
    let two_lines = format!("{}\n{}\n", PLAIN.key, PLAIN.secret);
    let wanted = Credentials::new(PLAIN.key, PLAIN.secret)
        .unwrap()
        .fingerprint();
    for mode in [0o600, 0o400] {
        assert_eq!(with(&two_lines, mode).unwrap().fingerprint(), wanted);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o777] {
        let error = with(&two_lines, mode).unwrap_err();
        assert!(
            matches!(error, CredentialsFault::Exposed { mode: seen, .. } if seen == mode),
            "{error:?}"
        );
        let text = format!("{error} {error:?}");
        assert!(
            text.contains(&format!("{mode:o}"))
                && text.contains(&format!("`chmod 600 {}`", path.display())),
            "{text}"
        );
        assert_clean(PLAIN, &text);
    }
    let error = with(&format!("{two_lines}{two_lines}"), 0o600).unwrap_err();
    assert!(error.to_string().contains("two lines"), "{error}");
    assert_clean(PLAIN, &format!("{error:?}"));
    fs::remove_file(&path).unwrap();
    let error = Credentials::from_file(&path).unwrap_err();
    assert!(error.to_string().contains("not found"), "{error}");
}
