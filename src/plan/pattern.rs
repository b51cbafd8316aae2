//! Which layers are stored: those that leave all their effects in the rootfs and the config.

use std::ffi::OsString;
use std::path::Path;

use super::drop::{Bytes, Content};
use super::nest::{Act, Layer, Place, Plan, Target};
use super::storage::{Ground, PLACEHOLDER, Part, Pattern, Storable};
use crate::chain::{self, Chain};
use crate::manifest::Phase;

/// How many layers of a role are stored at the most: each is a whole tree, of which some files are
/// copied every time.
const MOST_STORED: usize = 64;

/// Returns the container that stored layers are made for, beside the one of `target`.
pub(super) fn placeholder(target: &Target) -> Target {
    let path = target.path.parent().unwrap_or(Path::new("/")).join(PLACEHOLDER);
    Target {
        name: PLACEHOLDER.to_owned(),
        rootfs: path.join("rootfs"),
        path,
        arch: target.arch.clone(),
        mapped: target.mapped,
        args: target.args.clone(),
    }
}

/// Makes the pattern of a plan. `shadow` is the same plan for the placeholder, for which `bound` is
/// the chain.
pub(super) fn pattern(
    (chain, bound): (&Chain, &Chain),
    plan: &Plan,
    shadow: Plan,
    ground: Ground,
) -> Pattern {
    let real: Vec<&Layer> = plan.layers().collect();
    let shadows: Vec<&Layer> = shadow.layers().collect();
    let name = &plan.container.name;
    let mut stored = Vec::new();
    let mut end = None;
    let arguments = arguments(bound, &plan.container);
    let innermost = &chain.layers[0];
    match upstream_stays((chain, bound), &ground, &arguments) {
        Some(why) => end = Some(why),
        None => stored.push(Storable {
            name: innermost.name.clone(),
            part: Part::Upstream,
            refresh: innermost.storing.refresh,
            identity: innermost.storing.identity.clone(),
            decided_by: None,
        }),
    }
    let layers = chain.layers.iter().zip(real.iter().rev().zip(shadows.iter().rev()));
    for (layer, (real, shadow)) in layers {
        if end.is_some() {
            break;
        }
        if shadow.leaves_nothing() {
            continue;
        }
        if stored.len() == MOST_STORED {
            end = Some(format!("no more than {MOST_STORED} layers of a role are stored"));
            break;
        }
        if let Some(why) = stays(layer, real).or_else(|| keeps_the_name(real, shadow, name)) {
            end = Some(why);
            break;
        }
        let by = layer.values.handed().next().map(|(_, by)| by.clone());
        let has_steps = shadow.runs_commands();
        stored.push(Storable {
            name: layer.name.clone(),
            part: Part::Layer,
            refresh: layer.storing.refresh,
            identity: layer.storing.identity.clone(),
            decided_by: by.filter(|_| has_steps),
        });
    }
    let target = shadow.container;
    Pattern { target, layer: shadow.layer, arguments, stored, end, ground }
}

/// Says why the upstream is not stored. `bound` is the chain for the placeholder, and `arguments` are
/// those for it.
fn upstream_stays(
    (chain, bound): (&Chain, &Chain),
    ground: &Ground,
    arguments: &[OsString],
) -> Option<String> {
    let innermost = &chain.layers[0];
    let name = &innermost.name;
    if ground.is_this_program {
        return Some("the template is this program again, which has the store for itself".into());
    }
    // The upstream would be called with the placeholder's name, under which nothing of that stands.
    let is_own = |word: &str| !arguments.iter().any(|argument| argument.to_string_lossy() == word);
    let files = ground.files.keys().map(|word| (word, "file"));
    let directories = ground.directories.iter().map(|word| (word, "directory"));
    if let Some((word, kind)) = files.chain(directories).find(|(word, _)| is_own(word)) {
        let word = crate::shell::word(word);
        return Some(format!(
            "the argument {word} of the template names a {kind} by the container's name"
        ));
    }
    let mut inputs = chain.upstream.inputs.iter().zip(&bound.upstream.inputs);
    if let Some((input, _)) = inputs.find(|(own, other)| own.word != other.word) {
        let word = crate::shell::word(&input.word);
        return Some(format!("the input {word} is named by the container's name"));
    }
    if let Some(why) = &ground.unreadable {
        return Some(why.clone());
    }
    if innermost.storing.store == Some(true) {
        return uses_secrets(innermost);
    }
    if let Some(word) = ground.directories.first() {
        let word = crate::shell::word(word);
        return Some(format!(
            "the argument {word} of the template names a directory, of which nobody knows what counts \
             (`store = true` of layer `{name}` says that nothing does)"
        ));
    }
    if innermost.storing.store == Some(false) {
        return Some(format!("layer `{name}` says `store = false`"));
    }
    uses_secrets(innermost)
}

/// Says why a layer is not stored.
fn stays(bound: &chain::Layer, real: &Layer) -> Option<String> {
    let name = &bound.name;
    if let Some(why) = uses_secrets(bound) {
        return Some(why);
    }
    match bound.storing.store {
        Some(false) => return Some(format!("layer `{name}` says `store = false`")),
        Some(true) => return None,
        None => {}
    }
    let on_host = |act: &Act| matches!(act, Act::Step(step) if step.stop == Phase::Post && matches!(step.place, Place::Host));
    real.after
        .iter()
        .any(on_host)
        .then(|| format!("a post step of layer `{name}` runs on the host"))
}

fn uses_secrets(bound: &chain::Layer) -> Option<String> {
    bound.values.secrets().next().map(|_| format!("layer `{}` gets secrets", bound.name))
}

/// Says why a layer that was made for the placeholder cannot be made into that of the container by
/// writing the one name for the other.
fn keeps_the_name(real: &Layer, shadow: &Layer, name: &str) -> Option<String> {
    let renamed = |text: &str| text.replace(PLACEHOLDER, name);
    let same = |(real, shadow): (&Act, &Act)| match (real, shadow) {
        (Act::Config(real), Act::Config(shadow)) => real
            .iter()
            .zip(shadow)
            .all(|(real, shadow)| real.key == shadow.key && real.value == renamed(&shadow.value)),
        (Act::Drop(real), Act::Drop(shadow)) => {
            let content = match (&real.content, &shadow.content) {
                (
                    Content::File { source: Bytes::Inline(real), .. },
                    Content::File { source: Bytes::Inline(shadow), .. },
                ) if real != shadow => {
                    let texts = (str::from_utf8(real), str::from_utf8(shadow));
                    matches!(texts, (Ok(real), Ok(shadow))
                        if real == renamed(shadow) && !shadow.contains('\0'))
                }
                (Content::Symlink { target: real }, Content::Symlink { target: shadow }) => {
                    *real == renamed(shadow)
                }
                (
                    Content::File { source: Bytes::Source(real), .. }
                    | Content::Tree { source: real, .. },
                    Content::File { source: Bytes::Source(shadow), .. }
                    | Content::Tree { source: shadow, .. },
                ) => real == shadow,
                (Content::Fetched { url: real, .. }, Content::Fetched { url: shadow, .. }) => {
                    real == shadow
                }
                (real, shadow) => std::mem::discriminant(real) == std::mem::discriminant(shadow),
            };
            content && real.path == shadow.path && real.owner == shadow.owner
        }
        _ => true,
    };
    let acts =
        real.after.len() == shadow.after.len() && real.after.iter().zip(&shadow.after).all(same);
    let values = |pairs: &[(OsString, OsString)]| -> Vec<String> {
        pairs.iter().map(|(_, value)| value.to_string_lossy().into_owned()).collect()
    };
    let shadows =
        values(&shadow.environment).iter().map(|value| renamed(value)).collect::<Vec<_>>();
    let environment = values(&real.environment) == shadows;
    let layer = &real.name;
    (!acts || !environment).then(|| {
        format!("layer `{layer}` uses the container's name in a way that cannot be put right later")
    })
}

/// Returns the arguments of the upstream that LXC does not give.
fn arguments(chain: &Chain, target: &Target) -> Vec<OsString> {
    let own = chain.upstream.args.iter().map(OsString::from);
    own.chain(target.args.iter().cloned()).collect()
}
