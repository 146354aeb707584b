//! What a process says, line by line, while it says it.

use super::PATIENCE;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Page>);

#[derive(Default)]
struct Page {
    written: Mutex<Written>,
    changed: Condvar,
}

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    /// The process has closed its end.
    is_complete: bool,
}

impl Log {
    /// Reads until the writer closes.
    pub(crate) fn follow(source: impl Read + Send + 'static) -> Log {
        let log = Log::default();
        let writer = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                writer.written().lines.push(String::from_utf8_lossy(&line).into_owned());
                writer.0.changed.notify_all();
            }
            writer.written().is_complete = true;
            writer.0.changed.notify_all();
        });
        log
    }

    /// How many lines there are by now: where to look for what comes next.
    pub(crate) fn mark(&self) -> usize {
        self.written().lines.len()
    }

    /// The first line from `mark` on that holds all of these words.
    pub(crate) fn wait_for(&self, mark: usize, words: &[&str]) -> String {
        let found = |written: &Written| {
            let fits = |line: &&String| words.iter().all(|word| line.contains(word));
            written.lines.iter().skip(mark).find(fits).cloned()
        };
        let written = self.wait_while(|written| found(written).is_none() && !written.is_complete);
        found(&written).unwrap_or_else(|| panic!("no line with {words:?} in\n{}", written.lines.join("\n")))
    }

    /// All lines of a process that has ended.
    pub(crate) fn complete(&self) -> Vec<String> {
        self.wait_while(|written| !written.is_complete).lines.clone()
    }

    /// How many lines hold this word by now.
    pub(crate) fn count(&self, word: &str) -> usize {
        self.written().lines.iter().filter(|line| line.contains(word)).count()
    }

    /// The lines by now that hold all of these words.
    pub(crate) fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let fits = |line: &&String| words.iter().all(|word| line.contains(word));
        self.written().lines.iter().filter(fits).cloned().collect()
    }

    /// All lines by now.
    pub(crate) fn text(&self) -> String {
        self.written().lines.join("\n")
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.0.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, mut not_yet: impl FnMut(&Written) -> bool) -> MutexGuard<'_, Written> {
        let waited = self.0.changed.wait_timeout_while(self.written(), PATIENCE, |written| not_yet(written));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
