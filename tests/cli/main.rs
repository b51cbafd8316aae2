//! The built program on the command line and as a template, over templates of ten lines of shell.
//!
//! Every test works in a [`sandbox::Sandbox`]: a directory of its own, an environment of its own,
//! and a container directory such as LXC would have made. Templates are always called with all
//! three of `--path`, `--name` and `--rootfs`, each within that directory.
//!
//! An ordinary user's tests run in a user namespace in which that user is root; what needs more ids
//! than one says `skipped: ...` there, and passes.

mod leftovers;
mod listing;
mod redactor;
mod requirement;
mod role_files;
mod running;
mod runs;
mod sandbox;
mod snapshot;

mod arguments;
mod asks;
mod bytes;
mod completions;
mod compressors;
mod config;
mod containers;
mod create;
mod depth;
mod diff;
mod disk;
mod drops;
mod escapes;
mod export;
mod export_limits;
mod faults;
mod filesystems;
mod gc;
mod handed;
mod holes;
mod hostile;
mod idmaps;
mod immutable;
mod input;
mod install;
mod lock;
mod logs;
mod machines;
mod messages;
mod owners;
mod places;
mod plan;
mod plan_diff;
mod plan_roles;
mod power_cuts;
mod processes;
mod readers;
mod record;
mod registry;
mod screens;
mod secrets;
mod set_id;
mod signals;
mod silent;
mod sources;
mod statuses;
mod steps;
mod storages;
mod store;
mod store_edges;
mod store_faults;
mod timeouts;
mod together;
mod trees;
mod trust;
mod upgrade;
mod validate;
