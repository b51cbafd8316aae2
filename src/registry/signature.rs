//! Signatures of stored layers, made and verified by the host's `ssh-keygen`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::json;

use super::client::Client;
use super::download::hex;
use super::fault::RegistryError;
use super::manifest::{Descriptor, EMPTY, EMPTY_TEXT, Manifest};
use super::reference::{Repository, SIGNATURES_MARK, Version};
use crate::digest::Digest;
use crate::host::state::RunDirectory;
use crate::plan::EntryId;
use crate::tree::Interrupt;

/// What signatures are for: one that was made for something else is none.
const NAMESPACE: &str = "layered-template";

/// The media type of a signature.
const SIGNATURE: &str = "application/vnd.layered-template.signature.v1+ssh";

/// The annotation of a signature that tells whose it is.
const SIGNER: &str = "org.layered-template.signer";

/// The largest signature, in bytes, and the most of them that are looked at.
const LARGEST: usize = 64 * 1024;
const MOST: usize = 16;

/// How many of those that others have made are looked at before one is added: what is none is left out then.
const MOST_OTHERS: usize = 64;

/// How often layers are signed again whose signature somebody else has taken away, and how long is waited before it is
/// looked whether that is so.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(250);

/// The program.
const PROGRAM: &str = "ssh-keygen";

/// What a signature says of a stored layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statement<'a> {
    /// Where it is.
    pub repository: &'a Repository,
    /// Which it is.
    pub entry: EntryId,
    /// The digest of its manifest.
    pub manifest: Digest,
}

impl Statement<'_> {
    /// Returns the text that is signed: JSON with sorted keys and no space.
    fn text(&self) -> Vec<u8> {
        let Self { repository, entry, manifest } = self;
        let document = json!({
            "repository": repository.to_string(),
            "key": entry.key,
            "digest": manifest,
            "generation": entry.generation,
        });
        document.to_string().into_bytes()
    }
}

/// A key that layers are signed with.
#[derive(Debug)]
pub(crate) struct Signer {
    key: PathBuf,
    /// What it is known by.
    fingerprint: String,
}

impl Signer {
    /// Opens a key: a private one, or the public one of a key that an agent has.
    pub(crate) fn open(key: &Path) -> Result<Self, RegistryError> {
        let what = format!("the key `{}`", key.display());
        let mut public = key.as_os_str().to_owned();
        public.push(".pub");
        if !key.exists() && !Path::new(&public).exists() {
            return Err(RegistryError::NoKey(key.to_path_buf()));
        }
        let mut command = Command::new(PROGRAM);
        command.arg("-l").arg("-f").arg(key);
        let output = run(command, b"", &what)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        match said.split(' ').nth(1) {
            Some(fingerprint) if output.status.success() => {
                Ok(Self { key: key.to_path_buf(), fingerprint: fingerprint.to_owned() })
            }
            _ => Err(failed(&what, &output)),
        }
    }

    /// Tells whether a signature is this key's.
    fn has_made(&self, statement: &Statement<'_>, signature: &[u8]) -> Result<bool, RegistryError> {
        Ok(maker(statement, signature)?.is_some_and(|maker| maker == self.fingerprint))
    }

    /// Makes a signature, and verifies it: others would find out too late that an agent, or a token, made another one.
    fn sign(&self, statement: &Statement<'_>) -> Result<Vec<u8>, RegistryError> {
        let mut command = Command::new(PROGRAM);
        command.args(["-Y", "sign", "-n", NAMESPACE, "-f"]).arg(&self.key);
        let what = format!("signing with `{}`", self.key.display());
        let output = run(command, &statement.text(), &what)?;
        if !output.status.success() {
            return Err(failed(&what, &output));
        }
        if !self.has_made(statement, &output.stdout)? {
            let why = "the signature that was made is not one of this key";
            return Err(RegistryError::host(what, io::Error::other(why)));
        }
        Ok(output.stdout)
    }
}

/// Whose signatures count: a file as `ssh-keygen` reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signers(pub(crate) PathBuf);

impl Signers {
    /// Verifies a signature, and returns whose it is; `None` where it is nobody's, or of something else.
    fn verify(
        &self,
        statement: &Statement<'_>,
        signature: &[u8],
    ) -> Result<Option<String>, RegistryError> {
        let (_scratch, file) = written(signature)?;
        let what = format!("`{PROGRAM} -Y`");
        let command = |verb: &str| {
            let mut command = Command::new(PROGRAM);
            command.args(["-Y", verb, "-f"]).arg(&self.0).arg("-s").arg(&file);
            command.args(["-n", NAMESPACE]);
            command
        };
        let output = run(command("find-principals"), b"", &what)?;
        if !output.status.success() {
            return Ok(None);
        }
        let principals = String::from_utf8_lossy(&output.stdout).into_owned();
        for principal in principals.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut verify = command("verify");
            verify.arg("-I").arg(principal);
            if run(verify, &statement.text(), &what)?.status.success() {
                return Ok(Some(principal.to_owned()));
            }
        }
        Ok(None)
    }
}

/// Returns the fingerprint of the key that has made a signature of a statement; `None` where it is none.
fn maker(statement: &Statement<'_>, signature: &[u8]) -> Result<Option<String>, RegistryError> {
    let (_scratch, file) = written(signature)?;
    let mut command = Command::new(PROGRAM);
    command.args(["-Y", "check-novalidate", "-n", NAMESPACE, "-s"]).arg(&file);
    let output = run(command, &statement.text(), &format!("`{PROGRAM} -Y`"))?;
    // It says `Good "layered-template" signature with ED25519 key SHA256:...`.
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let maker = said.trim().rsplit(' ').next().map(str::to_owned);
    Ok(maker.filter(|_| output.status.success()))
}

/// Writes a signature into a file, which is gone with the directory.
fn written(signature: &[u8]) -> Result<(RunDirectory, PathBuf), RegistryError> {
    let fail = |error| RegistryError::host("a signature cannot be verified", error);
    let scratch = RunDirectory::make_temporary("signature", None).map_err(fail)?;
    let file = scratch.place("signature");
    std::fs::write(&file, signature).map_err(fail)?;
    Ok((scratch, file))
}

/// Returns the tag of the signatures of a manifest.
fn tag(manifest: Digest) -> Version {
    Version::Tag(format!("sha256-{}{SIGNATURES_MARK}", hex(manifest)))
}

/// What there is of signatures of a layer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signatures {
    /// Whether anybody has signed it.
    pub is_signed: bool,
    /// Who has, of those whose signatures count.
    pub principal: Option<String>,
    /// How many were not looked at.
    pub unread: usize,
}

impl Client {
    /// Makes the signatures of layers that lack this key's, and sends nothing. A person may be asked for the word that
    /// opens the key.
    pub(super) fn make_signatures(
        &self,
        signer: &Signer,
        statements: &[Statement<'_>],
        interrupt: Interrupt<'_>,
    ) -> Result<Vec<Option<Vec<u8>>>, RegistryError> {
        let mut made = Vec::new();
        for statement in statements {
            let (layers, _) = self.signatures_there(statement, interrupt)?;
            let is_signed = self.is_signed_by(signer, statement, &layers, interrupt)?;
            made.push(if is_signed { None } else { Some(signer.sign(statement)?) });
        }
        Ok(made)
    }

    /// Sees that layers are signed, by the signatures that were made. What others sign at the same time stays.
    ///
    /// A registry does not tell whether a list of signatures is still the one that was read when another is put in its
    /// place. So each list is looked at again a while after it was written: longer than others need to write theirs.
    pub(super) fn sign(
        &self,
        signer: &Signer,
        statements: &[Statement<'_>],
        mut made: Vec<Option<Vec<u8>>>,
        interrupt: Interrupt<'_>,
    ) -> Result<(), RegistryError> {
        for _ in 0..TRIES {
            let mut is_sure = true;
            for (statement, made) in statements.iter().zip(&mut made) {
                is_sure &= !self.sign_once(signer, statement, made, interrupt)?;
            }
            if is_sure {
                return Ok(());
            }
            interrupt.sleep(PAUSE).map_err(|_| RegistryError::Interrupted)?;
        }
        let what = format!("the signatures in {}", self.repository());
        Err(RegistryError::malformed(what, "others change them all the time"))
    }

    /// Returns the list of a layer's signatures, and its digest where there is one.
    fn signatures_there(
        &self,
        statement: &Statement<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<(Vec<Descriptor>, Option<Digest>), RegistryError> {
        let found = self.manifest(&tag(statement.manifest), interrupt)?;
        Ok(found.map_or_else(Default::default, |(there, digest)| (there.layers, Some(digest))))
    }

    /// Tells whether this key's signature is among those that others look at.
    fn is_signed_by(
        &self,
        signer: &Signer,
        statement: &Statement<'_>,
        layers: &[Descriptor],
        interrupt: Interrupt<'_>,
    ) -> Result<bool, RegistryError> {
        // What is said of a signature may be said by anybody.
        let is_own =
            |layer: &Descriptor| layer.annotations.get(SIGNER) == Some(&signer.fingerprint);
        for layer in layers.iter().take(MOST).filter(|layer| is_own(layer)) {
            let signature = self.signature(layer, interrupt)?;
            if signature.is_some_and(|text| signer.has_made(statement, &text).unwrap_or(false)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sees that a layer is signed, and that the signature is the first that others look at. Of what else is there
    /// only signatures stay, and no more than are looked at. Tells whether it has to be looked at again; `made` is the
    /// signature, once it was made.
    fn sign_once(
        &self,
        signer: &Signer,
        statement: &Statement<'_>,
        made: &mut Option<Vec<u8>>,
        interrupt: Interrupt<'_>,
    ) -> Result<bool, RegistryError> {
        let (layers, _) = self.signatures_there(statement, interrupt)?;
        if self.is_signed_by(signer, statement, &layers, interrupt)? {
            return Ok(false);
        }
        let own = match made {
            Some(own) => own,
            // Somebody has taken it away.
            None => made.insert(signer.sign(statement)?),
        };
        let own = self.upload_signature(signer, own, interrupt)?;
        // It may have taken long.
        let (layers, digest) = self.signatures_there(statement, interrupt)?;
        let mut kept = vec![own];
        for layer in layers.into_iter().take(MOST_OTHERS) {
            let Some(signature) = self.signature(&layer, interrupt)? else { continue };
            let maker = maker(statement, &signature)?;
            if kept.len() < MOST && maker.is_some_and(|maker| maker != signer.fingerprint) {
                kept.push(layer);
            }
        }
        let version = tag(statement.manifest);
        let now = self.manifest_digest(&version, interrupt)?;
        if now.is_none() || now == digest {
            let manifest = Manifest::new(Descriptor::of(EMPTY, EMPTY_TEXT), kept);
            self.put_manifest(&version, &manifest.text()?, interrupt)?;
        }
        Ok(true)
    }

    /// Uploads a signature of a layer.
    fn upload_signature(
        &self,
        signer: &Signer,
        signature: &[u8],
        interrupt: Interrupt<'_>,
    ) -> Result<Descriptor, RegistryError> {
        let mut layer = Descriptor::of(SIGNATURE, signature);
        layer.annotations.insert(SIGNER.to_owned(), signer.fingerprint.clone());
        for (blob, text) in [(&layer, signature), (&Descriptor::of(EMPTY, EMPTY_TEXT), EMPTY_TEXT)]
        {
            let mut source = io::Cursor::new(text);
            self.upload((blob.digest, blob.size), &mut source, None, interrupt)?;
        }
        Ok(layer)
    }

    /// Finds out whether anybody has signed a layer, and who, of those whose signatures count.
    pub(crate) fn signatures(
        &self,
        signers: Option<&Signers>,
        statement: &Statement<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<Signatures, RegistryError> {
        let mut found = Signatures::default();
        let Some((manifest, _)) = self.manifest(&tag(statement.manifest), interrupt)? else {
            return Ok(found);
        };
        found.is_signed = manifest.layers.iter().any(|layer| layer.media_type == SIGNATURE);
        let Some(signers) = signers else { return Ok(found) };
        for layer in manifest.layers.iter().take(MOST) {
            let Some(signature) = self.signature(layer, interrupt)? else { continue };
            if let Some(principal) = signers.verify(statement, &signature)? {
                found.principal = Some(principal);
                return Ok(found);
            }
        }
        found.unread = manifest.layers.len().saturating_sub(MOST);
        Ok(found)
    }

    /// Reads a signature; `None` where what is there can be none.
    fn signature(
        &self,
        layer: &Descriptor,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<Vec<u8>>, RegistryError> {
        if layer.media_type != SIGNATURE || layer.size > LARGEST as u64 {
            return Ok(None);
        }
        match self.small_blob(layer, LARGEST, interrupt) {
            Err(error) if error.is_unfit() || matches!(error, RegistryError::Refused { .. }) => {
                Ok(None)
            }
            signature => signature.map(Some),
        }
    }
}

/// Runs the program to its end. A person may be asked for the word that opens a key.
fn run(mut command: Command, input: &[u8], what: &str) -> Result<Output, RegistryError> {
    let fail = |error: io::Error| {
        let message = match error.kind() {
            io::ErrorKind::NotFound => format!("`{PROGRAM}` is not installed"),
            _ => error.to_string(),
        };
        RegistryError::host(what, io::Error::new(error.kind(), message))
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(fail)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it is judged by how it ends.
        let _ = stdin.write_all(input);
    }
    child.wait_with_output().map_err(fail)
}

fn failed(what: &str, output: &Output) -> RegistryError {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = crate::shell::one_line(said.trim());
    RegistryError::host(what, io::Error::other(format!("`{PROGRAM}`: {said}")))
}
