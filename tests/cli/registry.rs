//! Roles that are pushed to a registry, and pulled from one.

mod access;
mod counter;
mod faults;
mod pulling;
mod pushing;
mod refusing;
mod server;
