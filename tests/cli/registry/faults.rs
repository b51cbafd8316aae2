//! What breaks off: registries and runs that are killed, connections, disks.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::counter::Counter;
use super::fake::Fake;
use super::pulling::{puller, pushed, stored};
use super::pushing::role;
use crate::requirement::root;
use crate::sandbox::Sandbox;

/// A role of 40 MB that cannot be compressed, the same on every host.
const UPSTREAM: &str = r#"
mkdir "$rootfs/etc"
python3 -c 'import random,sys; sys.stdout.buffer.write(random.Random(7).randbytes(40000000))' >"$rootfs/large"
"#;

const LAYERS: &str =
    "\n[[layer]]\nname = \"app\"\n[[layer.file]]\npath = \"/etc/app\"\ncontent = \"app\"\n";

fn large() -> Sandbox {
    Sandbox::new().upstream(UPSTREAM).layers(LAYERS)
}

fn pull(host: &Sandbox, from: &str) -> Child {
    let mut command = host.command(host.program_path());
    command.args(["pull", "m.toml", "--from", from, "--allow-untrusted"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits for something to be so.
#[track_caller]
fn until(mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never is");
        sleep(Duration::from_millis(5));
    }
}

/// Returns how many bytes there are of a download.
fn part(host: &Sandbox) -> u64 {
    let blobs = fs::read_dir(host.path("store/host.meta/blobs"));
    let parts = blobs.into_iter().flatten().flatten().filter_map(|entry| entry.metadata().ok());
    parts.map(|part| part.len()).max().unwrap_or_default()
}

#[test]
fn a_registry_that_is_killed_while_blobs_come_has_them_in_the_end() {
    let Some(mut registry) = super::start() else { return };
    let sandbox = large();
    sandbox.run(["build", "m.toml", "-o", "oci:../image:x"]).exits(0);
    let repository = registry.repository("web");
    let mut command = sandbox.command(sandbox.program_path());
    let mut push =
        command.args(["push", "m.toml", &repository]).stdout(Stdio::null()).spawn().unwrap();
    let find = "find data -path '*_uploads*' -name data -size +8M";
    let top = registry.path("");
    until(|| {
        let output = Command::new("sh").args(["-c", find]).current_dir(&top).output().unwrap();
        !output.stdout.is_empty()
    });
    registry.kill();
    sleep(Duration::from_millis(300));
    assert!(registry.run());
    assert_eq!(push.wait().unwrap().code(), Some(0));
    let host = large();
    host.run(["pull", "m.toml", "--from", &repository, "--allow-untrusted"]).exits(0);
    host.run(["store", "verify"]).exits(0);
}

#[test]
fn a_download_goes_on_where_it_broke_off_and_wrong_bytes_are_thrown_away() {
    let Some(registry) = super::start() else { return };
    let sandbox = large();
    sandbox.run(["push", "m.toml", &registry.repository("web")]).exits(0);
    let host = large();
    // Each connection ends after so many bytes.
    let counter = Counter::cutting(registry.port, 15_000_000);
    host.run(["pull", "m.toml", "--from", &counter.repository("web"), "--allow-untrusted"])
        .exits(0);
    let (_, _, received) = counter.take();
    assert!((40_000_000..50_000_000).contains(&received), "{received}");

    // Another run's, and another's that was killed.
    let counter = Counter::to(registry.port);
    let from = counter.repository("web");
    for spoil in [false, true] {
        let host = large();
        let mut run = pull(&host, &from);
        until(|| part(&host) > 5_000_000);
        run.kill().unwrap();
        run.wait().unwrap();
        counter.take();
        let there = part(&host);
        if there == 0 {
            continue;
        }
        if spoil {
            let blobs = fs::read_dir(host.path("store/host.meta/blobs")).unwrap().flatten();
            for part in blobs {
                let mut bytes = fs::read(part.path()).unwrap();
                bytes[1000] ^= 1;
                fs::write(part.path(), bytes).unwrap();
            }
        }
        assert_eq!(pull(&host, &from).wait().unwrap().code(), Some(0));
        let (_, _, received) = counter.take();
        let all = 40_000_000;
        let expected = if spoil { all..2 * all } else { all - there - 1_000_000..all };
        assert!(expected.contains(&received), "{there} of {all} were there, {received} came");
        host.run(["store", "verify"]).exits(0);
    }
}

#[test]
fn two_pulls_at_once_fetch_each_layer_once() {
    let Some(registry) = super::start() else { return };
    let sandbox = large();
    sandbox.run(["push", "m.toml", &registry.repository("web")]).exits(0);
    let counter = Counter::to(registry.port);
    let host = large();
    let runs: Vec<_> = (0..4).map(|_| pull(&host, &counter.repository("web"))).collect();
    for mut run in runs {
        assert_eq!(run.wait().unwrap().code(), Some(0));
    }
    let (_, _, received) = counter.take();
    assert!(received < 50_000_000, "{received}");
    assert_eq!(stored(&host), stored(&sandbox));
    host.run(["store", "verify"]).exits(0);
}

#[test]
fn a_pull_that_is_killed_leaves_nothing_that_the_next_one_minds() {
    let Some(registry) = super::start() else { return };
    let sandbox = large();
    sandbox.run(["push", "m.toml", &registry.repository("web")]).exits(0);
    let host = large();
    for wait in [20, 60, 100, 140, 180, 250, 320, 400, 500, 650, 800] {
        let mut run = pull(&host, &registry.repository("web"));
        sleep(Duration::from_millis(wait));
        run.kill().unwrap();
        run.wait().unwrap();
        // What is stored by then is whole.
        if host.path("store").exists() {
            host.run(["store", "verify"]).exits(0);
        }
    }
    let from = registry.repository("web");
    host.run(["pull", "m.toml", "--from", &from, "--allow-untrusted"]).exits(0);
    host.run(["store", "verify"]).exits(0);
    fs::write(host.path("store/host.meta/blobs/0123.part"), vec![0; 3_000_000]).unwrap();
    host.run(["store", "gc"]).exits(0).shows(", and 2930 KiB of downloads that broke off");
    assert_eq!(stored(&host), stored(&sandbox));
    for place in ["store/host/work", "store/host.meta/blobs"] {
        let there = fs::read_dir(host.path(place)).unwrap().map(|file| file.unwrap().file_name());
        // What is known of the archive that was pulled stays.
        let left = there.filter(|name| !name.to_str().unwrap().contains("+content-"));
        assert_eq!(left.count(), 0, "{place}");
    }
}

#[test]
fn a_full_disk_ends_a_pull_and_leaves_it_empty() {
    let Some(registry) = super::start() else { return };
    let sandbox = large();
    sandbox.run(["push", "m.toml", &registry.repository("web")]).exits(0);
    // There is no room for the blob, or for what is in it.
    for size in ["20m", "60m"] {
        let host = large();
        let script = format!(
            "mkdir ../store && mount -t tmpfs -o size={size},mode=0711 tmpfs ../store || exit 99
             status=0; \"$0\" \"$@\" || status=$?
             find ../store -size +1M; \"$0\" store verify || exit 98; exit $status"
        );
        let mut command = host.command("unshare");
        command.args(["--mount", "--", "/bin/sh", "-c", &script]).arg(host.program_path());
        let from = registry.repository("web");
        command.args(["pull", "m.toml", "--from", &from, "--allow-untrusted"]);
        let ran = host.ran(command);
        ran.exits(8).mentions("No space left on device").mentions("store gc --keep=0");
        assert!(!ran.stderr().contains("member "), "{}", ran.stderr());
        assert!(!ran.stdout().contains("../store/"), "{}", ran.stdout());
    }
}

#[test]
fn a_full_disk_ends_a_push_and_leaves_nothing_of_it() {
    let Some(registry) = super::start() else { return };
    let sandbox = large();
    let script = "mkdir ../store && mount -t tmpfs -o size=70m,mode=0711 tmpfs ../store || exit 99
         \"$0\" build m.toml || exit 97
         status=0; \"$0\" \"$@\" || status=$?
         used=$(du -sm ../store | cut -f1); [ \"$used\" -lt 50 ] || exit 96
         \"$0\" store verify >&2 || exit 98; exit $status";
    let mut command = sandbox.command("unshare");
    command.args(["--mount", "--", "/bin/sh", "-c", script]).arg(sandbox.program_path());
    command.args(["push", "m.toml", &registry.repository("web")]);
    let ran = sandbox.ran(command);
    ran.exits(8).mentions("the disk of the layer store is full");
}

#[test]
fn a_registry_that_asks_for_patience_gets_it() {
    let Some(pushed) = pushed() else { return };
    let counter = Counter::busy(pushed.registry.port, 2, 1);
    let host = puller(&pushed);
    let begun = Instant::now();
    host.run(["pull", "m.toml", "--allow-untrusted", "--from", &counter.repository("web")])
        .exits(0);
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn a_signal_ends_the_waiting_for_a_registry_that_is_silent() {
    if !root() {
        return;
    }
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let from = format!("127.0.0.1:{}/web", silent.local_addr().unwrap().port());
    let host = Sandbox::new().layers(LAYERS);
    for signal in [Signal::TERM, Signal::INT] {
        let mut run = pull(&host, &from);
        let (_connection, _) = silent.accept().unwrap();
        sleep(Duration::from_millis(100));
        let begun = Instant::now();
        kill_process(Pid::from_child(&run), signal).unwrap();
        let ended = run.wait().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let status = ended.code().or(ended.signal().map(|signal| 128 + signal));
        assert_eq!(status, Some(128 + signal.as_raw()));

        // What is interrupted is no reason to build.
        let mut command = host.command(host.program_path());
        command.args(["create", "m.toml", "--name=web1", "--lxcpath=containers", "--from", &from]);
        let run = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (_connection, _) = silent.accept().unwrap();
        sleep(Duration::from_millis(100));
        kill_process(Pid::from_child(&run), signal).unwrap();
        let output = run.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("interrupted") && !said.contains("built"), "{said}");
    }
}

#[test]
fn memory_does_not_grow_with_the_image() {
    let Some(registry) = super::start() else { return };
    let sandbox = large();
    let host = large();
    let measure = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2); \
                   print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let repository = registry.repository("web");
    for (sandbox, words) in [
        (&sandbox, &["push", "m.toml", &repository][..]),
        (&host, &["pull", "m.toml", "--from", &repository, "--allow-untrusted"]),
    ] {
        // What builds it is not measured.
        let program = sandbox.program_path();
        if words[0] == "push" {
            sandbox.run(["build", "m.toml"]).exits(0);
        }
        let mut command = sandbox.command("python3");
        command.args(["-c", measure]).arg(program).args(words);
        let ran = sandbox.ran(command);
        let kilobytes: u64 = ran.exits(0).stdout().trim().parse().unwrap();
        assert!(kilobytes < 64 * 1024, "{words:?}: {kilobytes} kB");
    }
}

#[test]
fn a_registry_out_of_order_is_asked_again_but_not_for_ever() {
    let Some(pushed) = pushed() else { return };
    let words = |counter: &Counter| {
        ["pull", "m.toml", "--allow-untrusted", "--from"]
            .map(str::to_owned)
            .into_iter()
            .chain([counter.repository("web")])
    };
    let host = puller(&pushed);
    host.run(words(&Counter::failing(pushed.registry.port, 4))).exits(0);
    let host = puller(&pushed);
    let ran = host.run(words(&Counter::failing(pushed.registry.port, 1000)));
    ran.exits(8).mentions("does not answer (status 50");
}

#[test]
fn a_push_that_is_refused_midway_leaves_what_hosts_find() {
    let Some(pushed) = pushed() else { return };
    pushed.builder.run(["build", "m.toml", "--rebuild"]).exits(0);
    let key = pushed.key.to_str().unwrap().to_owned();
    for allowed in [0, 1, 1] {
        let way = Counter::refusing(pushed.registry.port, "PUT /v2/web/manifests/key-", allowed);
        let repository = way.repository("web");
        let ran = pushed.builder.run(["push", "m.toml", &repository, "--sign", &key]);
        ran.exits(8).mentions("refuses to ");
        let host = puller(&pushed);
        let ran = host.run(["pull", "m.toml", "--from", &pushed.repository]);
        ran.exits(0).shows("3 layers pulled in");
        assert_ne!(stored(&host), stored(&pushed.builder));
    }
    // The last one put switches all at once.
    pushed.builder.run(["push", "m.toml", &pushed.repository, "--sign", &key]).exits(0);
    let host = puller(&pushed);
    host.run(["pull", "m.toml", "--from", &pushed.repository]).exits(0);
    assert!(stored(&host).iter().all(|id| stored(&pushed.builder).contains(id)));
}

#[test]
fn an_upload_that_never_gets_further_is_given_up() {
    if !root() {
        return;
    }
    // The upload is unknown when it should end, or from its second piece on.
    for (sandbox, most) in [(role(), u64::MAX), (large(), 0)] {
        let fake = Fake::start(move |head| {
            let from = head.lines().find_map(|line| {
                let (name, range) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-range").then_some(range)?.split('-').next()
            });
            let from: u64 = from.map_or(0, |from| from.parse().unwrap());
            let method = head.split(' ').next().unwrap();
            let status = match method {
                "POST" => "202 Go",
                "PATCH" if from <= most => "202 Go on",
                _ => "404 Nothing",
            };
            format!("{status}\r\nLocation: /v2/web/blobs/uploads/1\r\nContent-Length: 0")
        });
        sandbox.run(["build", "m.toml"]).exits(0);
        let mut command = sandbox.command("timeout");
        command.args(["60"]).arg(sandbox.program_path());
        command.args(["push", "m.toml", &format!("{}/web", fake.host())]);
        let ran = sandbox.ran(command);
        ran.exits(8).mentions("refuses to take a blob: 5 tries in a row got no further");
        let begun = fake.heads().iter().filter(|head| head.starts_with("POST ")).count();
        assert_eq!(begun, 5);
    }
}

/// Changes a byte of the largest blob that a store keeps.
#[track_caller]
fn damage(host: &Sandbox) {
    let blobs = fs::read_dir(host.path("store/host.meta/blobs")).unwrap().flatten();
    let blob = blobs.max_by_key(|blob| blob.metadata().unwrap().len()).unwrap().path();
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(blob, bytes).unwrap();
}

#[test]
fn a_blob_that_is_damaged_in_the_store_is_made_anew() {
    let Some(registry) = super::start() else { return };
    let sandbox = role();
    let build = || sandbox.run(["build", "m.toml", "-o", "oci:../image:web"]);
    build().exits(0);
    damage(&sandbox);
    let ran = sandbox.run(["store", "verify"]);
    ran.exits(1).shows("the archive that images have of it is damaged");
    // What uses it has it sound, and so has the store from then on.
    fs::remove_dir_all(sandbox.path("image")).unwrap();
    build().exits(0);
    for blob in fs::read_dir(sandbox.path("image/blobs/sha256")).unwrap().flatten() {
        let digest = super::refusing::digest(&fs::read(blob.path()).unwrap());
        assert_eq!(digest, format!("sha256:{}", blob.file_name().to_str().unwrap()));
    }
    sandbox.run(["store", "verify"]).exits(0);
    damage(&sandbox);
    let repository = registry.repository("web");
    sandbox.run(["push", "m.toml", &repository]).exits(0);
    sandbox.run(["store", "verify"]).exits(0);
    let host = role();
    host.run(["pull", "m.toml", "--from", &repository, "--allow-untrusted"]).exits(0);
    assert_eq!(stored(&host), stored(&sandbox));
}
