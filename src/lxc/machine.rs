//! Kinds of processors: as executables name them, and as people and templates do.

use std::fmt;

/// A kind of processor, as the header of an executable in the ELF format has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// The number of the machine.
    number: u16,
    /// Whether addresses have 64 bits.
    wide: bool,
    /// Whether the lowest byte comes first.
    little: bool,
}

/// Source: elf.h and Debian's names.
const KNOWN: [(&str, Machine); 9] = [
    ("amd64", Machine { number: 62, wide: true, little: true }),
    ("i386", Machine { number: 3, wide: false, little: true }),
    ("arm64", Machine { number: 183, wide: true, little: true }),
    ("armhf", Machine { number: 40, wide: false, little: true }),
    ("riscv64", Machine { number: 243, wide: true, little: true }),
    ("ppc64el", Machine { number: 21, wide: true, little: true }),
    ("s390x", Machine { number: 22, wide: true, little: false }),
    ("mips64el", Machine { number: 8, wide: true, little: true }),
    ("loong64", Machine { number: 258, wide: true, little: true }),
];

/// What distributions and the kernel call them besides.
const ALIASES: [(&str, &str); 20] = [
    ("x86_64", "amd64"),
    ("x86-64", "amd64"),
    ("x86", "i386"),
    ("i486", "i386"),
    ("i586", "i386"),
    ("i686", "i386"),
    ("aarch64", "arm64"),
    ("arm64v8", "arm64"),
    ("arm", "armhf"),
    ("armel", "armhf"),
    ("armhfp", "armhf"),
    ("armv6l", "armhf"),
    ("armv7", "armhf"),
    ("armv7l", "armhf"),
    ("armv7h", "armhf"),
    ("armv7hl", "armhf"),
    ("armv8l", "arm64"),
    ("ppc64le", "ppc64el"),
    ("powerpc64le", "ppc64el"),
    ("loongarch64", "loong64"),
];

/// What makes a host run programs of other machines.
pub const ADVICE: &str = "install `qemu-user-static` (on some systems also `binfmt-support`)";

/// How many bytes of an executable tell its machine.
pub const HEADER: usize = 20;

impl Machine {
    /// Returns the machine that a word means, as the option of a template has it or the kernel.
    pub fn of_word(word: &str) -> Option<Self> {
        let name = ALIASES.iter().find(|(alias, _)| *alias == word).map_or(word, |(_, name)| name);
        KNOWN.iter().find(|(known, _)| *known == name).map(|(_, machine)| *machine)
    }

    /// Returns the machine of an executable, by its first bytes; `None` if they are not those
    /// of one in the ELF format.
    pub fn of_executable(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        if header[..4] != *b"\x7fELF" {
            return None;
        }
        let wide = match header[4] {
            1 => false,
            2 => true,
            _ => return None,
        };
        let number = [header[18], header[19]];
        let (number, little) = match header[5] {
            1 => (u16::from_le_bytes(number), true),
            2 => (u16::from_be_bytes(number), false),
            _ => return None,
        };
        Some(Self { number, wide, little })
    }

    /// Returns how an executable of this machine begins, as far as that tells its machine.
    pub fn header(self) -> [u8; HEADER] {
        let half =
            |number: u16| if self.little { number.to_le_bytes() } else { number.to_be_bytes() };
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(b"\x7fELF");
        header[4..7].copy_from_slice(&[1 + u8::from(self.wide), 2 - u8::from(self.little), 1]);
        // An executable, and no library.
        header[16..18].copy_from_slice(&half(2));
        header[18..].copy_from_slice(&half(self.number));
        header
    }

    /// Tells whether processors of this kind run programs for the other one by themselves.
    pub fn runs(self, other: Self) -> bool {
        let pair =
            |host, guest| Some(self) == Self::of_word(host) && Some(other) == Self::of_word(guest);
        self == other
            || pair("amd64", "i386")
            || pair("arm64", "armhf")
            // One that has the number of the wide one, and short addresses.
            || (self.number == other.number && self.wide && self.little == other.little)
    }

    /// Returns all those that have a name.
    pub fn known() -> impl Iterator<Item = Self> {
        KNOWN.iter().map(|(_, machine)| *machine)
    }

    /// Returns its number, whether addresses have 64 bits, and whether the lowest byte comes first.
    pub fn layout(self) -> (u16, bool, bool) {
        (self.number, self.wide, self.little)
    }
}

/// Its name, as Debian has it.
impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match KNOWN.iter().find(|(_, machine)| machine == self) {
            Some((name, _)) => formatter.write_str(name),
            None => write!(formatter, "machine {} of ELF", self.number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_headers_name_machines() {
        let table = [
            ("amd64", "amd64"),
            ("x86_64", "amd64"),
            ("i686", "i386"),
            ("aarch64", "arm64"),
            ("armv7l", "armhf"),
            ("ppc64le", "ppc64el"),
            ("s390x", "s390x"),
        ];
        for (word, name) in table {
            let machine = Machine::of_word(word).unwrap();
            assert_eq!(machine.to_string(), name);
            assert_eq!(Machine::of_executable(&machine.header()), Some(machine), "{word}");
        }
        for (alias, name) in ALIASES {
            assert!(Machine::of_word(alias).is_some_and(|machine| machine.to_string() == name));
        }
        assert_eq!(Machine::of_word("noarch"), None);
        assert_eq!(Machine::of_executable(b"#!/bin/sh\necho and more"), None);
        assert_eq!(Machine::of_executable(b"\x7fELF"), None);
    }

    #[test]
    fn some_run_others_by_themselves() {
        let table = [
            ("amd64", "amd64", true),
            ("amd64", "i386", true),
            ("arm64", "armhf", true),
            ("i386", "amd64", false),
            ("armhf", "arm64", false),
            ("amd64", "arm64", false),
            ("s390x", "ppc64el", false),
        ];
        for (host, guest, expected) in table {
            let [host, guest] = [host, guest].map(|word| Machine::of_word(word).unwrap());
            assert_eq!(host.runs(guest), expected, "{host} {guest}");
        }
    }
}
