//! Passwords that commands need: of a file, of standard input, or of whoever sits at the terminal.

use std::error::Error;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// The first line of a file.
pub(super) fn of_file(path: &Path) -> Result<String, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// A new password: of standard input, or asked for twice at a terminal.
pub(super) fn new() -> Result<String, Box<dyn Error>> {
    if !io::stdin().is_terminal() {
        return Ok(of_stdin()?);
    }
    let _silence = Silence::new()?;
    let password = ask("Password: ")?;
    if ask("Again: ")? == password { Ok(password) } else { Err("the two passwords differ".into()) }
}

/// A password that is known elsewhere, asked for at a terminal; nothing where there is none.
pub(super) fn known(prompt: &str) -> io::Result<Option<String>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let _silence = Silence::new()?;
    ask(prompt).map(Some)
}

fn of_stdin() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn ask(prompt: &str) -> io::Result<String> {
    let mut screen = io::stderr().lock();
    let _ = write!(screen, "{prompt}").and_then(|()| screen.flush());
    let answer = of_stdin();
    let _ = writeln!(screen);
    answer
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
