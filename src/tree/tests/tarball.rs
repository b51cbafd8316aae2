//! Archives that no honest program writes.

/// How long a block is, in bytes.
pub(super) const BLOCK: usize = 512;

/// An archive that is put together piece by piece.
#[derive(Clone, Default)]
pub(super) struct Tarball(pub(super) Vec<u8>);

/// A header block, before its checksum is computed.
pub(super) struct Block(pub(super) [u8; BLOCK]);

impl Block {
    pub(super) fn new(letter: u8, name: &str) -> Self {
        let mut block = Self([0; BLOCK]);
        block.put(0, &name.as_bytes()[..name.len().min(100)]);
        block.octal(100, 7, 0o644).octal(108, 7, 0).octal(116, 7, 0).octal(124, 11, 0);
        block.octal(136, 11, 1_000_000_000);
        block.0[156] = letter;
        block.put(257, b"ustar\x0000");
        block
    }

    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(super) fn octal(&mut self, at: usize, digits: usize, value: u64) -> &mut Self {
        self.put(at, format!("{value:0digits$o}\0").as_bytes())
    }

    pub(super) fn size(&mut self, size: u64) -> &mut Self {
        self.octal(124, 11, size)
    }

    pub(super) fn sealed(&self) -> [u8; BLOCK] {
        let mut block = self.0;
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// Writes a record of a pax header.
pub(super) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

impl Tarball {
    /// Adds bytes as they are.
    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// Adds a header, and bytes that fill whole blocks.
    pub(super) fn block(self, block: &Block, bytes: &[u8]) -> Self {
        let padding = vec![0; bytes.len().next_multiple_of(BLOCK) - bytes.len()];
        self.raw(&block.sealed()).raw(bytes).raw(&padding)
    }

    /// Adds a member that was edited.
    pub(super) fn edited(
        self,
        letter: u8,
        name: &str,
        bytes: &[u8],
        edit: impl FnOnce(&mut Block),
    ) -> Self {
        let mut block = Block::new(letter, name);
        block.size(bytes.len() as u64);
        edit(&mut block);
        self.block(&block, bytes)
    }

    pub(super) fn file(self, name: &str, text: &str) -> Self {
        self.edited(b'0', name, text.as_bytes(), |_| {})
    }

    pub(super) fn directory(self, name: &str) -> Self {
        self.edited(b'5', name, b"", |block| {
            block.octal(100, 7, 0o755);
        })
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> Self {
        self.edited(b'2', name, b"", |block| {
            block.put(157, target.as_bytes());
        })
    }

    pub(super) fn link(self, name: &str, target: &str) -> Self {
        self.edited(b'1', name, b"", |block| {
            block.put(157, target.as_bytes());
        })
    }

    /// Adds a pax header.
    pub(super) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let records: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.edited(b'x', "pax", &records, |_| {})
    }

    /// Ends the archive.
    pub(super) fn end(self) -> Self {
        self.raw(&[0; 2 * BLOCK])
    }
}
