//! A container that is stopped for an upgrade or a rollback, and started again.

use std::io;

use super::subject::AnySubject;
use crate::cli::output;
use crate::execute::status;
use crate::host::signals::{self, Signals};
use crate::observe::remedy::install;
use crate::shell;

impl AnySubject<'_> {
    /// Stops it, which is noted before: whoever ends what is cut off from here on starts it again. Where one of
    /// these signals comes meanwhile, it is started again at once. Returns the exit status.
    pub(super) fn halt(&self, mut signals: Option<&mut Signals>) -> u8 {
        let noted = self.within(|| self.done(self.generations.note_halt(false)));
        if noted != 0 {
            return noted;
        }
        let mut asked = None;
        let stopped = self.lxc().stop(|| {
            if let Some(signals) = signals.as_mut().filter(|_| asked.is_none()) {
                asked = signals.receive().ok().flatten().map(|received| received.signal);
                if let Some(signal) = asked {
                    let (name, signal) = (shell::one_line(self.name()), signals::name(signal));
                    output::say(&format!(
                        "{name}: interrupted by {signal}; it is started again when it has stopped"
                    ));
                }
            }
        });
        // Somebody else may have been faster.
        let stopped = stopped.or_else(|error| if self.is_running() { Err(error) } else { Ok(()) });
        let Err(error) = stopped else {
            let Some(signal) = asked else { return 0 };
            if self.resume() {
                output::error(
                    &format!("`{}` is left as it was, and runs again", self.name()),
                    None,
                );
            }
            return status::SIGNAL + u8::try_from(signal.as_raw()).unwrap_or_default();
        };
        let message = format!("`{}` cannot be stopped: {error}", self.name());
        output::error(&message, without_lxc(&error).as_deref());
        self.forget_halt();
        status::FILES
    }

    /// Starts it again, and tells whether it runs; where it does not, that is said.
    pub(super) fn resume(&self) -> bool {
        let started = self.lxc().start();
        if let Err(error) = &started {
            let message = format!("`{}` cannot be started again: {error}", self.name());
            let why = || "`lxc-start --foreground` shows why".to_owned();
            output::error(&message, Some(&without_lxc(error).unwrap_or_else(why)));
        }
        self.forget_halt();
        started.is_ok()
    }

    /// Removes the note that it was stopped.
    pub(super) fn forget_halt(&self) {
        self.within(|| self.done(self.generations.forget_halt()));
    }
}

/// Says what to do where a command of LXC's is not there.
fn without_lxc(error: &io::Error) -> Option<String> {
    (error.kind() == io::ErrorKind::NotFound).then(|| install(&["lxc"]))
}
