//! The least that dropping files costs: reads each file of a flat directory, and writes it into a
//! new one.

use std::fs;
use std::io::{Read, Write};

fn main() -> std::io::Result<()> {
    let mut words = std::env::args().skip(1);
    let (from, to) = (words.next().expect("from"), words.next().expect("to"));
    fs::create_dir(&to)?;
    let mut bytes = Vec::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        bytes.clear();
        fs::File::open(entry.path())?.read_to_end(&mut bytes)?;
        let path = std::path::Path::new(&to).join(entry.file_name());
        fs::File::create_new(path)?.write_all(&bytes)?;
    }
    Ok(())
}
