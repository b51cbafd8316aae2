//! Executables in the ELF format.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The type of the program header that names a dynamic loader.
const PT_INTERP: u32 = 3;

/// Tells whether an executable needs no dynamic loader, and so no libraries.
///
/// Source: elf(5).
pub(crate) fn is_static(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0)?;
    let unfit = || io::Error::other("it is not an ELF executable of this machine's byte order");
    let native = if cfg!(target_endian = "little") { 1 } else { 2 };
    if header[..4] != *b"\x7fELF" || header[5] != native {
        return Err(unfit());
    }
    let half = |at: usize| u64::from(u16::from_ne_bytes([header[at], header[at + 1]]));
    let word = |at: usize| {
        u64::from(u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]))
    };
    // The class says how wide addresses are, and so where everything is.
    let (offset, size, count) = match header[4] {
        1 => (word(28), half(42), half(44)),
        2 => (
            u64::from_ne_bytes(header[32..40].try_into().map_err(|_| unfit())?),
            half(54),
            half(56),
        ),
        _ => return Err(unfit()),
    };
    for index in 0..count {
        let mut kind = [0; 4];
        file.read_exact_at(&mut kind, offset + index * size)?;
        if u32::from_ne_bytes(kind) == PT_INTERP {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_names_a_loader_is_not_static() {
        let own = std::env::current_exe().unwrap();
        let dynamic = std::fs::read_to_string("/proc/self/maps").unwrap().contains("/ld-");
        assert_eq!(is_static(&own).unwrap(), !dynamic);
        assert!(is_static(Path::new("/etc/passwd")).is_err());
    }
}
