//! Log lines that strangers cause; how many, the log limits.

use super::auth::Origin;
use crate::telemetry::Shown;
use axum::http::Method;
use std::net::IpAddr;
use std::time::Duration;
use tracing::{info, warn};

/// Somebody was not let through.
pub(super) fn refused(from: Origin, method: &Method, path: &str, code: &str) {
    info!(%from, %method, path = %Shown(path), code, "API call refused");
}

/// Somebody tried to log in with a wrong name or password.
pub(super) fn login_failed(from: Origin, username: &str) {
    info!(%from, username = %Shown(username), "login failed");
}

/// An address has failed too often.
pub(super) fn locked(peer: IpAddr, lock: Duration) {
    warn!(%peer, seconds = lock.as_secs(), "too many failed logins, address is locked");
}

/// A connection came to nothing.
pub(super) fn broken(from: Origin, error: &dyn std::fmt::Display) {
    tracing::debug!(%from, %error, "API connection ended");
}
