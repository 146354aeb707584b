//! Who is inside and who was turned away, with a real broker and a real client.

use crate::harness::{Broker, Proxy, Version, config, eventually};
use crate::suites::{at_port, python};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const DATA: &str = "[node]\ndata_dir = \"data\"\n";

/// paho, which tells line by line what it sees. Ended when it is dropped.
pub(crate) struct Paho {
    child: Child,
    told: Box<dyn Iterator<Item = Value>>,
}

impl Paho {
    fn start(proxy: &Proxy, version: &str, client_id: &str, password: &str) -> Paho {
        Paho::start_by(at_port(python("kicked.py"), proxy.addr), version, client_id, password)
    }

    /// One that comes as this command says.
    pub(crate) fn start_by(mut command: Command, version: &str, client_id: &str, password: &str) -> Paho {
        command.args([
            "--version",
            version,
            "--id",
            client_id,
            "--username",
            "owner",
            "--password",
            password,
        ]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("Python; tests/run installs it");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let told = lines.map(|line| serde_json::from_str(&line.expect("text")).expect("JSON"));
        Paho { child, told: Box::new(told) }
    }

    pub(crate) fn tells(&mut self) -> Value {
        self.told.next().expect("another line")
    }
}

impl Drop for Paho {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rows(printed: &str) -> Vec<Value> {
    printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn paho_is_told_that_it_was_kicked_and_mosquitto_lets_it_go() {
    let broker = Broker::start_with_accounts(&[("owner", "right")]);
    let proxy = Proxy::start(&config(broker.addr, "", &format!("{DATA}[banned]\nkick = [\"username\"]\n")));
    let mut latest = Paho::start(&proxy, "5", "real-v5", "right");
    let mut older = Paho::start(&proxy, "3.1.1", "real-v311", "right");
    for paho in [&mut latest, &mut older] {
        assert_eq!(paho.tells()["connack"], "Success");
    }
    let inside =
        rows(&proxy.command(&["clients", "list", "--username", "owner", "--sort", "clientid", "--json"]));
    let [old, new] = &inside[..] else { panic!("{inside:?}") };
    assert_eq!(
        (&old["clientid"], &old["proto_ver"], &old["connected"]),
        (&"real-v311".into(), &4.into(), &true.into())
    );
    assert_eq!((&new["clientid"], &new["proto_ver"]), (&"real-v5".into(), &5.into()));
    assert_eq!(new["upstream"], broker.addr.to_string());

    assert_eq!(proxy.command(&["clients", "kick", "real-v5"]), "kicked real-v5\n");
    let end = latest.tells();
    assert_eq!((&end["ended"], &end["told"]), (&"Administrative action".into(), &true.into()));
    // The other one goes by a ban of its user name.
    proxy.command(&["bans", "add", "username", "owner"]);
    assert_eq!(older.tells()["told"], false);
    for client_id in ["real-v5", "real-v311"] {
        proxy.log().wait_for(0, &["session ended", &format!("client_id={client_id} "), "cause=\"kicked\""]);
    }
    assert_eq!(proxy.command(&["clients", "list", "--json"]), "");
    let met = broker.stop().join("\n");
    assert!(met.contains("real-v5") && met.contains("real-v311"), "{met}");
}

#[test]
fn whom_mosquitto_turns_away_is_listed_until_it_gets_in() {
    let broker = Broker::start_with_accounts(&[("owner", "right")]);
    let proxy = Proxy::start(&config(broker.addr, "", DATA));
    for version in ["5", "3.1.1"] {
        assert_eq!(Paho::start(&proxy, version, "real-owner", "wrong").tells()["connack"], "Not authorized");
    }
    let refused = || rows(&proxy.command(&["refused", "list", "--json"]));
    let listed = refused();
    let [row] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!(
        (&row["clientid"], &row["username"], &row["count"]),
        (&"real-owner".into(), &"owner".into(), &2.into())
    );
    assert_eq!((&row["reason"], &row["connack"]), (&"not_authorized".into(), &5.into()));
    assert_eq!((&row["password"], &row["as"], &row["others"]), (&true.into(), &Value::Null, &false.into()));
    // Without a user name it is somebody else, who stays.
    assert!(crate::harness::Client::knock(proxy.addr, Version::V5, "real-nobody").is_err());

    let mut owner = Paho::start(&proxy, "5", "real-owner", "right");
    assert_eq!(owner.tells()["connack"], "Success");
    eventually("the owner to leave the list", || refused().len() == 1);
    assert_eq!((&refused()[0]["clientid"], &refused()[0]["connack"]), (&"real-nobody".into(), &0x87.into()));
}
