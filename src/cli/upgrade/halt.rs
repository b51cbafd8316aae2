//! A container that is stopped for an upgrade or a rollback, and started again.

use super::subject::AnySubject;
use crate::cli::output;
use crate::execute::status;

impl AnySubject<'_> {
    /// Stops it, which is noted before: whoever ends what is cut off from here on starts it again. Returns the exit
    /// status.
    pub(super) fn halt(&self) -> u8 {
        let noted = self.within(|| self.done(self.generations.note_halt(false)));
        if noted != 0 {
            return noted;
        }
        let Err(error) = self.lxc().stop() else { return 0 };
        output::error(&format!("`{}` cannot be stopped: {error}", self.name()), None);
        if self.is_running() {
            self.forget_halt();
        } else {
            self.resume();
        }
        status::FILES
    }

    /// Starts it again, and tells whether it runs; where it does not, that is said.
    pub(super) fn resume(&self) -> bool {
        let started = self.lxc().start();
        if let Err(error) = &started {
            let message = format!("`{}` cannot be started again: {error}", self.name());
            output::error(&message, Some("`lxc-start --foreground` shows why"));
        }
        self.forget_halt();
        started.is_ok()
    }

    /// Removes the note that it was stopped.
    pub(super) fn forget_halt(&self) {
        self.within(|| self.done(self.generations.forget_halt()));
    }
}
