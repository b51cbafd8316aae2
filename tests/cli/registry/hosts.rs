//! Where a registry sends requests: nowhere that others could listen.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::fake::Fake;
use super::pushing::role;
use crate::requirement::root;
use crate::sandbox::{Ran, Sandbox};

/// A host that answers nobody.
const ELSEWHERE: &str = "192.0.2.2:9";

/// What is known there of `user` with the password `secret`.
fn known(sandbox: Sandbox, fake: &Fake) -> Sandbox {
    let directory = sandbox.path("home/.docker");
    fs::create_dir_all(&directory).unwrap();
    let auth = "dXNlcjpzZWNyZXQ=";
    let text = format!("{{\"auths\": {{\"{}\": {{\"auth\": \"{auth}\"}}}}}}", fake.host());
    fs::write(directory.join("config.json"), text).unwrap();
    sandbox
}

fn pull(sandbox: &Sandbox, fake: &Fake) -> Ran {
    let from = format!("{}/web", fake.host());
    sandbox.run(["pull", "m.toml", "--from", &from, "--allow-untrusted"])
}

#[test]
fn a_token_service_elsewhere_is_not_asked_in_the_clear() {
    if !root() {
        return;
    }
    for realm in [
        format!("http://127.0.0.1:80@{ELSEWHERE}/token"),
        format!("http://127.0.0.1?@{ELSEWHERE}/token"),
        format!("http://127.0.0.1\\\\@{ELSEWHERE}/token"),
        format!("http://{ELSEWHERE}/token"),
    ] {
        let fake = Fake::start(move |_| {
            format!("401 Who\r\nWWW-Authenticate: Bearer realm=\"{realm}\"\r\nContent-Length: 0")
        });
        let ran = pull(&known(role(), &fake), &fake);
        ran.exits(8).mentions("asks for a token from a URL that is not https; no credentials are");
    }
}

#[test]
fn no_proxy_hears_of_a_registry_of_this_machine() {
    if !root() {
        return;
    }
    let nothing = "404 Nothing\r\nContent-Length: 0";
    let fake = Fake::start(move |_| nothing.to_owned());
    let proxy = Fake::start(move |_| nothing.to_owned());
    let mut host = role();
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
    {
        host = host.env(name, format!("http://{}", proxy.host()));
    }
    pull(&host, &fake).exits(8);
    assert!(!fake.heads().is_empty());
    assert_eq!(proxy.heads(), [""; 0]);
}

#[test]
fn a_proxy_that_cannot_be_used_is_no_missing_one() {
    if !root() {
        return;
    }
    let from = "registry.invalid/web";
    let pull = |host: Sandbox| host.run(["pull", "m.toml", "--from", from]);
    for (name, value) in [
        ("ALL_PROXY", "socks5://me:secret@127.0.0.1:9"),
        ("HTTPS_PROXY", "socks5h://127.0.0.1:9"),
        ("https_proxy", "socks4://127.0.0.1:9"),
        ("http_proxy", "SOCKS://127.0.0.1:9"),
        ("all_proxy", "socks4a://127.0.0.1:9"),
    ] {
        let host = || role().env(name, value);
        let ran = pull(host());
        let scheme = value.split(':').next().unwrap();
        let why = format!(
            "`{name}` names a proxy by `{scheme}://`, and only HTTP proxies are spoken with"
        );
        ran.exits(8).mentions(&why).mentions("hint: `HTTPS_PROXY=http://").mentions("`NO_PROXY=");
        assert!(!ran.stderr().contains("secret"), "{}", ran.stderr());
        let ran = host().run(["push", "m.toml", from]);
        ran.exits(8).mentions(&why).mentions("hint: `HTTPS_PROXY=http://");
        // It is not taken for a registry that is down.
        let ran = host().create(["--from", from]);
        ran.exits(8).mentions(&why);
        // Who asks without a proxy, or by another one, is not refused.
        let fake = Fake::start(|_| "403 No\r\nContent-Length: 0".to_owned());
        let spared = pull(host().env("NO_PROXY", "other.invalid,registry.invalid"));
        spared.exits(8).mentions("registry.invalid does not answer");
        if name != "https_proxy" {
            pull(host().env("https_proxy", format!("http://{}", fake.host()))).exits(8);
            assert!(fake.heads()[0].starts_with("CONNECT registry.invalid:443 "));
        }
    }
    // What is on this machine is asked without a proxy.
    let fake = Fake::start(|_| "404 Nothing\r\nContent-Length: 0".to_owned());
    self::pull(&role().env("ALL_PROXY", "socks5://127.0.0.1:9"), &fake).exits(8);
    assert!(!fake.heads().is_empty());
}

#[test]
fn a_proxy_that_refuses_is_named_and_not_asked_again_who_wants_a_login() {
    if !root() {
        return;
    }
    for (status, asked) in [("407 Who", 1), ("502 Down", 5)] {
        let proxy = Fake::start(move |_| format!("{status}\r\nContent-Length: 0"));
        let host = role().env("https_proxy", format!("http://{}", proxy.host()));
        let ran = host.run(["pull", "m.toml", "--from", "registry.invalid/web"]);
        let number = status.split(' ').next().unwrap();
        let why = "registry.invalid cannot be reached: the proxy refuses";
        ran.exits(8).mentions(&format!("{why} (status {number})"));
        assert!(!ran.stderr().contains("does not answer"), "{}", ran.stderr());
        assert_eq!(proxy.heads().len(), asked);
        let hint = "hint: `HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT` says who asks, and \
                    `NO_PROXY=registry.invalid`";
        let push = host.run(["push", "m.toml", "registry.invalid/web"]);
        for ran in [ran, push] {
            assert_eq!(ran.stderr().contains(hint), asked == 1, "{}", ran.stderr());
        }
    }
}

#[test]
fn a_registry_of_this_machine_sends_nobody_elsewhere_in_the_clear() {
    if !root() {
        return;
    }
    let tokens =
        Fake::start(|_| "200 OK\r\nContent-Length: 13\r\n\r\n{\"token\":\"a\"}".to_owned());
    let realm = format!("http://{}/token", tokens.host());
    let elsewhere = Fake::start(move |_| {
        format!("401 Who\r\nWWW-Authenticate: Bearer realm=\"{realm}\"\r\nContent-Length: 0")
    });
    let (here, far) = (elsewhere.host(), ELSEWHERE.to_owned());
    let leading = |to: String| {
        Fake::start(move |head| {
            if !head.to_lowercase().contains("authorization: basic") {
                return "401 Who\r\nWWW-Authenticate: Basic\r\nContent-Length: 0".to_owned();
            }
            if head.starts_with("HEAD ") {
                return "404 Nothing\r\nContent-Length: 0".to_owned();
            }
            let status = if head.starts_with("POST ") { "202 Go" } else { "307 There" };
            format!("{status}\r\nLocation: http://{to}/next\r\nContent-Length: 0")
        })
    };
    let fake = leading(far);
    pull(&known(role(), &fake), &fake).exits(10).mentions("where others could listen");
    let push = format!("{}/web", fake.host());
    let ran = known(role(), &fake).run(["push", "m.toml", &push]);
    ran.exits(8).mentions("where others could listen");

    // On this machine it may, but nobody else is told who asks.
    let fake = leading(here);
    pull(&known(role(), &fake), &fake).exits(8);
    assert!(elsewhere.heads().iter().any(|head| head.starts_with("GET /next ")));
    let heads = elsewhere.heads();
    assert!(!heads.iter().any(|head| head.to_lowercase().contains("authorization")), "{heads:?}");
    assert_eq!(tokens.heads(), [""; 0]);
}

#[test]
fn a_registry_that_says_again_who_asked_gives_nobody_away() {
    if !root() {
        return;
    }
    let (auth, bare) = ("dXNlcjpzZWNyZXQ=", "user:secret");
    for (status, body) in [
        (
            format!("403 No\r\nX-Said: {bare}"),
            "{\"errors\":[{\"message\":\"bad @, user:secret\"}]}",
        ),
        ("200 OK".to_owned(), "\"you sent @\""),
        ("307 There\r\nLocation: http://elsewhere.example/@".to_owned(), ""),
    ] {
        let fake = Fake::start(move |head| {
            let mut lines = head.lines();
            let said = lines.find_map(|line| {
                line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
            });
            let Some((_, said)) = said else {
                return "401 Who\r\nWWW-Authenticate: Basic\r\nContent-Length: 0".to_owned();
            };
            let said = said.trim();
            let (status, body) =
                (status.replace('@', said.trim_start_matches("Basic ")), body.replace('@', said));
            format!("{status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        });
        let host = known(role(), &fake);
        let ran = pull(&host, &fake);
        assert_ne!(ran.output.status.code(), Some(0));
        ran.mentions("***");
        let mut said = ran.stderr();
        for run in host.left() {
            said += &fs::read_to_string(run.join("log")).unwrap_or_default();
        }
        said += &fs::read_to_string(host.state().join("runs")).unwrap();
        for secret in [auth, "secret"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
}

#[test]
fn a_helper_for_credentials_ends_with_whoever_asks_it() {
    if !root() {
        return;
    }
    let nothing = "404 Nothing\r\nContent-Length: 0";
    let fake = Fake::start(move |_| nothing.to_owned());
    let sandbox = role().program(
        "docker-credential-test",
        "#!/bin/sh\necho $$ >\"$0.id.new\"; mv \"$0.id.new\" \"$0.id\"; exec sleep 60\n",
    );
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", sandbox.path("").display());
    let sandbox = known(sandbox.env("PATH", path), &fake);
    let helper = format!("{{\"credHelpers\": {{\"{}\": \"test\"}}}}", fake.host());
    fs::write(sandbox.path("home/.docker/config.json"), helper).unwrap();
    let mut command = sandbox.command(sandbox.program_path());
    command.args(["pull", "m.toml", "--from", &format!("{}/web", fake.host())]);
    let mut run = command.stderr(Stdio::null()).spawn().unwrap();
    let id = sandbox.path("docker-credential-test.id");
    let begun = Instant::now();
    while !id.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the helper is not asked");
        sleep(Duration::from_millis(10));
    }
    let helper = Path::new("/proc").join(fs::read_to_string(id).unwrap().trim());
    assert!(helper.exists());
    kill_process(Pid::from_child(&run), Signal::TERM).unwrap();
    run.wait().unwrap();
    while helper.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the helper stays");
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_a_registry_says_is_cut_and_a_token_that_cannot_be_sent_is_refused() {
    if !root() {
        return;
    }
    let said = format!("\u{1b}[31m{}", "many words ".repeat(5000));
    let body = serde_json::json!({ "errors": [{ "message": said }] }).to_string();
    let fake =
        Fake::start(move |_| format!("403 No\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let ran = pull(&role(), &fake);
    ran.exits(8).mentions("\\u{1b}[31mmany words many words").mentions("...");
    assert!(ran.stderr().len() < 2000, "{}", ran.stderr());

    for (token, why) in [
        ("secret\r\nX-Header: 1".to_owned(), "gives a token that no header can have"),
        ("secret\0".to_owned(), "gives a token that no header can have"),
        (String::new(), "gives a token that no header can have"),
        ("secret".repeat(20_000), "gives a token of more than 65536 bytes"),
        ("secret".repeat(200_000), "gives no token: it has more than 1048576 bytes"),
    ] {
        let answer = serde_json::json!({ "token": token }).to_string();
        let tokens = Fake::start(move |_| {
            format!("200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())
        });
        let realm = format!("http://{}/token", tokens.host());
        let fake = Fake::start(move |_| {
            format!("401 Who\r\nWWW-Authenticate: Bearer realm=\"{realm}\"\r\nContent-Length: 0")
        });
        let ran = pull(&role(), &fake);
        ran.exits(8).mentions(why);
        assert!(!ran.stderr().contains("secret"), "{}", ran.stderr());
        // It would say so again.
        assert_eq!(tokens.heads().len(), 1);
    }
}

#[test]
fn what_is_no_manifest_of_one_image_is_named() {
    if !root() {
        return;
    }
    let index = "application/vnd.oci.image.index.v1+json";
    let list = json!({ "schemaVersion": 2, "mediaType": index, "manifests": [] }).to_string();
    let fake =
        Fake::start(move |_| format!("200 OK\r\nContent-Length: {}\r\n\r\n{list}", list.len()));
    let ran = self::pull(&role(), &fake);
    ran.exits(10).mentions(&format!("it is no OCI manifest of one image: its type is `{index}`"));
}
