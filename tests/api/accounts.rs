//! Users and keys: how they are made, changed and kept.

use crate::harness::{PASSWORD, Running, Site, basic, bearer};
use serde_json::{Value, json};

fn users(proxy: &Running, token: &str) -> Vec<String> {
    let users = proxy.call("GET", "/api/v5/users", &bearer(token), "").json();
    let name = |user: &Value| format!("{} {}", user["username"], user["role"]).replace('"', "");
    users.as_array().expect("a list").iter().map(name).collect()
}

#[test]
fn the_first_start_makes_a_password_and_says_it_once() {
    let site = Site::new("[admin]\nbind = \"127.0.0.1:0\"\n");
    let proxy = site.serve();
    let line = proxy.log.wait_for("first start");
    assert!(line.contains("username=\"admin\"") || line.contains("username=admin"), "{line}");
    let password = line.rsplit("password=").next().expect("a password").trim_matches('"').to_owned();
    assert_eq!(password.len(), 43);
    let token = proxy.token("admin", &password);
    assert_eq!(users(&proxy, &token), ["admin administrator"]);
    assert_eq!(proxy.log.text().matches(&password).count(), 1);
    drop(proxy);
    let proxy = site.serve();
    assert!(!proxy.log.text().contains("first start"));
    assert!(!proxy.token("admin", &password).is_empty(), "it still is the password");
    assert_eq!(
        proxy.call("GET", "/api/v5/status", &bearer(&token), "").fault().1,
        "BAD_TOKEN",
        "tokens are not kept"
    );
}

#[test]
fn a_quiet_log_says_the_password_all_the_same() {
    let site = Site::new("[admin]\nbind = \"127.0.0.1:0\"\n[log]\nlevel = \"error\"\n");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_mqtt-bouncer"))
        .args(["serve", "--config"])
        .arg(site.path("bouncer.toml"))
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stderr.take().expect("piped")), &mut line)
        .expect("a line");
    let _ = child.kill();
    let _ = child.wait();
    assert!(line.contains("first start") && line.contains("password="), "{line}");
}

#[test]
fn users_are_made_changed_and_removed_as_in_emqx() {
    let site = Site::new("");
    let proxy = site.serve();
    let token = proxy.token("admin", PASSWORD);
    let call = |method: &str, path: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        proxy.call(method, path, &bearer(&token), &body)
    };
    let made = call(
        "POST",
        "/api/v5/users",
        json!({"username":"eve","password":"password-1","role":"viewer","description":"x"}),
    );
    assert_eq!(made.status, 200);
    let mut body = made.json();
    assert!(body["created_at"].take().as_str().expect("a time").ends_with("+00:00"));
    assert_eq!(
        body,
        json!({"username":"eve","role":"viewer","description":"x","backend":"local","created_at":null})
    );
    for (body, code, says) in [
        (
            json!({"username":"eve","password":"password-1"}),
            "ALREADY_EXISTS",
            "there is a user of that name already",
        ),
        (json!({"username":"e/ve","password":"password-1"}), "BAD_REQUEST", "username is not a user name"),
        (
            json!({"username":"bob","password":"short"}),
            "BAD_REQUEST",
            "password has 5 characters; expected 8 to 256",
        ),
        (
            json!({"username":"bob","password":"password-1","role":"root"}),
            "BAD_REQUEST",
            "role \"root\" is not a role",
        ),
        (json!({"username":"bob"}), "BAD_REQUEST", "missing field `password`"),
        (json!({"username":"bob","password":1}), "BAD_REQUEST", "invalid type"),
        (json!({"username":"bob","password":"password-1","x":1}), "BAD_REQUEST", "unknown field `x`"),
    ] {
        let answer = call("POST", "/api/v5/users", body);
        assert_eq!(answer.fault(), (400, code.to_owned()));
        assert!(answer.body.replace("\\\"", "\"").contains(says), "{answer:?}");
    }
    let eve = proxy.token("eve", "password-1");
    assert_eq!(proxy.call("DELETE", "/api/v5/banned", &bearer(&eve), "").status, 403);
    assert_eq!(
        call("PUT", "/api/v5/users/eve", json!({"role":"administrator"})).json()["role"],
        "administrator"
    );
    assert_eq!(
        proxy.call("DELETE", "/api/v5/banned", &bearer(&eve), "").status,
        204,
        "the role holds at once"
    );
    assert_eq!(users(&proxy, &token), ["admin administrator", "eve administrator"]);
    assert_eq!(call("DELETE", "/api/v5/users/eve", Value::Null).status, 204);
    assert_eq!(
        call("DELETE", "/api/v5/users/eve", Value::Null).body,
        r#"{"code":"USER_NOT_FOUND","message":"User not found"}"#
    );
    assert_eq!(
        proxy.call("GET", "/api/v5/status", &bearer(&eve), "").fault().1,
        "BAD_TOKEN",
        "she is logged out"
    );
    for (method, body) in [("DELETE", Value::Null), ("PUT", json!({"role":"viewer"}))] {
        let answer = call(method, "/api/v5/users/admin", body);
        assert_eq!(answer.fault(), (400, "BAD_REQUEST".to_owned()));
        assert!(answer.body.contains("is the last administrator"), "{answer:?}");
    }
}

#[test]
fn a_password_is_changed_by_whoever_knows_it() {
    let site = Site::new("");
    let proxy = site.serve();
    let token = proxy.token("admin", PASSWORD);
    proxy.call(
        "POST",
        "/api/v5/users",
        &bearer(&token),
        r#"{"username":"eve","password":"password-1","role":"viewer"}"#,
    );
    let eve = proxy.token("eve", "password-1");
    let change = |token: &str, name: &str, body: &str| {
        proxy.call("POST", &format!("/api/v5/users/{name}/change_pwd"), &bearer(token), body)
    };
    let wrong = change(&token, "admin", r#"{"old_pwd":"wrong","new_pwd":"password-2"}"#);
    assert_eq!(wrong.body, r#"{"code":"ERROR_PWD_NOT_MATCH","message":"Old password not match"}"#);
    assert_eq!(change(&token, "admin", r#"{"new_pwd":"password-2"}"#).fault().0, 400);
    assert_eq!(
        change(&token, "nobody", r#"{"old_pwd":"x","new_pwd":"password-2"}"#).fault(),
        (404, "USER_NOT_FOUND".to_owned())
    );
    assert_eq!(change(&eve, "admin", r#"{"old_pwd":"x","new_pwd":"password-2"}"#).fault().0, 403);
    assert_eq!(change(&eve, "eve", r#"{"old_pwd":"password-1","new_pwd":"password-2"}"#).status, 204);
    assert_eq!(
        proxy.call("GET", "/api/v5/status", &bearer(&eve), "").fault().1,
        "BAD_TOKEN",
        "she is logged out"
    );
    assert_eq!(proxy.login("eve", "password-1").status, 401);
    assert_eq!(proxy.login("eve", "password-2").status, 200);
}

#[test]
fn keys_are_made_used_switched_off_and_removed() {
    let site = Site::new("");
    let proxy = site.serve();
    let token = proxy.token("admin", PASSWORD);
    let call = |method: &str, path: &str, body: &str| proxy.call(method, path, &bearer(&token), body);
    let made = call(
        "POST",
        "/api/v5/api_key",
        r#"{"name":"ci","role":"viewer","desc":"x","expired_at":"2099-01-01T00:00:00Z"}"#,
    )
    .json();
    let (key, secret) =
        (made["api_key"].as_str().expect("a key"), made["api_secret"].as_str().expect("a secret"));
    assert_eq!((key.len(), secret.len(), &made["expired_at"]), (16, 43, &"2099-01-01T00:00:00+00:00".into()));
    let status = || proxy.call("GET", "/api/v5/status", &basic(key, secret), "").status;
    assert_eq!(status(), 200);
    let listed = call("GET", "/api/v5/api_key", "");
    assert!(!listed.body.contains("secret"), "{listed:?}");
    let names: Vec<_> =
        listed.json().as_array().expect("a list").iter().map(|key| key["name"].clone()).collect();
    assert_eq!(names, ["ci", "file:file-key", "file:file-viewer"]);
    assert_eq!(call("PUT", "/api/v5/api_key/ci", r#"{"enable":false}"#).json()["enable"], false);
    assert_eq!(status(), 401);
    assert_eq!(
        call("PUT", "/api/v5/api_key/ci", r#"{"enable":true,"expired_at":1}"#).json()["expired"],
        true
    );
    assert_eq!(status(), 401);
    assert_eq!(
        call("PUT", "/api/v5/api_key/ci", r#"{"expired_at":"infinity"}"#).json()["expired_at"],
        "infinity"
    );
    assert_eq!(status(), 200);
    for (body, says) in [
        (r#"{"name":"ci"}"#, "there is a key of that name already"),
        (r#"{"name":"1"}"#, "name is not a name for a key"),
        (r#"{"name":"file:x"}"#, "name is not a name for a key"),
        (r#"{"name":"p","role":"publisher"}"#, "is a role for publishing messages"),
        (r#"{"name":"p","expired_at":-1}"#, "expired_at -1 is not a moment"),
        (r#"{"name":"p","expired_at":"soon"}"#, "is not an end"),
    ] {
        let answer = call("POST", "/api/v5/api_key", body);
        assert!(answer.status == 400 && answer.body.contains(says), "{answer:?}");
    }
    assert_eq!(call("DELETE", "/api/v5/api_key/ci", "").status, 204);
    assert_eq!(
        call("GET", "/api/v5/api_key/ci", "").body,
        r#"{"code":"NOT_FOUND","message":"Name NOT FOUND"}"#
    );
    assert_eq!(call("DELETE", "/api/v5/api_key/file:file-key", "").fault().0, 400);
}

#[test]
fn accounts_outlive_the_process_and_secrets_are_not_on_disk() {
    let site = Site::new("");
    let proxy = site.serve();
    let token = proxy.token("admin", PASSWORD);
    proxy.call("POST", "/api/v5/users", &bearer(&token), r#"{"username":"eve","password":"password-1"}"#);
    let made = proxy.call("POST", "/api/v5/api_key", &bearer(&token), r#"{"name":"ci"}"#).json();
    let text = |field: &str| made[field].as_str().expect("a text").to_owned();
    // Killed: what was answered is on disk.
    drop(proxy);
    for file in ["bans.db", "bans.db-wal"] {
        let bytes = std::fs::read(site.path("data").join(file)).unwrap_or_default();
        let text_of = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text_of.contains("password-1") && !text_of.contains(&text("api_secret")), "{file}");
    }
    let proxy = site.serve();
    assert_eq!(
        users(&proxy, &proxy.token("eve", "password-1")),
        ["admin administrator", "eve administrator"]
    );
    assert_eq!(
        proxy.call("GET", "/api/v5/status", &basic(&text("api_key"), &text("api_secret")), "").status,
        200
    );
}

#[test]
fn the_command_line_manages_accounts_of_a_running_proxy_and_of_a_stopped_one() {
    let site = Site::new("");
    let mut proxy = Some(site.serve());
    for round in ["running", "stopped"] {
        let run = |arguments: &[&str], input: &str| {
            let (code, stdout, stderr) = site.run(arguments, input);
            assert_eq!((code, stderr.as_str()), (Some(0), ""), "{round} {arguments:?}");
            stdout
        };
        let fails = |arguments: &[&str], input: &str| {
            let (code, _, stderr) = site.run(arguments, input);
            assert_eq!(code, Some(1), "{round} {arguments:?}");
            stderr
        };
        assert_eq!(run(&["users", "add", "eve", "--role", "viewer"], "password-1\n"), "added\n");
        assert!(
            fails(&["users", "add", "eve"], "password-1\n").contains("there is a user of that name already")
        );
        assert!(fails(&["users", "add", "bob"], "short\n").contains("has 5 characters; expected 8 to 256"));
        assert_eq!(run(&["users", "passwd", "eve"], "password-2\n"), "changed\n");
        assert_eq!(run(&["users", "role", "eve", "administrator"], ""), "changed\n");
        let table = run(&["users", "list"], "");
        assert!(
            table.lines().any(|line| line.starts_with("eve ") && line.contains("administrator")),
            "{table}"
        );
        let listed: Vec<Value> = run(&["users", "list", "--json"], "")
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!((listed.len(), &listed[1]["username"]), (2, &"eve".into()));
        if let Some(proxy) = &proxy {
            assert_eq!(proxy.login("eve", "password-2").status, 200);
        }
        assert_eq!(run(&["users", "remove", "eve"], ""), "removed\n");
        let missing = fails(&["users", "remove", "eve"], "");
        assert!(missing.contains("User not found") || missing.contains("there is no user"), "{missing}");
        assert!(fails(&["users", "remove", "admin"], "").contains("last administrator"));

        let made: Value = serde_json::from_str(&run(
            &["api-keys", "add", "ci", "--role", "viewer", "--for", "1d", "--json"],
            "",
        ))
        .expect("JSON");
        assert_eq!(made["role"], "viewer");
        if let Some(proxy) = &proxy {
            let header = basic(
                made["api_key"].as_str().expect("a key"),
                made["api_secret"].as_str().expect("a secret"),
            );
            assert_eq!(proxy.call("GET", "/api/v5/status", &header, "").status, 200);
        }
        assert!(run(&["api-keys", "list"], "").contains("ci "));
        assert_eq!(run(&["api-keys", "remove", "ci"], ""), "removed\n");
        if let Some(mut proxy) = proxy.take() {
            proxy.signal("TERM");
            assert!(proxy.wait().expect("a child").success());
        }
    }
}

#[test]
fn the_command_line_manages_accounts_and_lists_of_a_proxy_elsewhere() {
    let site = Site::new("");
    let proxy = site.serve();
    assert_eq!(site.run(&["users", "add", "boss"], "password-1\n").0, Some(0));
    let key = site.run(&["api-keys", "add", "ci", "--json"], "").1;
    let key: Value = serde_json::from_str(&key).expect("JSON");
    site.write(
        "key",
        format!(
            "{}:{}",
            key["api_key"].as_str().expect("a key"),
            key["api_secret"].as_str().expect("a secret")
        ),
    );
    site.write("password", "password-1\n");
    site.write("wrong", "password-9\n");
    let url = format!("http://127.0.0.1:{}", proxy.api.port());
    let file = |name: &str| site.path(name).display().to_string();
    let (key, password, wrong) = (file("key"), file("password"), file("wrong"));
    let with_key = ["--api", &url, "--api-key-file", &key];
    let as_boss = ["--api", &url, "--api-user", "boss", "--api-password-file", &password];
    let run = |command: &[&str], way: &[&str], input: &str| {
        let (code, stdout, stderr) = site.run(&[command, way].concat(), input);
        if code == Some(0) { stdout } else { format!("{code:?} {stderr}") }
    };

    // A key may manage neither users nor keys.
    assert!(run(&["users", "list"], &with_key, "").contains("don't have permission"));
    assert!(run(&["users", "list"], &as_boss, "").contains("\nboss "));
    assert_eq!(run(&["users", "add", "eve", "--role", "viewer"], &as_boss, "password-2\n"), "added\n");
    assert!(run(&["users", "passwd", "eve"], &as_boss, "password-3\n").contains("old_pwd is missing"));
    site.write("old", "password-2\n");
    let old = ["passwd", "eve", "--old-password-file", &file("old")];
    assert_eq!(run(&[&["users"][..], &old].concat(), &as_boss, "password-3\n"), "changed\n");
    assert_eq!(proxy.login("eve", "password-3").status, 200);
    assert_eq!(run(&["users", "remove", "eve"], &as_boss, ""), "removed\n");
    assert!(run(&["api-keys", "add", "other"], &as_boss, "").contains(':'));
    assert!(run(&["api-keys", "list"], &as_boss, "").contains("\nother "));
    assert!(proxy.log.text().contains("/api/v5/logout"), "whoever logs in, logs out");
    let as_stranger = ["--api", &url, "--api-user", "boss", "--api-password-file", &wrong];
    assert!(run(&["status"], &as_stranger, "").contains("Auth failed"));
    let asked = ["--api", &url, "--api-user", "boss"];
    assert!(run(&["status"], &asked, "").contains("expected --api-password-file"));
    let in_the_clear =
        ["--api", "http://192.0.2.1:1", "--api-user", "boss", "--api-password-file", &password];
    assert!(run(&["status"], &in_the_clear, "").contains("in the clear"));

    site.write("list.csv", "as,who,reason\nclientid,a,one\nusername,b,two\n");
    let list = file("list.csv");
    let rehearsed = "would import 2: 2 new, 0 known\n";
    assert_eq!(run(&["bans", "import", &list, "--dry-run"], &with_key, ""), rehearsed);
    assert_eq!(run(&["bans", "list"], &with_key, "").lines().count(), 1, "nothing has changed");
    assert_eq!(run(&["bans", "import", &list], &with_key, ""), "imported 2: 2 new, 0 known\n");
    site.write("list.csv", "as,who,reason\nclientid,a,three\nusername,c,two\n");
    let rehearsed = "would import 2: 1 new, 1 known\n";
    assert_eq!(run(&["bans", "import", &list, "--dry-run"], &with_key, ""), rehearsed);
    for form in ["jsonl", "emqx-csv", "emqx-json", "tbmq-json"] {
        let here = site.run(&["bans", "export", "--format", form], "").1;
        assert_eq!(run(&["bans", "export", "--format", form], &with_key, ""), here, "{form}");
        assert!(here.contains("one"), "{here}");
    }
    let (code, stdout, stderr) =
        site.run(&[&["bans", "export", "--as", "username", "--text", "b"][..], &with_key].concat(), "");
    assert_eq!((code, stdout.lines().count(), stderr.as_str()), (Some(0), 1, "exported 1\n"));
    let unwritable = run(&["bans", "export", "--format", "plain"], &with_key, "");
    assert!(unwritable.contains("cannot be written as plain"), "{unwritable}");
}
