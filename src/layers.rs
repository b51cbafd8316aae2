//! The reusable layers that are part of the program: the files of `layers/`.

/// A reusable layer: its name, and its text.
pub type Compiled = (&'static str, &'static str);

/// All of them, sorted by name.
pub const ALL: &[Compiled] = &[];

/// Returns the text of a layer that is compiled in.
pub fn find(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(other, _)| *other == name).map(|(_, text)| *text)
}
