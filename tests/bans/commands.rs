//! `bans` and `exemptions` on a stopped proxy.

use crate::harness::Site;

#[test]
fn a_ban_is_added_listed_and_lifted() {
    let site = Site::new("");
    assert_eq!(
        site.succeed(&["bans", "add", "clientid", "bot-1", "--reason", "flooding", "--for", "1h"]),
        "added\n"
    );
    assert_eq!(
        site.succeed(&["bans", "add", "clientid_re", r"^x-\d+$", "--match", "full", "--by", "ops"]),
        "added\n"
    );
    let table = site.succeed(&["bans", "list"]);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("AS            STATUS         UNTIL"), "{table}");
    assert!(lines[1].starts_with("clientid      active         20"), "{table}");
    assert!(lines[1].ends_with(" cli               bot-1  flooding"), "{table}");
    assert!(lines[2].ends_with("ops               \"^x-\\\\d+$\"  (full)"), "{table}");

    assert_eq!(site.succeed(&["bans", "remove", "clientid", "bot-1"]), "lifted\n");
    assert_eq!(site.names("bans"), [r"clientid_re ^x-\d+$"]);
}

#[test]
fn a_ban_that_is_there_is_changed_only_when_one_says_so() {
    let site = Site::new("");
    site.succeed(&["bans", "add", "username", "eve"]);
    assert_eq!(
        site.fail(&["bans", "add", "username", "eve", "--reason", "again"]),
        "mqtt-bouncer: username \"eve\" is on the list already, until infinity; --replace changes it\n"
    );
    assert_eq!(
        site.succeed(&["bans", "add", "username", "eve", "--reason", "again", "--replace"]),
        "changed\n"
    );
    assert!(site.succeed(&["bans", "list"]).ends_with("eve  again\n"));
}

#[test]
fn what_makes_no_sense_is_refused_with_what_would() {
    let site = Site::new("");
    for (arguments, expected) in [
        (
            &["bans", "add", "peerhost", "10.0.0"][..],
            "mqtt-bouncer: peerhost \"10.0.0\" is not an IP address; expected e.g. \"192.0.2.7\" or \"2001:db8::7\"\n",
        ),
        (
            &["bans", "add", "clientid_re", "bot-[0-9"],
            "mqtt-bouncer: clientid_re \"bot-[0-9\" is not a usable pattern: the pattern is wrong at byte 4",
        ),
        (
            &["bans", "add", "clientid", ""],
            "mqtt-bouncer: clientid \"\" is empty; expected 1 to 65535 bytes\n",
        ),
        (
            &["bans", "add", "clientid", "x", "--match", "full"],
            "mqtt-bouncer: clientid \"x\" has a \"match\", which only patterns have\n",
        ),
        (
            &["bans", "add", "clientid", "x", "--until", "2001-09-09T01:46:40Z"],
            "mqtt-bouncer: the ban would have ended at 2001-09-09T01:46:40+00:00; expected an end in the future\n",
        ),
        (
            &["bans", "remove", "clientid", "x"],
            "mqtt-bouncer: no ban of clientid \"x\" is kept in SITE/data\n",
        ),
    ] {
        let said = site.fail(arguments);
        assert!(said.starts_with(expected), "{said}");
    }
    for arguments in [
        &["bans", "add", "client", "x"][..],
        &["bans", "add", "clientid", "x", "--until", "soon"],
        &["bans", "add", "clientid", "x", "--for", "10"],
        &["bans", "add", "clientid", "x", "--for", "1h", "--until", "infinity"],
        &["bans", "clear"],
    ] {
        let done = site.run(arguments);
        assert_eq!(done.code, Some(2), "{arguments:?}: {}", done.stderr);
    }
    assert_eq!(site.names("bans"), [""; 0]);
}

#[test]
fn the_bans_of_the_config_file_are_listed_and_left_alone() {
    let site = Site::new("[[ban]]\nas = \"clientid\"\nwho = \"file-bot\"\n");
    assert_eq!(site.names("bans"), ["clientid file-bot"]);
    assert_eq!(
        site.fail(&["bans", "remove", "clientid", "file-bot"]),
        "mqtt-bouncer: no ban of clientid \"file-bot\" is kept in SITE/data; it stands in the config file, and is lifted there\n"
    );
    site.succeed(&["bans", "add", "clientid", "file-bot"]);
    assert_eq!(
        site.succeed(&["bans", "remove", "clientid", "file-bot"]),
        "lifted; the one in the config file still holds\n"
    );
    site.succeed(&["bans", "clear", "--yes"]);
    assert_eq!(site.names("bans"), ["clientid file-bot"]);
}

#[test]
fn lists_are_filtered_and_cut() {
    let site = Site::new("");
    for (kind, who, by) in [
        ("clientid", "bot-1", "a"),
        ("clientid", "bot-2", "b"),
        ("username", "bot-3", "b"),
        ("peerhost", "10.0.0.1", "b"),
    ] {
        site.succeed(&["bans", "add", kind, who, "--by", by]);
    }
    let shown = |more: &[&str]| site.succeed(&[&["bans", "list"], more].concat()).lines().count() - 1;
    assert_eq!(shown(&["--as", "clientid"]), 2);
    assert_eq!(shown(&["--by", "b"]), 3);
    assert_eq!(shown(&["--text", "bot"]), 3);
    assert_eq!(shown(&["--text", "bot", "--by", "b", "--as", "username"]), 1);
    assert_eq!(shown(&["--limit", "2"]), 2);
    assert_eq!(shown(&["--status", "expired"]), 0);
    assert_eq!(shown(&["--status", "active"]), 4);
}

#[test]
fn exemptions_are_a_list_of_their_own_and_win() {
    let site = Site::new("");
    site.succeed(&["bans", "add", "peerhost_net", "10.0.0.0/8"]);
    site.succeed(&["exemptions", "add", "peerhost", "10.0.0.1", "--reason", "gateway"]);
    assert_eq!(site.names("exemptions"), ["peerhost 10.0.0.1"]);
    let explained = site.run(&["explain", "--clientid", "x", "--peer", "10.0.0.1"]);
    assert_eq!(explained.code, Some(0));
    assert!(
        explained
            .stdout
            .starts_with("would be let in\nexemptions about this client:\n  peerhost \"10.0.0.1\"")
    );
    assert_eq!(site.run(&["explain", "--clientid", "x", "--peer", "10.0.0.2"]).code, Some(2));
    site.succeed(&["exemptions", "clear", "--yes"]);
    assert_eq!(site.names("bans"), ["peerhost_net 10.0.0.0/8"]);
    assert_eq!(site.run(&["explain", "--peer", "10.0.0.1"]).code, Some(2));
}

#[test]
fn without_a_data_directory_there_is_nothing_to_change() {
    let site = Site::new("");
    let text = "[[listener]]\nname = \"a\"\nbind = \"127.0.0.1:0\"\n[upstream]\nservers = [\"127.0.0.1:1\"]\n\
                [[ban]]\nas = \"clientid\"\nwho = \"x\"\n";
    site.write("bouncer.toml", text);
    assert_eq!(site.names("bans"), ["clientid x"]);
    assert_eq!(
        site.fail(&["bans", "add", "clientid", "y"]),
        "mqtt-bouncer: SITE/bouncer.toml has no [node] data_dir, the folder in which bans are kept\n"
    );
}

#[test]
fn lists_are_put_in_order_and_filtered_alike_beside_a_running_proxy_and_a_stopped_one() {
    let site =
        Site::new("[[ban]]\nas = \"clientid\"\nwho = \"file-bot\"\nuntil = \"2050-01-01T00:00:00Z\"\n");
    for (who, until, reason) in
        [("a", "2040-01-01T00:00:00Z", "Scan"), ("b", "2060-01-01T00:00:00Z", ""), ("c", "infinity", "scan")]
    {
        site.succeed(&["bans", "add", "clientid", who, "--until", until, "--reason", reason]);
    }
    let names = |more: &[&str]| {
        let lines = site.succeed(&[&["bans", "list", "--json"], more].concat());
        let name = |line: &str| {
            let ban: serde_json::Value = serde_json::from_str(line).expect("JSON");
            ban["who"].as_str().expect("a text").to_owned()
        };
        lines.lines().map(name).collect::<Vec<_>>()
    };
    let check = || {
        assert_eq!(names(&[]), ["a", "b", "c", "file-bot"]);
        assert_eq!(names(&["--sort", "until"]), ["a", "file-bot", "b", "c"]);
        assert_eq!(names(&["--sort", "until", "--desc", "--limit", "2"]), ["c", "b"]);
        assert_eq!(names(&["--reason", "SCAN"]), ["a", "c"]);
        assert_eq!(names(&["--source", "file"]), ["file-bot"]);
        assert_eq!(names(&["--as", "username", "--as", "clientid", "--text", "B"]), ["b", "file-bot"]);
        let shown = site.succeed(&["bans", "show", "clientid", "a"]);
        assert!(shown.contains("2040-01-01T00:00:00+00:00  cli               a  Scan"), "{shown}");
        assert!(shown.contains("  sources: [\"run_time\"]\n  hits: 0\n  last_hit: null"), "{shown}");
        assert_eq!(
            site.fail(&["bans", "show", "clientid", "nobody"]),
            "mqtt-bouncer: there is none of clientid \"nobody\"\n"
        );
        assert_eq!(
            site.fail(&["bans", "extend", "clientid", "file-bot", "1h"]),
            "mqtt-bouncer: no ban of clientid \"file-bot\" is kept in SITE/data; it stands in the config file, and is lifted there\n"
        );
    };
    check();
    let proxy = site.serve();
    check();
    assert_eq!(
        site.succeed(&["bans", "extend", "clientid", "a", "1d"]),
        "holds until 2040-01-02T00:00:00+00:00\n"
    );
    drop(proxy);
    assert_eq!(
        site.succeed(&["bans", "extend", "clientid", "a", "1d"]),
        "holds until 2040-01-03T00:00:00+00:00\n"
    );
    assert_eq!(site.succeed(&["bans", "extend", "clientid", "c", "1d"]), "holds until infinity\n");
}
