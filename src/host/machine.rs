//! Which machines' programs this host can run.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, WaitOptions, setrlimit, waitpid};

use super::kernel::{self, ForkResult};
use super::rootfs::Rootfs;
use super::{binfmt, sandbox};
use crate::lxc::machine::{ADVICE, HEADER, Machine};
use crate::shell;

/// How programs of a machine can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Support {
    /// By the processor, or by an emulator.
    Full,
    /// By an emulator that the rootfs needs at this path.
    Within(PathBuf),
    /// Not at all.
    None,
}

/// Returns the machine of this host.
pub(crate) fn of_host() -> Option<Machine> {
    Machine::of_word(rustix::system::uname().machine().to_str().ok()?)
}

/// Tells how programs of a machine can be run here.
///
/// Where the kernel does not show what it runs by an emulator, as in a container, it is given such a
/// program, which does nothing. What cannot be found out is taken to work.
pub(crate) fn support(machine: Machine) -> Support {
    if of_host().is_none_or(|host| host.runs(machine)) {
        return Support::Full;
    }
    let Some(entries) = binfmt::entries() else {
        return if is_refused(machine).unwrap_or(false) { Support::None } else { Support::Full };
    };
    match entries.into_iter().find(|entry| entry.is_for(machine)) {
        Some(entry) if entry.fixed => Support::Full,
        Some(entry) => Support::Within(entry.interpreter),
        None => Support::None,
    }
}

/// Says which machines' programs run here, and what to do for the others.
pub(crate) fn summary() -> (String, Option<String>) {
    let (mut run, mut not) = (Vec::new(), Vec::new());
    for known in Machine::known() {
        match support(known) {
            Support::Full => run.push(known.to_string()),
            Support::Within(emulator) => {
                run.push(format!("{known} where a rootfs has `{}`", emulator.display()));
            }
            Support::None => not.push(known.to_string()),
        }
    }
    let advice = format!("for steps inside a rootfs of {}: {ADVICE}", not.join(", "));
    (format!("programs run of {}", run.join(", ")), (!not.is_empty()).then_some(advice))
}

/// Says why this host cannot run a command in a rootfs, where its first word or the shell is for
/// another machine.
pub(crate) fn refusal(rootfs: &Rootfs, word: &OsStr) -> Option<String> {
    [word, OsStr::new("/bin/sh")].into_iter().find_map(|word| {
        let machine = of_program(rootfs, word)?;
        let lacks = match support(machine) {
            Support::Full => return None,
            Support::None => "runs no programs of that".to_owned(),
            Support::Within(emulator) if rootfs.head(&emulator, 1).is_ok() => return None,
            Support::Within(emulator) => format!(
                "runs programs of that by `{}`, which is not in the rootfs",
                emulator.display()
            ),
        };
        let host = of_host().map(|host| format!(", {host},")).unwrap_or_default();
        let word = shell::word(word);
        let is = format!("`{word}` of the rootfs is a program for {machine}");
        Some(format!("{is}, and this host{host} {lacks}"))
    })
}

/// Returns the machine of a program of a rootfs, named as a command names it; `None` if it is
/// not there, or is no executable in the ELF format.
fn of_program(rootfs: &Rootfs, name: &OsStr) -> Option<Machine> {
    let machine = |path: &Path| Machine::of_executable(&rootfs.head(path, HEADER).ok()?);
    if name.as_encoded_bytes().contains(&b'/') {
        return machine(&Path::new("/").join(name));
    }
    let (_, directories) = sandbox::ENVIRONMENT[0];
    let places = directories.split(':').map(|directory| Path::new(directory).join(name));
    places.into_iter().find_map(|path| machine(&path))
}

/// Tells whether the kernel refuses a program of a machine for what it is.
fn is_refused(machine: Machine) -> io::Result<bool> {
    let program = executable(machine)?;
    let path = CString::new(format!("/proc/self/fd/{}", program.as_raw_fd()))?;
    match kernel::fork()? {
        ForkResult::Child => {
            // It crashes where it is run, and nobody need hear of that.
            let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
            if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
                let _ = rustix::stdio::dup2_stdin(&null);
                let _ = rustix::stdio::dup2_stdout(&null);
                let _ = rustix::stdio::dup2_stderr(&null);
            }
            let error = kernel::execute(&path);
            kernel::leave(u8::from(error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error())))
        }
        ForkResult::Parent(child) => {
            let ended = waitpid(Some(child), WaitOptions::empty())?;
            Ok(ended.is_some_and(|(_, status)| status.exit_status() == Some(1)))
        }
    }
}

/// Makes a static executable of a machine, of nothing but its headers.
fn executable(machine: Machine) -> io::Result<File> {
    /// Where it is loaded: a multiple of every machine's pages.
    const ADDRESS: u64 = 0x0040_0000;
    const LENGTH: u64 = 4096;
    let (_, wide, little) = machine.layout();
    let mut bytes = machine.header().to_vec();
    let mut number = |number: u64, size: usize| {
        let little_end = number.to_le_bytes();
        let mut part = little_end[..size].to_vec();
        if !little {
            part.reverse();
        }
        bytes.extend(part);
    };
    let (word, header, segment) = if wide { (8, 64, 56) } else { (4, 52, 32) };
    // Version, entry, program headers, section headers, flags, and the sizes.
    for (value, size) in [
        (1, 4),
        (ADDRESS + header + segment, word),
        (header, word),
        (0, word),
        (0, 4),
        (header, 2),
        (segment, 2),
        (1, 2),
        (0, 2),
        (0, 2),
        (0, 2),
    ] {
        number(value, size);
    }
    // One segment, to be loaded, to be read and executed: its flags are second where words are long.
    let flags = [(5, 4)];
    let places = [(0, word), (ADDRESS, word), (ADDRESS, word), (LENGTH, word), (LENGTH, word)];
    let (before, behind) = if wide { (&flags[..], &[][..]) } else { (&[][..], &flags[..]) };
    for (value, size) in [&[(1, 4)], before, &places, behind, &[(0x1_0000, word)]].concat() {
        number(value, size);
    }
    bytes.resize(4096, 0);
    let create = |flags| memfd_create(c"layered-template", MemfdFlags::CLOEXEC | flags);
    // Kernels before 6.3 know no other memory than what can be executed.
    let memory = create(MemfdFlags::EXEC).or_else(|_| create(MemfdFlags::empty()))?;
    let mut file = File::from(memory);
    file.write_all(&bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_a_rootfs_name_their_machine() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("usr/bin")).unwrap();
        let own = std::env::current_exe().unwrap();
        std::fs::copy(&own, directory.path().join("usr/bin/own")).unwrap();
        std::os::unix::fs::symlink("/usr/bin", directory.path().join("bin")).unwrap();
        std::os::unix::fs::symlink("/bin/own", directory.path().join("usr/bin/sh")).unwrap();
        std::fs::write(directory.path().join("usr/bin/script"), "#!/bin/sh\n").unwrap();
        let rootfs = Rootfs::open(directory.path()).unwrap();
        let table = [
            ("/bin/sh", true),
            ("sh", true),
            ("own", true),
            ("bin/own", true),
            ("script", false),
            ("/usr/bin/missing", false),
            ("missing", false),
        ];
        for (name, there) in table {
            let found = of_program(&rootfs, OsStr::new(name));
            assert_eq!(found, of_host().filter(|_| there), "{name}");
        }
    }

    #[test]
    fn a_crafted_program_has_the_layout_of_its_machine() {
        use std::os::unix::fs::FileExt;
        for machine in Machine::known() {
            let file = executable(machine).unwrap();
            let mut bytes = [0; HEADER];
            file.read_exact_at(&mut bytes, 0).unwrap();
            assert_eq!(Machine::of_executable(&bytes), Some(machine));
            let (_, wide, little) = machine.layout();
            let mut kind = [0; 4];
            file.read_exact_at(&mut kind, if wide { 64 } else { 52 }).unwrap();
            let kind = if little { u32::from_le_bytes(kind) } else { u32::from_be_bytes(kind) };
            assert_eq!(kind, 1, "{machine}");
        }
    }
}
