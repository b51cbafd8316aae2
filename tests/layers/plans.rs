//! The plan of each layer's example.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layered_template::chain::{self, BindContext, Chain, Container, Dropped, Library, SetBy};
use layered_template::diagnostic::Report;
use layered_template::digest::Digest;
use layered_template::layers;
use layered_template::manifest::LayerName;
use layered_template::plan::{self, Detail, Facts, FileFact, Plan, Program, SourceFact, Target};
use layered_template::source::{At, Source};

use crate::page::Page;
use crate::{all, expect, top};

const UPSTREAM: &str = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n";

/// The compiled-in layers and nothing else.
struct Compiled;

impl Library for Compiled {
    fn base(&mut self, path: &Path, _: &At) -> Result<Arc<Source>, Report> {
        panic!("an example extends {}", path.display())
    }

    fn layer(&mut self, name: &LayerName, _: &At) -> Result<Option<Arc<Source>>, Report> {
        let text = layers::find(name.as_str());
        Ok(text.map(|text| Arc::new(Source::compiled_in(format!("<{name}>"), text))))
    }

    fn names(&mut self, _: &At) -> Vec<String> {
        layers::ALL.iter().map(|(name, _)| (*name).to_owned()).collect()
    }
}

/// Binds a part of a manifest around an upstream.
pub(crate) fn chain(part: &str) -> Chain {
    let source = Arc::new(Source::new("web.toml", "/srv/roles", format!("{UPSTREAM}{part}")));
    let (role, report) = chain::resolve(&source, &mut Compiled);
    assert!(report.is_empty(), "{}", report.to_text(false));
    let context = BindContext {
        container: Container { name: "web1", arch: "amd64" },
        set: &[],
        set_by: SetBy::Set,
        vars_files: &[],
        directory: Path::new("/"),
        lxc: Some(&None),
    };
    let (chain, report) = chain::bind(&role.unwrap(), &context);
    assert!(report.is_empty(), "{}", report.to_text(false));
    chain.unwrap()
}

/// Plans it for a host that has every file.
pub(crate) fn plan(chain: &Chain) -> Plan {
    let text = b"a file of the host\n";
    let fact = FileFact {
        size: text.len() as u64,
        digest: Digest::of(text),
        executable: false,
        bytes: None,
    };
    let files = chain.layers.iter().flat_map(|layer| &layer.files);
    let sources = files.filter_map(|file| match &file.content {
        Dropped::Source { path, .. } => Some((path.clone(), SourceFact::File(fact.clone()))),
        _ => None,
    });
    let facts = Facts {
        is_absent: false,
        program: Some(Program::Busybox(Some(PathBuf::from("/bin/busybox")))),
        foreign: None,
        environment: Vec::new(),
        sources: sources.collect(),
        scripts: BTreeMap::new(),
    };
    let path = PathBuf::from("/var/lib/lxc/web1");
    let target = Target {
        name: "web1".to_owned(),
        arch: "amd64".to_owned(),
        rootfs: path.join("rootfs"),
        path,
        mapped: None,
        args: Vec::new(),
    };
    match plan::build(chain, target, &facts) {
        Ok(plan) => plan,
        Err(report) => panic!("{}", report.to_text(false)),
    }
}

#[test]
fn examples_are_planned_as_expected() {
    for (name, file) in all() {
        let example = Page { name, file: &file }.examples().concat();
        let plan = plan(&chain(&example));
        let mut text = Vec::new();
        plan::text(&plan, Detail::Lines, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let (_, nest) = text.split_once("\n\n").unwrap();
        expect(&format!("tests/layers/{name}.plan"), nest);
    }
}

#[test]
fn every_plan_has_its_layer() {
    for entry in std::fs::read_dir(top("tests/layers")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "plan") {
            let stem = path.file_stem().unwrap().to_string_lossy();
            assert!(layers::find(&stem).is_some(), "{stem}");
        }
    }
}
