//! The whole thing in one command: a real broker (rumqttd, in this process), the proxy in front of it, and one banned
//! client.
//!
//! ```text
//! cargo run --release --example quickstart
//! ```
//!
//! rumqttd speaks one MQTT version on each port, so the proxy takes 3.1.1 clients to one and 5 clients to the other:
//! one door for both.

#![allow(clippy::print_stdout, reason = "an example speaks to its user")]

use mqtt_bouncer::app::App;
use mqtt_bouncer::clock::Clock;
use mqtt_bouncer::config::Config;
use mqtt_bouncer::signal::Signals;
use mqtt_bouncer::telemetry::Telemetry;
use rumqttd::{Broker, ConnectionSettings, RouterConfig, ServerSettings};
use std::collections::HashMap;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use tokio::net::TcpStream;
use tokio::task::yield_now;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (v3, v5) = (free_port(0)?, free_port(0)?);
    start_broker(v3, v5);
    for addr in [v3, v5] {
        while TcpStream::connect(addr).await.is_err() {
            yield_now().await;
        }
    }

    // The usual port when it is free.
    let door = free_port(1883).or_else(|_| free_port(0))?;
    let config =
        Config::parse("quickstart", &config(door, v3, v5)).map_err(|mistakes| format!("{mistakes:?}"))?;
    let telemetry = Telemetry::new(config.log);
    telemetry.install();
    let mut signals = Signals::new()?;
    let app = App::start(config, Clock::system(), telemetry)?;

    let port = door.port();
    println!(
        "
  A broker listens on {v3} for MQTT 3.1.1 and on {v5} for MQTT 5;
  mqtt-bouncer stands in front of it on {door} and bans the client identifier \"bad-client\".

  In other terminals (apt install mosquitto-clients):
    mosquitto_sub -h 127.0.0.1 -p {port} -V 5 -t hello              # waits for messages
    mosquitto_pub -h 127.0.0.1 -p {port} -V 5 -t hello -m world     # is let in: the message arrives
    mosquitto_pub -h 127.0.0.1 -p {port} -V 5 -t hello -m world -i bad-client   # is told: Banned

  Ctrl-C stops it.
"
    );
    // There is no file to read again on SIGHUP: the proxy says so and runs on.
    app.run(Path::new("quickstart"), &mut signals).await;
    Ok(())
}

fn free_port(port: u16) -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr()
}

fn config(door: SocketAddr, v3: SocketAddr, v5: SocketAddr) -> String {
    format!(
        r#"
        [node]
        drain_timeout = "1s"
        [[listener]]
        name = "mqtt"
        bind = "{door}"
        [upstream]
        servers = ["{v3}"]
        [upstreams.mqtt5]
        servers = ["{v5}"]
        [[route]]
        protocol = ["5"]
        upstream = "mqtt5"
        [banned]
        tell_reason = true
        [[ban]]
        as = "clientid"
        who = "bad-client"
        reason = "an example"
        [log]
        level = "debug"
        "#
    )
}

fn start_broker(v3: SocketAddr, v5: SocketAddr) {
    let server = |name: &str, listen| {
        let connections = ConnectionSettings {
            connection_timeout_ms: 60_000,
            max_payload_size: 1 << 20,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        };
        let settings =
            ServerSettings { name: name.into(), listen, tls: None, next_connection_delay_ms: 1, connections };
        Some(HashMap::from([("1".to_owned(), settings)]))
    };
    let router = RouterConfig {
        max_connections: 1000,
        max_outgoing_packet_count: 200,
        max_segment_size: 1 << 20,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    let config =
        rumqttd::Config { router, v4: server("v4", v3), v5: server("v5", v5), ..rumqttd::Config::default() };
    // It never returns, and ends with the process.
    std::thread::spawn(move || Broker::new(config).start().map_err(Box::new));
}
