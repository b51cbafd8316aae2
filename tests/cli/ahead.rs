//! What is read of a rootfs while its template still writes it.

use std::process::Command;

use crate::requirement::skip;
use crate::sandbox::Sandbox;

/// Writes for two seconds, in every way that there is. Its arguments are the rootfs, and the name of
/// the container that it is made for.
const BUSY: &str = r#"
import mmap, os, random, sys, time

rootfs, name = sys.argv[1:]
os.chdir(rootfs)
os.makedirs("/".join(["deep"] + ["d"] * 100))
os.mkfifo("fifo")
for number in range(300):
    with open(f"quiet-{number}", "wb") as file:
        file.write(b"%09d\n" % number * (4096 + number))
os.link("quiet-7", "also-7")

def write(path, seed, mode="wb"):
    with open(path, mode) as file:
        file.write(bytes([seed % 256]) * (9 * 4096))

def rewrite(path, seed):
    "Of the same length, and said to be as old."
    was = os.stat(path)
    write(path, seed, "r+b")
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))

def replace(path, seed):
    was = os.stat(path)
    write(path + ".new", seed)
    os.utime(path + ".new", ns=(was.st_atime_ns, was.st_mtime_ns))
    os.rename(path + ".new", path)

def remap(path, seed):
    "What is written to a mapping shows only if the kernel was asked for the page."
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        for page in range(9):
            mapped[4096 * page] = seed % 256

ways = {"rewritten": rewrite, "replaced": replace, "cut": write, "remapped": remap}
for path in list(ways) + ["mapped", "late"]:
    write(path, 0)
with open("mapped", "r+b") as file:
    mapped = mmap.mmap(file.fileno(), 0)
mapped[0:1] = b"!"
remap("late", 1)

random = random.Random(7)
begun = time.monotonic()
step = 0
while time.monotonic() - begun < 2:
    step += 1
    mapped[4096 * (step % 9)] = step % 256
    if step % 5 == 0:
        for path, way in ways.items():
            # Each rests for longer at times than it takes to be read.
            if random.random() < 0.15:
                way(path, step)
    time.sleep(0.02)
with open("late", "r+b") as file, mmap.mmap(file.fileno(), 0) as late:
    late[5:9] = b"late"
with open("quiet-9", "r+b") as file:
    file.write(name.encode())
"#;

#[test]
fn what_changes_while_it_is_read_is_stored_as_it_is_in_the_end() {
    let sandbox = Sandbox::new()
        .file("busy.py", BUSY)
        .upstream("python3 busy.py \"$rootfs\" \"$name\"")
        .layers("")
        .env("LAYERED_TEMPLATE_LOG", "debug");
    let ran = sandbox.chain();
    ran.exits(0);
    sandbox.run(["store", "verify"]).exits(0);
    let late = std::fs::read(sandbox.rootfs().join("late")).unwrap();
    assert_eq!(late[5..9], *b"late");

    let filesystem = Command::new("stat").args(["-f", "-c", "%T"]).arg(sandbox.role()).output();
    let filesystem = String::from_utf8(filesystem.unwrap().stdout).unwrap();
    if !["ext2/ext3", "xfs", "btrfs", "f2fs"].contains(&filesystem.trim()) {
        skip(&format!("nothing is read ahead on {filesystem}"));
        return;
    }
    let told = ran.stderr();
    let count = told.lines().find_map(|line| line.split_once("read ahead files=")).unwrap().1;
    assert!(count.parse::<usize>().unwrap() >= 300, "{told}");
}
