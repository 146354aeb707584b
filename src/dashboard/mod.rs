//! The page that operators watch: its files, and what its charts remember. Pure: no I/O, no clock; `admin` serves the
//! files, fills the history, and answers the calls that the page makes.

mod files;
mod history;

pub use files::{File, PAGE, POLICY, file};
pub use history::{History, Point, Sample, Span, UnknownSpan};
