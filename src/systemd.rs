//! What systemd hands over to the process when it starts it, and what it is told from then on. A process that somebody
//! else has started is handed nothing and tells nobody.

use sd_notify::NotifyState;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

/// A socket that was handed over.
#[derive(Debug)]
struct Handed {
    /// `FileDescriptorName=` of its unit, or the name of the unit.
    name: String,
    socket: OwnedFd,
}

/// Sockets can be taken once in the life of a process: they are known by numbers alone. They are kept open, as systemd
/// keeps them, so that a listener that comes back after a reload finds its own again.
static HANDED: OnceLock<Result<Vec<Handed>, String>> = OnceLock::new();

/// No socket of that name.
#[derive(Debug, thiserror::Error)]
pub enum NoSocket {
    /// There are none.
    #[error("systemd has handed over no sockets; start the process by a .socket unit")]
    None,
    /// There are others.
    #[error(
        "systemd has handed over no socket of this name, but {0}; names are FileDescriptorName= of the .socket unit"
    )]
    Others(String),
    /// What the environment says of them is nonsense.
    #[error("what LISTEN_PID and LISTEN_FDS say is nonsense: {0}")]
    Nonsense(String),
    /// It cannot be used.
    #[error("cannot take the socket")]
    System(#[source] io::Error),
}

fn handed() -> Result<&'static [Handed], NoSocket> {
    let handed = HANDED.get_or_init(|| {
        let sockets = sd_listen_fds::get().map_err(|error| error.to_string())?;
        // A unit that names none calls them so, says sd_listen_fds_with_names(3).
        let name = |name: Option<String>| name.unwrap_or_else(|| "unknown".to_owned());
        Ok(sockets
            .into_iter()
            .map(|(own, socket)| Handed { name: name(own), socket: socket.into_std() })
            .collect())
    });
    handed.as_deref().map_err(|problem| NoSocket::Nonsense(problem.clone()))
}

/// The sockets of this name, at least one. Each call returns handles of its own to the same sockets.
///
/// # Errors
/// There is none.
pub fn sockets(name: &str) -> Result<Vec<OwnedFd>, NoSocket> {
    let handed = handed()?;
    let of_name = handed.iter().filter(|one| one.name == name);
    let sockets: io::Result<Vec<_>> = of_name.map(|one| one.socket.as_fd().try_clone_to_owned()).collect();
    match sockets.map_err(NoSocket::System)? {
        none if none.is_empty() && handed.is_empty() => Err(NoSocket::None),
        none if none.is_empty() => Err(NoSocket::Others(names())),
        sockets => Ok(sockets),
    }
}

/// The names of all sockets that were handed over, each once.
pub fn socket_names() -> Vec<&'static str> {
    let mut names: Vec<_> = handed().unwrap_or_default().iter().map(|one| one.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn names() -> String {
    socket_names().iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// What systemd is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Connections are accepted, or the config has been read again.
    Ready,
    /// The config is being read again.
    Reloading,
    /// Nobody is admitted any more; it may take so long until the last session has ended.
    Stopping(Duration),
    /// The process is not stuck.
    Alive,
}

/// Tells systemd, where it wants to be told (`Type=notify`, `Type=notify-reload`, `WatchdogSec=`).
pub fn tell(news: News) {
    let told = match news {
        News::Ready => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("accepting connections")]),
        News::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
        News::Stopping(patience) => {
            let micros = u32::try_from((patience + MARGIN).as_micros()).unwrap_or(u32::MAX);
            sd_notify::notify(&[
                NotifyState::Stopping,
                NotifyState::Status("draining"),
                NotifyState::ExtendTimeoutUsec(micros),
            ])
        }
        News::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
    };
    if let Err(error) = told {
        tracing::debug!(?news, %error, "cannot tell systemd");
    }
}

/// What stopping takes beside waiting for sessions.
const MARGIN: Duration = Duration::from_secs(10);

/// How often systemd wants to hear that the process is not stuck, if it does: twice in `WatchdogSec=`.
pub fn watchdog() -> Option<Duration> {
    let period = sd_notify::watchdog_enabled()? / 2;
    (!period.is_zero()).then_some(period)
}
