//! What a signal means to a run: it depends on what came before, and on what is going on.

use std::time::Duration;

use rustix::process::Signal;

/// Within this time a second SIGINT is the same press of a key: a terminal sends one to a whole process
/// group, and a program in between passes its own on.
const SAME_PRESS: Duration = Duration::from_millis(250);

/// What is going on when a signal comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Work {
    /// No command runs.
    None,
    /// A command runs that ends with the run.
    #[default]
    Ordinary,
    /// A command runs that the end of the run waits for, as a `finally` step.
    Final,
}

/// What is to be done at a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Ask the command to end, by this signal.
    Ask(Signal),
    /// Kill the command, which was asked before.
    Kill,
    /// Go on, and say so.
    GoOn,
    /// Nothing.
    Nothing,
}

/// The signals of a run so far.
///
/// The first one asks for the end. `finally` steps run to theirs, whatever comes behind it: whoever
/// stops a service signals several processes, each more than once, and `lxc-create` dies by its own.
/// Only a person who has pressed the key twice ends the step that is left.
#[derive(Debug, Default)]
pub(crate) struct Interrupts {
    asked: Option<Signal>,
    /// How often a person has pressed the key, and when last.
    presses: u32,
    last: Option<Duration>,
}

impl Interrupts {
    /// Returns the signal that asked for the end of the run, where one did.
    pub(crate) fn asked(&self) -> Option<Signal> {
        self.asked
    }

    /// Takes a signal that came at a time since any beginning.
    pub(crate) fn hear(&mut self, signal: Signal, at: Duration, work: Work) -> Answer {
        if signal == Signal::INT {
            let before = self.last.replace(at);
            if before.is_some_and(|before| at.saturating_sub(before) < SAME_PRESS) {
                return Answer::Nothing;
            }
            self.presses += 1;
        }
        let is_first = self.asked.is_none();
        self.asked.get_or_insert(signal);
        let insists = signal == Signal::INT && self.presses > 1;
        match work {
            Work::None if is_first => Answer::Nothing,
            Work::Ordinary if is_first => Answer::Ask(signal),
            Work::Ordinary if insists => Answer::Kill,
            Work::Final if insists => Answer::Ask(signal),
            _ => Answer::GoOn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes, at how many milliseconds, into what, and what is to be done.
    type Heard = (Signal, u64, Work, Answer);

    #[test]
    fn a_signal_means_what_came_before_makes_of_it() {
        use Answer::{Ask, GoOn, Kill, Nothing};
        use Work::{Final, None, Ordinary};
        let (int, term, hup) = (Signal::INT, Signal::TERM, Signal::HUP);
        let table: &[(&str, Signal, &[Heard])] = &[
            ("one", term, &[(term, 0, Ordinary, Ask(term))]),
            ("between commands", hup, &[(hup, 0, None, Nothing), (hup, 9, None, GoOn)]),
            (
                "terms",
                term,
                &[
                    (term, 0, Ordinary, Ask(term)),
                    (term, 300, Final, GoOn),
                    (hup, 300, Final, GoOn),
                    (term, 9000, Final, GoOn),
                ],
            ),
            (
                "a service is stopped",
                hup,
                &[(hup, 0, Ordinary, Ask(hup)), (term, 0, Ordinary, GoOn), (term, 2, Final, GoOn)],
            ),
            ("in the last command", term, &[(term, 0, Final, GoOn), (int, 500, Final, GoOn)]),
            ("twice", int, &[(int, 0, Ordinary, Ask(int)), (int, 300, Final, Ask(int))]),
            (
                "one press",
                int,
                &[
                    (int, 0, Ordinary, Ask(int)),
                    (int, 100, Ordinary, Nothing),
                    (int, 200, Final, Nothing),
                    (int, 500, Final, Ask(int)),
                ],
            ),
            (
                "one that is deaf",
                int,
                &[
                    (int, 0, Ordinary, Ask(int)),
                    (int, 400, Ordinary, Kill),
                    (term, 500, Ordinary, GoOn),
                    (int, 900, Final, Ask(int)),
                ],
            ),
            (
                "a person behind a program",
                term,
                &[
                    (term, 0, Ordinary, Ask(term)),
                    (int, 400, Final, GoOn),
                    (int, 800, Final, Ask(int)),
                ],
            ),
        ];
        for (name, asked, signals) in table {
            let mut interrupts = Interrupts::default();
            assert_eq!(interrupts.asked(), Option::None);
            for (index, (signal, at, work, answer)) in signals.iter().enumerate() {
                let heard = interrupts.hear(*signal, Duration::from_millis(*at), *work);
                assert_eq!(heard, *answer, "{name}, {index}");
            }
            assert_eq!(interrupts.asked(), Some(*asked), "{name}");
        }
    }
}
