//! Binds all addresses that a config asks for, or none.

use crate::config::ListenerConfig;
use crate::net::listener::Listener;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// The proxy cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr} (listener \"{listener}\")")]
pub struct ListenError {
    /// The listener's name.
    pub listener: Arc<str>,
    /// Where it was to listen.
    pub addr: SocketAddr,
    /// Why it cannot.
    #[source]
    pub source: io::Error,
}

/// Binds every address, or none. `closing` are sockets, by the address that was asked for, that are about to be given
/// up: one of those that listens on the right address is used again, so that nobody in its queue is lost.
pub(super) fn bind_all(
    listeners: &[ListenerConfig],
    closing: &HashMap<SocketAddr, Arc<Listener>>,
) -> Result<Vec<Arc<Listener>>, ListenError> {
    let bind = |config: &ListenerConfig| {
        if let Some(socket) = closing.get(&config.bind).filter(|_| config.bind.port() != 0) {
            return Ok(Arc::clone(socket));
        }
        let neighbour = closing.values().find(|socket| socket.local_addr().port() == config.bind.port());
        let socket = match (Listener::open(config.bind, &config.listen), neighbour) {
            (Err(error), Some(neighbour)) if error.kind() == io::ErrorKind::AddrInUse => {
                Listener::bind_beside(config.bind, neighbour, &config.listen)
            }
            (bound, _) => bound,
        };
        let failed = |source| ListenError { listener: Arc::clone(&config.name), addr: config.bind, source };
        socket.map(Arc::new).map_err(failed)
    };
    listeners.iter().map(bind).collect()
}
