//! Where the proxy is that a command is about: beside a config file, or anywhere, at a URL.

use super::ConfigFile;
use crate::admin::{Caller, RemoteError};
use crate::app::SOCKET_FILE;
use crate::config::Config;
use clap::Args;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use tokio::runtime::Runtime;

/// The options of every command that speaks to a running proxy.
#[derive(Debug, Args)]
pub(super) struct Site {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// Speak to the API at this URL, http://HOST:PORT or https://HOST:PORT, and not to the proxy of the config file [env:
    /// MQTT_BOUNCER_API].
    #[arg(long, value_name = "URL", global = true, help_heading = "A proxy elsewhere")]
    api: Option<String>,
    /// A file with KEY:SECRET, the key to show there [env: MQTT_BOUNCER_API_KEY_FILE].
    #[arg(long, value_name = "FILE", global = true, help_heading = "A proxy elsewhere")]
    api_key_file: Option<PathBuf>,
    /// Certificates of authorities (PEM) to believe beside the system's.
    #[arg(long = "ca", value_name = "FILE", global = true, help_heading = "A proxy elsewhere")]
    ca_file: Option<PathBuf>,
}

/// Where bans are: in a folder, whoever has it open, or at a proxy elsewhere.
#[derive(Debug)]
pub(super) enum Place {
    Folder(PathBuf),
    Elsewhere(Caller),
}

impl Site {
    /// The proxy elsewhere, if the command or the environment names one.
    pub(super) fn elsewhere(&self) -> Result<Option<Caller>, RemoteError> {
        let of_env = || std::env::var("MQTT_BOUNCER_API").ok().filter(|url| !url.is_empty());
        let Some(url) = self.api.clone().or_else(of_env) else { return Ok(None) };
        let of_env = || std::env::var_os("MQTT_BOUNCER_API_KEY_FILE").map(PathBuf::from);
        let key_file = self.api_key_file.clone().or_else(of_env);
        Caller::remote(&url, key_file.as_deref(), self.ca_file.as_deref()).map(Some)
    }

    /// The running proxy: the one elsewhere, or the one of the config file.
    pub(super) fn caller(&self) -> Result<Caller, Box<dyn Error>> {
        if let Some(caller) = self.elsewhere()? {
            return Ok(caller);
        }
        // A file that is being mended must not keep its proxy from being asked how it is.
        let folder = match Config::load(&self.file.config) {
            Ok(config) => self.data_dir(&config)?,
            Err(error) => Config::data_dir_of(&self.file.config).ok_or(error)?,
        };
        Ok(Caller::new(folder.join(SOCKET_FILE)))
    }

    /// The folder of the config file's proxy.
    pub(super) fn data_dir(&self, config: &Config) -> Result<PathBuf, String> {
        let missing =
            || format!("{} has no [node] data_dir, where the proxy can be asked", self.file.config.display());
        config.data_dir.clone().ok_or_else(missing)
    }
}

impl Place {
    /// The folder.
    ///
    /// # Errors
    /// The proxy is elsewhere; `what` says what cannot be done there.
    pub(super) fn folder(&self, what: &str) -> Result<&Path, String> {
        match self {
            Place::Folder(folder) => Ok(folder),
            Place::Elsewhere(caller) => {
                Err(format!("{what} cannot be done at {}; expected no --api", caller.place()))
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Folder(folder) => folder.display().fmt(f),
            Place::Elsewhere(caller) => f.write_str(&caller.place()),
        }
    }
}

/// What calls are made in.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
