//! `import` and `export`.

use crate::harness::Site;
use std::fmt::Write;
use std::fs;

#[test]
fn what_is_exported_is_imported_again_as_it_was() {
    let site = Site::new("");
    site.succeed(&["bans", "add", "clientid", "größe \"1\"", "--reason", "tab\there", "--for", "90m"]);
    site.succeed(&["bans", "add", "username_re", "^a|b$", "--match", "full"]);
    site.succeed(&["bans", "add", "peerhost_net", "2001:db8::7/48"]);
    let file = site.path("bans.jsonl");
    let path = file.to_str().expect("UTF-8");
    let done = site.run(&["bans", "export", path]);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), "exported 3\n"));
    let exported = fs::read_to_string(&file).expect("written");

    let other = Site::new("");
    assert_eq!(other.succeed(&["bans", "import", path]), "imported 3: 3 new, 0 known\n");
    assert_eq!(other.succeed(&["bans", "import", path]), "imported 3: 0 new, 3 known\n");
    assert_eq!(other.run(&["bans", "export"]).stdout, exported);
    let from_stdin = Site::new("");
    assert_eq!(from_stdin.run_with_input(&["bans", "import", "-"], &exported).code, Some(0));
    assert_eq!(from_stdin.run(&["bans", "export"]).stdout, exported);
}

#[test]
fn lists_of_emqx_tbmq_and_plain_ones_are_taken_in() {
    let site = Site::new("");
    let csv = site.write(
        "emqx.csv",
        "as,who,reason,until\nclientid,c1,flooding,infinity\npeerhost_net,10.1.2.3/24,,1999999999\n",
    );
    let emqx = site.write(
        "emqx.json",
        r#"{"data":[{"as":"clientid_re","who":"^bot","by":"ops","reason":"","at":"2026-01-01T00:00:00+00:00","until":"infinity"}],"meta":{"page":1,"limit":100,"count":1}}"#,
    );
    let tbmq = site.write(
        "tbmq.json",
        r#"{"data":[{"type":"REGEX","value":"evil.*","regexMatchTarget":"BY_USERNAME","expirationTime":0,"description":"x","status":"ACTIVE"}],"totalPages":1,"totalElements":1,"hasNext":false}"#,
    );
    let plain = site.write("bad.txt", "# a list of ours\nbot-9\n192.0.2.1\n2001:db8::/32\nbot-9\n");
    for (path, count) in [(csv, 2), (emqx, 1), (tbmq, 1), (plain, 3)] {
        let said = site.succeed(&["bans", "import", &path]);
        assert_eq!(said, format!("imported {count}: {count} new, 0 known\n"), "{path}");
    }
    assert_eq!(
        site.names("bans"),
        [
            "clientid bot-9",
            "clientid c1",
            "clientid_re ^bot",
            "peerhost 192.0.2.1",
            "peerhost_net 10.1.2.0/24",
            "peerhost_net 2001:db8::/32",
            "username_re evil.*",
        ]
    );
    assert!(site.succeed(&["bans", "list", "--as", "username_re"]).contains("(full)"));
}

#[test]
fn one_wrong_line_of_many_is_named_and_nothing_is_taken_in() {
    let site = Site::new("");
    let mut list = String::from("as,who\n");
    for number in 0..20_000 {
        let kind = if number == 12_345 { "peerhost" } else { "clientid" };
        writeln!(list, "{kind},device-{number}").expect("memory");
    }
    let path = site.write("many.csv", list);
    let said = site.fail(&["bans", "import", &path]);
    assert_eq!(
        said,
        "SITE/many.csv: line 12347: who: \"device-12345\" is not an IP address; expected e.g. \"192.0.2.7\" or \"2001:db8::7\"\n\
         mqtt-bouncer: 1 of 20000 records are wrong, and nothing was imported; --skip-wrong takes in the rest\n"
    );
    assert_eq!(site.names("bans"), [""; 0]);
    let done = site.run(&["bans", "import", &path, "--skip-wrong", "--dry-run"]);
    assert_eq!(done.stdout, "would import 19999: 19999 new, 0 known; 1 left out\n");
    assert_eq!(site.names("bans"), [""; 0]);
    let done = site.run(&["bans", "import", &path, "--skip-wrong"]);
    assert_eq!(done.stdout, "imported 19999: 19999 new, 0 known; 1 left out\n");
    assert_eq!(site.names("bans").len(), 19_999);
}

#[test]
fn a_name_that_stands_twice_and_says_two_things_is_a_mistake() {
    let site = Site::new("");
    let path = site.write("twice.csv", "as,who,reason\nclientid,a,one\nclientid,a,one\nclientid,a,two\n");
    let said = site.fail(&["bans", "import", &path]);
    assert!(said.starts_with("SITE/twice.csv: line 4: who: stands in line 2 already"), "{said}");
}

#[test]
fn bans_that_have_ended_are_mistakes_unless_asked_for() {
    let site = Site::new("");
    let path = site.write("old.csv", "as,who,until\nclientid,a,1000000000\n");
    assert!(site.fail(&["bans", "import", &path]).contains("line 2: until: "));
    site.succeed(&["bans", "import", &path, "--keep-expired"]);
    let table = site.succeed(&["bans", "list", "--status", "deleting-soon"]);
    assert!(table.contains("clientid      deleting soon  2001-09-09T01:46:40+00:00"), "{table}");
}

#[test]
fn too_many_expensive_patterns_are_refused_as_a_whole_and_by_the_rehearsal_too() {
    let site = Site::new("");
    let mut list = String::new();
    for number in 0..300 {
        writeln!(list, r#"{{"as":"clientid_re","who":"^(?!a{number}$).+"}}"#).expect("memory");
    }
    let path = site.write("patterns.jsonl", list);
    for more in [&["--dry-run"][..], &[]] {
        let said = site.fail(&[&["bans", "import", &path][..], more].concat());
        assert!(said.contains("there are 256 lookaround rules already"), "{said}");
    }
    assert_eq!(site.names("bans"), [""; 0]);
}

#[test]
fn a_file_that_is_none_is_refused() {
    let site = Site::new("");
    let path = site.write("what.bin", b"\x00\x01\x02");
    let said = site.fail(&["bans", "import", &path]);
    assert_eq!(said, "mqtt-bouncer: SITE/what.bin: its form cannot be told; name it with --format\n");
    let said = site.fail(&["bans", "import", "/nowhere/x.csv"]);
    assert_eq!(said, "mqtt-bouncer: cannot read /nowhere/x.csv: No such file or directory (os error 2)\n");
    let path = site.write("broken.json", "{\"data\":[{\"as\":\"clientid\",");
    assert!(site.fail(&["bans", "import", &path]).starts_with("mqtt-bouncer: SITE/broken.json: line 1: "));
}

#[test]
fn what_a_form_cannot_say_stops_the_export_and_leaves_the_old_file() {
    let site = Site::new("");
    site.succeed(&["bans", "add", "clientid", "with,comma"]);
    site.succeed(&["bans", "add", "clientid", "plain"]);
    let path = site.write("out.csv", "what was there");
    let said = site.run(&["bans", "export", &path, "--format", "emqx-csv"]);
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("clientid \"with,comma\""), "{}", said.stderr);
    assert_eq!(fs::read_to_string(&path).expect("there"), "what was there");
    assert_eq!(fs::read_dir(site.path("")).expect("a folder").count(), 3, "nothing half-written is left");
    let said = site.run(&["bans", "export", &path, "--format", "emqx-csv", "--skip-unwritable"]);
    assert_eq!(said.stderr, "exported 1; 1 left out\n");
}
