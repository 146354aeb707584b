//! `users`: who may log in to the API.

use super::out::{done, fitted};
use super::site::Site;
use super::staff::Staff;
use super::{Outcome, password};
use crate::accounts::{Password, Role};
use crate::clock::Clock;
use crate::telemetry::Shown;
use clap::{Args, Subcommand};
use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Users {
    #[command(flatten)]
    site: Site,
    /// Print results as JSON: one object a line, as the API gives it.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints the users.
    List,
    /// Makes a user. The password is asked for, or read from standard input.
    Add {
        /// 1 to 64 letters, digits, "-", "_", "." and "@".
        name: String,
        /// administrator, or viewer, who looks and changes nothing.
        #[arg(long, default_value_t = Role::Administrator)]
        role: Role,
        /// For people.
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
        #[command(flatten)]
        password: PasswordFile,
    },
    /// Changes a user's password, who is logged out everywhere.
    Passwd {
        /// The user.
        name: String,
        #[command(flatten)]
        password: PasswordFile,
        /// A file whose first line is the password that it has; needed with --api.
        #[arg(long, value_name = "FILE")]
        old_password_file: Option<PathBuf>,
    },
    /// Changes what a user may do.
    Role {
        /// The user.
        name: String,
        /// administrator or viewer.
        role: Role,
    },
    /// Removes a user, who is logged out everywhere.
    Remove {
        /// The user.
        name: String,
    },
}

#[derive(Debug, Args)]
struct PasswordFile {
    /// A file whose first line is the password.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Users {
    pub(super) fn run(self) -> Outcome {
        let open = || Staff::open(&self.site, Clock::system().now());
        let json = self.json;
        match self.action {
            Action::List => {
                let mut out = io::BufWriter::new(io::stdout().lock());
                if !json {
                    let head = "USER                 ROLE           MADE                       DESCRIPTION";
                    writeln!(out, "{}", fitted(head))?;
                }
                for user in open()?.users()? {
                    if json {
                        writeln!(out, "{}", serde_json::to_string(&user)?)?;
                    } else {
                        let (name, role, made) = (user.username, user.role, user.created_at);
                        let line = format!("{name:<20} {role:<14} {made:<26} {}", Shown(&user.description));
                        writeln!(out, "{}", fitted(&line))?;
                    }
                }
                out.flush()?;
            }
            Action::Add { name, role, description, password } => {
                // Nobody is asked for a password in vain.
                let staff = open()?;
                staff.add_user(&name, &password.read()?, role, description)?;
                done("added", json)?;
            }
            Action::Passwd { name, password, old_password_file } => {
                let staff = open()?;
                let old = old_password_file.as_deref().map(password::of_file).transpose()?;
                staff.change_password(&name, old.as_deref(), &password.read()?)?;
                done("changed", json)?;
            }
            Action::Role { name, role } => {
                open()?.change_role(&name, role)?;
                done("changed", json)?;
            }
            Action::Remove { name } => {
                open()?.remove_user(&name)?;
                done("removed", json)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl PasswordFile {
    fn read(&self) -> Result<Password, Box<dyn Error>> {
        let text = match &self.password_file {
            Some(path) => password::of_file(path)?,
            None => password::new()?,
        };
        text.parse().map_err(|error| format!("the password {error}").into())
    }
}
