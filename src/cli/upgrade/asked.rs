//! Which containers are upgraded, and why one cannot be.

use std::path::Path;

use super::values;
use crate::cli::arguments::UpgradeArguments;
use crate::cli::meant;
use crate::cli::refusal::Refusal;
use crate::host::caller::Caller;
use crate::host::trust::Trust;
use crate::observe::container::{Container, manifest_of};
use crate::record::Call;
use crate::shell;

/// Finds the containers that are meant.
pub(super) fn find(
    arguments: &UpgradeArguments,
    caller: &Caller,
) -> Result<Vec<Container>, Refusal> {
    if !arguments.all {
        let named = |what: &Path| {
            meant::named(what, &arguments.places.lxcpath, caller).map_err(|message| {
                match what.is_file() {
                    true => {
                        let line = format!("layered-template upgrade --all {}", shell::word(what));
                        Refusal::with_hint(
                            message,
                            format!("it is a file: `{line}` upgrades what was made from it"),
                        )
                    }
                    false => message.into(),
                }
            })
        };
        return arguments.what.iter().map(|what| named(what)).collect();
    }
    let [manifest] = arguments.what.as_slice() else {
        return Err("`--all` takes one manifest".to_owned().into());
    };
    let same = |one: &Path, other: &Path| match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    let mut all = meant::find(&[], &arguments.places.lxcpath, caller)?;
    all.retain(|container| {
        let record = container.record.as_ref();
        record.is_ok_and(|record| same(manifest, Path::new(&record.manifest.path)))
    });
    if all.is_empty() {
        let is_container = !manifest.is_file()
            && meant::named(manifest, &arguments.places.lxcpath, caller).is_ok();
        let manifest = shell::word(manifest);
        if is_container {
            return Err(Refusal::with_hint(
                format!("`{manifest}` is a container, and `--all` takes a manifest"),
                format!("`layered-template upgrade {manifest}` upgrades it alone"),
            ));
        }
        return Err(Refusal::with_hint(
            format!("no container here was made from {manifest}"),
            "`-P` names another directory of containers; `layered-template status` lists them"
                .to_owned(),
        ));
    }
    Ok(all)
}

/// Says that a container's manifest is gone, and where it is now if that can be told.
pub(super) fn gone(
    container: &Container,
    manifest: &Path,
    arguments: &UpgradeArguments,
    caller: &Caller,
) -> Refusal {
    if arguments.manifest.is_some() {
        return Refusal::from(format!("there is no such file `{}`", manifest.display()));
    }
    let all = meant::find(&[], &arguments.places.lxcpath, caller).unwrap_or_default();
    let places = meant::manifest_places(&all);
    let record = container.record.as_ref().ok();
    let hint = match record.and_then(|record| manifest_of(record, &places)) {
        None => "`--manifest FILE` names another".to_owned(),
        Some(moved) => format!(
            "it is `{0}` now: `layered-template upgrade {1} --manifest {0}`",
            shell::word(&moved),
            shell::word(&container.path)
        ),
    };
    let (name, manifest) = (&container.name, manifest.display());
    Refusal::with_hint(
        format!("`{name}` cannot be upgraded: its manifest `{manifest}` is gone"),
        hint,
    )
}

/// Says that a container was made with values that its role has no variables for any more.
pub(super) fn unset(container: &Container, words: &[String]) -> Refusal {
    let names: Vec<_> = words.iter().filter_map(|word| values::name_of(word)).collect();
    let options: Vec<_> =
        names.iter().map(|name| format!("--unset {}", shell::word(name))).collect();
    let set: Vec<_> = words.iter().map(|word| format!("`--set {}`", shell::word(word))).collect();
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    Refusal::with_hint(
        format!(
            "`{}` was made with {}, and its role has no variable {} any more",
            container.name,
            shell::listed(&set),
            shell::listed(&names)
        ),
        format!(
            "`layered-template upgrade {} {}` gives that up; `--set` gives the value to another variable",
            shell::word(&container.path),
            options.join(" ")
        ),
    )
}

/// Says that a value cannot be given up: the container was made with none, or a file gives it.
pub(super) fn not_set(
    container: &Container,
    arguments: &UpgradeArguments,
    call: &Call,
    trust: &Trust,
) -> Option<Refusal> {
    let name = &container.name;
    arguments.unset.iter().find_map(|variable| {
        if let Some(file) = values::file_of(variable, call, trust) {
            return Some(Refusal::with_hint(
                format!("`{name}` has its `{variable}` from {}", shell::word(file)),
                format!("take `{variable}` out of that file; `--set` lays another value over it"),
            ));
        }
        let is_set = call.set.iter().any(|word| values::name_of(word) == Some(variable));
        // Of many containers some may have none.
        (!is_set && !arguments.all)
            .then(|| format!("`{name}` was made without a value for `{variable}`").into())
    })
}
