//! Secrets, from the manifest to the file that is rendered.

use std::collections::BTreeMap;
use std::sync::Arc;

use layered_template::chain::{Chain, Dropped, Secret, Secrets, reveal};
use layered_template::manifest::{Mode, SecretSource};
use layered_template::source::Source;

use super::folder::{bare_context, judge_with};

const MANIFEST: &str = r#"
manifest = 1

[vars]
token = { secret = true, env = "SITE_TOKEN" }
key = { secret = true, file = "key" }
port = 80

[[layer]]
name = "os"
template = "busybox"

[[layer]]
name = "app"
secrets = ["token"]
post = "true"

[[layer.file]]
path = "/etc/token"
content = "{{ token }}:{{ port }}\n"
render = true

[[layer.file]]
path = "/etc/port"
content = "{{ port }}"
render = true
"#;

fn chain() -> Chain {
    let context = bare_context("web1");
    let source = Arc::new(Source::new("m.toml", "/m", MANIFEST));
    let (chain, report) = judge_with(&source, &context);
    chain.unwrap_or_else(|| panic!("{}", report.to_text(false)))
}

fn read(source: &SecretSource) -> Result<Secret, String> {
    let known = BTreeMap::from([(SecretSource::Env("SITE_TOKEN".to_owned()), "hunter2")]);
    known.get(source).map(|text| Secret::new(*text)).ok_or_else(|| "it is not set".to_owned())
}

#[test]
fn a_chain_knows_where_a_secret_is_and_never_what() {
    let chain = chain();
    let [os, app] = &chain.layers[..] else { panic!("two layers") };
    assert_eq!(os.values.secrets().count(), 0);
    assert_eq!(app.values.secrets().map(|(name, _)| name).collect::<Vec<_>>(), ["token"]);
    let Dropped::Secret { secrets, .. } = &app.files[0].content else { panic!("a secret drop") };
    assert_eq!(secrets, &["token"]);
    assert_eq!(app.files[0].mode, Some(Mode::new(0o600)));
    assert!(matches!(&app.files[1].content, Dropped::Inline(text) if **text == *b"80"));
    assert_eq!(app.files[1].mode, None);
}

#[test]
fn only_a_run_reads_secrets_and_only_those_that_are_listed() {
    let chain = chain();
    let mut asked = Vec::new();
    let secrets = Secrets::gather(&chain, |source| {
        asked.push(source.to_string());
        read(source)
    });
    assert_eq!(asked, ["environment variable SITE_TOKEN"]);
    let secrets = secrets.unwrap();
    let app = &chain.layers[1];
    let Dropped::Secret { template, .. } = &app.files[0].content else { panic!("a secret drop") };
    let text = reveal(template, &app.values, &secrets).unwrap();
    assert_eq!(text.expose(), "hunter2:80\n");
    assert_eq!(secrets.mask("curl -H hunter2 failed"), "curl -H [secret token] failed");
    assert!(!format!("{secrets:?} {chain:?}").contains("hunter2"));
    let fault = reveal("{{ token|int }}", &app.values, &secrets).unwrap_err();
    let fault = fault.diagnostic(&app.at, "the content");
    assert!(!fault.message.contains("hunter2"), "{}", fault.message);
}

#[test]
fn a_secret_that_is_not_there_is_named() {
    let missing = |_: &SecretSource| Err("it is not set".to_owned());
    let report = Secrets::gather(&chain(), missing).unwrap_err();
    let shown = report.to_text(false);
    let expected = "secret `token`: environment variable SITE_TOKEN: it is not set";
    assert!(shown.contains(expected), "{shown}");
}
