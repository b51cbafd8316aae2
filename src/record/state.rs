//! What of a container is its own, and not its role's.

use super::Record;

impl Record {
    /// Tells whether a path, which has no slash in front, belongs to the container and not to its role.
    pub(crate) fn is_state(&self, path: &[u8]) -> bool {
        self.state_of(path).is_some()
    }

    /// Returns the listed path, without a slash in front, by which one belongs to the container.
    pub(crate) fn state_of(&self, path: &[u8]) -> Option<&[u8]> {
        let listed = self.layers.iter().flat_map(|layer| &layer.state);
        listed.map(|state| state.trim_start_matches('/').as_bytes()).find(|state| {
            let rest = path.strip_prefix(*state);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    }
}
