//! Keeps secrets out of what is shown and kept of a command's output.

use crate::chain::Secrets;

/// A line that is longer than this is handed on before its end, in bytes.
const LONGEST: usize = 64 * 1024;

/// Masks output line by line: a piece of output may end in the middle of a secret.
#[derive(Debug)]
pub(super) struct Mask<'a> {
    secrets: &'a Secrets,
    /// The beginning of a line whose end has not come yet.
    open: Vec<u8>,
}

impl<'a> Mask<'a> {
    pub(super) fn new(secrets: &'a Secrets) -> Self {
        Self { secrets, open: Vec::new() }
    }

    /// Returns the whole lines that there are by now, masked; nothing at all where there is no
    /// secret, so that the piece can be handed on as it is.
    pub(super) fn masked(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.secrets.is_empty() {
            return None;
        }
        self.open.extend_from_slice(bytes);
        let whole = self.open.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let whole = if self.open.len() - whole > LONGEST { self.open.len() } else { whole };
        let rest = self.open.split_off(whole);
        let lines = std::mem::replace(&mut self.open, rest);
        Some(self.mask(&lines))
    }

    /// Returns what is left at the end, masked.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        let rest = std::mem::take(&mut self.open);
        if rest.is_empty() { rest } else { self.mask(&rest) }
    }

    fn mask(&self, bytes: &[u8]) -> Vec<u8> {
        match str::from_utf8(bytes) {
            Ok(text) => self.secrets.mask(text).into_owned().into_bytes(),
            // A secret is UTF-8, and so are its neighbours in what is left of such a line.
            Err(_) => self.secrets.mask(&String::from_utf8_lossy(bytes)).into_owned().into_bytes(),
        }
    }
}
