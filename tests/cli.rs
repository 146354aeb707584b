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

#[test]
fn check_tells_programs_what_it_tells_people() {
    let json = |text: &str| -> serde_json::Value { serde_json::from_str(text).expect("JSON") };
    let (code, stdout, _) = on_file(GOOD, "check", &["--json"]);
    let told = json(&stdout);
    assert_eq!(
        (code, &told["ok"], &told["bans"], &told["expired_bans"]),
        (Some(0), &true.into(), &2.into(), &1.into())
    );
    assert_eq!(told["bans_by_kind"]["clientid_re"], 1);
    let (code, stdout, stderr) = on_file(&GOOD.replace("127.0.0.1:0", "localhost"), "check", &["--json"]);
    let mistake = &json(&stdout)["mistakes"][0];
    assert_eq!((code, stderr.as_str()), (Some(1), ""));
    assert_eq!((&mistake["line"], &mistake["option"]), (&4.into(), &"listener[0].bind".into()));
}

#[test]
fn explain_tells_programs_what_the_api_would_answer() {
    let (code, stdout, _) = on_file(GOOD, "explain", &["--clientid", "bot-7", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(
        (code, &told["verdict"], &told["ban"]["as"]),
        (Some(2), &"refuse".into(), &"clientid_re".into())
    );
}

/// `println!` panics when nobody reads on.
#[test]
fn no_command_minds_a_reader_that_has_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("test.toml");
    fs::write(&file, format!("{GOOD}[node]\ndata_dir = \"data\"\n")).expect("written");
    let path = file.to_str().expect("UTF-8");
    let commands: &[&[&str]] = &[
        &["check", "--config", path],
        &["check", "--json", "--config", path],
        &["explain", "--config", path],
        &["explain", "--json", "--config", path],
        &["bans", "list", "--config", path],
        &["bans", "--json", "list", "--config", path],
        &["bans", "add", "clientid", "x", "--config", path],
        &["bans", "export", "--config", path],
        &["bans", "remove", "clientid", "x", "--config", path],
        &["bans", "clear", "--yes", "--config", path],
        &["completions", "bash"],
        &["man"],
        &["--help"],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_mqtt-bouncer"))
            .args(*arguments)
            .stdout(writer)
            .stderr(std::process::Stdio::piped())
            .output()
            .expect("the binary runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
    }
}

#[test]
fn every_shell_learns_every_command() {
    let help = String::from_utf8(run(&["help"]).stdout).expect("text");
    let commands: Vec<_> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 8, "{help}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = String::from_utf8(run(&["completions", shell]).stdout).expect("text");
        for command in &commands {
            assert!(script.contains(command), "{shell} does not know {command}");
        }
    }
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let page = String::from_utf8(run(&["man"]).stdout).expect("text");
    assert!(page.contains(".TH mqtt-bouncer 1"), "{page}");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("man1");
    assert!(run(&["man", path.to_str().expect("UTF-8")]).status.success());
    for page in ["mqtt-bouncer.1", "mqtt-bouncer-top.1", "mqtt-bouncer-bans.1", "mqtt-bouncer-bans-add.1"] {
        let text = fs::read_to_string(path.join(page)).expect(page);
        assert!(text.contains(".SH NAME"), "{page}: {text}");
    }
    assert_eq!(run(&["man", "/dev/null/x"]).status.code(), Some(1));
}
