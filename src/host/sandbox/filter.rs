//! The system calls that no process of a sandbox may make, as a seccomp filter.
//!
//! A deny list, since a rootfs may hold anything: it names what reaches the host past all namespaces
//! (keys, kernel modules, file handles) and the largest of the kernel's parts that no package needs.
//! What programs probe for and do without is absent (`ENOSYS`); the rest is refused (`EPERM`). So is a
//! user namespace below the sandbox's own: in one, a process has the capabilities that most faults of
//! the kernel take. `clone3` is absent, since its flags cannot be seen here: every C library goes back
//! to `clone`.
//! `no_new_privs` stays off, so that `su` and file capabilities work.
//!
//! Each architecture that the kernel runs has its table. One that is not known has no call at all.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W,
    SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, c_long, sock_filter,
};

/// Offsets in `struct seccomp_data`. Source: `linux/seccomp.h`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };

/// How far the next one is.
const ARGUMENT: u32 = 8;

/// Where the flags of `clone` are: s390x has them behind the stack.
const FLAGS_OF_CLONE: u32 = if cfg!(target_arch = "s390x") { 28 } else { FIRST_ARGUMENT };

/// What programs probe for: absent, as in a kernel that was built without it.
const ABSENT: u32 = SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// What nobody calls by the way.
const REFUSED: u32 = SECCOMP_RET_ERRNO | libc::EPERM as u32;

/// The family of sockets that a virtual machine's host listens on: of no network namespace.
const NO_FAMILY: u32 = SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32;

/// The calls of one architecture.
struct Table {
    /// `AUDIT_ARCH_*`. Source: `linux/audit.h`.
    architecture: u32,
    absent: &'static [c_long],
    refused: &'static [c_long],
    socket: c_long,
    /// `clone` and `unshare`, whose first argument are flags.
    namespaces: [c_long; 2],
    /// Calls that make a device node, with where their mode is: none of them is a step's to make, not even
    /// that of number 0, which an overlay takes for a file that was removed.
    nodes: &'static [(c_long, u32)],
    /// A bit that marks calls of another kind, none of which there is.
    foreign: Option<u32>,
}

/// The calls of the architecture that this program is built for.
const NATIVE: Table = Table {
    architecture: AUDIT_ARCH,
    absent: &[
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_clone3,
    ],
    refused: &[
        libc::SYS_kexec_load,
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        libc::SYS_kexec_file_load,
        libc::SYS_open_by_handle_at,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_quotactl,
        libc::SYS_quotactl_fd,
        libc::SYS_acct,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_reboot,
        libc::SYS_pivot_root,
        libc::SYS_syslog,
        libc::SYS_vhangup,
        libc::SYS_fanotify_init,
    ],
    socket: libc::SYS_socket,
    namespaces: [libc::SYS_clone, libc::SYS_unshare],
    nodes: &[
        #[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "arm"))]
        (libc::SYS_mknod, FIRST_ARGUMENT + ARGUMENT),
        (libc::SYS_mknodat, FIRST_ARGUMENT + 2 * ARGUMENT),
    ],
    // x32: `__X32_SYSCALL_BIT`.
    foreign: if cfg!(target_arch = "x86_64") { Some(0x4000_0000) } else { None },
};

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xC000_00B7;
#[cfg(target_arch = "riscv64")]
const AUDIT_ARCH: u32 = 0xC000_00F3;
#[cfg(all(target_arch = "powerpc64", target_endian = "little"))]
const AUDIT_ARCH: u32 = 0xC000_0015;
#[cfg(target_arch = "s390x")]
const AUDIT_ARCH: u32 = 0x8000_0016;
#[cfg(target_arch = "arm")]
const AUDIT_ARCH: u32 = 0x4000_0028;
#[cfg(target_arch = "x86")]
const AUDIT_ARCH: u32 = 0x4000_0003;

/// i386, whose programs an x86-64 kernel runs as well. Source: `asm/unistd_32.h`.
#[cfg(target_arch = "x86_64")]
const COMPATIBLE: Option<Table> = Some(Table {
    architecture: 0x4000_0003,
    absent: &[288, 286, 287, 357, 336, 374, 425, 426, 427, 435],
    refused: &[283, 342, 128, 350, 129, 131, 443, 51, 87, 115, 88, 217, 103, 111, 338],
    socket: 359,
    namespaces: [120, 310],
    nodes: &[(14, FIRST_ARGUMENT + ARGUMENT), (297, FIRST_ARGUMENT + 2 * ARGUMENT)],
    foreign: None,
});

/// 32-bit ARM, likewise on `AArch64`. Source: `arch/arm/tools/syscall.tbl`.
#[cfg(target_arch = "aarch64")]
const COMPATIBLE: Option<Table> = Some(Table {
    architecture: 0x4000_0028,
    absent: &[311, 309, 310, 386, 364, 388, 425, 426, 427, 435],
    refused: &[347, 401, 371, 128, 379, 129, 131, 443, 51, 87, 115, 88, 218, 103, 111, 367],
    socket: 281,
    namespaces: [120, 337],
    nodes: &[(14, FIRST_ARGUMENT + ARGUMENT), (324, FIRST_ARGUMENT + 2 * ARGUMENT)],
    foreign: None,
});

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const COMPATIBLE: Option<Table> = None;

/// Returns the filter.
pub(super) fn program() -> Vec<sock_filter> {
    let mut program = vec![load(ARCHITECTURE)];
    for table in [Some(NATIVE), COMPATIBLE].into_iter().flatten() {
        let calls = table.calls();
        program.push(unless_equal(table.architecture, calls.len()));
        program.extend(calls);
    }
    program.push(answer(ABSENT));
    program
}

impl Table {
    /// Returns what is done once the architecture is known to be this.
    fn calls(&self) -> Vec<sock_filter> {
        let mut program = vec![load(NUMBER)];
        if let Some(bit) = self.foreign {
            program.extend([jump(BPF_JSET, bit, 0, 1), answer(ABSENT)]);
        }
        for (calls, result) in [(self.absent, ABSENT), (self.refused, REFUSED)] {
            for call in calls {
                program.extend([unless_equal(number(*call), 1), answer(result)]);
            }
        }
        for (call, flags) in self.namespaces.into_iter().zip([FLAGS_OF_CLONE, FIRST_ARGUMENT]) {
            program.extend([
                unless_equal(number(call), 4),
                load(flags),
                jump(BPF_JSET, libc::CLONE_NEWUSER.unsigned_abs(), 0, 1),
                answer(REFUSED),
                answer(SECCOMP_RET_ALLOW),
            ]);
        }
        for (call, mode) in self.nodes {
            program.extend([
                unless_equal(number(*call), 6),
                load(*mode),
                statement(BPF_ALU | BPF_AND | BPF_K, libc::S_IFMT),
                jump(BPF_JEQ, libc::S_IFCHR, 1, 0),
                unless_equal(libc::S_IFBLK, 1),
                answer(REFUSED),
                answer(SECCOMP_RET_ALLOW),
            ]);
        }
        program.extend([
            unless_equal(number(self.socket), 3),
            load(FIRST_ARGUMENT),
            unless_equal(libc::AF_VSOCK.unsigned_abs(), 1),
            answer(NO_FAMILY),
            answer(SECCOMP_RET_ALLOW),
        ]);
        program
    }
}

/// Calls have small numbers, whatever the type of their constants.
fn number(call: c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

fn answer(result: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, result)
}

/// Skips so many instructions unless what was loaded is equal to `value`.
fn unless_equal(value: u32, skipped: usize) -> sock_filter {
    jump(BPF_JEQ, value, 0, u8::try_from(skipped).unwrap_or(u8::MAX))
}

fn statement(code: u32, k: u32) -> sock_filter {
    instruction(code, k, 0, 0)
}

fn jump(condition: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    instruction(BPF_JMP | condition | BPF_K, k, jt, jf)
}

/// The kernel takes no program with a code that it does not know, and all that it knows are short.
fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or(u16::MAX), jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do with a call, by a machine that knows what the filter uses.
    fn run(program: &[sock_filter], architecture: u32, call: u32, argument: u32) -> u32 {
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let mut skip = |taken: bool| at += usize::from(if taken { jt } else { jf });
            match u32::from(code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    accumulator = match k {
                        NUMBER => call,
                        ARCHITECTURE => architecture,
                        // The tests give all arguments one value.
                        _ => argument,
                    };
                }
                code if code == BPF_ALU | BPF_AND | BPF_K => accumulator &= k,
                code if code == BPF_JMP | BPF_JEQ | BPF_K => skip(accumulator == k),
                code if code == BPF_JMP | BPF_JSET | BPF_K => skip(accumulator & k != 0),
                code if code == BPF_RET | BPF_K => return k,
                code => panic!("code {code:#x}"),
            }
        }
    }

    #[test]
    fn each_architecture_has_its_calls() {
        let program = program();
        for table in [Some(NATIVE), COMPATIBLE].into_iter().flatten() {
            let run = |call, argument| run(&program, table.architecture, call, argument);
            for call in table.absent {
                assert_eq!(run(number(*call), 0), ABSENT, "{call}");
            }
            for call in table.refused {
                assert_eq!(run(number(*call), 0), REFUSED, "{call}");
            }
            let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_VSOCK];
            let results = families.map(|family| run(number(table.socket), family.unsigned_abs()));
            assert_eq!(results, [SECCOMP_RET_ALLOW, SECCOMP_RET_ALLOW, NO_FAMILY]);
            assert_eq!(run(0, 0), SECCOMP_RET_ALLOW);
            for call in table.namespaces {
                let flags =
                    [libc::SIGCHLD, libc::CLONE_NEWUSER, libc::CLONE_NEWUSER | libc::SIGCHLD];
                let results = flags.map(|flags| run(number(call), flags.unsigned_abs()));
                assert_eq!(results, [SECCOMP_RET_ALLOW, REFUSED, REFUSED], "{call}");
            }
            for (call, _) in table.nodes {
                let kinds = [libc::S_IFREG, libc::S_IFIFO, libc::S_IFCHR, libc::S_IFBLK];
                let results = kinds.map(|kind| run(number(*call), kind | 0o644));
                assert_eq!(results, [SECCOMP_RET_ALLOW, SECCOMP_RET_ALLOW, REFUSED, REFUSED]);
            }
            if let Some(bit) = table.foreign {
                assert_eq!(run(bit, 0), ABSENT);
            }
            let all = table.absent.iter().chain(table.refused).chain([&table.socket]);
            let mut all: Vec<_> = all.collect();
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count, "a call has one answer");
        }
    }

    #[test]
    fn an_architecture_that_is_not_known_has_no_calls() {
        assert_eq!(run(&program(), 0x1234, 0, 0), ABSENT);
    }

    /// The numbers of the table for 32-bit programs are written by hand.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn calls_of_i386_are_those_of_the_headers() {
        let headers = "/usr/include/x86_64-linux-gnu/asm/unistd_32.h";
        let Ok(text) = std::fs::read_to_string(headers) else {
            // Installed with every C compiler, which the linker of this test is part of.
            panic!("{headers} is not there: install `linux-libc-dev`");
        };
        let number_of = |name: &str| {
            let line = text.lines().find_map(|line| {
                line.strip_prefix("#define __NR_")?.strip_prefix(name)?.strip_prefix(' ')
            });
            line.and_then(|number| number.trim().parse::<c_long>().ok())
        };
        let absent = "keyctl add_key request_key bpf perf_event_open userfaultfd io_uring_setup \
                      io_uring_enter io_uring_register clone3";
        let refused = "kexec_load open_by_handle_at init_module finit_module delete_module quotactl \
                       quotactl_fd acct swapon swapoff reboot pivot_root syslog vhangup \
                       fanotify_init";
        let table = COMPATIBLE.unwrap();
        for (names, calls) in [(absent, table.absent), (refused, table.refused)] {
            let numbers: Vec<_> = names.split_whitespace().map(number_of).collect();
            let calls: Vec<_> = calls.iter().copied().map(Some).collect();
            assert_eq!(numbers, calls);
        }
        assert_eq!(number_of("socket"), Some(table.socket));
        assert_eq!(["clone", "unshare"].map(number_of), table.namespaces.map(Some));
        let nodes: Vec<_> = table.nodes.iter().map(|(call, _)| Some(*call)).collect();
        assert_eq!(["mknod", "mknodat"].map(number_of).to_vec(), nodes);
    }
}
