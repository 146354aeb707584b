//! The command line and a proxy elsewhere.

use crate::harness::Site;
use std::process::{Command, Output};

fn run(site: &Site, url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_mqtt-bouncer"))
        .args(arguments)
        .env("MQTT_BOUNCER_API", url)
        .env("MQTT_BOUNCER_API_KEY_FILE", site.path("client.key"))
        .output()
        .expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn commands_speak_to_a_proxy_elsewhere_without_its_config_file() {
    let site = Site::new("");
    site.write("client.key", "file-key:file-secret\n");
    let proxy = site.serve();
    let url = format!("http://{}", proxy.api);
    let run = |arguments: &[&str]| run(&site, &url, arguments);
    assert_eq!(run(&["bans", "add", "clientid", "bot"]), (Some(0), "added\n".to_owned(), String::new()));
    let (code, stdout, _) = run(&["explain", "--clientid", "bot"]);
    assert_eq!(code, Some(2), "{stdout}");
    assert_eq!(run(&["bans", "remove", "clientid", "bot"]).1, "lifted\n");
    let (code, _, stderr) = run(&["bans", "remove", "clientid", "bot"]);
    assert_eq!(
        (code, stderr),
        (Some(1), format!("mqtt-bouncer: no ban of clientid \"bot\" is kept in {url}\n"))
    );
    let (code, stdout, _) = run(&["status"]);
    assert!(
        code == Some(0) && stdout.contains("mqtt 127.0.0.1:") && stdout.contains("(running, "),
        "{stdout}"
    );
    assert_eq!(run(&["reload"]).0, Some(0));
    assert_eq!(run(&["detections", "--json"]).0, Some(0));
    let (code, _, stderr) = run(&["users", "list"]);
    assert!(code == Some(1) && stderr.contains("API Key don't have permission"), "{stderr}");
}

#[test]
fn what_is_wrong_with_the_way_there_is_said() {
    let site = Site::new("");
    site.write("client.key", "file-key:wrong\n");
    let proxy = site.serve();
    let fails = |url: &str| run(&site, url, &["status"]).2;
    assert_eq!(fails(&format!("http://{}", proxy.api)), "mqtt-bouncer: Check api_key/api_secret\n");
    assert!(
        fails("http://127.0.0.1:1")
            .starts_with("mqtt-bouncer: cannot reach the running proxy at http://127.0.0.1:1: ")
    );
    assert!(fails("http://10.0.0.1:1").contains("through the network in the clear"));
    assert!(fails("127.0.0.1:1").contains("is not the URL of an API"));
}
