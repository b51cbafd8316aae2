//! What starting a container needs of the host besides the kernel: cgroups, a network, `AppArmor`.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statfs};

use super::finding::{Finding, Verdict, fault, ok};
use super::remedy::install;
use crate::host::caller::Caller;
use crate::host::{account, files, lxc_version, lxcpath, program};
use crate::lxc::LxcVersion;
use crate::lxc::config::LARGEST;
use crate::shell;

/// Where cgroups are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The number of the filesystem of cgroups, version 2. Source: `CGROUP2_SUPER_MAGIC` in `linux/magic.h`.
const UNIFIED: u64 = 0x6367_7270;

/// How cgroups are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Version 2 alone.
    Unified,
    /// Version 1, and perhaps 2 beside it.
    Legacy,
    /// There are none.
    None,
}

/// Looks at all of it. Without LXC nothing is started here.
pub(super) fn examine(caller: &Caller) -> Vec<Finding> {
    if program::find("lxc-start").is_none() {
        return Vec::new();
    }
    let layout = layout(Path::new(CGROUPS));
    let mut findings = vec![cgroups(layout, lxc_version::installed())];
    if layout == Layout::Unified && caller.uid != 0 {
        findings.extend(delegation());
    }
    let config = lxcpath::default_config(caller)
        .and_then(|path| files::read_regular(&path, LARGEST).ok())
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .unwrap_or_default();
    findings.extend(bridges(&config, Path::new("/sys/class/net")));
    if caller.uid != 0 {
        findings.extend(links(&config, caller.uid));
    }
    findings.extend(apparmor(&config));
    findings
}

fn layout(at: &Path) -> Layout {
    let kind = statfs(at).map(|found| u64::try_from(found.f_type).unwrap_or_default());
    let is_empty = || fs::read_dir(at).map_or(true, |mut entries| entries.next().is_none());
    match kind {
        Ok(UNIFIED) => Layout::Unified,
        Ok(_) if !is_empty() => Layout::Legacy,
        _ => Layout::None,
    }
}

/// Judges the layout of cgroups by the LXC that is installed.
fn cgroups(layout: Layout, version: Option<LxcVersion>) -> Finding {
    let wants_unified = version.is_some_and(|version| version >= LxcVersion::NO_CGROUP1);
    match layout {
        Layout::Unified => ok("cgroups", "version 2 alone, which every LXC takes"),
        Layout::Legacy if wants_unified => fault(
            Verdict::Bad,
            "cgroups",
            "version 1 is mounted, and LXC 7 starts containers on version 2 alone",
            "boot with `systemd.unified_cgroup_hierarchy=1`, or without systemd: \
             `umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup`",
        ),
        Layout::Legacy => Finding {
            verdict: Verdict::Note,
            advice: Some(
                "for these and for LXC 7, boot with `systemd.unified_cgroup_hierarchy=1`"
                    .to_owned(),
            ),
            ..ok(
                "cgroups",
                "version 1 is mounted: a rootfs with systemd 256 or later does not boot",
            )
        },
        Layout::None => fault(
            Verdict::Warn,
            "cgroups",
            "none are mounted: containers do not start",
            "`mount -t cgroup2 cgroup2 /sys/fs/cgroup`",
        ),
    }
}

/// Tells whether an ordinary user may make cgroups where this process is.
fn delegation() -> Option<Finding> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    access(Path::new(CGROUPS).join(own), Access::WRITE_OK).is_err().then(|| Finding {
        verdict: Verdict::Note,
        advice: Some(
            "`systemd-run --user --scope -p Delegate=yes -- lxc-start -n NAME` starts one with a \
             cgroup of its own"
                .to_owned(),
        ),
        ..ok("cgroups", "none are delegated to this session: limits of your containers do not hold")
    })
}

/// Returns the bridges that containers are connected to.
fn linked(config: &str) -> Vec<&str> {
    let lines = config.lines().filter_map(|line| line.split_once('='));
    let links = lines.filter(|(key, _)| {
        let key = key.trim();
        key.starts_with("lxc.net.") && key.rsplit('.').next() == Some("link")
    });
    let mut links: Vec<_> =
        links.map(|(_, value)| value.trim()).filter(|v| !v.is_empty()).collect();
    links.sort_unstable();
    links.dedup();
    links
}

/// Looks for the interfaces that containers are connected to.
fn bridges(config: &str, interfaces: &Path) -> Vec<Finding> {
    let links = linked(config);
    let judged = links.iter().map(|link| {
        let shown = shell::word(link);
        if !link.contains('/') && interfaces.join(link).exists() {
            return ok("bridge", format!("{shown} is there"));
        }
        let advice = match *link {
            "lxcbr0" => {
                "`systemctl start lxc-net` makes it, as `/usr/libexec/lxc/lxc-net start` does \
                         without systemd; or leave the network out: `lxc.net.0.type = empty`"
                    .to_owned()
            }
            _ => {
                format!("`ip link add name {shown} type bridge && ip link set {shown} up` makes it")
            }
        };
        let says = format!("default.conf connects containers to {shown}, which is not there");
        fault(Verdict::Warn, "bridge", says, advice)
    });
    judged.collect()
}

/// Looks whether a user may connect containers to the bridges.
fn links(config: &str, uid: u32) -> Vec<Finding> {
    const ALLOWED: &str = "/etc/lxc/lxc-usernet";
    let user = account::user_name(uid).unwrap_or_else(|| uid.to_string());
    let allowed = fs::read_to_string(ALLOWED).unwrap_or_default();
    let is_allowed = |link: &&str| {
        allowed.lines().any(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            matches!(words[..], [who, "veth", bridge, _] if bridge == *link && (who == user || who.starts_with('@')))
        })
    };
    let refused = linked(config).into_iter().filter(|link| !is_allowed(link));
    let told = refused.map(|link| {
        let says = format!("{ALLOWED} lets this user connect nothing to {}", shell::word(link));
        let line = format!("{user} veth {link} 10");
        let advice = format!("as root: echo {} >>{ALLOWED}", shell::word(&line));
        fault(Verdict::Warn, "bridge", says, advice)
    });
    told.collect()
}

/// Looks at what confines containers, where the kernel has `AppArmor`.
fn apparmor(config: &str) -> Option<Finding> {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").ok()?;
    if enabled.trim() != "Y" {
        return None;
    }
    let wants_generated = config
        .lines()
        .filter_map(|line| line.split_once('='))
        .any(|(key, value)| key.trim() == "lxc.apparmor.profile" && value.trim() == "generated");
    let sbin = ["/sbin", "/usr/sbin"].map(|at| PathBuf::from(at).join("apparmor_parser"));
    if wants_generated && !sbin.iter().any(|path| path.exists()) {
        let says = "default.conf wants generated profiles, and there is no `apparmor_parser`";
        return Some(fault(Verdict::Warn, "AppArmor", says, install(&["apparmor"])));
    }
    // Root alone may read it.
    let Ok(loaded) = fs::read_to_string("/sys/kernel/security/apparmor/profiles") else {
        return Some(ok("AppArmor", "is enabled"));
    };
    if loaded.lines().any(|line| line.starts_with("lxc-container-default")) {
        return Some(ok("AppArmor", "is enabled, and has the profiles of LXC"));
    }
    let says = "is enabled, and LXC's profiles are not loaded: containers do not start";
    let advice = "`apparmor_parser -r /etc/apparmor.d/lxc-containers` loads them";
    Some(fault(Verdict::Warn, "AppArmor", says, advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_judged_by_the_installed_lxc() {
        let [six, seven] = [LxcVersion::new(6, 0, 4), LxcVersion::new(7, 0, 0)].map(Some);
        for (layout, version, verdict) in [
            (Layout::Unified, seven, Verdict::Ok),
            (Layout::Legacy, seven, Verdict::Bad),
            (Layout::Legacy, six, Verdict::Note),
            (Layout::Legacy, None, Verdict::Note),
            (Layout::None, six, Verdict::Warn),
        ] {
            let found = cgroups(layout, version);
            assert_eq!(found.verdict, verdict, "{layout:?} {version:?}");
            assert_eq!(found.advice.is_some(), verdict != Verdict::Ok);
        }
        let place = tempfile::tempdir().unwrap();
        assert_eq!(layout(place.path()), Layout::None);
        fs::create_dir(place.path().join("memory")).unwrap();
        assert_eq!(layout(place.path()), Layout::Legacy);
        assert_eq!(layout(&place.path().join("nowhere")), Layout::None);
    }

    #[test]
    fn a_bridge_that_is_missing_is_told_with_the_line_that_makes_it() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("br0")).unwrap();
        let config =
            "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.1.link=br1\nlxc.net.2.link =\n";
        let found = bridges(config, place.path());
        let verdicts: Vec<_> = found.iter().map(|finding| finding.verdict).collect();
        assert_eq!(verdicts, [Verdict::Ok, Verdict::Warn]);
        assert!(found[1].advice.as_deref().unwrap().contains("ip link add name br1 type bridge"));
        assert!(bridges("lxc.net.0.type = empty\n", place.path()).is_empty());
    }
}
