//! Whom to tell that a ban was lifted by hand.

use crate::admission::Who;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Shared by the handles, which set it, and the writer, which calls it.
#[derive(Clone, Default)]
pub(super) struct OnLift(Arc<Mutex<Option<Hook>>>);

pub(super) type Hook = Arc<dyn Fn(&Who) + Send + Sync>;

impl OnLift {
    /// Takes the place of the one before.
    pub(super) fn set(&self, hook: Hook) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    pub(super) fn hook(&self) -> Option<Hook> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for OnLift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnLift").field(&self.hook().is_some()).finish()
    }
}
