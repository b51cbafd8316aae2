//! Who somebody is at a registry, from the files that other programs of containers keep.

use std::env;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::authorization::query;
use super::base64;
use super::fault::RegistryError;
use super::reference::Repository;
use crate::host::{child, files};

/// The largest file, and the largest answer of a helper, in bytes.
const LARGEST: usize = 1 << 20;

/// How long a helper may take: a person may have to be asked.
const LONGEST_CALL: Duration = Duration::from_secs(120);

/// What a helper calls a user whose secret is a token.
const TOKEN_USER: &str = "<token>";

/// The registry of Docker, and its name in files.
const DOCKER: &str = "docker.io";
const DOCKER_KEYS: [&str; 3] = ["https://index.docker.io/v1/", "index.docker.io", "docker.io"];

/// Who somebody is at a registry. It is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) enum Credentials {
    /// Nobody in particular.
    #[default]
    Nobody,
    /// A user with a password.
    Password { user: String, password: String },
    /// Whoever has this token, for which the registry gives another.
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Nobody => "Nobody",
            Self::Password { .. } => "Password",
            Self::Token(_) => "Token",
        })
    }
}

impl Credentials {
    /// Finds what the files of this user have for a repository, the first that has something.
    pub(super) fn find(repository: &Repository) -> Result<Self, RegistryError> {
        for path in paths() {
            let text = match files::read_regular(&path, LARGEST) {
                Ok(text) => text,
                // Behind an id map they may be none of this process's.
                Err(error)
                    if [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied]
                        .contains(&error.kind()) =>
                {
                    continue;
                }
                Err(error) => {
                    return Err(RegistryError::host(format!("`{}`", path.display()), error));
                }
            };
            // What is wrong with it may be a secret: the words of the parser are not shown.
            let document = serde_json::from_slice(&text).map_err(|_| {
                RegistryError::malformed(format!("`{}`", path.display()), "it is no JSON")
            })?;
            let found = in_document(&document, repository, &call)?;
            if found != Self::Nobody {
                return Ok(found);
            }
        }
        Ok(Self::Nobody)
    }

    /// Returns what nobody may be shown, in all forms in which it is sent.
    pub(super) fn secrets(&self) -> Vec<String> {
        let basic = self.basic();
        let header = basic.as_deref().and_then(|basic| basic.strip_prefix("Basic "));
        let own = match self {
            Self::Nobody => return Vec::new(),
            Self::Password { password, .. } => password,
            Self::Token(token) => token,
        };
        let encoded = base64::encode(own.as_bytes());
        let mut secrets = vec![own.clone(), query(own), encoded];
        secrets.extend(header.map(str::to_owned));
        secrets
    }

    /// Returns the header of those who have a password.
    pub(super) fn basic(&self) -> Option<String> {
        match self {
            Self::Password { user, password } => {
                Some(format!("Basic {}", base64::encode(format!("{user}:{password}").as_bytes())))
            }
            Self::Nobody | Self::Token(_) => None,
        }
    }
}

/// Returns a text without secrets: the longest are looked for first, since one may hold another.
pub(super) fn mask(text: &str, secrets: &[String]) -> String {
    let mut secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    secrets.retain(|secret| !secret.is_empty());
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

/// Returns the files, in the order in which they are asked.
fn paths() -> Vec<PathBuf> {
    let variable =
        |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = variable("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = variable("HOME");
    let config = variable("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
    let docker = variable("DOCKER_CONFIG").or_else(|| Some(home.as_ref()?.join(".docker")));
    [
        variable("XDG_RUNTIME_DIR").map(|run| run.join("containers/auth.json")),
        config.map(|config| config.join("containers/auth.json")),
        docker.map(|docker| docker.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Finds what a document has for a repository. `call` asks a helper.
fn in_document(
    document: &Value,
    repository: &Repository,
    call: &dyn Fn(&str, &str) -> Result<Credentials, RegistryError>,
) -> Result<Credentials, RegistryError> {
    let keys = keys(repository);
    for key in &keys {
        if let Some(helper) = document["credHelpers"][key].as_str() {
            return call(helper, key);
        }
    }
    for key in &keys {
        // Some keep the scheme.
        let found = [key.clone(), format!("https://{key}"), format!("https://{key}/v1/")];
        let found = found.iter().map(|key| &document["auths"][key]).find(|found| found.is_object());
        let Some(found) = found else { continue };
        if let Some(token) = found["identitytoken"].as_str().filter(|token| !token.is_empty()) {
            return Ok(Credentials::Token(token.to_owned()));
        }
        if let Some(text) = found["auth"].as_str().filter(|text| !text.is_empty()) {
            let decoded = base64::decode(text).and_then(|bytes| String::from_utf8(bytes).ok());
            let Some((user, password)) = decoded.as_deref().and_then(|text| text.split_once(':'))
            else {
                let why = format!("what it has for {key} is no user and password");
                return Err(RegistryError::malformed("the file of credentials", why));
            };
            let (user, password) = (user.to_owned(), password.to_owned());
            return Ok(Credentials::Password { user, password });
        }
    }
    match document["credsStore"].as_str() {
        Some(helper) if !helper.is_empty() => {
            call(helper, keys.last().map_or(repository.host.as_str(), String::as_str))
        }
        _ => Ok(Credentials::Nobody),
    }
}

/// Returns what a repository, and what it is in, may be called in a file: the narrowest first.
fn keys(repository: &Repository) -> Vec<String> {
    let whole = repository.to_string();
    let mut keys: Vec<String> = vec![whole.clone()];
    keys.extend(whole.rmatch_indices('/').map(|(at, _)| whole[..at].to_owned()));
    if repository.host == DOCKER {
        keys.extend(DOCKER_KEYS.map(str::to_owned));
    }
    keys
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks a helper of the host's: `docker-credential-NAME`. The secret comes by a pipe.
fn call(helper: &str, registry: &str) -> Result<Credentials, RegistryError> {
    let program = format!("docker-credential-{helper}");
    if helper.contains('/') {
        return Err(RegistryError::malformed("the helper for credentials", "its name has a slash"));
    }
    let what = format!("`{program} get`");
    let fail = |error: io::Error| RegistryError::host(what.clone(), error);
    let mut command = Command::new(&program);
    command.arg("get").stderr(Stdio::null());
    let (said, status) =
        child::answer_of(command, registry.as_bytes(), LARGEST, LONGEST_CALL).map_err(fail)?;
    if !status.success() {
        // Helpers fail for whom they have nothing.
        tracing::debug!(program, %status, "a helper has no credentials");
        return Ok(Credentials::Nobody);
    }
    let answer: Answer = serde_json::from_slice(&said)
        .map_err(|_| RegistryError::malformed(format!("the answer of {what}"), "it is no JSON"))?;
    Ok(match answer.username.as_str() {
        TOKEN_USER => Credentials::Token(answer.secret),
        _ => Credentials::Password { user: answer.username, password: answer.secret },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn password(user: &str, password: &str) -> Credentials {
        Credentials::Password { user: user.into(), password: password.into() }
    }

    #[test]
    fn the_narrowest_entry_of_a_file_counts() {
        let auth = |text: &str| json!({ "auth": base64::encode(text.as_bytes()) });
        let document = json!({
            "auths": {
                "r.example": auth("all:a:b"),
                "r.example/team/web": auth("web:w"),
                "https://s.example": auth("s:s"),
                "t.example": { "identitytoken": "t" },
            },
            "credHelpers": { "h.example": "vault" },
            "credsStore": "store",
        });
        let asked = |helper: &str, registry: &str| Ok(password(helper, registry));
        for (host, name, expected) in [
            ("r.example", "team/web", password("web", "w")),
            ("r.example", "team/other", password("all", "a:b")),
            ("s.example", "x", password("s", "s")),
            ("t.example", "x", Credentials::Token("t".into())),
            ("h.example", "x", password("vault", "h.example")),
            ("u.example", "x", password("store", "u.example")),
        ] {
            let repository = Repository { host: host.into(), name: name.into() };
            let found = in_document(&document, &repository, &asked).unwrap();
            assert!(found == expected, "{host}/{name}");
        }
    }

    #[test]
    fn what_was_sent_is_not_shown_when_it_comes_back() {
        let credentials = [password("u", "s3 kret"), Credentials::Token("a/b".into())];
        let secrets: Vec<_> = credentials.iter().flat_map(Credentials::secrets).collect();
        for (text, expected) in [
            ("bad Basic dTpzMyBrcmV0", "bad Basic ***"),
            ("u:s3 kret is nobody", "u:*** is nobody"),
            ("?x=s3%20kret&refresh_token=a%2Fb", "?x=***&refresh_token=***"),
            ("a/b", "***"),
            ("denied", "denied"),
        ] {
            assert_eq!(mask(text, &secrets), expected);
        }
        assert_eq!(Credentials::Nobody.secrets(), [""; 0]);
        assert_eq!(mask("text", &[String::new()]), "text");
    }

    #[test]
    fn no_secret_is_shown() {
        let shown = format!("{:?} {:?}", password("u", "hush"), Credentials::Token("hush".into()));
        assert!(!shown.contains("hush"), "{shown}");
        let document = json!({ "auths": { "r.example": { "auth": "aHVzaA==" } } });
        let repository = Repository { host: "r.example".into(), name: "x".into() };
        let nobody = |_: &str, _: &str| Ok(Credentials::Nobody);
        let error = in_document(&document, &repository, &nobody).unwrap_err().to_string();
        assert!(error.contains("r.example") && !error.contains("hush"), "{error}");
    }
}
