//! A line of what goes on for what is no run: it is taken away before anything else is said.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::output::Look;
use super::wrap;
use crate::host::output::clearing;

/// How often the line is drawn at the most.
const PAUSE: Duration = Duration::from_millis(100);

/// The line, on standard error; none, where that is no terminal.
#[derive(Debug)]
pub(super) struct LiveLine {
    look: Look,
    state: Mutex<State>,
}

/// What stands there.
#[derive(Debug, Default)]
struct State {
    /// How wide the line is.
    width: Option<usize>,
    drawn: Option<Instant>,
}

impl LiveLine {
    pub(super) fn new(look: Look) -> Self {
        Self { look, state: Mutex::default() }
    }

    /// Shows a text in the line.
    pub(super) fn show(&self, text: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_soon = state.drawn.is_some_and(|drawn| drawn.elapsed() < PAUSE);
        let columns = columns();
        if !self.look.live || is_soon || columns == 0 {
            return;
        }
        state.clear();
        let shown = wrap::cut(text, columns - 1);
        // A terminal that becomes narrower keeps the cursor at the beginning of the line that it breaks.
        let _ = io::stderr().lock().write_all(format!("{shown}\r").as_bytes());
        *state = State { width: Some(wrap::width(&shown)), drawn: Some(Instant::now()) };
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl State {
    fn clear(&mut self) {
        if let Some(width) = self.width.take() {
            let clearing = clearing(width, Some(columns()));
            let _ = io::stderr().lock().write_all(clearing.as_bytes());
        }
    }
}

/// Returns how many columns the terminal has by now; 0 if it does not say.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
    size.map_or(0, |size| usize::from(size.ws_col))
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        self.clear();
    }
}
