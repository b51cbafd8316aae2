//! The log of a run that prints more than anybody reads.

use std::fs;
use std::path::PathBuf;

use crate::sandbox::{Ran, Sandbox};

/// What a run's directory may take of the disk, in bytes.
const BOUND: u64 = 8 * 1024 * 1024;

/// Returns the log of the only run whose directory is there.
fn log(sandbox: &Sandbox) -> (PathBuf, Vec<u8>) {
    let runs = sandbox.left();
    let log = runs[0].join("log");
    assert_eq!((runs.len(), fs::read_dir(&runs[0]).unwrap().count()), (1, 1));
    let bytes = fs::read(&log).unwrap();
    (log, bytes)
}

fn measured(ran: &Ran, sandbox: &Sandbox) {
    ran.exits(6);
    let trace = sandbox.trace();
    let sizes: Vec<u64> = trace.lines().map(|size| size.parse().unwrap()).collect();
    assert!(sizes.len() > 2, "{trace}");
    assert!(sizes.iter().all(|size| *size <= BOUND), "{trace}");
    assert!(sizes.iter().any(|size| *size > BOUND / 4), "{trace}");
}

const MEASURE: &str = "cat \"$LAYERED_TEMPLATE_STATE\"/*/log* | wc -c >>\"$LAYER_DIR/trace\"";

#[test]
fn a_log_keeps_how_a_run_began_and_how_it_ended() {
    let sandbox = Sandbox::new().layers(&format!(
        "post = '''\necho begins here\nfor i in 1 2 3 4 5 6 7 8 9; do\n\
         seq -f \"line $i %06.0f of many, which nobody will read\" 1 60000; {MEASURE}\ndone\n\
         echo ends here; exit 3\n'''\n"
    ));
    measured(&sandbox.straight(), &sandbox);
    let (path, log) = log(&sandbox);
    let log = String::from_utf8(log).unwrap();
    assert!(log.len() as u64 <= BOUND, "{}", log.len());
    for kept in [
        "\nbegins here\nline 1 000001 of",
        "line 9 059999 of many",
        "\nends here\n`post` of layer `os` ended with status 3\n",
    ] {
        assert!(log.contains(kept), "{kept} is not in {}", path.display());
    }
    let (before, after) = log.split_once(" bytes are left out here]\n").unwrap();
    let (before, count) = before.rsplit_once("\n[").unwrap();
    // All is accounted for: what is before, between and after.
    let lines = 9 * 60_000 * "line 1 000001 of many, which nobody will read\n".len();
    let head = before.find("line 1 000001").unwrap();
    let tail = after.find("ends here\n").unwrap();
    assert_eq!(before.len() - head + count.parse::<usize>().unwrap() + tail, lines);
}

#[test]
fn a_secret_is_in_no_part_of_a_log_that_was_cut() {
    let secret = "hunter2-correct-horse-battery";
    let sandbox = Sandbox::new()
        .file("token", secret)
        .manifest(&format!(
            "manifest = 1\n[vars]\ntok = {{ secret = true, file = 'token' }}\n\
             [[layer]]\nname = 'os'\ntemplate = 'fake'\nsecrets = ['tok']\npost = '''\n\
             for i in 1 2 3 4; do yes \"$tok$tok.$tok\" | head -n 40000; {MEASURE}; done; exit 1\n'''\n"
        ));
    let ran = sandbox.straight();
    measured(&ran, &sandbox);
    let (_, log) = log(&sandbox);
    let log = String::from_utf8_lossy(&log);
    assert!(log.contains(" bytes are left out here]\n"));
    assert!(log.contains("\n[secret tok][secret tok].[secret tok]\n"));
    for text in [&log, &ran.stderr().as_str().into()] {
        assert!(!text.contains(&secret[..8]));
        assert!(!text.contains(&secret[secret.len() - 8..]));
    }
}
