//! Why the proxy does not start, or does not change over to another config.

use super::certificates::CertificateError;
use super::sockets::ListenError;
use super::steering::AdminError;
use crate::admission::TooMany;
use crate::config::ConfigError;
use crate::net::upstream::UpstreamError;
use crate::store::OpenError;
use crate::webhook::WebhookError;

/// The proxy cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A listener cannot speak TLS.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// What is in the data directory cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The API cannot be opened.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// A file of a group of brokers cannot be used.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The webhook cannot be told.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
}

/// A reload that changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A listener that it asks for cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A file of a group of brokers cannot be used.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// A listener that it asks for cannot speak TLS.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The webhook that it asks for cannot be told.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// The API cannot be changed as the file asks.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Together with the patterns that were added at run time, there would be too many.
    #[error(transparent)]
    TooMany(#[from] TooMany),
}
