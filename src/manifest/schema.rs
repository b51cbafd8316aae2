//! schema
pub(super) fn note_keys(_what: &'static str, _keys: &[&'static str]) {}
