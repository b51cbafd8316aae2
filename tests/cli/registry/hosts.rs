//! Where a registry sends requests: nowhere that others could listen.

use std::fs;

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
