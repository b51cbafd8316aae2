//! What lets a kernel run programs for other machines: the entries of `binfmt_misc`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::lxc::machine::Machine;

/// Where the kernel shows them.
const DIRECTORY: &str = "/proc/sys/fs/binfmt_misc";

/// An entry that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BinfmtEntry {
    /// The program that runs the others.
    pub interpreter: PathBuf,
    /// Whether that was opened when the entry was made, so that no rootfs need have it.
    pub fixed: bool,
    offset: usize,
    magic: Vec<u8>,
    mask: Vec<u8>,
}

/// Returns the entries that are in force; `None` if the kernel does not show them: in a
/// container the host may have some.
pub(crate) fn entries() -> Option<Vec<BinfmtEntry>> {
    read(Path::new(DIRECTORY))
}

fn read(directory: &Path) -> Option<Vec<BinfmtEntry>> {
    let status = fs::read_to_string(directory.join("status")).ok()?;
    if status.trim() != "enabled" {
        return Some(Vec::new());
    }
    let entries = fs::read_dir(directory).ok()?.flatten();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    Some(texts.filter_map(|text| parse(&text)).collect())
}

/// Parses an entry as the kernel shows it; `None` if it is not in force or goes by the name of a
/// file.
///
/// Source: `entry_status` of the kernel's `fs/binfmt_misc.c`.
fn parse(text: &str) -> Option<BinfmtEntry> {
    let mut lines = text.lines();
    if lines.next()? != "enabled" {
        return None;
    }
    let mut entry = BinfmtEntry {
        interpreter: PathBuf::new(),
        fixed: false,
        offset: 0,
        magic: Vec::new(),
        mask: Vec::new(),
    };
    for line in lines {
        match line.split_once(' ')? {
            ("interpreter", path) => entry.interpreter = path.into(),
            ("flags:", flags) => entry.fixed = flags.contains('F'),
            ("offset", number) => entry.offset = number.trim().parse().ok()?,
            ("magic", digits) => entry.magic = bytes(digits)?,
            ("mask", digits) => entry.mask = bytes(digits)?,
            _ => {}
        }
    }
    (!entry.magic.is_empty()).then_some(entry)
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.trim().as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
}

impl BinfmtEntry {
    /// Tells whether it is for programs of a machine.
    pub(crate) fn is_for(&self, machine: Machine) -> bool {
        let header = machine.header();
        // What it asks for behind what tells the machine, another program of that may have.
        let known = header.iter().skip(self.offset).zip(&self.magic);
        let known = known.enumerate().map(|(index, (found, wanted))| {
            (found ^ wanted) & self.mask.get(index).copied().unwrap_or(u8::MAX) == 0
        });
        let of_machine = self.offset == 0 && self.magic.len() >= header.len();
        of_machine && known.into_iter().all(|fits| fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Debian's qemu-user-static has it.
    const ARM64: &str = "enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: POCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
";

    const S390X: &str = "enabled
interpreter /usr/bin/qemu-s390x
flags: 
offset 0
magic 7f454c4602020100000000000000000000020016
mask ffffffffffffff00fffffffffffffffffffeffff
";

    #[test]
    fn entries_are_for_machines() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()), None);
        let java = "enabled\ninterpreter /usr/bin/jexec\nflags: \noffset 0\nmagic 504b0304\n";
        let files = [
            ("status", "enabled\n"),
            ("qemu-aarch64", ARM64),
            ("qemu-s390x", S390X),
            ("qemu-riscv64", &ARM64.replace("enabled", "disabled").replace("b700", "f300")),
            ("jar", java),
            ("py", "enabled\ninterpreter /usr/bin/python3\nflags: \nextension .py\n"),
        ];
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let entries = read(directory.path()).unwrap();
        let found = |word| {
            let machine = Machine::of_word(word).unwrap();
            entries.iter().find(|entry| entry.is_for(machine))
        };
        let arm64 = found("arm64").unwrap();
        assert!(arm64.fixed && arm64.interpreter.ends_with("aarch64-binfmt-P"));
        assert!(found("s390x").is_some_and(|entry| !entry.fixed));
        for other in ["amd64", "riscv64", "armhf", "i386"] {
            assert_eq!(found(other), None, "{other}");
        }
        fs::write(directory.path().join("status"), "disabled\n").unwrap();
        assert_eq!(read(directory.path()), Some(Vec::new()));
    }
}
