//! The values of LXC's config keys: which of them LXC takes.
//!
//! What LXC refuses here it refuses while it loads a config, and what it takes is taken, however odd
//! it looks. Source: the `set_config_*` functions of `confile.c`, of LXC 4.0 to 7.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::number::{self, Slip, scan};
use super::{InstalledLxc, LxcVersion};

/// What kind of value a key has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A path.
    Path,
    /// A path that must be there.
    Fstab,
    /// The name of a directory.
    Directory,
    /// A path below a cgroup.
    CgroupPath,
    /// The name of a cgroup.
    CgroupName,
    /// 0 or 1.
    Flag,
    /// 0 or 1, where LXC overlooks what is no number.
    LaxFlag,
    /// A number.
    Unsigned,
    /// A number, where LXC overlooks what is none.
    LaxUnsigned,
    /// A number that may have a sign.
    Signed,
    /// A number of bytes, or what LXC takes for 500000.
    DevSize,
    /// A size in bytes.
    ByteSize,
    /// A limit or two of a resource.
    Limit,
    /// A signal.
    Signal,
    /// An architecture.
    Architecture,
    /// How much is logged.
    LogLevel,
    /// Which part of the system log is written to.
    Facility,
    /// Numbers of groups.
    Groups,
    /// `NAME=VALUE`.
    Environment,
    /// The name of the host.
    HostName,
    /// Capabilities to drop.
    Dropped,
    /// Capabilities to keep.
    Kept,
    /// File systems that LXC mounts by itself.
    AutoMounts,
    /// A line of an fstab.
    MountEntry,
    /// Namespaces.
    Namespaces,
    /// Whose namespace is shared; the key names the namespace.
    SharedNamespace,
    /// How far a clock is set off.
    TimeOffset,
    /// `unix:` and a socket.
    Socket,
    /// One of these words.
    OneOf(&'static str),
    /// A number of queues.
    Queues,
    /// A VLAN.
    Vlan,
    /// A VLAN of a bridge.
    BridgeVlan,
    /// A VLAN of a bridge, or `none`.
    BridgeVlanOrNone,
    /// The largest packet of a network.
    Mtu,
    /// A hardware address.
    HardwareAddress,
    /// An address with its network.
    Ipv4Address,
    /// An address, `auto` or `dev`.
    Ipv4Gateway,
    /// A network.
    Ipv4Route,
    /// An address with its network.
    Ipv6Address,
    /// An address, `auto` or `dev`.
    Ipv6Gateway,
    /// A network.
    Ipv6Route,
}

/// What LXC makes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It takes it.
    Taken,
    /// It takes it, and does nothing with it.
    Overlooked,
    /// It takes it, and does not start with it.
    NotStarted,
    /// It does not load the config.
    Refused,
}

use Verdict::{NotStarted, Overlooked, Refused, Taken};

/// The longest path, in bytes.
const LONGEST_PATH: usize = 4095;

/// The longest name of a file, in bytes.
const LONGEST_NAME: usize = 255;

/// The longest name of a host, in bytes.
const LONGEST_HOST_NAME: usize = 64;

/// The longest path of a socket, in bytes.
const LONGEST_SOCKET: usize = 107;

/// The longest size of bytes, in characters.
const LONGEST_SIZE: usize = 21;

/// The largest number of a capability that a kernel could have.
const LARGEST_CAPABILITY: u32 = 63;

/// The largest VLAN of a bridge.
const LARGEST_BRIDGE_VLAN: u16 = 4094;

/// How many real-time signals there are behind the first.
const REALTIME_SIGNALS: u32 = 30;

/// The first LXC that sets a clock back by anything but seconds and nanoseconds.
const NEGATIVE_OFFSETS: LxcVersion = LxcVersion::new(6, 0, 0);

/// The first LXC that overlooks a minus where it overlooks what is no number.
const LAX_MINUS: LxcVersion = LxcVersion::new(7, 0, 0);

const SIGNALS: &str = "\
    HUP INT QUIT ILL ABRT FPE KILL SEGV PIPE ALRM TERM USR1 USR2 CHLD CONT STOP TSTP TTIN TTOU \
    TRAP IOT BUS STKFLT CLD URG XCPU XFSZ VTALRM PROF WINCH IO POLL PWR SYS";

const LOG_LEVELS: &str = "TRACE DEBUG INFO NOTICE WARN ERROR CRIT ALERT FATAL";

const FACILITIES: &str = "daemon local0 local1 local2 local3 local4 local5 local6 local7";

const NAMESPACES: &str = "user mnt pid uts ipc net cgroup time";

const CAPABILITIES: &str = "\
    chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap \
    linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner \
    sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice \
    sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap \
    mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf \
    checkpoint_restore";

const RESOURCES: &str = "\
    as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime \
    sigpending stack";

const AUTO_MOUNTS: &str = "\
    proc proc:mixed proc:rw sys sys:ro sys:mixed sys:rw cgroup2 cgroup2:ro cgroup2:force \
    cgroup2:ro:force cgroup cgroup:mixed cgroup:ro cgroup:rw cgroup:force cgroup:mixed:force \
    cgroup:ro:force cgroup:rw:force cgroup-full cgroup-full:mixed cgroup-full:ro \
    cgroup-full:rw cgroup-full:force cgroup-full:mixed:force cgroup-full:ro:force \
    cgroup-full:rw:force";

const ARCHITECTURES: &str = "\
    arm armel armhf armv7l athlon i386 i486 i586 i686 linux32 mips mipsel ppc powerpc x86 \
    aarch64 amd64 arm64 linux64 mips64 mips64el ppc64 ppc64el ppc64le powerpc64 riscv64 s390x \
    x86_64";

/// The architectures that LXC 4.0 does not know, and the version that brought each.
const LATER_ARCHITECTURES: &[(&str, LxcVersion)] = &[
    ("x32", LxcVersion::new(6, 0, 0)),
    ("loongarch64", LxcVersion::new(6, 0, 0)),
    // LXC itself has it since 6.0.5, Debian's 6.0.4 too.
    ("loong64", LxcVersion::new(6, 0, 0)),
];

impl Kind {
    /// Judges a value of `key`, which is of this kind. Where the version of LXC is not known, what one
    /// of them takes is taken.
    pub(crate) fn judge(self, key: &str, value: &str, lxc: &dyn InstalledLxc) -> Verdict {
        match self {
            Self::Architecture => refused_unless(is_architecture(value, lxc)),
            Self::Fstab => refused_unless(!value.is_empty() && is_path(value)),
            Self::SharedNamespace => {
                let name = key.rsplit('.').next().unwrap_or_default();
                refused_unless(is_in(NAMESPACES, name))
            }
            Self::Limit if value.is_empty() => Taken,
            Self::Limit if !is_limit(value, lxc) => Refused,
            Self::Limit => {
                let name = key.strip_prefix("lxc.prlimit.").unwrap_or(key);
                let numbered = || number::signed(name, lxc).is_some_and(|number| number >= 0);
                if is_in(RESOURCES, name) || numbered() { Taken } else { NotStarted }
            }
            _ if value.is_empty() => Taken,
            Self::LaxFlag => match number::unsigned(value, lxc) {
                Ok(number) => refused_unless(number <= 1),
                Err(slip) => overlooked(slip, lxc),
            },
            Self::LaxUnsigned => match number::unsigned(value, lxc) {
                Ok(_) => Taken,
                Err(slip) => overlooked(slip, lxc),
            },
            Self::DevSize => match number::signed(value, lxc) {
                Some(_) => Taken,
                None => Overlooked,
            },
            Self::MountEntry => {
                let fields = value.split_ascii_whitespace().count();
                let comment = value.trim_start().starts_with('#');
                if comment || fields == 0 || fields > 2 { Taken } else { NotStarted }
            }
            _ => refused_unless(self.takes(value, lxc)),
        }
    }

    /// Tells whether LXC loads a config with a value that is not empty.
    fn takes(self, value: &str, lxc: &dyn InstalledLxc) -> bool {
        match self {
            Self::Path => is_path(value),
            Self::Directory => value.len() <= LONGEST_NAME,
            Self::CgroupPath => !value.starts_with('/') && !value.contains("..") && is_path(value),
            Self::CgroupName => !value.contains('/') && !matches!(value, "." | ".."),
            Self::Flag => number::unsigned(value, lxc).is_ok_and(|number| number <= 1),
            Self::Unsigned => number::unsigned(value, lxc).is_ok(),
            Self::Signed => number::signed(value, lxc).is_some(),
            Self::ByteSize => value == "auto" || is_byte_size(value, lxc),
            Self::Signal => is_signal(value, lxc),
            Self::LogLevel if value.starts_with(|c: char| c.is_ascii_digit()) => {
                number::signed(value, lxc)
                    .and_then(|level| usize::try_from(level).ok())
                    .is_some_and(|level| level < words(LOG_LEVELS).count())
            }
            Self::LogLevel => among(LOG_LEVELS, value),
            Self::Facility => among(FACILITIES, value),
            Self::Groups => {
                let mut groups = value.split(',').filter(|group| !group.is_empty()).peekable();
                groups.peek().is_some() && groups.all(|group| number::unsigned(group, lxc).is_ok())
            }
            Self::HostName => value.len() <= LONGEST_HOST_NAME,
            Self::Dropped => words(value).all(|word| is_capability(word, lxc)),
            Self::Kept => words(value).all(|word| word == "none" || is_capability(word, lxc)),
            Self::AutoMounts => {
                words(value).all(|word| is_in(AUTO_MOUNTS, word) || word.starts_with("shmounts:"))
            }
            Self::Namespaces => words(value).all(|word| among(NAMESPACES, word)),
            Self::TimeOffset => is_time_offset(value, lxc),
            Self::Socket => value.strip_prefix("unix:").is_some_and(|path| {
                path.starts_with(['/', '@']) && (2..=LONGEST_SOCKET).contains(&path.len())
            }),
            Self::OneOf(listed) => is_in(listed, value),
            Self::Queues => number::signed(value, lxc).is_some_and(|queues| queues > 0),
            Self::Vlan => number::short(value, lxc).is_some(),
            Self::BridgeVlan => is_bridge_vlan(value, lxc),
            Self::BridgeVlanOrNone => value == "none" || is_bridge_vlan(value, lxc),
            Self::Ipv4Address => is_ipv4_address(value, lxc),
            Self::Ipv4Gateway => matches!(value, "auto" | "dev") || is_ipv4(value),
            Self::Ipv4Route => is_route(value, is_ipv4, 32, lxc),
            Self::Ipv6Address => match value.split_once('/') {
                Some((address, prefix)) => {
                    number::unsigned(prefix, lxc).is_ok() && is_ipv6(address)
                }
                None => is_ipv6(value),
            },
            Self::Ipv6Gateway => matches!(value, "auto" | "dev") || is_ipv6(value),
            Self::Ipv6Route => is_route(value, is_ipv6, 128, lxc),
            _ => true,
        }
    }

    /// Returns what to write, in words that go on from the key.
    pub(crate) fn wants(self) -> String {
        let listed = |before: &str, words: &str| format!("{before}: {}", words.replace(' ', ", "));
        match self {
            Self::Flag | Self::LaxFlag => "it is true or false, or 1 or 0",
            Self::Unsigned | Self::LaxUnsigned => "it is a number, 0 or more",
            Self::Signed => "it is a whole number",
            Self::DevSize | Self::Mtu => "it is a number of bytes",
            Self::ByteSize => {
                "it is a size as `64KB`, `1MB` or `1GB`, a number of bytes, or `auto`"
            }
            Self::Limit => {
                return listed("it is a limit, `SOFT:HARD` or `unlimited`, of", RESOURCES);
            }
            Self::Signal => "it is a signal as `SIGPWR`, `SIGRTMIN+3` or a number",
            Self::Architecture => return listed("it is one of", ARCHITECTURES),
            Self::LogLevel => return listed("it is one of", LOG_LEVELS),
            Self::Facility => return listed("it is one of", FACILITIES),
            Self::Groups => "it is numbers of groups, separated by commas",
            Self::HostName => "the name of a host has at most 64 bytes",
            Self::Dropped | Self::Kept => return listed("they are", CAPABILITIES),
            Self::AutoMounts => return listed("they are", AUTO_MOUNTS),
            Self::MountEntry => {
                "it is a line of an fstab: `SOURCE TARGET TYPE OPTIONS 0 0`, the target without a \
                 slash before it"
            }
            Self::Namespaces => return listed("they are", NAMESPACES),
            Self::SharedNamespace => return listed("the key ends in one of", NAMESPACES),
            Self::TimeOffset => "it is a number with `h`, `m`, `s`, `ms`, `us` or `ns` behind it",
            Self::Socket => "it is `unix:` and an absolute path",
            Self::OneOf(words) => return listed("it is one of", words),
            Self::Queues => "it is a number, 1 or more",
            Self::Vlan => "it is a number from 0 to 65535",
            Self::BridgeVlan => "it is a number from 0 to 4094",
            Self::BridgeVlanOrNone => "it is a number from 0 to 4094, or `none`",
            Self::HardwareAddress => {
                "it is six pairs of hexadecimal digits as `00:16:3e:xx:xx:xx`, where each `x` is \
                 drawn by lot"
            }
            Self::Ipv4Address => "it is an address with its network, as `10.0.3.7/24`",
            Self::Ipv4Gateway | Self::Ipv6Gateway => "it is an address, `auto` or `dev`",
            Self::Ipv4Route => "it is a network as `10.0.4.0/24`",
            Self::Ipv6Address => "it is an address with its network, as `fd00::7/64`",
            Self::Ipv6Route => "it is a network as `fd00:4::/64`",
            Self::CgroupPath => {
                "it is a path below the cgroups: without a slash before it, or `..`"
            }
            Self::CgroupName => "it is one name, without a slash",
            Self::Fstab => "it is a path of the host; leave it out to have none",
            Self::Path => "a path has at most 4095 bytes",
            Self::Directory => "it is a name of at most 255 bytes",
            Self::Environment => "it is `NAME=VALUE`",
            Self::Text => "it is any text",
        }
        .to_owned()
    }

    /// Tells whether the value is one of a network that the kernel has to make.
    pub(super) fn starts(self, value: &str, lxc: &dyn InstalledLxc) -> bool {
        match self {
            Self::Mtu => value.is_empty() || number::unsigned(value, lxc).is_ok(),
            Self::HardwareAddress => is_hardware_address(value),
            _ => true,
        }
    }
}

fn refused_unless(taken: bool) -> Verdict {
    if taken { Taken } else { Refused }
}

/// Returns what LXC makes of a slip where it looks at an error of the C library that not every slip
/// leaves behind.
fn overlooked(slip: Slip, lxc: &dyn InstalledLxc) -> Verdict {
    match slip {
        Slip::Overflow => Refused,
        Slip::Minus if !lxc.is_since(LAX_MINUS) => Refused,
        Slip::Minus | Slip::Other => Overlooked,
    }
}

/// Splits a value as LXC splits those with several words.
pub(super) fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split([' ', '\t']).filter(|word| !word.is_empty())
}

fn is_in(listed: &str, word: &str) -> bool {
    words(listed).any(|known| known == word)
}

/// Tells whether a word is listed, in whatever case.
fn among(listed: &str, word: &str) -> bool {
    words(listed).any(|known| known.eq_ignore_ascii_case(word))
}

/// Tells whether a path is short enough, as LXC writes it: without what is doubled in it.
fn is_path(value: &str) -> bool {
    let names = value.split('/').filter(|name| !name.is_empty() && *name != ".");
    names.map(|name| name.len() + 1).sum::<usize>()
        <= LONGEST_PATH + usize::from(!value.starts_with('/'))
}

fn is_architecture(value: &str, lxc: &dyn InstalledLxc) -> bool {
    let later = LATER_ARCHITECTURES.iter().find(|(name, _)| *name == value);
    is_in(ARCHITECTURES, value) || later.is_some_and(|(_, since)| lxc.is_since(*since))
}

fn is_capability(word: &str, lxc: &dyn InstalledLxc) -> bool {
    is_in(CAPABILITIES, word)
        || number::unsigned(word, lxc).is_ok_and(|number| number <= LARGEST_CAPABILITY)
}

fn is_signal(value: &str, lxc: &dyn InstalledLxc) -> bool {
    let number = |text: &str| number::unsigned(text, lxc).ok();
    if value.starts_with(|c: char| c.is_ascii_digit()) {
        return number(value).is_some_and(|number| i32::try_from(number).is_ok());
    }
    let Some(name) = without_prefix(value, "sig") else { return false };
    let Some(realtime) = without_prefix(name, "rt") else { return among(SIGNALS, name) };
    let offset = without_prefix(realtime, "max-").or_else(|| without_prefix(realtime, "min+"));
    offset.is_some_and(|offset| {
        offset.starts_with(|c: char| c.is_ascii_digit())
            && number(offset).is_some_and(|number| number <= REALTIME_SIGNALS)
    })
}

/// Strips a prefix of ASCII, in whatever case.
fn without_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (begin, rest) = text.split_at_checked(prefix.len())?;
    begin.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn is_byte_size(value: &str, lxc: &dyn InstalledLxc) -> bool {
    let letters = value.bytes().rev().take(2).take_while(u8::is_ascii_alphabetic).count();
    let (number, suffix) = value.split_at(value.len() - letters);
    let ends_well = letters > 0 || value.ends_with(|c: char| c.is_ascii_digit());
    // A single letter is overlooked, whichever it is.
    let factor = match suffix.to_ascii_uppercase().as_str() {
        "KB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ if letters < 2 => 1,
        _ => return false,
    };
    let size = scan(number.trim_end_matches(' '), None, lxc)
        .filter(|scanned| scanned.rest.is_empty())
        .and_then(|scanned| i64::try_from(scanned.signed()).ok())
        .and_then(|size| size.checked_mul(factor));
    value.len() <= LONGEST_SIZE && ends_well && size.is_some_and(|size| size >= 0)
}

/// Strips a limit, and what is around it. LXC reads no digits at all as 0.
fn without_limit<'a>(value: &'a str, lxc: &dyn InstalledLxc) -> Option<&'a str> {
    let rest = match value.strip_prefix("unlimited") {
        Some(rest) => rest,
        None => match scan(value, Some(10), lxc) {
            Some(scanned) => scanned.wrapped().map(|_| scanned.rest)?,
            None => value,
        },
    };
    Some(rest.trim_start_matches(' '))
}

fn is_limit(value: &str, lxc: &dyn InstalledLxc) -> bool {
    let Some(rest) = without_limit(value, lxc) else { return false };
    match rest.strip_prefix(':').map(|hard| hard.trim_start_matches(' ')) {
        None | Some("") => rest.is_empty() || rest.starts_with(':'),
        Some(hard) => without_limit(hard, lxc) == Some(""),
    }
}

fn is_time_offset(value: &str, lxc: &dyn InstalledLxc) -> bool {
    let Some(scanned) = scan(value, Some(10), lxc) else { return false };
    let factor = match scanned.rest {
        rest if rest.len() > 2 => return false,
        rest => match rest.trim_matches(' ') {
            "h" => 3600,
            "m" => 60,
            "ms" => 1_000_000,
            "us" => 1000,
            "s" | "ns" => 1,
            _ => return false,
        },
    };
    // What is too small is read as the smallest.
    let Ok(offset) = i64::try_from(scanned.signed().max(i64::MIN.into())) else { return false };
    let back = factor == 1 || offset >= 0 || lxc.is_since(NEGATIVE_OFFSETS);
    back && offset.checked_mul(factor).is_some()
}

fn is_bridge_vlan(value: &str, lxc: &dyn InstalledLxc) -> bool {
    number::short(value, lxc).is_some_and(|vlan| vlan <= LARGEST_BRIDGE_VLAN)
}

/// Tells whether a value is an address that LXC gives to a device.
fn is_hardware_address(value: &str) -> bool {
    let drawn = value.replace(['x', 'X'], "0");
    let mut rest = drawn.bytes().peekable();
    let hexadecimal = |byte: u8| byte.is_ascii_hexdigit();
    for _ in 0..6 {
        match rest.next() {
            None => break,
            Some(first) if !hexadecimal(first) => return false,
            Some(_) => {}
        }
        match rest.next() {
            Some(second) if second != b':' && !hexadecimal(second) => return false,
            _ => {}
        }
        rest.next_if_eq(&b':');
    }
    true
}

fn is_ipv4(address: &str) -> bool {
    address.parse::<Ipv4Addr>().is_ok()
}

fn is_ipv6(address: &str) -> bool {
    address.parse::<Ipv6Addr>().is_ok()
}

/// Tells whether a value is an address, with its network and the one for all of it where they stand
/// behind it.
fn is_ipv4_address(value: &str, lxc: &dyn InstalledLxc) -> bool {
    let (network, broadcast) = match value.split_once(' ') {
        Some((network, broadcast)) => (network, Some(broadcast)),
        None => (value, None),
    };
    let (address, prefix) = match network.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (network, None),
    };
    is_ipv4(address)
        && broadcast.is_none_or(is_ipv4)
        && prefix.is_none_or(|prefix| number::unsigned(prefix, lxc).is_ok_and(|bits| bits <= 32))
}

fn is_route(value: &str, address: fn(&str) -> bool, bits: u32, lxc: &dyn InstalledLxc) -> bool {
    value.split_once('/').is_some_and(|(network, prefix)| {
        number::unsigned(prefix, lxc).is_ok_and(|prefix| prefix <= bits) && address(network)
    })
}
