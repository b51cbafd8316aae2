//! Roles that are pushed to a registry, and pulled from one.

mod counter;
mod pulling;
mod pushing;
mod refusing;
mod server;
