//! A broker that goes and comes back.

use crate::harness::{Broker, Client, Proxy, Version, config};

#[test]
fn clients_are_refused_while_the_broker_is_away_and_admitted_when_it_is_back() {
    let broker = Broker::start();
    let addr = broker.addr;
    let proxy = Proxy::start(&config(addr, "", ""));
    let inside = Client::enter(proxy.addr, Version::V5, "inside");

    broker.kill();
    inside.await_end();
    assert_eq!(Client::knock(proxy.addr, Version::V311, "early").err(), Some(3));
    assert_eq!(Client::knock(proxy.addr, Version::V5, "early").err(), Some(0x88));
    proxy.log().wait_for(0, &["no broker", &addr.to_string(), "refused"]);

    let _back = Broker::start_at(addr);
    for version in Version::BOTH {
        Client::enter(proxy.addr, version, "returning").assert_alive();
    }
}
