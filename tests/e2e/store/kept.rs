//! What `store gc` keeps for the next container of a role, for every caller.

use std::fs;

use super::shelf::{self, store, stored};
use super::{as_each, make, role};

#[test]
fn the_newest_of_a_role_stays_while_its_manifest_is_there() {
    as_each(&[], |lab| {
        let manifest = role::three_layers(lab, "template = \"builtin:busybox\"");
        for words in [&["--storage=copy"][..], &["--storage=overlay", "--rebuild"]] {
            let name = lab.name("kept");
            make(lab, &name, &manifest, words);
            lab.destroy(&name);
        }
        assert_eq!(stored(lab).len(), 8);
        let outcome = store(lab, &["gc"]).outcome().success();
        assert_eq!((stored(lab).len(), outcome.stderr.as_str()), (4, ""), "{outcome}");
        shelf::assert_sound(lab);
        // The next container takes all of it.
        let name = lab.name("again");
        make(lab, &name, &manifest, &["--storage=copy"]);
        assert_eq!(stored(lab).len(), 4);
        lab.destroy(&name);

        fs::remove_file(&manifest).expect("it is there");
        let outcome = store(lab, &["gc"]).outcome().success();
        assert!(outcome.stderr.contains("is gone; "), "{outcome}");
        assert_eq!(stored(lab).len(), 4);
        store(lab, &["gc", "--forget"]).outcome().success();
        assert_eq!(stored(lab).len(), 0);
        shelf::assert_tidy(lab);
    });
}
