//! The template call: the arguments that LXC hands a template, and the program's own among them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::Serialize;
use thiserror::Error;

use crate::shell;

/// The words that say a template is called, rather than a subcommand of the program.
pub const MARKS: [&str; 3] = ["--path", "--name", "--rootfs"];

/// The long options that are the program's own, wherever a manifest has a variable of that name.
pub(super) const OWN: [&str; 17] = [
    "path",
    "name",
    "rootfs",
    "mapped-uid",
    "mapped-gid",
    "manifest",
    "set",
    "vars-file",
    "storage",
    "rebuild",
    "from",
    "only-pull",
    "locked",
    "keep-failed",
    "allow-untrusted",
    "log-format",
    "help",
];

/// What LXC tells a template of the container that it makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateCall {
    /// The container's directory: `<lxcpath>/<name>`.
    pub path: PathBuf,
    /// The container's name.
    pub name: String,
    /// The directory to fill; not always `<path>/rootfs`.
    pub rootfs: PathBuf,
    /// The ids inside the user namespace that stand for the caller.
    pub mapped: Option<Mapped>,
    /// The user's own arguments, for the upstream.
    pub args: Vec<OsString>,
}

/// The ids inside the user namespace that stand for the caller, where there is an id map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Mapped {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// A template's command line, sorted out. What LXC always gives may be missing: `lxc-create -h`
/// calls the template with `-h` alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Arguments {
    /// `--path`.
    pub path: Option<OsString>,
    /// `--name`.
    pub name: Option<OsString>,
    /// `--rootfs`.
    pub rootfs: Option<OsString>,
    /// `--mapped-uid` and `--mapped-gid`.
    pub mapped: Option<Mapped>,
    /// `--manifest`, or the first word of the user's; nothing, where a manifest is the template.
    pub manifest: Option<PathBuf>,
    /// `--set`, each as `name=value`, in order.
    pub set: Vec<String>,
    /// `--vars-file`, in order.
    pub vars_files: Vec<PathBuf>,
    /// `--storage`.
    pub storage: Option<String>,
    /// `--rebuild`.
    pub rebuild: bool,
    /// `--from`.
    pub from: Option<String>,
    /// `--only-pull`.
    pub only_pull: bool,
    /// `--locked`.
    pub locked: bool,
    /// `--keep-failed`.
    pub keep_failed: bool,
    /// `--allow-untrusted`.
    pub allow_untrusted: bool,
    /// `--log-format`.
    pub log_format: Option<String>,
    /// The rest, for the upstream, in order and byte for byte.
    pub rest: Vec<OsString>,
}

/// A variable that is an option: of a manifest that is a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableOption {
    /// The variable's name; in the option each `_` may be a `-`.
    pub name: String,
    /// Whether the option alone says `true`.
    pub is_flag: bool,
}

/// A template's command line that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// An option that wants a value stands at the end.
    #[error("`{0}` wants a value")]
    NoValue(&'static str),
    /// The same of an option for a variable.
    #[error("`{0}` wants a value")]
    NoVariableValue(String),
    /// The value of a variable is no text.
    #[error("the value {} is not UTF-8", shell::word(.0))]
    NotText(OsString),
    /// An option stands twice.
    #[error("`{0}` is given twice")]
    Twice(&'static str),
    /// An argument holds a control character.
    #[error(
        "the argument {} holds a control character; LXC prints arguments raw into the \
         container's config, where a line feed starts a live line", shell::word(.0)
    )]
    Control(OsString),
    /// One of the three that LXC always gives is missing.
    #[error(
        "`{0}` is missing: as a template the program is called by `lxc-create`, with --path, \
         --name and --rootfs; `layered-template create` makes a container without LXC"
    )]
    Missing(&'static str),
    /// One of the three cannot be what it says.
    #[error("`{0}` cannot be `{1}`: {2}")]
    Unfit(&'static str, String, &'static str),
}

impl Arguments {
    /// Sorts out the words of a template's command line, the program's name not among them.
    pub fn parse(words: &[OsString]) -> Result<Self, CallError> {
        let mut parsed = Self::sort(words, &[])?;
        let positional = parsed.rest.first().is_some_and(|word| !word.as_bytes().starts_with(b"-"));
        if parsed.manifest.is_none() && positional {
            parsed.manifest = Some(parsed.rest.remove(0).into());
        }
        Ok(parsed)
    }

    /// Likewise, where a manifest is the template: its variables are options too.
    pub fn parse_for_role(
        words: &[OsString],
        variables: &[VariableOption],
    ) -> Result<Self, CallError> {
        let parsed = Self::sort(words, variables)?;
        match parsed.manifest {
            None => Ok(parsed),
            Some(other) => {
                let reason = "a manifest is the template already";
                Err(CallError::Unfit("--manifest", shell::word(&other), reason))
            }
        }
    }

    fn sort(words: &[OsString], variables: &[VariableOption]) -> Result<Self, CallError> {
        if let Some(word) = words.iter().find(|word| shell::has_control(word)) {
            return Err(CallError::Control(word.clone()));
        }
        let mut parsed = Self::default();
        // LXC puts the pair at the very end, even behind a user's `--` or an option that would
        // swallow it, so it goes before anything else is looked at.
        let words = match mapped_pair_at_end(words) {
            Some((mapped, rest)) => {
                parsed.mapped = Some(mapped);
                rest
            }
            None => words,
        };
        let mut words = words.iter();
        let (mut uid, mut gid) = (None, None);
        while let Some(word) = words.next() {
            if word == "--" {
                parsed.rest.push(word.clone());
                break;
            }
            if word == "--keep-failed" {
                parsed.keep_failed = true;
                continue;
            }
            if word == "--allow-untrusted" {
                parsed.allow_untrusted = true;
                continue;
            }
            if word == "--rebuild" {
                parsed.rebuild = true;
                continue;
            }
            if word == "--only-pull" {
                parsed.only_pull = true;
                continue;
            }
            if word == "--locked" {
                parsed.locked = true;
                continue;
            }
            let mut take = |name: &'static str| match option(word, name) {
                None => Ok(None),
                Some(Spelling::Joined(value)) => Ok(Some(value)),
                Some(Spelling::Apart) => {
                    words.next().cloned().ok_or(CallError::NoValue(name)).map(Some)
                }
            };
            if let Some(value) = take("--path")? {
                once("--path", &mut parsed.path, value)?;
            } else if let Some(value) = take("--name")? {
                once("--name", &mut parsed.name, value)?;
            } else if let Some(value) = take("--rootfs")? {
                once("--rootfs", &mut parsed.rootfs, value)?;
            } else if let Some(value) = take("--mapped-uid")? {
                once("--mapped-uid", &mut uid, number("--mapped-uid", &value)?)?;
            } else if let Some(value) = take("--mapped-gid")? {
                once("--mapped-gid", &mut gid, number("--mapped-gid", &value)?)?;
            } else if let Some(value) = take("--manifest")? {
                if value.is_empty() {
                    let reason = "it names no file; write `--manifest ROLE.toml`";
                    return Err(CallError::Unfit("--manifest", shell::word(&value), reason));
                }
                once("--manifest", &mut parsed.manifest, value.into())?;
            } else if let Some(value) = take("--set")? {
                let reason = "it is not UTF-8";
                let unfit = |word| CallError::Unfit("--set", shell::word(word), reason);
                parsed.set.push(value.into_string().map_err(unfit)?);
            } else if let Some(value) = take("--vars-file")? {
                parsed.vars_files.push(value.into());
            } else if let Some(value) = take("--from")? {
                let reason = "it is not UTF-8";
                let unfit = |word| CallError::Unfit("--from", shell::word(word), reason);
                once("--from", &mut parsed.from, value.into_string().map_err(unfit)?)?;
            } else if let Some(value) = take("--storage")? {
                let text = value.to_string_lossy().into_owned();
                if !["copy", "overlay", "none"].contains(&text.as_str()) {
                    let reason = "it is `copy`, `overlay` or `none`";
                    return Err(CallError::Unfit("--storage", shell::word(&value), reason));
                }
                once("--storage", &mut parsed.storage, text)?;
            } else if let Some(value) = take("--log-format")? {
                let text = value.to_string_lossy().into_owned();
                if !["text", "json"].contains(&text.as_str()) {
                    let reason = "it is `text` or `json`";
                    return Err(CallError::Unfit("--log-format", shell::word(&value), reason));
                }
                once("--log-format", &mut parsed.log_format, text)?;
            } else if let Some((variable, spelling)) = variable(word, variables) {
                let value = match spelling {
                    Spelling::Joined(value) => value,
                    Spelling::Apart if variable.is_flag => "true".into(),
                    Spelling::Apart => {
                        let missing = || CallError::NoVariableValue(shell::word(word));
                        words.next().cloned().ok_or_else(missing)?
                    }
                };
                let value = value.into_string().map_err(CallError::NotText)?;
                parsed.set.push(format!("{}={value}", variable.name));
            } else {
                parsed.rest.push(word.clone());
            }
        }
        parsed.rest.extend(words.cloned());
        parsed.mapped = parsed.mapped.or(match (uid, gid) {
            (Some(uid), Some(gid)) => Some(Mapped { uid, gid }),
            (None, None) => None,
            (Some(_), None) => return Err(CallError::Missing("--mapped-gid")),
            (None, Some(_)) => return Err(CallError::Missing("--mapped-uid")),
        });
        Ok(parsed)
    }

    /// Tells whether LXC has called: it always gives one of the three that say of which container.
    pub fn is_of_lxc(&self) -> bool {
        self.path.is_some() || self.name.is_some() || self.rootfs.is_some()
    }

    /// Returns the call, where all that a run needs is there.
    ///
    /// Upstreams remove what they think is theirs when they are interrupted, so a path that names
    /// more than one container's directory is refused.
    pub fn call(&self) -> Result<TemplateCall, CallError> {
        let path = PathBuf::from(self.path.clone().ok_or(CallError::Missing("--path"))?);
        let name = self.name.clone().ok_or(CallError::Missing("--name"))?;
        let rootfs = PathBuf::from(self.rootfs.clone().ok_or(CallError::Missing("--rootfs"))?);
        for (option, path) in [("--path", &path), ("--rootfs", &rootfs)] {
            let unfit = |reason| CallError::Unfit(option, shell::word(path), reason);
            if !path.is_absolute() {
                return Err(unfit("it is not absolute"));
            }
            if path.components().any(|part| part == std::path::Component::ParentDir) {
                return Err(unfit("it holds `..`"));
            }
            if path.components().count() < 3 {
                return Err(unfit("it is no directory of a single container"));
            }
        }
        let unfit = |reason| CallError::Unfit("--name", shell::word(&name), reason);
        let text = name.to_str().ok_or_else(|| unfit("a container's name is UTF-8"))?;
        if !is_container_name(text) {
            return Err(unfit(
                "a container's name has 1 to 255 bytes, and none of them is a slash or a control \
                 character",
            ));
        }
        Ok(TemplateCall {
            path,
            name: text.to_owned(),
            rootfs,
            mapped: self.mapped,
            args: self.rest.clone(),
        })
    }
}

/// Tells whether `name` can be the name of a container's directory.
pub fn is_container_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.contains('/')
        && ![".", ".."].contains(&name)
        && !shell::has_control(name)
}

/// Returns the mapped pair that LXC appends as four words, and the words before it.
fn mapped_pair_at_end(words: &[OsString]) -> Option<(Mapped, &[OsString])> {
    let (rest, tail) = words.split_at_checked(words.len().checked_sub(4)?)?;
    let [uid_option, uid, gid_option, gid] = tail else { return None };
    if uid_option != "--mapped-uid" || gid_option != "--mapped-gid" {
        return None;
    }
    let mapped = Mapped { uid: uid.to_str()?.parse().ok()?, gid: gid.to_str()?.parse().ok()? };
    Some((mapped, rest))
}

/// How a word gives an option.
enum Spelling {
    /// `--x`: the value is the next word.
    Apart,
    /// `--x=v`.
    Joined(OsString),
}

/// Tells whether `word` is the long option `name`, and how.
fn option(word: &OsStr, name: &str) -> Option<Spelling> {
    let rest = word.as_bytes().strip_prefix(name.as_bytes())?;
    match rest.split_first() {
        None => Some(Spelling::Apart),
        Some((b'=', value)) => Some(Spelling::Joined(OsString::from_vec(value.to_vec()))),
        Some(_) => None,
    }
}

/// Returns the option that sets a variable; `None` where the program has that for itself.
pub fn option_of(variable: &str) -> Option<String> {
    let name = variable.replace('_', "-");
    (!OWN.contains(&name.as_str())).then(|| format!("--{name}"))
}

/// Returns the variable that `word` is the option of.
fn variable<'a>(
    word: &OsStr,
    variables: &'a [VariableOption],
) -> Option<(&'a VariableOption, Spelling)> {
    let text = word.as_bytes().strip_prefix(b"--")?;
    let end = memchr::memchr(b'=', text).unwrap_or(text.len());
    if OWN.iter().any(|own| own.as_bytes() == &text[..end]) {
        return None;
    }
    let is_named = |variable: &&VariableOption| {
        let plain = text[..end].iter().map(|byte| if *byte == b'-' { b'_' } else { *byte });
        plain.eq(variable.name.bytes())
    };
    let variable = variables.iter().find(is_named)?;
    let spelling = match text.get(end + 1..) {
        None => Spelling::Apart,
        Some(value) => Spelling::Joined(OsString::from_vec(value.to_vec())),
    };
    Some((variable, spelling))
}

/// Tells whether the words for a template let root take files that others could have written: that has to
/// be known before the manifest is read which says what its options are.
pub fn allows_untrusted(words: &[OsString]) -> bool {
    words.iter().take_while(|word| *word != "--").any(|word| word == "--allow-untrusted")
}

fn once<T>(name: &'static str, place: &mut Option<T>, value: T) -> Result<(), CallError> {
    if place.replace(value).is_some() {
        return Err(CallError::Twice(name));
    }
    Ok(())
}

fn number(name: &'static str, value: &OsStr) -> Result<u32, CallError> {
    let parsed = value.to_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| CallError::Unfit(name, shell::word(value), "it is not a number"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn parse(line: &str) -> Result<Arguments, CallError> {
        Arguments::parse(&words(line))
    }

    const THREE: &str = "--path=/l/c --name=c --rootfs=/l/c/rootfs";

    #[test]
    fn the_pair_is_found_where_lxc_puts_it() {
        let pair = Some(Mapped { uid: 65536, gid: 65537 });
        let tail = "--mapped-uid 65536 --mapped-gid 65537";
        for (line, rest) in [
            (format!("{THREE} --manifest m {tail}"), ""),
            (format!("{THREE} --manifest=m -- -x -- foo {tail}"), "-- -x -- foo"),
            (format!("{THREE} --manifest m --release {tail}"), "--release"),
            (format!("{THREE} {tail} --manifest m -r x"), "-r x"),
            (format!("{THREE} --mapped-uid=65536 --mapped-gid=65537 m -r x"), "-r x"),
        ] {
            let parsed = parse(&line).unwrap();
            assert_eq!(parsed.mapped, pair, "{line}");
            assert_eq!(parsed.manifest, Some("m".into()), "{line}");
            assert_eq!(parsed.rest, words(rest), "{line}");
        }
    }

    #[test]
    fn own_options_end_at_the_first_double_dash() {
        let parsed = parse(&format!("{THREE} host.toml -- --manifest x --keep-failed")).unwrap();
        assert_eq!(parsed.manifest, Some("host.toml".into()));
        assert_eq!(parsed.rest, words("-- --manifest x --keep-failed"));
        assert!(!parsed.keep_failed);
    }

    #[test]
    fn values_for_variables_keep_their_order() {
        let line = "--set a=1 m --set=b=2 --vars-file x --vars-file=y -- --set c=3";
        let parsed = parse(&format!("{THREE} {line}")).unwrap();
        assert_eq!(parsed.set, ["a=1", "b=2"]);
        assert_eq!(parsed.vars_files, [PathBuf::from("x"), PathBuf::from("y")]);
        assert_eq!(parsed.rest, words("-- --set c=3"));
    }

    #[test]
    fn the_variables_of_a_role_are_options_too() {
        let option = |name: &str, is_flag| VariableOption { name: name.into(), is_flag };
        let variables =
            [option("release", false), option("http_port", false), option("debug", true)];
        let parse =
            |line: &str| Arguments::parse_for_role(&words(&format!("{THREE} {line}")), &variables);
        for (line, set, rest) in [
            ("--release trixie", &["release=trixie"][..], ""),
            ("--release=a=b --release b", &["release=a=b", "release=b"], ""),
            ("--http-port 1 --http_port=2", &["http_port=1", "http_port=2"], ""),
            ("--debug x --debug=false", &["debug=true", "debug=false"], "x"),
            ("--set a=1 --release --debug", &["a=1", "release=--debug"], ""),
            ("--releases x -- --release y", &[], "--releases x -- --release y"),
            ("web.toml --arch amd64", &[], "web.toml --arch amd64"),
        ] {
            let parsed = parse(line).unwrap();
            assert_eq!(parsed.set, set, "{line}");
            assert_eq!(parsed.rest, words(rest), "{line}");
            assert_eq!(parsed.manifest, None, "{line}");
        }
        let missing = CallError::NoVariableValue("--http_port".into());
        assert_eq!(parse("--http_port"), Err(missing));
        assert!(parse("--manifest other.toml").is_err());
        // The program's own options come first.
        let own = [option("storage", false), option("help", true)];
        let parsed = Arguments::parse_for_role(&words("--storage none --help"), &own).unwrap();
        assert_eq!((parsed.storage.as_deref(), parsed.set.len()), (Some("none"), 0));
        assert_eq!(parsed.rest, words("--help"));
        assert_eq!((option_of("storage"), option_of("a_b")), (None, Some("--a-b".to_owned())));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let table = [
            ("--manifest", CallError::NoValue("--manifest")),
            ("--manifest a --manifest b", CallError::Twice("--manifest")),
            ("--name a --name=b", CallError::Twice("--name")),
            ("--set", CallError::NoValue("--set")),
            ("--storage", CallError::NoValue("--storage")),
            ("--storage=copy --storage none", CallError::Twice("--storage")),
            (
                "--storage=zfs",
                CallError::Unfit("--storage", "zfs".into(), "it is `copy`, `overlay` or `none`"),
            ),
            ("--mapped-uid=1 m", CallError::Missing("--mapped-gid")),
        ];
        for (line, error) in table {
            assert_eq!(parse(line), Err(error), "{line}");
        }
        let hostile = vec![OsString::from("x\nlxc.uts.name = evil")];
        assert!(matches!(Arguments::parse(&hostile), Err(CallError::Control(_))));
    }

    #[test]
    fn a_run_needs_all_three_and_a_container_of_its_own() {
        assert!(parse(THREE).unwrap().call().is_ok());
        for line in [
            "--name=c --rootfs=/l/c/rootfs",
            "--path=/l/c --rootfs=/l/c/rootfs",
            "--path=/l/c --name=c",
            "--path= --name=c --rootfs=/l/c/rootfs",
            "--path=l/c --name=c --rootfs=/l/c/rootfs",
            "--path=/ --name=c --rootfs=/l/c/rootfs",
            "--path=/l --name=c --rootfs=/l/c/rootfs",
            "--path=/l/c/../.. --name=c --rootfs=/l/c/rootfs",
            "--path=/l/c --name= --rootfs=/l/c/rootfs",
            "--path=/l/c --name=a/b --rootfs=/l/c/rootfs",
            "--path=/l/c --name=.. --rootfs=/l/c/rootfs",
        ] {
            assert!(parse(line).unwrap().call().is_err(), "{line}");
        }
    }

    proptest! {
        /// Whatever the user's words are, those behind the first `--` reach the upstream byte for
        /// byte, and the pair at the end never does.
        #[test]
        fn words_behind_the_double_dash_are_untouched(
            raw in prop::collection::vec(prop::collection::vec(0x20_u8..=0xff, 0..12), 0..8),
            mapped in any::<bool>(),
        ) {
            let user: Vec<OsString> = raw
                .into_iter()
                .map(|word| word.into_iter().filter(|byte| *byte != 0x7f).collect())
                .map(OsString::from_vec)
                .collect();
            let mut line = words(THREE);
            line.extend(words("--manifest m --"));
            line.extend(user.iter().cloned());
            if mapped {
                line.extend(words("--mapped-uid 7 --mapped-gid 8"));
            }
            let parsed = Arguments::parse(&line).unwrap();
            let mut expected = words("--");
            expected.extend(user);
            // Without the pair of LXC, the user's own last words may look like it.
            if mapped {
                prop_assert_eq!(parsed.rest, expected);
                prop_assert_eq!(parsed.mapped, Some(Mapped { uid: 7, gid: 8 }));
            } else if parsed.mapped.is_none() {
                prop_assert_eq!(parsed.rest, expected);
            }
        }

        /// A trailing option that wants a value does not swallow the pair.
        #[test]
        fn no_word_swallows_the_pair(word in "-{0,2}[a-z]{1,8}=?") {
            prop_assume!(!["--manifest", "--log-format", "--set", "--storage", "--vars-file", "--path", "--name", "--rootfs"]
                .iter().any(|own| word.starts_with(own)));
            let mut line = words(THREE);
            line.push("--manifest=m".into());
            line.push(word.clone().into());
            line.extend(words("--mapped-uid 7 --mapped-gid 8"));
            let parsed = Arguments::parse(&line).unwrap();
            prop_assert_eq!(parsed.rest, vec![OsString::from(word)]);
            prop_assert_eq!(parsed.mapped, Some(Mapped { uid: 7, gid: 8 }));
        }
    }
}
