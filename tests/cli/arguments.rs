//! The words of a template call: whose they are, and how they reach the upstream.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use proptest::prelude::*;

use crate::sandbox::{NAME, Sandbox};

/// A template that writes its words down, each ended by a NUL, and makes something.
const SCRIBE: &str = "printf '%s\\0' \"$@\" >\"$path/words\"; mkdir -p \"$rootfs/etc\"";

fn scribe() -> Sandbox {
    Sandbox::new().upstream(SCRIBE).layers("args = { release = \"12\", a = \"amd64\" }\n")
}

/// Returns the words that the upstream got, without the three. Those are the container's own: what holds
/// a name between NULs is not stored, and made in the container.
fn words(sandbox: &Sandbox) -> Vec<Vec<u8>> {
    words_as(sandbox, NAME)
}

/// The same, where the three are those of a container of this name.
fn words_as(sandbox: &Sandbox, name: &str) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(sandbox.container().join("words")).unwrap();
    let mut words: Vec<_> = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    assert_eq!(words.pop(), Some(Vec::new()));
    let three: Vec<_> = words.drain(..3).collect();
    let expected = sandbox.three().map(|word| word.replace(NAME, name).into_bytes());
    assert_eq!(three, expected);
    words
}

#[test]
fn the_user_s_words_reach_the_upstream_behind_the_layer_s() {
    let pair = "--mapped-uid 65536 --mapped-gid 65537";
    let table = [
        ("--manifest m.toml", ""),
        ("--manifest=m.toml", ""),
        ("m.toml", ""),
        ("m.toml -r 13 --x=y", "-r 13 --x=y"),
        ("-r --manifest m.toml 13", "-r 13"),
        ("m.toml --keep-failed --log-format json x", "x"),
        ("m.toml -- --manifest other --keep-failed", "-- --manifest other --keep-failed"),
        ("m.toml -- --set a=b -- --path=/no", "-- --set a=b -- --path=/no"),
        ("m.toml word m.toml", "word m.toml"),
        ("m.toml --manifestx --settle", "--manifestx --settle"),
    ];
    for (line, rest) in table {
        for mapped in [false, true] {
            let sandbox = scribe();
            let tail = if mapped { pair } else { "" };
            sandbox.template(line.split_whitespace().chain(tail.split_whitespace())).exits(0);
            let pair = if mapped { pair } else { "" };
            let expected = format!("{pair} --release=12 -a amd64 {rest}");
            let expected: Vec<_> =
                expected.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
            assert_eq!(words(&sandbox), expected, "{line} {tail}");
        }
    }
}

#[test]
fn a_trailing_option_does_not_swallow_the_pair() {
    let sandbox = scribe();
    let line = "m.toml --dist --mapped-uid 65536 --mapped-gid 65536";
    sandbox.template(line.split_whitespace()).exits(0);
    let got = words(&sandbox);
    assert_eq!(got.last().unwrap(), b"--dist");
    assert_eq!(got[..2], [b"--mapped-uid".to_vec(), b"65536".to_vec()]);
}

#[test]
fn bytes_that_are_not_utf_8_are_untouched() {
    let sandbox = scribe();
    let odd: [&[u8]; 4] = [b"\xff\xfe", b"--name-of=\xc3\x28", b"--", b"\x80"];
    let line = [OsStr::new("m.toml")].into_iter().chain(odd.map(OsStr::from_bytes));
    sandbox.template(line).exits(0);
    assert_eq!(words(&sandbox)[3..], odd);
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_done() {
    let table: [(&[&str], &str); 11] = [
        (&["--manifest="], "`--manifest` cannot be `''`: it names no file; write `--manifest"),
        (&["m.toml", "x\nlxc.uts.name = evil"], "the argument $'x\\nlxc.uts.name = evil' holds a"),
        (&["m.toml", "--", "a\x07"], "holds a control character"),
        (&["--manifest"], "`--manifest` wants a value"),
        (&["--manifest", "m.toml", "--manifest=m.toml"], "`--manifest` is given twice"),
        (&["m.toml", "--path=/l/c"], "`--path` is given twice"),
        (&["m.toml", "--log-format", "xml"], "`--log-format` cannot be `xml`: it is `text` or"),
        (&["m.toml", "--mapped-uid", "1"], "`--mapped-gid` is missing"),
        (
            &["m.toml", "--mapped-uid=x", "--mapped-gid=1"],
            "`--mapped-uid` cannot be `x`: it is not",
        ),
        (&["--", "m.toml"], "no manifest is given"),
        (
            &["--manfest=m.toml"],
            "no manifest is given, and `--manfest` goes to the template; did you",
        ),
    ];
    for (line, part) in table {
        let sandbox = scribe();
        sandbox.template(line).exits(2).prints("").mentions(part);
        assert!(!sandbox.container().join("words").exists(), "{line:?}");
    }
}

/// The template may know it.
#[test]
fn a_misspelt_option_goes_to_the_template_with_a_warning() {
    for (word, meant) in [
        ("--keep-faild", Some("--keep-failed")),
        ("--storag=none", Some("--storage")),
        ("--with-everything", None),
        ("--", None),
    ] {
        let sandbox = scribe();
        let ran = sandbox.template(["m.toml", word]);
        ran.exits(0);
        let said = ran.stderr();
        let name = word.split('=').next().unwrap();
        let warning = meant.map(|meant| {
            format!("warning: `{name}` goes to the template; did you mean `{meant}`?\n")
        });
        let is_as_expected = match &warning {
            Some(warning) => said.contains(warning.as_str()),
            None => !said.contains("did you mean"),
        };
        assert!(is_as_expected, "{word}: {said}");
        assert_eq!(words(&sandbox).last().map(Vec::as_slice), Some(word.as_bytes()));
    }
}

#[test]
fn the_three_must_name_a_container_of_its_own() {
    let sandbox = scribe();
    sandbox.shell();
    let [path, name, rootfs] = sandbox.three();
    let table = [
        (
            vec!["--path=/", &name, &rootfs],
            "`--path` cannot be `/`: it is no directory of a single",
        ),
        (vec!["--path=lxc", &name, &rootfs], "`--path` cannot be `lxc`: it is not absolute"),
        (
            vec![&path, "--name=../x", &rootfs],
            "`--name` cannot be `../x`: a container's name has 1",
        ),
        (vec![&path, &name, "--rootfs="], "`--rootfs` cannot be `''`: it is not absolute"),
        (vec![&path, &name], "`--rootfs` is missing"),
        (vec![&path, &rootfs], "`--name` is missing"),
    ];
    for (line, part) in table {
        let mut command = sandbox.within();
        command.args(line).args(["--manifest", "m.toml"]);
        sandbox.ran(command).exits(2).mentions(part);
    }
    assert!(!sandbox.container().join("words").exists());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands behind the first `--` reaches the upstream byte for byte, wherever LXC puts
    /// the pair.
    #[test]
    fn words_behind_a_double_dash_arrive(
        raw in prop::collection::vec("[ -~\u{80}-\u{ff}]{1,8}", 0..5),
        mapped in any::<bool>(),
    ) {
        let sandbox = scribe();
        // A word that names a directory, such as `/`, would keep the upstream out of the store.
        let mut line = vec!["m.toml".to_owned(), "--storage=none".to_owned(), "--".to_owned()];
        line.extend(raw.iter().cloned());
        if mapped {
            line.extend("--mapped-uid 7 --mapped-gid 8".split(' ').map(str::to_owned));
        }
        sandbox.template(&line).exits(0);
        let got = words_as(&sandbox, NAME);
        let user = &got[if mapped { 7 } else { 3 }..];
        let expected: Vec<_> =
            std::iter::once("--".to_owned()).chain(raw).map(String::into_bytes).collect();
        prop_assert_eq!(user, expected.as_slice());
    }
}

#[test]
fn a_word_that_is_misspelt_has_a_hint() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(["plan", "m.toml", "--stroage=none"]);
    ran.exits(2).mentions("\nhint: a similar argument exists: '--storage'\n");
    let mut command = sandbox.within();
    command.args(["plam", "m.toml"]).env("CLICOLOR_FORCE", "1").env("TERM", "xterm");
    let ran = sandbox.ran(command);
    ran.exits(2).mentions("mhint:\u{1b}[0m a similar subcommand exists: '");
}

#[test]
fn a_value_that_does_not_fit_is_quoted() {
    let ran = Sandbox::new().layers("").template(["m.toml", "--storage=overlya"]);
    ran.exits(2)
        .mentions("error: `--storage` cannot be `overlya`: it is `copy`, `overlay` or `none`");
}

#[test]
fn an_option_for_the_busybox_may_be_meant_for_the_manifest() {
    let sandbox = Sandbox::new().manifest(
        "manifest = 1\n[vars]\nhttp_port = 80\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n\
         [[layer.file]]\npath = \"/port\"\ncontent = \"{{ http_port }}\"\nrender = true\n",
    );
    for words in [&["--http-port", "81"][..], &["--http_port=81"]] {
        let ran = sandbox.run([&["plan", "m.toml", "--"], words].concat());
        ran.exits(2)
            .mentions("error: `builtin:busybox` takes no argument, and --http")
            .mentions("= help: `http_port` is a variable of the manifest: `--set http_port=81`\n");
    }
    let ran = sandbox.run(["plan", "m.toml", "--", "--other"]);
    assert!(!ran.exits(2).stderr().contains("= help"), "{}", ran.stderr());
}

#[test]
fn a_word_in_the_place_of_a_subcommand_has_a_hint() {
    let sandbox = Sandbox::new().layers("");
    for (words, hint) in [
        (&["runs", "1"][..], "`layered-template runs show 1` shows that run\n"),
        (
            &["runs", "web1"],
            "`layered-template runs show` shows the latest, and with the number of another that\n",
        ),
        (
            &["m.toml"],
            "`layered-template plan m.toml` shows what that manifest makes, and \
             `layered-template create m.toml --name m` makes it\n",
        ),
    ] {
        let ran = sandbox.run(words);
        ran.exits(2)
            .mentions("error: unrecognized subcommand '")
            .mentions(&format!("\nhint: {hint}"));
    }
    let ran = sandbox.run(["nothing-of-the-kind"]);
    assert!(!ran.exits(2).stderr().contains("that manifest"), "{}", ran.stderr());
}
