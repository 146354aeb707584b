//! Who may call: each case of EMQX, with its exact body.

use crate::harness::{PASSWORD, Running, Site, basic, bearer};

const BANNED: &str = "/api/v5/banned";
const CHALLENGE: Option<&str> = Some("basic realm=\"emqx-dashboard\"");

fn refused(proxy: &Running, headers: &str) -> (u16, String) {
    let answer = proxy.call("GET", "/api/v5/status", headers, "");
    assert_eq!(answer.header("www-authenticate"), CHALLENGE, "{answer:?}");
    answer.fault()
}

fn unauthorized(code: &str) -> (u16, String) {
    (401, code.to_owned())
}

#[test]
fn whoever_does_not_say_who_he_is_is_told_how_to() {
    let site = Site::new("");
    let proxy = site.serve();
    let odd = [
        "",
        "Authorization: \r\n",
        "Authorization: Digest x\r\n",
        "Authorization: Basic\r\n",
        "Authorization: Basic !!!\r\n",
        "Authorization: Basic bm9jb2xvbg==\r\n",
    ];
    for headers in odd {
        assert_eq!(refused(&proxy, headers), unauthorized("AUTHORIZATION_HEADER_ERROR"), "{headers}");
    }
    let answer = proxy.call("DELETE", BANNED, "", "");
    assert_eq!(
        answer.body,
        r#"{"code":"AUTHORIZATION_HEADER_ERROR","message":"Missing authorization header. Expected \"Authorization: Basic …\" with an API key and its secret, or \"Authorization: Bearer …\" with a token of POST /api/v5/login"}"#
    );
    // Not even which calls there are.
    assert_eq!(proxy.call("GET", "/nowhere", "", "").status, 401);
    assert_eq!(proxy.get("/nowhere").fault(), (404, "NOT_FOUND".to_owned()));
    assert_eq!(proxy.call("PATCH", "/api/v5/status", &basic("file-key", "file-secret"), "").fault().0, 405);
}

#[test]
fn a_key_opens_with_its_secret_alone() {
    let site = Site::new("");
    let proxy = site.serve();
    assert_eq!(proxy.get("/api/v5/status").status, 200);
    let answer = proxy.call("GET", "/api/v5/status", &basic("file-key", "wrong"), "");
    assert_eq!(answer.body, r#"{"code":"BAD_API_KEY_OR_SECRET","message":"Check api_key/api_secret"}"#);
    assert_eq!(refused(&proxy, &basic("nobody", "file-secret")), unauthorized("BAD_API_KEY_OR_SECRET"));
    assert_eq!(refused(&proxy, &basic("admin", PASSWORD)), unauthorized("BAD_API_KEY_OR_SECRET"));
}

#[test]
fn a_login_gives_a_token_that_opens_until_it_is_given_back() {
    let site = Site::new("");
    let proxy = site.serve();
    let answer = proxy.login("admin", PASSWORD);
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["role"], &body["license"]["edition"]),
        (200, &"administrator".into(), &"opensource".into())
    );
    assert_eq!(
        (body["version"].as_str(), answer.header("cache-control")),
        (Some(env!("CARGO_PKG_VERSION")), Some("no-store"))
    );
    let token = body["token"].as_str().expect("a token");
    assert_eq!(proxy.call("GET", "/api/v5/status", &bearer(token), "").status, 200);
    assert_eq!(proxy.call("POST", "/api/v5/logout", &bearer(token), "{\"username\":\"admin\"}").status, 204);
    let answer = proxy.call("GET", "/api/v5/status", &bearer(token), "");
    assert_eq!(answer.body, r#"{"code":"BAD_TOKEN","message":"Get a token by POST /api/v5/login"}"#);
    assert_eq!(refused(&proxy, &bearer("made-up")), unauthorized("BAD_TOKEN"));
    let log = proxy.log.text();
    assert!(!log.contains(token) && !log.contains(PASSWORD), "{log}");
}

#[test]
fn a_wrong_login_is_told_nothing() {
    let site = Site::new("");
    let proxy = site.serve();
    for (username, password) in [("admin", "wrong"), ("nobody", PASSWORD), ("", "")] {
        let answer = proxy.login(username, password);
        assert_eq!(answer.body, r#"{"code":"BAD_USERNAME_OR_PWD","message":"Auth failed"}"#);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, CHALLENGE));
    }
    assert_eq!(proxy.call("POST", "/api/v5/login", "", "{}").fault(), (400, "BAD_REQUEST".to_owned()));
    assert_eq!(proxy.call("POST", "/api/v5/login", "", "").fault(), (400, "BAD_REQUEST".to_owned()));
    assert_eq!(proxy.call("GET", "/api/v5/login", "", "").status, 401);
}

#[test]
fn a_viewer_looks_and_changes_nothing() {
    let site = Site::new("");
    let proxy = site.serve();
    let viewer = basic("file-viewer", "viewer-secret");
    assert_eq!(proxy.call("GET", "/api/v5/status", &viewer, "").status, 200);
    assert_eq!(proxy.call("POST", "/api/v5/explain", &viewer, "{\"peer\":\"10.0.0.1\"}").status, 200);
    for (method, path) in [
        ("DELETE", BANNED),
        ("POST", "/api/v5/reload"),
        ("PUT", "/api/v5/users/admin"),
        ("POST", "/api/v5/explain/"),
        ("BREW", BANNED),
    ] {
        let answer = proxy.call(method, path, &viewer, "");
        assert_eq!(
            answer.body,
            r#"{"code":"UNAUTHORIZED_ROLE","message":"a viewer may look, and change nothing"}"#
        );
        assert_eq!(answer.status, 403);
    }
    let line = proxy.log.wait_for("method=DELETE");
    assert!(line.contains("audit principal=api_key:file:file-viewer role=viewer from=127.0.0.1:"), "{line}");
    assert!(line.ends_with("method=DELETE path=/api/v5/banned status=403"), "{line}");
}

#[test]
fn keys_manage_neither_users_nor_keys() {
    let site = Site::new("");
    let proxy = site.serve();
    let key = basic("file-key", "file-secret");
    for (method, path, body) in [
        ("GET", "/api/v5/users", ""),
        ("POST", "/api/v5/users", "{}"),
        ("DELETE", "/api/v5/users/admin", ""),
        ("POST", "/api/v5/users/admin/change_pwd", "{}"),
        ("GET", "/api/v5/api_key", ""),
        ("POST", "/api/v5/api_key", "{}"),
        ("GET", "/api/v5/api_key/file:file-key", ""),
        ("POST", "/api/v5/logout", ""),
    ] {
        let answer = proxy.call(method, path, &key, body);
        assert_eq!(answer.fault(), unauthorized("API_KEY_NOT_ALLOW"), "{method} {path}");
    }
    for path in ["/api/v5/%75sers", "/api/v5//users", "/api/v5/./users", "/api/v5/users/", "//api/v5/users"] {
        assert!([404, 405].contains(&proxy.get(path).status), "{path}");
    }
}

#[test]
fn whoever_guesses_has_to_wait_and_others_do_not() {
    let site = Site::new("");
    let proxy = site.serve();
    let token = proxy.token("admin", PASSWORD);
    let new = proxy.call("POST", "/api/v5/api_key", &bearer(&token), "{\"name\":\"ci\"}").json();
    let text = |field: &str| new[field].as_str().expect("a text").to_owned();
    for _ in 0..5 {
        assert_eq!(proxy.login("admin", "guess").status, 401);
    }
    let answer = proxy.login("admin", PASSWORD);
    assert_eq!(answer.fault(), (429, "TOO_MANY_REQUESTS".to_owned()));
    let seconds: u64 = answer.header("retry-after").expect("a header").parse().expect("seconds");
    assert!((50..=60).contains(&seconds), "{seconds}");
    assert_eq!(proxy.get("/api/v5/status").status, 429, "the secret of a file may be guessed");
    // What nobody can guess opens all the same.
    assert_eq!(proxy.call("GET", "/api/v5/status", &bearer(&token), "").status, 200);
    assert_eq!(
        proxy.call("GET", "/api/v5/status", &basic(&text("api_key"), &text("api_secret")), "").status,
        200
    );
    assert_eq!(proxy.call("GET", "/api/v5/status", &basic(&text("api_key"), "guess"), "").status, 429);
    let line = proxy.log.wait_for("address is locked");
    assert!(line.ends_with("peer=127.0.0.1 seconds=60"), "{line}");
    // Nor does it keep those out who are on the machine.
    assert_eq!(site.run(&["users", "list"], "").0, Some(0));
}

#[test]
fn guesses_with_keys_count_too_and_old_tokens_do_not() {
    let site = Site::new("");
    let proxy = site.serve();
    for _ in 0..20 {
        assert_eq!(proxy.call("GET", BANNED, &bearer("old"), "").status, 401);
    }
    for _ in 0..5 {
        assert_eq!(proxy.call("GET", BANNED, &basic("file-key", "guess"), "").status, 401);
    }
    assert_eq!(proxy.call("GET", BANNED, &basic("file-key", "guess"), "").status, 429);
}

#[test]
fn another_site_cannot_make_a_browser_change_anything() {
    let site = Site::new("");
    let proxy = site.serve();
    let headers = format!(
        "{}Sec-Fetch-Site: cross-site\r\nOrigin: https://evil.example\r\n",
        basic("file-key", "file-secret")
    );
    assert_eq!(proxy.call("DELETE", BANNED, &headers, "").fault(), (403, "CROSS_SITE".to_owned()));
    let preflight = proxy.call("OPTIONS", BANNED, &headers, "");
    assert!(!preflight.head.contains("access-control"), "{preflight:?}");
}

#[test]
fn changes_are_written_down_with_who_made_them() {
    let site = Site::new("");
    let proxy = site.serve();
    let token = proxy.token("admin", PASSWORD);
    let line = proxy.log.wait_for("audit");
    assert!(line.contains("audit principal=user:admin role=administrator from=127.0.0.1:"), "{line}");
    assert!(line.ends_with("method=POST path=/api/v5/login status=200"), "{line}");
    proxy.call("DELETE", "/api/v5/banned?token=hunter2", &bearer(&token), "");
    let line = proxy.log.wait_for("method=DELETE");
    assert!(line.ends_with("path=/api/v5/banned status=204"), "{line}");
    site.run(&["bans", "add", "clientid", "bot"], "");
    let line = proxy.log.wait_for("from=socket");
    assert!(
        line.contains("principal=local role=administrator from=socket method=POST path=/api/v5/banned"),
        "{line}"
    );
    assert!(!proxy.log.text().contains("hunter2"));
}
