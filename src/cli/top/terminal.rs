//! The terminal while `top` has it. However the command ends, the terminal is as it was.

use super::screen::{Size, View};
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};
use std::io::{self, Stdout, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// The terminal, taken.
pub(super) struct Terminal {
    out: Stdout,
    /// Somebody has told the process to end.
    is_told_to_end: Arc<AtomicBool>,
}

/// What whoever sits there asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    Redraw,
    End,
}

/// How long a signal may go unnoticed.
const A_MOMENT: Duration = Duration::from_millis(100);

impl Terminal {
    pub(super) fn take(runtime: &Runtime) -> io::Result<Terminal> {
        let is_told_to_end = Arc::new(AtomicBool::new(false));
        let _inside = runtime.enter();
        for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
            let told = Arc::clone(&is_told_to_end);
            let mut signals = signal(kind)?;
            runtime.spawn(async move {
                signals.recv().await;
                told.store(true, Ordering::Relaxed);
            });
        }
        let mut hangup = signal(SignalKind::hangup())?;
        runtime.spawn(async move {
            hangup.recv().await;
            // Whoever reads keys from a terminal that has gone reads for ever, and would not be told.
            give_back(&mut io::stdout());
            std::process::exit(0);
        });
        // From here on it is given back.
        let mut terminal = Terminal { out: io::stdout(), is_told_to_end };
        enable_raw_mode()?;
        execute!(terminal.out, EnterAlternateScreen, Hide)?;
        Ok(terminal)
    }

    pub(super) fn show(&mut self, view: &View<'_>) -> io::Result<()> {
        let (width, height) = size()?;
        let size = Size { width: width.into(), height: height.into() };
        queue!(self.out, MoveTo(0, 0))?;
        for (row, line) in (0..height).zip(view.lines(size)) {
            let look = if row == 0 { Attribute::Reverse } else { Attribute::Reset };
            queue!(
                self.out,
                MoveTo(0, row),
                SetAttribute(look),
                Print(line),
                SetAttribute(Attribute::Reset)
            )?;
            queue!(self.out, Clear(ClearType::UntilNewLine))?;
        }
        queue!(self.out, Clear(ClearType::FromCursorDown))?;
        self.out.flush()
    }

    /// Waits until `due`, or until somebody asks for something.
    pub(super) fn wait(&self, runtime: &Runtime, due: Instant) -> io::Result<Asked> {
        loop {
            if self.is_told_to_end.load(Ordering::Relaxed) {
                return Ok(Asked::End);
            }
            let left = due.saturating_duration_since(runtime.block_on(async { Instant::now() }));
            if left.is_zero() {
                return Ok(Asked::Nothing);
            }
            if event::poll(left.min(A_MOMENT))? {
                match asked(&event::read()?) {
                    Asked::Nothing => {}
                    asked => return Ok(asked),
                }
            }
        }
    }
}

fn asked(event: &Event) -> Asked {
    match event {
        Event::Resize(..) => Asked::Redraw,
        Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) => match code {
            KeyCode::Char('q') | KeyCode::Esc => Asked::End,
            KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Asked::End,
            _ => Asked::Nothing,
        },
        _ => Asked::Nothing,
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back(&mut self.out);
    }
}

/// There is nobody to tell when it cannot be given back.
fn give_back(out: &mut Stdout) {
    let _ = execute!(out, Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_escape_and_control_c_end_it() {
        let press = |code, modifiers| asked(&Event::Key(KeyEvent::new(code, modifiers)));
        for code in [KeyCode::Char('q'), KeyCode::Esc] {
            assert_eq!(press(code, KeyModifiers::NONE), Asked::End);
        }
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Asked::End);
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::NONE), Asked::Nothing);
        assert_eq!(asked(&Event::Resize(80, 24)), Asked::Redraw);
    }
}
