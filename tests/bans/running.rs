//! The command line beside a proxy that runs.

use crate::harness::{BANNED, Site, UNAVAILABLE};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_ban_is_in_force_when_the_command_returns_and_gone_when_it_is_lifted() {
    let site = Site::new("");
    let proxy = site.serve();
    assert_eq!(proxy.knock("bot-1"), UNAVAILABLE);
    site.succeed(&["bans", "add", "clientid", "bot-1"]);
    assert_eq!(proxy.knock("bot-1"), BANNED);
    assert_eq!(proxy.knock("bot-2"), UNAVAILABLE);
    site.succeed(&["exemptions", "add", "peerhost_net", "127.0.0.0/8"]);
    assert_eq!(proxy.knock("bot-1"), UNAVAILABLE);
    site.succeed(&["exemptions", "clear", "--yes"]);
    assert_eq!(proxy.knock("bot-1"), BANNED);
    assert_eq!(site.succeed(&["bans", "remove", "clientid", "bot-1"]), "lifted\n");
    assert_eq!(proxy.knock("bot-1"), UNAVAILABLE);
}

#[test]
fn names_with_any_characters_pass_through_the_socket() {
    let site = Site::new("");
    let _proxy = site.serve();
    let long = "é".repeat(15_000);
    for who in ["a/b%2F c?d=e&f#g", "größe\n\u{202e}", "..", "-x", "\"'{}", &long] {
        site.succeed(&["bans", "add", "--", "clientid", who]);
        let explained = site.run(&["explain", &format!("--clientid={who}"), "--username", who]);
        assert_eq!(explained.code, Some(2), "{who:?}: {}", explained.stderr);
        site.succeed(&["bans", "remove", "--", "clientid", who]);
    }
    assert_eq!(site.names("bans"), [""; 0]);
}

#[test]
fn the_running_proxy_refuses_what_a_stopped_one_refuses() {
    let site = Site::new("[[ban]]\nas = \"clientid\"\nwho = \"file-bot\"\n");
    let _proxy = site.serve();
    site.succeed(&["bans", "add", "username", "eve"]);
    assert_eq!(
        site.fail(&["bans", "add", "username", "eve"]),
        "mqtt-bouncer: username \"eve\" is on the list already, until infinity; --replace changes it\n"
    );
    assert_eq!(site.succeed(&["bans", "add", "username", "eve", "--for", "1d", "--replace"]), "changed\n");
    assert_eq!(
        site.fail(&["bans", "remove", "clientid", "file-bot"]),
        "mqtt-bouncer: no ban of clientid \"file-bot\" is kept in SITE/data; it stands in the config file, and is lifted there\n"
    );
    let patterns: Vec<_> =
        (0..300).map(|number| format!(r#"{{"as":"clientid_re","who":"^(?!a{number}$).+"}}"#)).collect();
    let list = patterns.join("\n");
    let path = site.write("patterns.jsonl", list);
    assert!(site.fail(&["bans", "import", &path]).contains("there are 256 lookaround rules already"));
    assert_eq!(site.names("bans"), ["clientid file-bot", "username eve"]);
}

#[test]
fn a_long_list_is_imported_whole_into_a_running_proxy() {
    let site = Site::new("");
    let proxy = site.serve();
    let names: Vec<_> = (0..30_000).map(|number| format!("device-{number}")).collect();
    let path = site.write("list.txt", names.join("\n"));
    assert_eq!(site.succeed(&["bans", "import", &path]), "imported 30000: 30000 new, 0 known\n");
    assert_eq!(proxy.knock("device-29999"), BANNED);
    assert_eq!(site.run(&["bans", "export"]).stdout.lines().count(), 30_000);
    site.succeed(&["bans", "clear", "--yes"]);
    assert_eq!(proxy.knock("device-29999"), UNAVAILABLE);
}

#[test]
fn explain_asks_the_running_proxy_and_the_files_when_there_is_none() {
    let site = Site::new("[[ban]]\nas = \"clientid\"\nwho = \"bot\"\nuntil = 1000000000\n");
    let proxy = site.serve();
    site.succeed(&["bans", "add", "peerhost_net", "10.0.0.0/8", "--reason", "scan"]);
    let expected = "would be refused: peerhost_net \"10.0.0.0/8\" (holds until infinity; by \"cli\"; reason: \"scan\")\n\
                    exemptions about this client: none\n\
                    bans about this client:\n  \
                    clientid \"bot\" (ended at 2001-09-09T01:46:40+00:00; by \"config\")\n  \
                    peerhost_net \"10.0.0.0/8\" (holds until infinity; by \"cli\"; reason: \"scan\")\n";
    // What the file says now is not what runs.
    site.configure("");
    let asked = || site.run(&["explain", "--clientid", "bot", "--peer", "10.0.0.1"]);
    assert_eq!((asked().code, asked().stdout.as_str()), (Some(2), expected));
    drop(proxy);
    let without_the_file = expected.lines().filter(|line| !line.contains("clientid \"bot\"")).count();
    assert_eq!(asked().stdout.lines().count(), without_the_file);
}

#[test]
fn a_second_proxy_on_the_same_data_directory_does_not_start() {
    let site = Site::new("");
    let _proxy = site.serve();
    let said = site.fail(&["serve"]);
    assert!(said.contains("SITE/data/bans.db is in use by process "), "{said}");
}

#[test]
fn bans_are_there_after_a_restart_and_the_store_is_its_owners_alone() {
    let site = Site::new("");
    let proxy = site.serve();
    site.succeed(&["bans", "add", "clientid", "bot-1"]);
    for file in ["data", "data/bans.db", "data/control.sock"] {
        let mode = fs::metadata(site.path(file)).expect(file).permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} has mode {mode:o}");
    }
    proxy.signal("TERM");
    assert!(proxy.wait().success());
    assert!(!site.path("data/control.sock").exists());
    assert_eq!(site.serve().knock("bot-1"), BANNED);
}

#[test]
fn an_empty_store_is_filled_from_the_bootstrap_file_and_a_full_one_is_not() {
    let site = Site::new("[banned]\nbootstrap_file = \"seed.csv\"\n");
    site.write("seed.csv", "as,who\nclientid,seed-1\npeerhost,nonsense\nclientid,seed-2\n");
    let proxy = site.serve();
    assert_eq!(proxy.knock("seed-2"), BANNED);
    assert_eq!(site.names("bans"), ["clientid seed-1", "clientid seed-2"]);
    site.succeed(&["bans", "remove", "clientid", "seed-1"]);
    drop(proxy);
    let proxy = site.serve();
    assert_eq!(proxy.knock("seed-1"), UNAVAILABLE);
    assert_eq!(proxy.knock("seed-2"), BANNED);
}

#[test]
fn a_damaged_store_stops_the_proxy_and_is_named() {
    let site = Site::new("");
    drop(site.serve());
    fs::write(site.path("data/bans.db"), b"this is not a database, whatever its name says").expect("written");
    let said = site.fail(&["serve"]);
    assert!(said.contains("SITE/data/bans.db"), "{said}");
    assert!(said.contains("restore a backup"), "{said}");
}
