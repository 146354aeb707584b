//! The command line as a user meets it: what it prints, and what it exits with.

#![allow(clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const GOOD: &str = r#"
[[listener]]
name = "mqtt"
bind = "127.0.0.1:0"
[upstream]
servers = ["127.0.0.1:1884"]
[[ban]]
as = "clientid_re"
who = '^bot-\d+$'
reason = "flooding"
[[ban]]
as = "peerhost_net"
who = "10.0.0.0/8"
until = 1000000000
[[exempt]]
as = "username"
who = "ops"
"#;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mqtt-bouncer")).args(arguments).output().expect("the binary runs")
}

/// Runs a command on a config file with this text.
fn on_file(text: &str, command: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("test.toml");
    fs::write(&file, text).expect("written");
    let path = file.to_str().expect("UTF-8");
    let output = run(&[&[command, "--config", path][..], more].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").replace(path, "test.toml");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn check_says_what_a_good_file_holds() {
    let (code, stdout, stderr) = on_file(GOOD, "check", &[]);
    let expected = "test.toml can be used: 1 listeners, 2 bans (1 of them expired), 1 exemptions\n  1 peerhost_net\n  1 clientid_re\n";
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), expected, ""));
}

#[test]
fn check_prints_every_mistake_and_exits_with_1() {
    let bad = GOOD.replace("127.0.0.1:0", "localhost").replace("peerhost_net", "peerhost_not");
    let (code, stdout, stderr) = on_file(&bad, "check", &[]);
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!((code, stdout.as_str(), lines.len()), (Some(1), "", 2), "{stderr}");
    assert!(
        stderr.starts_with("test.toml:4: listener[0].bind: \"localhost\" is not an address; expected"),
        "{stderr}"
    );
}

#[test]
fn serve_does_not_start_on_a_bad_file() {
    let (code, _, stderr) = on_file("[upstream]\n", "serve", &[]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("test.toml:1: upstream.servers: is missing"), "{stderr}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let missing = Path::new("/nowhere/mqtt-bouncer.toml").display().to_string();
    let output = run(&["check", "--config", &missing]);
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr,
        format!("mqtt-bouncer: cannot read {missing}: No such file or directory (os error 2)\n")
    );
}

#[test]
fn explain_names_every_rule_and_exits_by_the_verdict() {
    let (code, stdout, _) = on_file(GOOD, "explain", &["--clientid", "bot-7", "--peer", "10.1.2.3"]);
    let expected = r#"would be refused: clientid_re "^bot-\\d+$" (holds until infinity; by "config"; reason: "flooding")
exemptions about this client: none
bans about this client:
  peerhost_net "10.0.0.0/8" (ended at 2001-09-09T01:46:40+00:00; by "config")
  clientid_re "^bot-\\d+$" (holds until infinity; by "config"; reason: "flooding")
"#;
    assert_eq!((code, stdout.as_str()), (Some(2), expected));
    let (code, stdout, _) = on_file(GOOD, "explain", &["--clientid", "bot-7", "--username", "ops"]);
    assert_eq!(code, Some(0));
    assert!(
        stdout.starts_with("would be let in\nexemptions about this client:\n  username \"ops\""),
        "{stdout}"
    );
}

#[test]
fn help_and_version_speak() {
    let text = |arguments: &[&str]| String::from_utf8(run(arguments).stdout).expect("text");
    assert_eq!(text(&["--version"]), format!("mqtt-bouncer {}\n", env!("CARGO_PKG_VERSION")));
    let help = text(&["--help"]);
    for command in ["serve", "check", "explain"] {
        assert!(help.contains(command), "{help}");
    }
    assert!(text(&["help", "serve"]).contains("SIGHUP"));
}
