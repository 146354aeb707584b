//! Where the proxy is that a command is about: beside a config file, or anywhere, at a URL.

use super::{ConfigFile, password};
use crate::admin::{Caller, Proof};
use crate::app::SOCKET_FILE;
use crate::config::Config;
use clap::Args;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;
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
    /// The user to log in there as, who may manage users and keys, as no key may [env: MQTT_BOUNCER_API_USER].
    #[arg(
        long,
        value_name = "NAME",
        global = true,
        conflicts_with = "api_key_file",
        help_heading = "A proxy elsewhere"
    )]
    api_user: Option<String>,
    /// A file whose first line is that user's password, which is asked for without it [env:
    /// MQTT_BOUNCER_API_PASSWORD_FILE].
    #[arg(long, value_name = "FILE", global = true, help_heading = "A proxy elsewhere")]
    api_password_file: Option<PathBuf>,
    /// Certificates of authorities (PEM) to believe beside the system's.
    #[arg(long = "ca", value_name = "FILE", global = true, help_heading = "A proxy elsewhere")]
    ca_file: Option<PathBuf>,
    #[arg(skip)]
    login: Login,
}

/// A caller that has logged in, and logs out when this is dropped.
#[derive(Debug, Default)]
struct Login(OnceLock<Caller>);

impl Drop for Login {
    fn drop(&mut self) {
        if let Some((caller, runtime)) = self.0.get().zip(runtime().ok()) {
            // The token ends by itself, too.
            let _ = runtime.block_on(caller.log_out());
        }
    }
}

/// Where bans are: in a folder, whoever has it open, or at a proxy elsewhere.
#[derive(Debug)]
pub(super) enum Place {
    Folder(PathBuf),
    Elsewhere(Caller),
}

impl Site {
    /// The proxy elsewhere, if the command or the environment names one.
    pub(super) fn elsewhere(&self) -> Result<Option<Caller>, Box<dyn Error>> {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let Some(url) = self.api.clone().or_else(|| text("MQTT_BOUNCER_API")) else { return Ok(None) };
        if let Some(caller) = self.login.0.get() {
            return Ok(Some(caller.clone()));
        }
        let ca_file = self.ca_file.as_deref();
        // What is said on the command line wins over the environment.
        let user = self.api_user.clone();
        let user = user.or_else(|| text("MQTT_BOUNCER_API_USER").filter(|_| self.api_key_file.is_none()));
        let Some(user) = user else {
            let key_file = self.api_key_file.clone().or_else(|| path("MQTT_BOUNCER_API_KEY_FILE"));
            let proof = key_file.as_deref().map_or(Proof::None, Proof::KeyFile);
            return Ok(Some(Caller::remote(&url, proof, ca_file)?));
        };
        let stranger = Caller::remote(&url, Proof::Password, ca_file)?;
        let file = self.api_password_file.clone().or_else(|| path("MQTT_BOUNCER_API_PASSWORD_FILE"));
        let password = match file {
            Some(file) => password::of_file(&file)?,
            None => password::known(&format!("Password of {user}: "))?
                .ok_or("nobody can be asked for the password; expected --api-password-file")?,
        };
        let caller = runtime()?.block_on(stranger.log_in(&user, &password))?;
        Ok(Some(self.login.0.get_or_init(|| caller).clone()))
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
