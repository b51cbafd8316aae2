//! The system as it is observed and touched.
//!
//! Nothing here knows of manifests' texts or of how a run is put together. One door leads into a
//! rootfs, [`rootfs`]; one file holds what the compiler cannot check, [`kernel`].

pub(crate) mod account;
pub(crate) mod ancestry;
pub(crate) mod binfmt;
pub(crate) mod cache;
pub(crate) mod caller;
pub(crate) mod child;
pub(crate) mod clock;
pub(crate) mod contain;
pub(crate) mod descriptor;
pub(crate) mod detached;
pub(crate) mod elf;
pub(crate) mod ended;
pub(crate) mod event_loop;
pub(crate) mod fault;
pub(crate) mod files;
pub(crate) mod filesystem;
pub(crate) mod holes;
pub(crate) mod inheritance;
pub(crate) mod interrupts;
pub(crate) mod journal;
pub(crate) mod kernel;
mod log;
pub(crate) mod lxc_commands;
pub(crate) mod lxc_version;
pub(crate) mod lxcpath;
pub(crate) mod machine;
pub(crate) mod mounts;
pub(crate) mod new_file;
pub(crate) mod output;
pub(crate) mod owned;
pub(crate) mod passage;
pub(crate) mod privacy;
pub(crate) mod proc;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod rootfs;
pub(crate) mod sandbox;
pub(crate) mod set_id;
pub(crate) mod settings;
pub(crate) mod settled;
pub(crate) mod signals;
pub(crate) mod state;
pub(crate) mod template;
pub(crate) mod terminal;
pub(crate) mod threads;
pub(crate) mod trust;
pub(crate) mod userns;
pub(crate) mod xattr;
