//! Whole distributions, from the mirror of this host. They take minutes and a network, so that they run only
//! where `LT_NETWORK=1` asks for them.

mod apt;
mod debian;
mod packages;
mod registry;
mod roles;
mod store;
mod upgrade;
