//! Who is told of something while a registry is waited for.

use std::fmt;

/// What tells a person of something, in a line.
pub(crate) struct Notice(Box<dyn Fn(&str)>);

impl Notice {
    /// Tells by a function.
    pub(crate) fn by(tell: impl Fn(&str) + 'static) -> Self {
        Self(Box::new(tell))
    }

    /// Tells of something.
    pub(crate) fn tell(&self, text: &str) {
        (self.0)(text);
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Notice")
    }
}
