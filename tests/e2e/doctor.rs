//! `layered-template doctor`: on a host where all other tests pass, it has no complaint about what
//! they need.

use crate::caller::Caller;
use crate::lab::Lab;

#[test]
fn nothing_is_bad_where_runs_work_as_root() {
    nothing_bad(Caller::Root);
}

#[test]
fn nothing_is_bad_where_runs_work_as_an_ordinary_user() {
    nothing_bad(Caller::User);
}

#[test]
fn a_user_without_ids_is_told_what_to_do() {
    let Some(lab) = Lab::open(Caller::Root, &["setpriv"]) else {
        return;
    };
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let outcome = lab.call(nobody).arg(lab.program()).arg("doctor").outcome().code(1);
    assert!(outcome.stdout.contains("bad  /etc/subuid"), "{outcome}");
    assert!(outcome.stdout.contains("usermod --add-subuids"), "{outcome}");
}

fn nothing_bad(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let outcome = lab.call([lab.program()]).args(["doctor", "--format", "json"]).outcome();
    let findings: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    let findings = findings.as_array().expect("a list");
    let is = |finding: &serde_json::Value, verdict| finding["verdict"] == verdict;
    assert!(findings.iter().all(|finding| !is(finding, "bad")), "{outcome}");
    let faultless = findings.iter().all(|finding| is(finding, "ok"));
    assert_eq!(outcome.status.code(), Some(i32::from(!faultless)));
    for subject in ["user", "sandbox", "overlay", "templates", "resolver"] {
        assert!(
            findings.iter().any(|finding| finding["subject"] == subject),
            "{subject}: {outcome}"
        );
    }
    lab.assert_quiet(std::time::Duration::from_secs(5));
}
