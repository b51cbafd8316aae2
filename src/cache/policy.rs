//! Which layers may be stored: those that leave all their effects in the rootfs and the config.

use std::ffi::OsString;

use super::names::PLACEHOLDER;
use super::plan::{CachePlan, Slot, SlotKind};
use crate::chain::{self, Chain};
use crate::manifest::Phase;
use crate::plan::{Act, Bytes, Content, Layer, Place, Plan, Step};

/// How many layers of a role are stored at the most: each is a whole tree, of which some files are
/// copied every time.
const MOST_STORED: usize = 64;

/// The variable by which a step has the container's name.
const NAME_VARIABLE: &str = "LXC_NAME";

/// Returns what is stored of a plan, the innermost first, and why nothing more is.
pub(super) fn slots(
    (chain, twin_chain): (&Chain, &Chain),
    plan: &Plan,
    cache: &CachePlan,
) -> (Vec<Slot>, Option<String>) {
    let mut slots = Vec::new();
    let innermost = &chain.layers[0];
    if let Some(why) = upstream_stays((chain, twin_chain), cache) {
        return (slots, Some(why));
    }
    slots.push(Slot {
        layer: innermost.name.clone(),
        kind: SlotKind::Upstream,
        refresh: innermost.storing.refresh,
        identity: innermost.storing.identity.clone(),
        decided_by: None,
        unnamed_paths: Vec::new(),
        keeps_name: innermost.storing.store == Some(true),
    });
    let own: Vec<&Layer> = plan.layers().collect();
    let twins: Vec<&Layer> = cache.twin.all().collect();
    let layers = chain.layers.iter().zip(own.iter().rev().zip(twins.iter().rev()));
    for (layer, (own, twin)) in layers {
        // One of the two may leave something alone: a file that has the container's name in its path.
        if own.leaves_nothing() && twin.leaves_nothing() {
            continue;
        }
        if slots.len() == MOST_STORED {
            return (
                slots,
                Some(format!("no more than {MOST_STORED} layers of a role are stored")),
            );
        }
        let stays =
            stays(layer, own, twin).or_else(|| keeps_the_name(own, twin, &plan.container.name));
        if stays.is_some() {
            return (slots, stays);
        }
        let by = layer.values.handed().next().map(|(_, by)| by.clone());
        slots.push(Slot {
            layer: layer.name.clone(),
            kind: SlotKind::Layer,
            refresh: layer.storing.refresh,
            identity: layer.storing.identity.clone(),
            decided_by: by.filter(|_| twin.runs_commands()),
            unnamed_paths: unnamed_paths(chain, layer, twin),
            keeps_name: layer.storing.store == Some(true),
        });
    }
    (slots, None)
}

/// Says why the upstream is not stored.
fn upstream_stays((chain, twin_chain): (&Chain, &Chain), cache: &CachePlan) -> Option<String> {
    let (inputs, arguments) = (&cache.inputs, &cache.arguments);
    let innermost = &chain.layers[0];
    let name = &innermost.name;
    if inputs.is_this_program {
        return Some("the template is this program again, which has the store for itself".into());
    }
    // The upstream would be called with the placeholder's name, under which nothing of that stands.
    let is_own = |word: &str| !arguments.iter().any(|argument| argument.to_string_lossy() == word);
    let files = inputs.files.keys().map(|word| (word, "file"));
    let directories = inputs.directories.iter().map(|word| (word, "directory"));
    if let Some((word, kind)) = files.chain(directories).find(|(word, _)| is_own(word)) {
        let word = crate::shell::word(word);
        return Some(format!(
            "the argument {word} of the template names a {kind} by the container's name"
        ));
    }
    let mut named = chain.upstream.inputs.iter().zip(&twin_chain.upstream.inputs);
    if let Some((input, _)) = named.find(|(own, twin)| own.word != twin.word) {
        let word = crate::shell::word(&input.word);
        return Some(format!("the input {word} is named by the container's name"));
    }
    if let Some(why) = &inputs.unreadable {
        return Some(why.clone());
    }
    if innermost.storing.store == Some(true) {
        return uses_secrets(innermost);
    }
    if let Some(word) = inputs.directories.first() {
        let word = crate::shell::word(word);
        return Some(format!(
            "the argument {word} of the template names a directory, and the program cannot tell what matters in it \
             (`store = true` of layer `{name}` stores it anyway)"
        ));
    }
    if innermost.storing.store == Some(false) {
        return Some(format!("layer `{name}` says `store = false`"));
    }
    uses_secrets(innermost)
}

/// Says why a layer is not stored.
fn stays(layer: &chain::Layer, own: &Layer, twin: &Layer) -> Option<String> {
    let name = &layer.name;
    if let Some(why) = uses_secrets(layer) {
        return Some(why);
    }
    match layer.storing.store {
        Some(false) => return Some(format!("layer `{name}` says `store = false`")),
        Some(true) => return None,
        None => {}
    }
    let steps = || {
        own.acts_to_store().filter_map(|act| match act {
            Act::Step(step) => Some(step),
            Act::Config(_) | Act::Drop(_) => None,
        })
    };
    if steps().any(|step| step.phase == Phase::Post && matches!(step.place, Place::Host)) {
        return Some(format!("a post step of layer `{name}` runs on the host"));
    }
    if steps().next().is_some()
        && let Some(((variable, _), _)) =
            own.environment.iter().zip(twin.environment.iter()).find(|(own, twin)| own != twin)
    {
        return Some(format!(
            "steps of layer `{name}` get the container's name in ${} (`store = true`, if they only write \
             it as plain text)",
            variable.to_string_lossy()
        ));
    }
    let step = steps().find(|step| reads_name(step))?;
    Some(format!(
        "a {} step of layer `{name}` reads ${NAME_VARIABLE} (`store = true`, if it only writes it as \
         plain text)",
        step.phase
    ))
}

/// Returns the variables whose values are paths of the host, and that no step of a layer names. Where the
/// manifest lies on a host decides nothing of what is inside a rootfs.
fn unnamed_paths(chain: &Chain, layer: &chain::Layer, twin: &Layer) -> Vec<String> {
    let mut texts = Vec::new();
    for act in twin.acts_to_store() {
        let Act::Step(step) = act else { continue };
        // What a script does with its variables nobody knows, and a step on the host may read there.
        if step.script.is_some() || matches!(step.place, Place::Host) {
            return Vec::new();
        }
        texts.extend(step.argv.last());
    }
    let variables = if layer.used.is_some() { &layer.variables } else { &chain.variables };
    let paths = variables.iter().filter(|variable| variable.is_path);
    let unnamed = paths.filter(|path| !texts.iter().any(|text| text.contains(&path.name)));
    unnamed.map(|variable| variable.name.clone()).collect()
}

/// Tells whether a step reads the container's name.
fn reads_name(step: &Step) -> bool {
    step.reads_name || step.argv.last().is_some_and(|text| text.contains(NAME_VARIABLE))
}

fn uses_secrets(layer: &chain::Layer) -> Option<String> {
    layer.values.secrets().next().map(|_| format!("layer `{}` gets secrets", layer.name))
}

/// Says why a layer that was built for the placeholder cannot be made into that of the container by
/// writing the one name for the other.
fn keeps_the_name(own: &Layer, twin: &Layer, name: &str) -> Option<String> {
    let acts = own.after.len() == twin.after.len()
        && own.after.iter().zip(&twin.after).all(|acts| can_be_renamed(acts, name));
    let values = |pairs: &[(OsString, OsString)]| -> Vec<String> {
        pairs.iter().map(|(_, value)| value.to_string_lossy().into_owned()).collect()
    };
    let twins = values(&twin.environment);
    let twins: Vec<_> = twins.iter().map(|value| value.replace(PLACEHOLDER, name)).collect();
    let layer = &own.name;
    (!acts || values(&own.environment) != twins).then(|| {
        format!("layer `{layer}` uses the container's name in a way that cannot be put right later")
    })
}

/// Tells whether an act for the placeholder becomes that for the container by writing the one name for
/// the other.
fn can_be_renamed((own, twin): (&Act, &Act), name: &str) -> bool {
    let renamed = |text: &str| text.replace(PLACEHOLDER, name);
    match (own, twin) {
        (Act::Config(own), Act::Config(twin)) => own
            .iter()
            .zip(twin)
            .all(|(own, twin)| own.key == twin.key && own.value == renamed(&twin.value)),
        (Act::Drop(own), Act::Drop(twin)) => {
            let content = match (&own.content, &twin.content) {
                (
                    Content::File { source: Bytes::Inline(own), .. },
                    Content::File { source: Bytes::Inline(twin), .. },
                ) if own != twin => {
                    let texts = (str::from_utf8(own), str::from_utf8(twin));
                    matches!(texts, (Ok(own), Ok(twin))
                        if own == renamed(twin) && !twin.contains('\0'))
                }
                (Content::Symlink { target: own }, Content::Symlink { target: twin }) => {
                    *own == renamed(twin)
                }
                (
                    Content::File { source: Bytes::Source(own), .. }
                    | Content::Tree { source: own, .. },
                    Content::File { source: Bytes::Source(twin), .. }
                    | Content::Tree { source: twin, .. },
                ) => own == twin,
                (Content::Fetched { url: own, .. }, Content::Fetched { url: twin, .. }) => {
                    own == twin
                }
                (own, twin) => std::mem::discriminant(own) == std::mem::discriminant(twin),
            };
            content && own.path == twin.path && own.owner == twin.owner
        }
        _ => true,
    }
}
