//! End to end: the built program under the real `lxc-create`, `lxc-start` and `lxc-destroy`.
//!
//! Every test works in a [`lab::Lab`]: a directory of its own, and commands that see the host through
//! a private mount namespace in which `/var/lib/lxc` is covered. That is a matter of safety, not of
//! tidiness: some upstream templates answer a signal, or a missing argument, by removing it.
//!
//! Without root or without LXC a test says `skipped: ...` and passes; with `LT_REQUIRE_E2E=1` in the
//! environment it fails instead.

mod call;
mod caller;
mod config;
mod export;
mod image;
mod lab;
mod manifest;
mod mirror;
mod processes;
mod requirement;
mod server;
mod tree;
mod trust;
mod user;

mod boundary;
mod classic;
mod config_values;
mod containers;
mod create;
mod distributions;
mod doctor;
mod door;
mod engines;
mod itself;
mod layers;
mod lxc_tests;
mod nest;
mod network;
mod order;
mod packages;
mod power_cuts;
mod provision;
mod registry;
mod role_files;
mod roles;
mod sandbox;
mod shell;
mod signals;
mod static_program;
mod store;
mod upgrade;
mod upstream;
