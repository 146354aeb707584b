//! The file of a Unix socket: made with the rights that were asked for, in the place of one that a process which is gone
//! has left, and removed with the socket.

use nix::unistd::{Group, User};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whose a socket's file is, and who may connect: whoever may write to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// Its mode.
    pub mode: u32,
    /// Its owner, by name or number; `None` for the user of this process.
    pub owner: Option<Arc<str>>,
    /// Its group, likewise.
    pub group: Option<Arc<str>>,
}

impl Default for FileOptions {
    fn default() -> FileOptions {
        FileOptions { mode: 0o660, owner: None, group: None }
    }
}

/// The file of a socket, removed when this is dropped.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// By which it is told from one that another process has put in its place: device and number.
    id: (u64, u64),
}

/// Why a file cannot become that of a socket.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("another process listens there")]
    Taken,
    #[error("what is there is no socket; remove it, or choose another path")]
    NoSocket,
    #[error("cannot see whether another process listens there")]
    Unsure(#[source] io::Error),
    #[error("another process is opening a socket in the same folder, and does not come to an end")]
    Busy,
    #[error("there is no {kind} \"{name}\"")]
    Nobody { kind: &'static str, name: Arc<str> },
    #[error("cannot give the socket to its owner and group")]
    Chown(#[source] io::Error),
}

impl From<Trouble> for io::Error {
    fn from(trouble: Trouble) -> io::Error {
        let kind = match &trouble {
            Trouble::Taken | Trouble::Busy => io::ErrorKind::AddrInUse,
            Trouble::NoSocket => io::ErrorKind::AlreadyExists,
            Trouble::Unsure(source) | Trouble::Chown(source) => source.kind(),
            Trouble::Nobody { .. } => io::ErrorKind::NotFound,
        };
        io::Error::new(kind, trouble)
    }
}

impl FileOptions {
    /// The numbers of owner and group.
    ///
    /// # Errors
    /// The system knows no such user, or no such group.
    pub fn accounts(&self) -> io::Result<(Option<u32>, Option<u32>)> {
        let user = |name: &str| Ok(User::from_name(name)?.map(|user| user.uid.as_raw()));
        let group = |name: &str| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()));
        Ok((number("user", self.owner.as_ref(), user)?, number("group", self.group.as_ref(), group)?))
    }
}

fn number(
    kind: &'static str,
    name: Option<&Arc<str>>,
    find: impl Fn(&str) -> io::Result<Option<u32>>,
) -> io::Result<Option<u32>> {
    let Some(name) = name else { return Ok(None) };
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    let found = find(name)?;
    Ok(Some(found.ok_or_else(|| Trouble::Nobody { kind, name: Arc::clone(name) })?))
}

impl SocketFile {
    /// Gives `socket` the name `path`. Nobody can connect before it listens, so nobody finds it with other rights than
    /// these.
    pub(super) fn bind(socket: &Socket, path: &Path, options: &FileOptions) -> io::Result<SocketFile> {
        let (owner, group) = options.accounts()?;
        let address = SockAddr::unix(path)?;
        // Two that start at once would both find nobody there.
        let _turn = lock_folder(path.parent().unwrap_or(Path::new("/")))?;
        make_room(path, &address)?;
        socket.bind(&address)?;
        let file = SocketFile { path: path.to_owned(), id: id(&fs::symlink_metadata(path)?) };
        if owner.is_some() || group.is_some() {
            chown(path, owner, group).map_err(Trouble::Chown)?;
        }
        fs::set_permissions(path, Permissions::from_mode(options.mode))?;
        Ok(file)
    }

    /// Takes the name away, so that nobody finds the socket any more.
    pub(super) fn remove(&self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|now| id(&now) == self.id);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the file of a socket");
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

fn id(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Removes a socket that nobody listens on any more.
fn make_room(path: &Path, address: &SockAddr) -> io::Result<()> {
    let there = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        there => there?,
    };
    if !there.file_type().is_socket() {
        return Err(Trouble::NoSocket.into());
    }
    let caller = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One whose queue is full listens, and would make us wait.
    caller.set_nonblocking(true)?;
    match caller.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Trouble::Unsure(error).into()),
        _ => Err(Trouble::Taken.into()),
    }
}

/// Holds a folder for as long as it takes to look at a path in it and to take it.
fn lock_folder(folder: &Path) -> io::Result<File> {
    // Who holds it needs a fraction of a millisecond.
    const ATTEMPTS: usize = 10_000;
    let folder = File::open(folder)?;
    for _ in 0..ATTEMPTS {
        match folder.try_lock() {
            Ok(()) => return Ok(folder),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(Trouble::Busy.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    fn socket() -> Socket {
        Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket")
    }

    fn bind(path: &Path) -> io::Result<(Socket, SocketFile)> {
        let socket = socket();
        let file = SocketFile::bind(&socket, path, &FileOptions::default())?;
        socket.listen(1)?;
        Ok((socket, file))
    }

    #[test]
    fn a_socket_has_the_mode_and_the_owner_that_it_is_to_have_and_its_file_goes_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let options = FileOptions {
            mode: 0o642,
            owner: Some(uid.to_string().into()),
            group: Some(gid.to_string().into()),
        };
        let file = SocketFile::bind(&socket(), &path, &options).expect("bound");
        let there = fs::metadata(&path).expect("there");
        assert_eq!((there.mode() & 0o777, there.uid(), there.gid()), (0o642, uid, gid));
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_process_that_is_gone_has_left_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        drop(UnixListener::bind(&path).expect("bound"));
        assert!(path.exists(), "std leaves the file behind");
        let _bound = bind(&path).expect("in its place");
        UnixStream::connect(&path).expect("it listens");
    }

    #[test]
    fn a_socket_that_somebody_listens_on_stays_even_when_its_queue_is_full() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let listener = socket();
        listener.bind(&SockAddr::unix(&path).expect("a path")).expect("bound");
        listener.listen(0).expect("listens");
        let mut callers = Vec::new();
        for _ in 0..4 {
            let error = bind(&path).map(drop).expect_err("taken");
            assert_eq!(error.to_string(), "another process listens there");
            let caller = socket();
            caller.set_nonblocking(true).expect("a socket");
            let _ = caller.connect(&SockAddr::unix(&path).expect("a path"));
            callers.push(caller);
        }
        assert!(path.exists());
    }

    #[test]
    fn what_is_no_socket_is_never_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("precious");
        fs::write(&path, "data").expect("written");
        let error = bind(&path).map(drop).expect_err("no socket");
        assert_eq!(error.to_string(), "what is there is no socket; remove it, or choose another path");
        assert_eq!(fs::read(&path).expect("there"), b"data");
    }

    #[test]
    fn a_file_that_another_process_has_put_there_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let (socket, file) = bind(&path).expect("bound");
        fs::remove_file(&path).expect("removed");
        let (_other, _others_file) = bind(&path).expect("bound");
        drop((socket, file));
        UnixStream::connect(&path).expect("the other one");
    }

    #[test]
    fn nobody_who_is_not_there_can_own_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        for (owner, group, expected) in [
            (Some("no such user"), None, "there is no user \"no such user\""),
            (None, Some("no such group"), "there is no group \"no such group\""),
        ] {
            let options = FileOptions {
                owner: owner.map(Into::into),
                group: group.map(Into::into),
                ..FileOptions::default()
            };
            let error = SocketFile::bind(&socket(), &path, &options).expect_err("nobody");
            assert_eq!(error.to_string(), expected);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = bind(&folder.path().join("gone/s")).map(drop).expect_err("no folder");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
