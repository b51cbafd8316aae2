//! The folders of manifests, and what the program makes of each file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layered_template::chain::{self, BindContext, Chain, Container, Library, SetBy};
use layered_template::diagnostic::{Diagnostic, Report};
use layered_template::lxc::LxcVersion;
use layered_template::manifest::LayerName;
use layered_template::source::{At, Source};

/// One manifest of a folder, and what the caller gives with it.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) source: Arc<Source>,
    set: Vec<String>,
    vars_files: Vec<Arc<Source>>,
    lxc: Option<LxcVersion>,
}

impl Case {
    /// Compares what the program says with the text beside the manifest.
    pub(crate) fn expect(&self, found: &str) {
        let path = root().join(format!("{}.stderr", self.name));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, found).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        let hint = "UPDATE_EXPECT=1 cargo test --test manifests";
        assert_eq!(found, expected, "{} has changed; {hint}", path.display());
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests")
}

/// Returns the files of a folder with an extension, in order.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths
}

/// Returns the manifests of a folder.
pub(crate) fn cases(folder: &str) -> Vec<Case> {
    let case = |path: PathBuf| {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let source = read(Path::new(&format!("{folder}/{stem}.toml"))).unwrap();
        let comments = source.text.lines().take_while(|line| line.starts_with('#'));
        let mut case = Case {
            name: format!("{folder}/{stem}"),
            source: Arc::clone(&source),
            set: Vec::new(),
            vars_files: Vec::new(),
            lxc: None,
        };
        for line in comments {
            match line.trim_start_matches("# ").split_once(' ') {
                Some(("--set", word)) => case.set.push(word.to_owned()),
                Some(("--vars-file", file)) => {
                    case.vars_files.push(read(&Path::new(folder).join(file)).unwrap());
                }
                Some(("--lxc", version)) => {
                    case.lxc = Some(LxcVersion::parse(version).unwrap());
                }
                _ => {}
            }
        }
        case
    };
    let cases: Vec<_> = files(folder, "toml").into_iter().map(case).collect();
    assert!(!cases.is_empty(), "{folder} is empty");
    cases
}

/// Reads and binds a manifest.
pub(crate) fn judge(case: &Case) -> (Option<Chain>, Report) {
    let context = BindContext {
        set: &case.set,
        vars_files: &case.vars_files,
        directory: Path::new("/srv"),
        lxc: Some(&case.lxc),
        ..bare_context("web1")
    };
    judge_with(&case.source, &context)
}

/// What is given where the caller gives nothing.
pub(crate) fn bare_context(name: &str) -> BindContext<'_> {
    BindContext {
        container: Container { name, arch: "amd64" },
        set: &[],
        set_by: SetBy::Set,
        vars_files: &[],
        directory: Path::new("/"),
        lxc: Some(&None),
    }
}

pub(crate) fn judge_with(
    source: &Arc<Source>,
    context: &BindContext<'_>,
) -> (Option<Chain>, Report) {
    let (role, mut report) = chain::resolve(source, &mut Folder);
    let Some(role) = role else { return (None, report) };
    let (chain, faults) = chain::bind(&role, context);
    report.extend(faults);
    (chain.filter(|_| !report.has_errors()), report)
}

/// Reads a file below the root; messages show its path from there.
fn read(path: &Path) -> Option<Arc<Source>> {
    let text = fs::read_to_string(root().join(path)).ok()?;
    let dir = Path::new("/manifests").join(path.parent()?);
    Some(Arc::new(Source::new(path, dir, text)))
}

/// The files beside a manifest.
struct Folder;

impl Folder {
    fn layers(at: &At) -> PathBuf {
        at.source.path.parent().unwrap().join("layers")
    }
}

impl Library for Folder {
    fn base(&mut self, path: &Path, at: &At) -> Result<Arc<Source>, Report> {
        let (shown, _) = at.source.sibling(path);
        let missing = || Diagnostic::error(at, format!("no manifest `{}`", path.display())).into();
        read(&shown).ok_or_else(missing)
    }

    fn layer(&mut self, name: &LayerName, at: &At) -> Result<Option<Arc<Source>>, Report> {
        if name.as_str().starts_with("built-in") {
            let path = root().join("compiled-in").join(format!("{name}.toml"));
            let text = fs::read_to_string(path).unwrap();
            let shown = format!("compiled in: {name}.toml");
            return Ok(Some(Arc::new(Source::compiled_in(shown, text))));
        }
        Ok(read(&Self::layers(at).join(format!("{name}.toml"))))
    }

    fn names(&mut self, at: &At) -> Vec<String> {
        let folder = Self::layers(at).to_string_lossy().into_owned();
        let stems = files(&folder, "toml");
        stems.iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
    }
}

/// Asserts that a text holds no control character but the line feed and the tab.
pub(crate) fn assert_printable(text: &str, what: &str) {
    let found = text.chars().find(|c| c.is_control() && !"\n\t".contains(*c));
    assert!(found.is_none(), "{what}: {found:?} in {text}");
}
