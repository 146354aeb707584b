//! A Unix socket that its owner alone may open.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// A bound socket; its file goes with it.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

/// The file of a socket, removed when this is dropped.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

/// The socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the socket {}", path.display())]
pub struct SocketError {
    /// The socket.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

impl Socket {
    /// Binds `path`, in the place of what a process that is gone has left there. The caller makes sure that no other
    /// process is using it. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The folder is not there or not ours, or the path is too long for a socket (about 100 bytes).
    pub fn bind(path: &Path) -> Result<Socket, SocketError> {
        let bind = || {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(path)?;
            let file = SocketFile(path.to_owned());
            fs::set_permissions(path, Permissions::from_mode(0o600))?;
            Ok(Socket { listener, file })
        };
        bind().map_err(|source| SocketError { path: path.to_owned(), source })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It is in nobody's way: the next process replaces it.
        let _ = fs::remove_file(&self.0);
    }
}
