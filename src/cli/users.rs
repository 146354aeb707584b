//! `users`: who may log in to the API.

use super::Outcome;
use super::out::{done, fitted};
use super::site::Site;
use super::staff::Staff;
use crate::accounts::{Password, Role};
use crate::clock::Clock;
use crate::telemetry::Shown;
use clap::{Args, Subcommand};
use std::error::Error;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

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
            Action::Passwd { name, password } => {
                let staff = open()?;
                staff.change_password(&name, &password.read()?)?;
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
            Some(path) => of_file(path)?,
            None if io::stdin().is_terminal() => of_terminal()?,
            None => of_stdin()?,
        };
        text.parse().map_err(|error| format!("the password {error}").into())
    }
}

fn of_file(path: &Path) -> Result<String, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn of_stdin() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks twice, and shows nothing of it.
fn of_terminal() -> Result<String, Box<dyn Error>> {
    let _silence = Silence::new()?;
    let ask = |prompt: &str| {
        let mut screen = io::stderr().lock();
        let _ = write!(screen, "{prompt}").and_then(|()| screen.flush());
        let answer = of_stdin();
        let _ = writeln!(screen);
        answer
    };
    let password = ask("Password: ")?;
    if ask("Again: ")? == password { Ok(password) } else { Err("the two passwords differ".into()) }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Silence;

impl Silence {
    fn new() -> io::Result<Silence> {
        let status = stty("-echo")?;
        if status.success() {
            Ok(Silence)
        } else {
            Err(io::Error::other("the terminal goes on showing what is typed"))
        }
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = stty("echo");
    }
}

fn stty(setting: &str) -> io::Result<std::process::ExitStatus> {
    Command::new("stty")
        .arg(setting)
        .stdin(Stdio::inherit())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
}
