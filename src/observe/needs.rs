//! What upstream templates need of the host.
//!
//! Some of them go on without it: `lxc-debian` writes sources that do not exist without
//! `debian-distro-info`, and checks no signature without a keyring. Source: the templates of
//! LXC 5.0.2 and of lxc-templates 3.0.4.

use std::path::Path;

use super::finding::{Finding, Verdict};
use super::remedy::install;
use crate::host::{program, template};
use crate::lxc::upstream;

/// Something that a template looks for on the host.
struct Need {
    /// A program, or the absolute path of a file.
    what: &'static str,
    /// The package of Debian that has it.
    package: &'static str,
}

const fn need(what: &'static str, package: &'static str) -> Need {
    Need { what, package }
}

const DEBOOTSTRAP: Need = need("debootstrap", "debootstrap");

/// The templates, with what each of them needs.
const TEMPLATES: [(&str, &[Need]); 7] = [
    (
        "lxc-debian",
        &[
            DEBOOTSTRAP,
            need("debian-distro-info", "distro-info"),
            need("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
        ],
    ),
    ("lxc-devuan", &[DEBOOTSTRAP]),
    ("lxc-download", &[need("tar", "tar"), need("xz", "xz-utils"), need("wget", "wget")]),
    ("lxc-kali", &[DEBOOTSTRAP]),
    ("lxc-local", &[need("tar", "tar"), need("xz", "xz-utils")]),
    ("lxc-oci", &[need("skopeo", "skopeo"), need("umoci", "umoci"), need("jq", "jq")]),
    ("lxc-ubuntu", &[DEBOOTSTRAP]),
];

/// Tells, of each installed template, what it misses on this host.
pub(super) fn missed() -> Vec<Finding> {
    let is_there = |need: &Need| match need.what.starts_with('/') {
        true => Path::new(need.what).exists(),
        false => program::find_in(upstream::path().as_ref(), need.what).is_some(),
    };
    let installed = template::names();
    let known = TEMPLATES.iter().filter(|(name, _)| {
        installed.iter().any(|installed| name.strip_prefix("lxc-") == Some(installed))
    });
    known.filter_map(|(name, needs)| missing(name, needs, is_there)).collect()
}

/// Tells what is missing for one template; `None` if all is there.
fn missing(
    name: &'static str,
    needs: &[Need],
    is_there: impl Fn(&Need) -> bool,
) -> Option<Finding> {
    let missing: Vec<_> = needs.iter().filter(|need| !is_there(need)).collect();
    let list =
        || missing.iter().map(|need| format!("`{}`", need.what)).collect::<Vec<_>>().join(", ");
    (!missing.is_empty()).then(|| Finding {
        verdict: Verdict::Note,
        subject: name,
        says: format!("needs {}", list()),
        advice: Some(install(&packages(&missing))),
    })
}

/// Returns the packages that have what is missing, each once.
fn packages(missing: &[&Need]) -> Vec<&'static str> {
    let mut packages: Vec<_> = missing.iter().map(|need| need.package).collect();
    packages.dedup();
    packages
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_missing_is_told_with_its_package() {
        let (name, needs) = &TEMPLATES[0];
        assert!(missing(name, needs, |_| true).is_none());
        let told = missing(name, needs, |need| need.what == "debootstrap").unwrap();
        assert_eq!(told.verdict, Verdict::Note);
        assert_eq!(
            told.says,
            "needs `debian-distro-info`, `/usr/share/keyrings/debian-archive-keyring.gpg`"
        );
        let advice = told.advice.unwrap();
        let packages = ["distro-info", "debian-archive-keyring"];
        assert!(packages.iter().all(|package| advice.contains(package)), "{advice}");
    }

    #[test]
    fn the_installed_templates_speak_of_what_they_need() {
        for (name, needs) in &TEMPLATES {
            let Ok(path) = template::find(name.trim_start_matches("lxc-")) else { continue };
            let text = fs::read_to_string(path).unwrap();
            for need in *needs {
                assert!(text.contains(need.what), "{name}: {}", need.what);
            }
        }
    }
}
