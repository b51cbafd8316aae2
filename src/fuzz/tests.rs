//! What is kept of the targets' inputs holds, and is still of use to them.

use std::fs;
use std::path::Path;

type Target = (&'static str, fn(&[u8]) -> bool);

const TARGETS: [Target; 7] = [
    ("manifest", |bytes| super::manifest(&String::from_utf8_lossy(bytes))),
    ("vars_file", |bytes| super::vars_file(&String::from_utf8_lossy(bytes))),
    ("config_rewrite", super::config_rewrite),
    ("template_arguments", super::template_arguments),
    ("listing", super::listing),
    ("entry", super::entry),
    ("archive", super::archive),
];

#[test]
fn what_is_kept_for_the_fuzz_targets_holds() {
    for (name, target) in TARGETS {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let inputs = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let used = inputs.filter(|path| target(&fs::read(path).unwrap())).count();
        // Nothing is found behind what is refused at once, as after a change of the format.
        assert!(used > 0, "the corpus of `{name}` has nothing that can be used");
    }
}
