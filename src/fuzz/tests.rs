//! What is kept of the targets' inputs holds, and is still of use to them.

use std::fs;
use std::path::Path;

use crate::store::random::Random;

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

/// How many changes are made to each archive.
const CHANGES: u64 = 2_000;

#[test]
fn archives_with_a_few_other_bytes_hold() {
    let asked = std::env::var("LT_SEQUENCES").ok();
    let count = asked.map_or(CHANGES, |count| 2 * count.parse::<u64>().expect("a number"));
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/archive");
    let mut used = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        for seed in 0..count {
            let mut random = Random::new(seed);
            let mut changed = bytes.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(changed.len());
                let digit = b'0' + u8::try_from(random.below(10)).unwrap();
                let any = u8::try_from(random.below(256)).unwrap();
                changed[at] = random.pick(&[digit, any, 0, 0x80, 0xff, b'=', b'\n', b'/', b'.']);
                if random.once_in(20) {
                    changed.truncate(at);
                    break;
                }
            }
            if !changed.is_empty() {
                used += u64::from(super::archive(&changed));
            }
        }
    }
    assert!(used > count, "{used} archives could be read");
}
