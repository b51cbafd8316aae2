//! What is not taken from a registry.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::pulling::{Pushed, key, puller, pushed, stored, trust};
use super::pushing::role;
use super::server::Registry;
use crate::requirement::skip;
use crate::sandbox::{Ran, Sandbox};

/// Changes what a registry has, as whoever may write there can. It prints a manifest, or puts one there: `get REPO
/// TAG`, `put REPO TAG TEXT BLOB...`, each blob as hexadecimal digits.
const WRITER: &str = r"
import hashlib, sys, urllib.request as u
verb, repo, tag = sys.argv[1:4]
base = 'http://' + repo.replace('/', '/v2/', 1)
kind = 'application/vnd.oci.image.manifest.v1+json'
def ask(method, url, data=None, **headers):
    return u.urlopen(u.Request(url, data, headers, method=method))
if verb == 'get':
    sys.stdout.write(ask('GET', base + '/manifests/' + tag, Accept=kind).read().decode())
else:
    for blob in map(bytes.fromhex, sys.argv[5:]):
        place = ask('POST', base + '/blobs/uploads/', b'').headers['Location']
        digest = hashlib.sha256(blob).hexdigest()
        ask('PUT', place + '&digest=sha256:' + digest, blob, **{'Content-Type': 'application/octet-stream'})
    ask('PUT', base + '/manifests/' + tag, sys.argv[4].encode(), **{'Content-Type': kind})
";

#[track_caller]
fn writer(words: &[&str]) -> String {
    let output = Command::new("python3").args(["-c", WRITER]).args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Pushed {
    /// Returns the keys of its layers, the innermost first, and their generations.
    pub(super) fn entries(&self) -> Vec<(String, u64)> {
        let ids = stored(&self.builder);
        let mut entries: Vec<(String, u64)> = ids
            .iter()
            .map(|id| id.split_once('.').unwrap())
            .map(|(key, generation)| (key.to_owned(), generation.parse().unwrap()))
            .collect();
        entries.sort_by_key(|(_, generation)| *generation);
        entries
    }

    pub(super) fn manifest(&self, tag: &str) -> (Value, String) {
        let text = writer(&["get", &self.repository, tag]);
        let digest = digest(text.as_bytes());
        (serde_json::from_str(&text).unwrap(), digest)
    }

    pub(super) fn put(&self, tag: &str, manifest: &Value, blobs: &[&[u8]]) {
        let hex = |blob: &&[u8]| {
            blob.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
        };
        let blobs: Vec<String> = blobs.iter().map(hex).collect();
        let text = manifest.to_string();
        let words = ["put", &self.repository, tag, &text];
        writer(&words.into_iter().chain(blobs.iter().map(String::as_str)).collect::<Vec<_>>());
    }

    /// Puts a signature of something in the place of that of the innermost layer.
    fn sign(&self, key: &Path, namespace: &str, statement: &Value) {
        let (tag, mut manifest) = self.signatures();
        let signature = signature(key, namespace, &statement.to_string());
        let layer = &mut manifest["layers"][0];
        layer["digest"] = self::digest(&signature).into();
        layer["size"] = signature.len().into();
        self.put(&tag, &manifest, &[&signature]);
    }

    /// Returns the tag of the signatures of the innermost layer, and their manifest.
    fn signatures(&self) -> (String, Value) {
        let (name, _) = &self.entries()[0];
        let (_, digest) = self.manifest(&format!("key-{name}"));
        let tag = format!("sha256-{}.lt-sig", digest.trim_start_matches("sha256:"));
        let (manifest, _) = self.manifest(&tag);
        (tag, manifest)
    }

    /// Returns what the signature of the innermost layer says.
    fn statement(&self) -> Value {
        let (name, generation) = &self.entries()[0];
        let (_, digest) = self.manifest(&format!("key-{name}"));
        json!({
            "digest": digest,
            "generation": generation,
            "key": format!("sha256:{name}"),
            "repository": self.repository,
        })
    }

    pub(super) fn pull(&self, host: &Sandbox, more: &[&str]) -> Ran {
        let words = ["pull", "m.toml", "--from", &self.repository];
        host.run(words.into_iter().chain(more.iter().copied()))
    }
}

/// Returns where a registry keeps a blob.
pub(super) fn blob_of(registry: &Registry, digest: &str) -> PathBuf {
    let hex = digest.trim_start_matches("sha256:");
    registry.path(&format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
}

pub(super) fn digest(bytes: &[u8]) -> String {
    layered_template::digest::Digest::of(bytes).to_string()
}

fn signature(key: &Path, namespace: &str, text: &str) -> Vec<u8> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "sign", "-n", namespace, "-f"]).arg(key);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// Returns what the record of a container tells of layers that another host has made.
#[track_caller]
fn pulled(host: &Sandbox) -> Vec<Value> {
    let record = host.record();
    let layers = record["layers"].as_array().unwrap().iter();
    let supplies: Vec<Value> =
        layers.chain([&record["upstream"]]).map(|part| part["supply"].clone()).collect();
    let by = supplies.iter().filter(|supply| supply["by"] == "registry").count();
    assert_eq!(by, 3, "{record:#}");
    let pulled = supplies.iter().map(|supply| supply["pulled"].clone());
    pulled.filter(|pulled| !pulled.is_null()).collect()
}

/// Sees that a host takes nothing.
#[track_caller]
fn refuses(pushed: &Pushed, host: &Sandbox, why: &str) {
    pushed.pull(host, &[]).exits(10).mentions(why);
    nothing_is_stored(host);
}

#[track_caller]
fn nothing_is_stored(host: &Sandbox) {
    assert_eq!(stored(host), [] as [String; 0]);
    let blobs = fs::read_dir(host.path("store/host.meta/blobs")).unwrap();
    assert_eq!(blobs.count(), 0);
}

#[test]
fn only_a_signature_of_just_this_by_a_known_key_counts() {
    let Some(pushed) = pushed() else { return };
    let host = puller(&pushed);
    let right = pushed.statement();
    let with = |name: &str, value: Value| {
        let mut statement = right.clone();
        statement[name] = value;
        statement
    };
    let (other, other_signers) = key(&pushed.builder, "other");
    let own = pushed.key.clone();
    let unknown = "has no signature that counts here";
    let other_digest = digest(b"other");
    for (key, namespace, statement) in [
        (&other, "layered-template", right.clone()),
        (&own, "file", right.clone()),
        (&own, "layered-template", with("repository", "127.0.0.1:1/web".into())),
        (&own, "layered-template", with("key", other_digest.clone().into())),
        (&own, "layered-template", with("digest", other_digest.into())),
        (&own, "layered-template", with("generation", 1.into())),
    ] {
        pushed.sign(key, namespace, &statement);
        refuses(&pushed, &host, unknown);
    }
    // A key that another host takes is none here.
    pushed.sign(&other, "layered-template", &right);
    let elsewhere = role();
    trust(&elsewhere, &other_signers, "");
    let ran = pushed.pull(&elsewhere, &[]);
    ran.exits(10).mentions("error: layer `libs` cannot be pulled: it has no signature that counts");
    ran.mentions("m.toml:");
    assert_eq!(stored(&elsewhere).len(), 1);
    pushed.sign(&own, "layered-template", &right);
    pushed.pull(&host, &[]).exits(0);
}

#[test]
fn signatures_that_are_none_hide_no_good_one() {
    let Some(pushed) = pushed() else { return };
    let right = pushed.statement();
    let host = puller(&pushed);
    let (tag, good) = pushed.signatures();
    let mark = &good["layers"][0]["annotations"];
    let (other, _) = key(&pushed.builder, "other");
    let own = pushed.key.to_str().unwrap();
    let sign = ["push", "m.toml", &pushed.repository, "--sign", own];
    let with = |junk: Vec<Vec<u8>>, last: Option<&Value>| {
        let mut manifest = good.clone();
        let describe = |text: &Vec<u8>| {
            json!({
                "mediaType": good["layers"][0]["mediaType"],
                "digest": digest(text),
                "size": text.len(),
                "annotations": mark,
            })
        };
        let layers: Vec<Value> = junk.iter().map(describe).chain(last.cloned()).collect();
        manifest["layers"] = layers.into();
        pushed.put(&tag, &manifest, &junk.iter().map(Vec::as_slice).collect::<Vec<_>>());
    };

    // Whoever may write there can say of anything that it is somebody's.
    let foreign = signature(&other, "layered-template", &right.to_string());
    with(vec![b"junk".to_vec(), foreign.clone()], None);
    refuses(&pushed, &host, "has no signature that counts here");
    pushed.builder.run(sign).exits(0);
    let (_, signed) = pushed.signatures();
    let digests: Vec<_> = signed["layers"].as_array().unwrap().iter().collect();
    assert_eq!(digests.len(), 2, "{signed:#}");
    assert_eq!(digests[1]["digest"], digest(&foreign));
    pushed.pull(&puller(&pushed), &[]).exits(0);

    // Nor can so many stand in front that nobody finds the good one.
    let junk = || (0..20).map(|number| format!("junk {number}").into_bytes()).collect();
    with(junk(), Some(&good["layers"][0]));
    refuses(&pushed, &host, "has no signature that counts here among the first; 5 more");
    pushed.builder.run(sign).exits(0);
    assert_eq!(pushed.signatures().1["layers"].as_array().unwrap().len(), 1);
    pushed.pull(&host, &[]).exits(0);
    // What is good already stays as it is.
    pushed.builder.run(sign).exits(0).shows("0 bytes sent");
}

#[test]
fn signatures_that_are_made_at_once_all_stay() {
    let Some(pushed) = pushed() else { return };
    let keys: Vec<_> =
        (0..4).map(|number| key(&pushed.builder, &format!("signer{number}"))).collect();
    std::thread::scope(|scope| {
        for (own, _) in &keys {
            let words = ["push", "m.toml", &pushed.repository, "--sign", own.to_str().unwrap()];
            let builder = &pushed.builder;
            scope.spawn(move || {
                builder.run(words).exits(0).shows("0 bytes sent");
            });
        }
    });
    let (_, signed) = pushed.signatures();
    assert_eq!(signed["layers"].as_array().unwrap().len(), 1 + keys.len(), "{signed:#}");
    for (_, signers) in &keys {
        let host = role();
        trust(&host, signers, "");
        pushed.pull(&host, &[]).exits(0);
    }
}

#[test]
fn what_nobody_vouches_for_is_taken_only_where_that_is_said() {
    let Some(pushed) = pushed() else { return };
    let host = role();
    refuses(&pushed, &host, "is pinned by no lock, and no signatures count here");
    let ran = host.create(["--from", &pushed.repository]);
    ran.exits(10)
        .mentions("layer `os` cannot be pulled: its template is pinned by no lock, and no");
    ran.mentions("add the key to /etc/layered-template/allowed_signers");
    // What the log holds is what was said.
    let logs = host.left().into_iter().map(|run| fs::read_to_string(run.join("log")).unwrap());
    let log = logs.collect::<String>();
    assert!(log.contains("cannot be pulled") && log.contains("hint: to trust a signer"), "{log}");
    host.run(["plan", "m.toml", "--from", &pushed.repository]).exits(10);
    trust(&host, &pushed.signers, "require = \"lock\"\n");
    refuses(&pushed, &host, "is not pinned by a lock, as `remote.toml` requires");
    host.create(["--from", &pushed.repository, "--allow-untrusted"]).exits(0);
    for pulled in pulled(&host) {
        assert_eq!(pulled["vouched_by"], "nobody");
        assert_eq!(pulled["repository"], pushed.repository);
    }
}

#[test]
fn what_the_lock_pins_is_taken_without_a_signature_and_nothing_else_is() {
    let Some(pushed) = pushed() else { return };
    pushed.builder.run(["lock", "m.toml"]).exits(0);
    let lock = fs::read(pushed.builder.role().join("m.toml.lock")).unwrap();
    let host = role().file("m.toml.lock", &lock);
    let words = ["--from", &pushed.repository, "--locked"];
    host.create(words).exits(0);
    assert!(pulled(&host).iter().all(|pulled| pulled["vouched_by"] == "lock"));
    assert_eq!(host.read("etc/app"), "app\n");

    // Another build of the same role is not what is pinned.
    pushed.builder.run(["build", "m.toml", "--rebuild"]).exits(0);
    pushed.builder.run(["push", "m.toml", &pushed.repository]).exits(0);
    let host = role().file("m.toml.lock", &lock);
    let ran = host.create(words);
    ran.exits(8).mentions("layer `os` cannot be made: its template is locked to ");
    ran.mentions("in its place").mentions("push the locked layer there, or lock again and review");
    // Nor is that of which something else is told.
    pushed.builder.run(["lock", "m.toml"]).exits(0);
    let text = fs::read_to_string(pushed.builder.role().join("m.toml.lock")).unwrap();
    let changed: String = text
        .lines()
        .map(|line| match line.starts_with("document") {
            true => format!("document = \"{}\"\n", digest(b"other")),
            false => format!("{line}\n"),
        })
        .collect();
    let host = role().file("m.toml.lock", changed);
    host.create(words).exits(10).mentions("is not what the lock pins");
    role().file("m.toml.lock", text).create(words).exits(0);
}

#[test]
fn what_no_build_can_have_told_is_refused() {
    let Some(pushed) = pushed() else { return };
    let tag = format!("key-{}", pushed.entries()[0].0);
    let (manifest, _) = pushed.manifest(&tag);
    let blob = blob_of(&pushed.registry, manifest["config"]["digest"].as_str().unwrap());
    let told: Value = serde_json::from_slice(&fs::read(blob).unwrap()).unwrap();
    let made = |generation| json!(format!("{}.{generation}", pushed.entries()[0].0));
    let written = |text: &str| json!(["all", {"text": text.as_bytes()}]);
    let later =
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(2 * 86_400);
    let later = u64::try_from(later.as_millis()).unwrap();
    for (place, value, why) in [
        ("/entry", made(u64::MAX), "it was made in the future"),
        ("/entry", made(later), "it was made in the future"),
        ("/made_at", json!(later), "it was made in the future"),
        ("/config/parts", json!(vec!["all"; 1000]), "no one place for the lines"),
        ("/kept", json!(vec!["etc"; 5000]), "it tells of more paths or keys than any layer has"),
        ("/lxcpaths", json!(vec!["/l"; 5000]), "it tells of more paths or keys than any layer has"),
        ("/keys/ssh", json!(vec!["rsa"; 65]), "it tells of more paths or keys than any layer has"),
        ("/config/parts", written("a\0b\n"), "control characters"),
        ("/config/parts", written("lxc.rootfs.path = dir:/\n"), "sets `lxc.rootfs.path`"),
        ("/config/parts", written("lxc.idmap = u 0 0 1\n"), "sets `lxc.idmap`"),
        ("/config/parts", written("lxc.include = /l/rootfs/a\n"), "includes `/l/rootfs/a`"),
    ] {
        let mut told = told.clone();
        *told.pointer_mut(place).unwrap() = value;
        let text = told.to_string().into_bytes();
        let mut manifest = manifest.clone();
        manifest["config"]["digest"] = digest(&text).into();
        manifest["config"]["size"] = text.len().into();
        pushed.put(&tag, &manifest, &[&text]);
        let host = puller(&pushed);
        pushed.pull(&host, &["--allow-untrusted"]).exits(10).mentions(why);
        nothing_is_stored(&host);
    }
}

#[test]
fn what_is_older_than_what_was_stored_is_refused() {
    let Some(pushed) = pushed() else { return };
    let host = puller(&pushed);
    host.run(["build", "m.toml"]).exits(0);
    // Its own are newer, but damaged.
    for id in stored(&host) {
        fs::remove_dir_all(host.path(format!("store/host/trees/{id}/rootfs"))).unwrap();
    }
    pushed.pull(&host, &[]).exits(10).mentions("is older than what is stored here");
}

#[test]
fn what_was_changed_in_the_registry_is_refused() {
    let Some(pushed) = pushed() else { return };
    let host = puller(&pushed);
    let entries = pushed.entries();
    let tag = format!("key-{}", entries[0].0);
    let text = writer(&["get", &pushed.repository, &tag]);
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let of = |value: &Value| value["digest"].as_str().unwrap().to_owned();
    let (document, layer) = (of(&manifest["config"]), of(&manifest["layers"][0]));
    for (blob, why) in
        [(&document, "is not what was asked for"), (&layer, "is not what was asked for")]
    {
        let file = blob_of(&pushed.registry, blob);
        let before = fs::read(&file).unwrap();
        let mut changed = before.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        fs::write(&file, &changed).unwrap();
        refuses(&pushed, &host, why);
        let ran = pushed.pull(&host, &["--allow-untrusted"]);
        ran.exits(10).mentions("damaged or altered");
        assert!(!ran.stderr().contains("hint: "), "{}", ran.stderr());
        nothing_is_stored(&host);
        fs::write(&file, &before).unwrap();
    }

    // A manifest that names the blob of another layer has no signature, and is found out without one.
    let (other, _) = pushed.manifest(&format!("key-{}", entries[1].0));
    let mut mixed = manifest.clone();
    mixed["layers"] = other["layers"].clone();
    pushed.put(&tag, &mixed, &[]);
    refuses(&pushed, &host, "is neither signed nor pinned by a lock");
    let ran = pushed.pull(&host, &["--allow-untrusted"]);
    ran.exits(10).mentions("has sent something else than it announced");
    nothing_is_stored(&host);
    // Of another key, or of something else, nothing is even looked at.
    pushed.put(&tag, &other, &[]);
    refuses(&pushed, &host, "it is of another key");
    let (image, _) = pushed.manifest("latest");
    pushed.put(&tag, &image, &[]);
    refuses(&pushed, &host, "it has not one blob");
    writer(&["put", &pushed.repository, &tag, &text]);
    pushed.pull(&host, &[]).exits(0);
}

/// Makes an archive of a member with attributes: its kind, and a name, a value and how many there are of them.
const PLANTED: &str = r"
import gzip, hashlib, io, sys, tarfile
kind, name, value, count = sys.argv[1:]
blob = io.BytesIO()
with gzip.GzipFile(fileobj=blob, mode='wb', mtime=0) as packed:
    with tarfile.open(fileobj=packed, mode='w', format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo('etc/odd')
        member.type = getattr(tarfile, kind)
        member.mode = 0o755
        member.linkname = 'x' if member.issym() else ''
        names = [name + (str(number) if number else '') for number in range(int(count))]
        member.pax_headers = {'SCHILY.xattr.' + name: value for name in names}
        archive.addfile(member)
        archive.addfile(tarfile.TarInfo('etc/next'))
blob = blob.getvalue()
print(hashlib.sha256(gzip.decompress(blob)).hexdigest(), blob.hex())
";

impl Pushed {
    /// Puts an archive that [`PLANTED`] makes in the place of that of the innermost layer.
    fn plant_member(&self, words: [&str; 4]) {
        let tag = format!("key-{}", self.entries()[0].0);
        let (mut manifest, _) = self.manifest(&tag);
        let blob = blob_of(&self.registry, manifest["config"]["digest"].as_str().unwrap());
        let mut told: Value = serde_json::from_slice(&fs::read(blob).unwrap()).unwrap();
        let output = Command::new("python3").args(["-c", PLANTED]).args(words).output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        let (diff_id, layer) = output.trim().split_once(' ').unwrap();
        let layer: Vec<u8> = (0..layer.len() / 2)
            .map(|at| u8::from_str_radix(&layer[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        told["diff_id"] = format!("sha256:{diff_id}").into();
        let told = told.to_string().into_bytes();
        for (at, blob) in [("/config", &told), ("/layers/0", &layer)] {
            let at = manifest.pointer_mut(at).unwrap();
            at["digest"] = digest(blob).into();
            at["size"] = blob.len().into();
        }
        self.put(&tag, &manifest, &[&told, &layer]);
    }
}

#[test]
fn an_attribute_that_no_kernel_takes_is_refused() {
    let Some(pushed) = pushed() else { return };
    for (kind, name) in [
        ("REGTYPE", "security.capability"),
        ("REGTYPE", "system.posix_acl_access"),
        ("FIFOTYPE", "security.capability"),
        ("DIRTYPE", "system.posix_acl_default"),
        ("DIRTYPE", "security.capability"),
        ("SYMTYPE", "security.capability"),
        ("REGTYPE", "user."),
    ] {
        pushed.plant_member([kind, name, "odd", "1"]);
        let map = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n";
        for more in [&[][..], &["-f", "map.conf"]] {
            let host = puller(&pushed).file("map.conf", map);
            let ran = pushed.pull(&host, &[&["--allow-untrusted"], more].concat());
            ran.exits(10).mentions(&format!("the attribute `{name}`")).mentions("`etc/odd`");
            let map = if more.is_empty() { "host" } else { "u100000-65536-g100000-65536" };
            let entries = fs::read_dir(host.path(format!("store/{map}.meta/entries"))).unwrap();
            assert_eq!(entries.count(), 0);
        }
    }
}

#[test]
fn more_attributes_than_a_file_has_room_for_are_refused_and_a_full_disk_is_not_blamed() {
    let Some(pushed) = pushed() else { return };
    let script = "PATH=$PATH:/usr/sbin:/sbin
        truncate -s 64M ../image && mkfs.ext4 -q ../image >/dev/null 2>&1 || exit 77
        mkdir ../store && mount -o loop ../image ../store 2>/dev/null || exit 77
        chmod 711 ../store; rmdir ../store/lost+found; exec \"$0\" \"$@\"";
    for (kind, count) in [("REGTYPE", "400"), ("DIRTYPE", "400"), ("REGTYPE", "9")] {
        pushed.plant_member([kind, "user.mark", &"x".repeat(600), count]);
        let host = puller(&pushed);
        let mut command = host.command("unshare");
        command.args(["--mount", "--", "/bin/sh", "-c", script]).arg(host.program_path());
        command.args(["pull", "m.toml", "--from", &pushed.repository, "--allow-untrusted"]);
        let ran = host.ran(command);
        if ran.output.status.code() == Some(77) {
            return skip("no ext4 can be made here");
        }
        ran.exits(10).mentions("`etc/odd`").mentions("the attribute `user.mark");
        ran.mentions("a file has no room for so many, or so large ones, on this filesystem");
    }
}
