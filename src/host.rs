//! The system as it is observed and touched.
//!
//! Nothing here knows of manifests' texts or of how a run is put together. One door leads into a
//! rootfs, [`rootfs`]; one file holds what the compiler cannot check, [`kernel`].

pub mod account;
pub mod ancestry;
pub mod binfmt;
pub mod cache;
pub mod caller;
pub mod child;
pub mod clock;
pub mod contain;
pub mod elf;
pub mod event_loop;
pub mod fault;
pub mod files;
pub mod filesystem;
pub mod holes;
pub mod inheritance;
pub mod interrupts;
pub mod kernel;
pub mod lxc_version;
pub mod lxcpath;
pub mod machine;
pub mod mounts;
pub mod output;
pub mod privacy;
pub mod program;
pub mod rootfs;
pub mod sandbox;
pub mod signals;
pub mod state;
pub mod template;
pub mod terminal;
pub mod threads;
pub mod userns;
pub mod xattr;
