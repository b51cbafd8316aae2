//! The machine of a rootfs, as far as it is known before there is one.

use std::ffi::{OsStr, OsString};

use crate::chain::Chain;
use crate::lxc::machine::Machine;
use crate::lxc::request;
use crate::manifest::{Place, TemplateRef};

/// Returns the machine that a template's arguments ask for, where steps run inside the rootfs.
pub fn asked_for(chain: &Chain, args: &[OsString]) -> Option<Machine> {
    let steps = chain.layers.iter().flat_map(|layer| {
        [&layer.pre, &layer.post, &layer.check, &layer.finally].into_iter().flatten()
    });
    if !steps.into_iter().any(|step| matches!(step.place, Place::Rootfs(_))) {
        return None;
    }
    let upstream = &chain.upstream;
    let name = match &upstream.template {
        TemplateRef::BuiltinBusybox => return None,
        TemplateRef::Name(name) => name.as_str(),
        TemplateRef::Path(path) => path.file_name().and_then(OsStr::to_str).unwrap_or_default(),
    };
    let name = name.strip_prefix("lxc-").unwrap_or(name);
    let words = upstream.args.iter().map(OsStr::new).chain(args.iter().map(OsString::as_os_str));
    Machine::of_word(request::architecture(Some(name), words)?)
}
