//! The pages below `docs` as a book: `docs/SUMMARY.md` is its table of contents, which mdBook builds it by.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{Faults, links};

/// The table of contents.
const SUMMARY: &str = "SUMMARY.md";

/// Judges that the table of contents names each page of the book once.
pub(crate) fn judge(docs: &Path, pages: &[PathBuf]) -> Faults {
    let summary = docs.join(SUMMARY);
    let text = match std::fs::read_to_string(&summary) {
        Ok(text) => text,
        Err(error) => return vec![format!("{}: {error}", summary.display())],
    };
    let named = pages.iter().filter_map(|page| page.strip_prefix(docs).ok()?.to_str());
    of_text(&text, named.filter(|page| *page != SUMMARY))
        .into_iter()
        .map(|fault| format!("{}: {fault}", summary.display()))
        .collect()
}

/// Judges a table of contents by the pages that there are, named from its own directory.
pub(crate) fn of_text<'a>(summary: &str, pages: impl Iterator<Item = &'a str>) -> Faults {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for line in summary.lines() {
        for target in links::targets(line) {
            *times.entry(target).or_default() += 1;
        }
    }
    let mut faults: Faults = times
        .iter()
        .filter(|(_, times)| **times > 1)
        .map(|(page, times)| format!("`{page}` stands there {times} times"))
        .collect();
    faults.extend(
        pages.filter(|page| !times.contains_key(*page)).map(|page| format!("`{page}` is missing")),
    );
    faults
}
