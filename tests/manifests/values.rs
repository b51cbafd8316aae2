//! Which value a variable gets, where it came from, and which layer sees it.

use std::path::Path;
use std::sync::Arc;

use layered_template::chain::{BindContext, Chain, Dropped};
use layered_template::manifest::Value;
use layered_template::source::Source;

use super::folder::{bare_context, cases, judge, judge_with};

/// Returns the chain of a sound manifest of the folder.
fn chain(name: &str) -> Chain {
    let case = cases("valid").into_iter().find(|case| case.name.ends_with(name)).unwrap();
    judge(&case).0.unwrap()
}

fn shown(variables: &[layered_template::chain::Variable]) -> Vec<String> {
    let value = |variable: &layered_template::chain::Variable| match &variable.value {
        Some(Value::String(text)) => format!("{text:?}"),
        Some(value) => value.to_string(),
        None => "?".to_owned(),
    };
    variables
        .iter()
        .map(|variable| {
            let origin = variable.origin.as_ref().unwrap();
            format!("{} = {} ({origin})", variable.name, value(variable))
        })
        .collect()
}

#[test]
fn each_value_says_where_it_came_from() {
    let chain = chain("values-from-everywhere");
    let expected = [
        "http_port = 80 (valid/vars/production.toml:2)",
        "debug = true (--set)",
        "site = \"example.org\" (valid/vars/production.toml:1)",
        "motd = \"/srv/here/motd\" (--set)",
    ];
    assert_eq!(shown(&chain.variables), expected);
}

#[test]
fn an_extending_manifest_binds_the_variables_of_its_base() {
    let chain = chain("/extends");
    let expected = [
        "http_port = 80 (valid/extends.toml:5)",
        "site = \"example.org\" (valid/extends.toml:6)",
        "token = ? (file /run/secrets/token)",
    ];
    assert_eq!(shown(&chain.variables), expected);
    assert_eq!(chain.description.as_deref(), Some("A web server"));
    let names: Vec<_> = chain.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["os", "web", "logging"]);
    assert_eq!(chain.layers[1].config[0].value, "SITE=example.org:80");
    assert_eq!(chain.layers[1].config[0].at.to_string(), "valid/bases/web.toml:16");
}

/// A layer of a base must be the same in every role, whatever else a role declares.
#[test]
fn a_base_sees_nothing_that_it_does_not_declare() {
    let chain = chain("/extends");
    let seen = |layer: usize| chain.layers[layer].values.iter().count();
    assert_eq!(seen(0), 2, "the innermost base declares nothing: lxc.name and lxc.arch");
    assert_eq!(seen(1), 4);
    assert_eq!(seen(2), 4);
}

#[test]
fn a_reusable_layer_sees_its_own_variables_alone() {
    let chain = chain("/uses");
    let app = &chain.layers[1];
    let expected = [
        "script = \"/manifests/valid/files/app.sh\" (valid/uses.toml:17)",
        "port = 80 (valid/uses.toml:17)",
        "token = ? (environment variable SITE_TOKEN)",
        "build = ? (decided by pre of app)",
    ];
    assert_eq!(shown(&app.variables), expected);
    assert_eq!(app.hands, ["build"]);
    assert_eq!(
        app.values.handed().map(|(n, l)| (n, l.as_str())).collect::<Vec<_>>(),
        [("build", "app")]
    );
    assert_eq!(app.values.secrets().map(|(name, _)| name).collect::<Vec<_>>(), ["token"]);
    assert_eq!(app.source.path, Path::new("valid/layers/service.toml"));
    assert_eq!(app.used.as_ref().unwrap().to_string(), "valid/uses.toml:15");
    let Dropped::Source { path, .. } = &app.files[0].content else { panic!("a source") };
    assert_eq!(path, Path::new("/manifests/valid/files/app.sh"));
    assert_eq!(app.files[0].path.as_str(), "/opt/80/run");
    let second = &chain.layers[2];
    assert_eq!(second.name.as_str(), "service");
    assert_eq!(second.files[0].path.as_str(), "/opt/8080/run");
    assert_eq!(chain.secrets.len(), 1);
    assert_eq!(chain.layers[0].values.handed().count(), 1, "the manifest takes what app hands");
}

/// Text that looks like a number stays text, and the last word of the caller counts.
#[test]
fn set_is_typed_by_the_variable() {
    let text = "manifest = 1\n[vars]\nname = \"x\"\nport = 1\n[[layer]]\nname = \"os\"\n\
                template = \"busybox\"\npost = \"true\"\n";
    let source = Arc::new(Source::new("m.toml", "/m", text));
    let set = ["name=007", "port=1", "port=2", "name=a=b"].map(str::to_owned);
    let context = BindContext { set: &set, ..bare_context("c") };
    let (chain, report) = judge_with(&source, &context);
    assert!(report.is_empty(), "{}", report.to_text(false));
    assert_eq!(shown(&chain.unwrap().variables), ["name = \"a=b\" (--set)", "port = 2 (--set)"]);
}
