//! The API as programs call it, and the screen that people watch.

use crate::harness::{Broker, Proxy, config};
use crate::suites::{python, transcript};

/// A proxy that can be called, and the path of its socket.
fn start(broker: &Broker) -> (Proxy, String) {
    let proxy = Proxy::start(&config(broker.addr, "", "[node]\ndata_dir = \"data\""));
    let socket = proxy.file().with_file_name("data").join("control.sock");
    (proxy, socket.to_str().expect("UTF-8").to_owned())
}

#[test]
fn every_operation_of_the_document_does_what_it_says() {
    let broker = Broker::start();
    let (_proxy, socket) = start(&broker);
    let told = transcript(python("api.py").args(["--socket", &socket]));
    assert!(told.contains("operations were driven"), "{told}");
}

#[test]
fn no_call_whatever_its_form_is_answered_otherwise_than_documented() {
    let broker = Broker::start();
    let (_proxy, socket) = start(&broker);
    let told = transcript(python("fuzz_api.py").args(["--socket", &socket]));
    assert!(told.contains("operations were fuzzed"), "{told}");
}

#[test]
fn top_leaves_the_terminal_as_it_was_however_it_ends() {
    let broker = Broker::start();
    let (proxy, _) = start(&broker);
    let mut watcher = python("top.py");
    watcher.arg(env!("CARGO_BIN_EXE_mqtt-bouncer")).args(["top", "--config"]).arg(proxy.file());
    let told = transcript(&mut watcher);
    assert_eq!(told.matches("the terminal is as it was").count(), 6, "{told}");
    assert!(told.contains("the terminal gone: so is the command"), "{told}");
}
