//! What was cut off of an upgrade or a rollback, and is ended by the next upgrade.

use super::subject::AnySubject;
use crate::cli::output;
use crate::cli::refusal::Refusal;
use crate::execute::status;
use crate::host::signals::Signals;
use crate::shell;

/// Ends what was cut off, and removes what that has left: the container is what it was or what it was to be, and
/// runs if it did. One that has been started since is stopped for that. Returns the exit status.
pub(super) fn recover(
    subject: &AnySubject<'_>,
    only_looks: bool,
    signals: &mut Signals,
) -> Result<u8, Refusal> {
    let generations = &subject.generations;
    let is_noted = generations.halt().is_some();
    let is_running = (generations.is_interrupted() || is_noted) && subject.is_running();
    let is_cut_off = generations.is_interrupted() || generations.owes_start() && !is_running;
    let name = subject.name();
    if only_looks {
        let what = match generations.is_interrupted_upgrade() {
            true => "upgrade",
            false => "upgrade or rollback",
        };
        let word = shell::word(&subject.container.path);
        return match is_cut_off {
            false => Ok(0),
            true => Err(Refusal::with_hint(
                format!("an {what} of `{name}` was interrupted; nothing was changed"),
                format!(
                    "`layered-template upgrade {word}` ends that, `layered-template rollback {word}` goes back"
                ),
            )),
        };
    }
    if !is_cut_off && !is_noted && !generations.has_leftovers() {
        return Ok(0);
    }
    if is_running && generations.is_interrupted() {
        let halted = subject.halt(Some(signals));
        if halted != 0 {
            return Ok(halted);
        }
    }
    let was_upgrade = generations.is_interrupted_upgrade();
    let is_upgraded = was_upgrade
        && subject.within(|| u8::from(generations.is_past_moment().unwrap_or(false))) == 1;
    let tidied = subject.within(|| subject.done(generations.tidy(false)));
    if tidied != 0 {
        return Ok(tidied);
    }
    if was_upgrade {
        let what = if is_upgraded { "finished" } else { "undone" };
        output::say(&format!("{name}: its interrupted upgrade is {what}"));
    }
    let owes_start = generations.owes_start() && !subject.is_running();
    let mut is_ready = !owes_start || subject.resume();
    let mut status = if is_ready { 0 } else { status::FILES };
    if !is_ready && is_upgraded {
        status = subject.within(|| subject.done(generations.undo()));
        if status == 0 {
            output::say(&format!("{name}: back to what it was before its upgrade"));
            is_ready = subject.resume();
            status = status::FILES;
        }
    }
    if is_ready {
        subject.forget_halt();
    }
    Ok(status)
}
