//! Starts brokers and proxies, watches them, and ends them.

mod broker;
mod log;
mod mqtt;
mod pki;
mod process;
mod proxy;

pub(crate) use broker::{Broker, SilentBroker, StubBroker};
pub(crate) use mqtt::{Client, Version, await_close, await_closed_door, connect, dial, packet, string};
pub(crate) use pki::{Pki, TlsClient, text};
pub(crate) use process::Process;
pub(crate) use proxy::{Proxy, ban, config, listener};

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything may take that must happen: long enough for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that sends no event.
pub(crate) fn eventually(what: &str, mut has_happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !has_happened() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        sleep(Duration::from_millis(10));
    }
}

/// A port of this machine that nobody listens on, and that this process hands out once. It lies below those that the
/// kernel gives to outgoing connections, so that nobody takes it by chance before it is used, or between two uses.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Two runs at a time begin at different places.
        let step = std::process::id() * 97 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(20_000 + step % 12_000).expect("below 32,000");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
