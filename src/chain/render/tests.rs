//! What templates become.

use std::sync::Arc;

use super::*;
use crate::chain::SecretVariable;
use crate::manifest::{SecretSource, Value, is_variable_name};
use crate::source::Source;

fn values() -> Values {
    let source = Arc::new(Source::new("m.toml", "/", "x"));
    let secret = |name: &str| {
        Binding::Secret(Arc::new(SecretVariable {
            name: name.to_owned(),
            source: SecretSource::Env(name.to_uppercase()),
            at: At { source: Arc::clone(&source), span: 0..1 },
        }))
    };
    let text = |text: &str| Binding::Value(Value::String(text.to_owned()));
    let known = [
        ("port", Binding::Value(Value::Integer(80))),
        ("on", Binding::Value(Value::Boolean(true))),
        ("html", text("<b>")),
        ("lxc.name", text("web1")),
        ("lxc.arch", text("amd64")),
        ("token", secret("token")),
        ("other", secret("other")),
    ];
    let known = known.into_iter().map(|(name, known)| (name.to_owned(), known)).collect();
    Values::new(known).listing(["token".to_owned()])
}

#[test]
fn templates_are_strict_and_keep_their_newline() {
    let table = [
        ("listen {{ port }};\n", Some("listen 80;\n")),
        ("{{ html }}{{ lxc.name }}.{{ lxc.arch }}", Some("<b>web1.amd64")),
        ("{% if on %}yes{% endif %}\n\n", Some("yes\n\n")),
        ("{{ missing }}", None),
        ("{{ lxc.missing }}", None),
        ("{{ port ", None),
        ("{{ other }}", None),
        ("{{ token }}{{ missing }}", None),
        ("{% for i in range(100000000) %}x{% endfor %}", None),
        ("{% include 'etc/passwd' %}", None),
        (&format!("{{{{ 1{} }}}}", "+1".repeat(1000)), None),
        (&format!("{{{{ '}}}}' ~ 1{} }}}}", "+1".repeat(1000)), None),
        (&format!("{{% if 1 %}}{}{{% endif %}}", "{%- elif 1 %}".repeat(1000)), None),
        (&format!("{{ a }} {{# {} #}}", "x".repeat(2000)), Some("{ a } ")),
    ];
    for (text, expected) in table {
        let expected = expected.map(|text| Rendered::Text(text.to_owned()));
        assert_eq!(render(text, &values()).ok(), expected, "{text}");
    }
}

/// The words of the language, as far as they are spelt as variables are.
const LANGUAGE: [&str; 36] = [
    "and",
    "or",
    "in",
    "is",
    "if",
    "else",
    "elif",
    "endif",
    "for",
    "endfor",
    "recursive",
    "set",
    "endset",
    "with",
    "endwith",
    "do",
    "filter",
    "endfilter",
    "raw",
    "endraw",
    "autoescape",
    "loop",
    "self",
    "super",
    "caller",
    "varargs",
    "kwargs",
    "block",
    "macro",
    "call",
    "import",
    "upper",
    "default",
    "length",
    "defined",
    "string",
];

/// Returns the names of the language, those of its functions too, and says that `named` is known
/// by each.
fn names_of_the_language() -> Vec<String> {
    let environment = environment();
    let functions: Vec<_> = environment.globals().map(|(name, _)| name.to_owned()).collect();
    assert!(functions.contains(&"range".to_owned()) && functions.len() > 3, "{functions:?}");
    functions.into_iter().chain(LANGUAGE.map(str::to_owned)).collect()
}

fn secret(name: &str) -> Binding {
    let source = Arc::new(Source::new("m.toml", "/", "x"));
    Binding::Secret(Arc::new(SecretVariable {
        name: name.to_owned(),
        source: SecretSource::Env(name.to_uppercase()),
        at: At { source, span: 0..1 },
    }))
}

#[test]
fn a_variable_may_be_named_as_something_of_the_language() {
    let other = ("port".to_owned(), Binding::Value(Value::Integer(80)));
    for name in names_of_the_language() {
        let with = |known| Values::new([(name.clone(), known), other.clone()].into());
        let (off, text) = (Value::Boolean(false), Value::String("v".to_owned()));
        let [off, text] = [off, text].map(|value| with(Binding::Value(value)));
        let secret = with(secret(&name)).listing([name.clone()]);
        let unlisted = secret.listing([]);
        let undeclared = Values::new([other.clone()].into());
        let rendered = |text: &str| Some(Rendered::Text(text.to_owned()));
        let hidden = Some(Rendered::Secret(vec![name.clone()]));
        for (template, shown, if_off) in [
            (format!("{{{{ {name} }}}}"), "v", "False"),
            (format!("{{% if {name} %}}on{{% endif %}}"), "on", ""),
            (format!("{{{{ port if {name} else 'off' }}}}"), "80", "off"),
            (format!("{{{{ port ~ ({name}) }}}}"), "80v", "80False"),
            (format!("{{% set x = {name} %}}{{{{ x }}}}"), "v", "False"),
            (format!("{{% for x in [{name}] %}}{{{{ x }}}}{{% endfor %}}"), "v", "False"),
        ] {
            // Between `for` and `endfor` a loop has its own.
            if name == "loop" && template.contains("for x") {
                continue;
            }
            assert_eq!(render(&template, &text).ok(), rendered(shown), "{template}");
            assert_eq!(render(&template, &off).ok(), rendered(if_off), "{template}");
            assert_eq!(render(&template, &secret).ok(), hidden, "{template}");
            assert!(render(&template, &unlisted).is_err(), "{template}");
            let error = render(&template, &undeclared).expect_err(&template);
            assert!(error.undefined, "{template}: {error:?}");
        }
    }
}

#[test]
fn what_a_name_is_set_to_may_be_what_it_stood_for() {
    let known =
        [("port".to_owned(), Binding::Value(Value::Integer(80))), ("t".to_owned(), secret("t"))];
    let values = Values::new(known.into());
    let listed = values.listing(["t".to_owned()]);
    let text = |text: &str| Some(Rendered::Text(text.to_owned()));
    let hidden = || Some(Rendered::Secret(vec!["t".to_owned()]));
    let table = [
        ("{% set port = port + 1 %}{{ port }}", text("81")),
        ("{% with port = port + 1 %}{{ port }}{% endwith %}", text("81")),
        ("{% set t = t ~ 'x' %}{{ t }}", hidden()),
        ("{% with t = t %}{{ t }}{% endwith %}", hidden()),
        ("{% set t = t ~ 'x' %}{{ t }}{{ missing }}", None),
        ("{% set t = 1 %}{{ t }}", text("1")),
        ("{% if false %}{% set t = t %}{% endif %}{{ port }}", text("80")),
        ("{% set t = range(2) ~ t %}{{ t }}", hidden()),
    ];
    for (template, expected) in table {
        assert_eq!(render(template, &listed).ok(), expected, "{template}");
        if expected == hidden() {
            assert!(render(template, &values).is_err(), "{template}");
        }
    }
}

#[test]
fn functions_are_there_to_be_called() {
    let values = values();
    let table = [
        ("{% for i in range(3) %}{{ i }}{% endfor %}", Some("012")),
        ("{% set n = namespace(a=1) %}{% set n.a = port %}{{ n.a }}", Some("80")),
        ("{{ dict (a=1).a }}", Some("1")),
        ("{% set range = 1 %}{{ range }}", Some("1")),
        ("{{ range is defined }}", Some("False")),
        ("{{ range }}", None),
        ("{{ range }}{{ range(1) }}", None),
        ("range(1) {{ range }} range(1)", None),
        ("{% if debug %}x{% endif %}", None),
        ("{{ token }}{{ debug }}", None),
        ("{{ 'range(' ~ port }}", Some("range(80")),
    ];
    for (template, expected) in table {
        let expected = expected.map(|text| Rendered::Text(text.to_owned()));
        assert_eq!(render(template, &values).ok(), expected, "{template}");
    }
    let error = render("{{ range(1) }}{{ zone }}", &values).unwrap_err();
    assert_eq!(error.message, "no variable is named `zone`");
}

#[test]
fn memory_is_bounded() {
    let text = "{% set s = 'x' * 1000000 %}{% for i in range(1000) %}{{ s }}{% endfor %}";
    assert!(render(text, &values()).is_err());
}

#[test]
fn a_secret_is_put_in_only_during_the_run() {
    let rendered = render("{{ token }}:{{ port }}", &values()).unwrap();
    assert_eq!(rendered, Rendered::Secret(vec!["token".to_owned()]));
    let shown = render("{{ debug() }}", &values()).unwrap();
    assert!(matches!(&shown, Rendered::Text(text) if !text.contains("token")), "{shown:?}");
}

/// What `[vars]` refuses is what no template takes for a variable, and nothing besides.
#[test]
fn the_words_that_are_no_variables_are_known() {
    let words = ["true", "false", "none", "not", "lxc", "True", "None"].map(str::to_owned);
    for name in names_of_the_language().into_iter().chain(words) {
        let values = Values::new([(name.clone(), Binding::Value(Value::Integer(80)))].into());
        let expected = Some(Rendered::Text("80 on".to_owned()));
        let text = format!("{{{{ {name} }}}} {{% if {name} %}}on{{% endif %}}");
        let is_variable = render(&text, &values).ok() == expected;
        let is_refused = crate::manifest::WORDS.contains(&name.as_str());
        assert_eq!(is_variable && is_variable_name(&name), !is_refused && is_variable_name(&name));
    }
}
