//! Work in the user namespace that a container's ids are mapped in, by this process or by one of its own.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};

use rustix::io::retry_on_intr;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitOptions, set_parent_process_death_signal, waitpid};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::mapping::Mapping;
use super::output;
use super::refusal::Refusal;
use crate::host::account::{self, Range};
use crate::host::caller::Caller;
use crate::host::kernel::{self, ForkResult};
use crate::host::userns::{self, Ids};
use crate::store::{self, Store};

/// Enters the user namespace that a container's ids are mapped in.
pub(super) fn enter(mapping: Mapping) -> Result<(), Refusal> {
    let caller = Caller::observe();
    let ids = match mapping {
        Mapping::None | Mapping::Pieces => return Ok(()),
        Mapping::CallerAlone => None,
        Mapping::Ids(ids) => Some(ids),
    };
    if ids.is_none() {
        output::say(&format!(
            "warning: you have no subordinate ids, so that all files of the container will be \
             yours, and no layer can give one to somebody else\n\
             hint: as root: {}",
            account::giving_ids(caller.uid, account::USUAL_IDS)
        ));
    }
    userns::enter(ids).map_err(|error| {
        let message = format!("no user namespace can be entered: {error}");
        match ids.filter(|ids| !ids.are_given_to(&caller)) {
            Some(Ids { users: Range { first, count }, .. }) => {
                let given = (first, first.saturating_add(count).saturating_sub(1));
                let user = account::user_name(caller.uid).unwrap_or_else(|| caller.uid.to_string());
                let hint = format!(
                    "`/etc/subuid` and `/etc/subgid` do not give {user} these ids; as root: {}",
                    account::giving_ids(caller.uid, given)
                );
                Refusal::with_hint(message, hint)
            }
            None => message.into(),
        }
    })
}

/// Does some work in the user namespace of a map, and returns what comes of it. This process stays where it is:
/// it can ask for the next map.
///
/// # Errors
///
/// Where the namespace cannot be entered, or the work has failed.
pub(super) fn within<T: Serialize + DeserializeOwned>(
    mapping: Mapping,
    work: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    apart(|| enter(mapping).map_err(Refusal::message), work)
}

/// Does so in the user namespace that a store is of, which may be the one that this process is in.
pub(super) fn within_store<T: Serialize + DeserializeOwned>(
    store: &Store,
    work: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    match store::ids_of(store.map()).flatten() {
        Some(ids) if Ids::of_this_process() != Some(ids) => {
            apart(|| userns::enter(alone(ids)).map_err(|error| error.to_string()), work)
        }
        _ => work(),
    }
}

/// Returns the ids, unless they are those of a caller who has no others.
fn alone(ids: Ids) -> Option<Ids> {
    let caller = Caller::observe();
    (Mapping::CallerAlone.ids(&caller) != Some(ids)).then_some(ids)
}

fn apart<T: Serialize + DeserializeOwned>(
    enter: impl FnOnce() -> Result<(), String>,
    work: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    try_apart(enter, work).unwrap_or_else(|error| Err(format!("it cannot be looked at: {error}")))
}

fn try_apart<T: Serialize + DeserializeOwned>(
    enter: impl FnOnce() -> Result<(), String>,
    work: impl FnOnce() -> Result<T, String>,
) -> io::Result<Result<T, String>> {
    let (reads, writes) = pipe_with(PipeFlags::CLOEXEC)?;
    match kernel::fork()? {
        ForkResult::Child => kernel::leave_after(|| {
            drop(reads);
            let done = enter().and_then(|()| {
                // To enter forgets it.
                let _ = set_parent_process_death_signal(Some(Signal::KILL));
                work()
            });
            let mut to = BufWriter::new(File::from(writes));
            let told = serde_json::to_writer(&mut to, &done).map_err(io::Error::from);
            u8::from(told.and_then(|()| to.flush()).is_err())
        }),
        ForkResult::Parent(child) => {
            std::mem::forget((enter, work));
            drop(writes);
            let told = serde_json::from_reader(BufReader::new(File::from(reads)));
            retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()))?;
            Ok(told?)
        }
    }
}
