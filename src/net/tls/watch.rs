//! Sees when files change: by their stamps, so that nothing is read in vain.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Files, and how they looked when they were seen last.
#[derive(Debug)]
pub struct WatchedFiles(Mutex<Vec<(PathBuf, Option<Stamp>)>>);

/// By what it is seen that a file is another one, or has changed. A link that now leads elsewhere is another file.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

impl WatchedFiles {
    /// These files as they are now. Whoever reads them does so after this: what is changed while it is being read is
    /// then read once more.
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p PathBuf>) -> WatchedFiles {
        let files = paths.into_iter().map(|path| (path.clone(), stamp(path)));
        WatchedFiles(Mutex::new(files.collect()))
    }

    /// True when a file is another one than it was when this was asked last.
    pub fn take_change(&self) -> bool {
        let mut has_changed = false;
        for (path, seen) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let now = stamp(path);
            has_changed |= *seen != now;
            *seen = now;
        }
        has_changed
    }
}

/// The stamp of a file that is there.
fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp { modified: metadata.modified().ok(), size: metadata.len(), inode: metadata.ino() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_comes_changes_is_replaced_and_goes_is_seen_once_each() {
        let folder = tempfile::tempdir().expect("a folder");
        let [path, other] = ["watched", "other"].map(|name| folder.path().join(name));
        let files = WatchedFiles::new([&path]);
        assert!(!files.take_change());
        fs::write(&path, "1").expect("written");
        assert!(files.take_change() && !files.take_change(), "it came");
        fs::write(&path, "12").expect("written");
        assert!(files.take_change() && !files.take_change(), "it changed");
        fs::write(&other, "34").expect("written");
        fs::rename(&other, &path).expect("renamed");
        assert!(files.take_change() && !files.take_change(), "it is another one");
        fs::remove_file(&path).expect("removed");
        assert!(files.take_change() && !files.take_change(), "it has gone");
    }
}
