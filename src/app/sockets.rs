//! Opens all sockets that a config asks for, or none.

use crate::config::{Config, ListenerConfig};
use crate::net::address::Address;
use crate::net::listener::{ListenOptions, Listener};
use crate::net::options::TcpOptions;
use crate::systemd;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// The proxy cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (listener \"{listener}\")")]
pub struct ListenError {
    /// The listener's name.
    pub listener: Arc<str>,
    /// Where it was to listen.
    pub address: Address,
    /// Why it cannot.
    #[source]
    pub source: io::Error,
}

/// Sockets by the address that was asked for. A name of systemd's may stand for several.
pub(super) type Sockets = HashMap<Address, Vec<Arc<Listener>>>;

/// What one listener is to listen on, beside what it listens on already.
pub(super) struct Wanted<'c> {
    pub(super) listener: &'c Arc<str>,
    pub(super) addresses: &'c [Address],
    pub(super) options: &'c ListenOptions,
    /// How their connections are set.
    pub(super) connections: &'c TcpOptions,
}

impl<'c> From<&'c ListenerConfig> for Wanted<'c> {
    fn from(config: &'c ListenerConfig) -> Wanted<'c> {
        Wanted {
            listener: &config.name,
            addresses: &config.binds,
            options: &config.listen,
            connections: &config.door.tcp,
        }
    }
}

/// A socket, and the address that it was opened for.
pub(super) type Opened = (Address, Arc<Listener>);

/// Opens every address, or none; what there is for each listener, in their order. `closing` are sockets that are about to
/// be given up: one of those that listens on the right address is used again, so that nobody in its queue is lost.
pub(super) fn open_all<'c>(
    wanted: impl IntoIterator<Item = Wanted<'c>>,
    closing: &Sockets,
) -> Result<Vec<Vec<Opened>>, ListenError> {
    let open_one = |wanted: Wanted<'c>| {
        let mut opened = Vec::new();
        for address in wanted.addresses {
            let sockets = open(address, &wanted, closing).map_err(|source| ListenError {
                listener: Arc::clone(wanted.listener),
                address: address.clone(),
                source,
            })?;
            opened.extend(sockets.into_iter().map(|socket| (address.clone(), socket)));
        }
        Ok(opened)
    };
    wanted.into_iter().map(open_one).collect()
}

fn open(address: &Address, wanted: &Wanted<'_>, closing: &Sockets) -> io::Result<Vec<Arc<Listener>>> {
    let (options, connections) = (wanted.options, wanted.connections);
    if let Some(sockets) = closing.get(address).filter(|_| address.is_fixed()) {
        for socket in sockets {
            socket.pass_on(connections);
        }
        return Ok(sockets.clone());
    }
    let socket = match address {
        Address::Unix(path) => Listener::open_unix(path, options)?,
        Address::Systemd(name) => {
            let sockets =
                systemd::sockets(name).map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))?;
            return sockets.into_iter().map(|socket| Listener::take_over(socket).map(Arc::new)).collect();
        }
        Address::Tcp(addr) => {
            let mut neighbours = closing.values().flatten();
            let is_beside = |own: &Listener| own.local_addr().is_some_and(|own| own.port() == addr.port());
            match (
                Listener::open_tcp(*addr, options, connections),
                neighbours.find(|socket| is_beside(socket)),
            ) {
                (Err(error), Some(neighbour)) if error.kind() == io::ErrorKind::AddrInUse => {
                    Listener::bind_beside(*addr, neighbour, options, connections)?
                }
                (opened, _) => opened?,
            }
        }
    };
    Ok(vec![Arc::new(socket)])
}

/// Whether the system knows the owners and groups of Unix sockets.
///
/// # Errors
/// It does not know one.
pub fn check_sockets(config: &Config) -> Result<(), ListenError> {
    for listener in &config.listeners {
        for address in listener.binds.iter().filter(|address| matches!(address, Address::Unix(_))) {
            listener.listen.file.accounts().map_err(|source| ListenError {
                listener: Arc::clone(&listener.name),
                address: address.clone(),
                source,
            })?;
        }
    }
    Ok(())
}
