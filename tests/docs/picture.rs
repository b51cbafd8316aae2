//! Pictures of a page: each is of a diagram, or of what a terminal shows, that the page has as text too.

use std::path::Path;

use crate::Faults;
use crate::page::{Block, Page};

pub(crate) fn judge(path: &Path) -> Faults {
    let (Ok(text), Ok(page)) = (std::fs::read_to_string(path), Page::read(path)) else {
        return Faults::new(); // The test of blocks says why.
    };
    let is_drawn = |block: &&Block| ["mermaid", "console"].contains(&block.language.as_str());
    let drawn: Vec<_> =
        page.blocks.iter().filter(is_drawn).map(|block| block.text.as_str()).collect();
    let mut faults = Faults::new();
    for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
        let file = path.with_file_name(target.0);
        if file.extension().is_none_or(|extension| extension != "svg") {
            continue;
        }
        let fault = match std::fs::read_to_string(&file) {
            Ok(picture) => fault(&picture, &drawn),
            Err(error) => Some(error.to_string()),
        };
        faults.extend(fault.map(|fault| format!("{}: {fault}", file.display())));
    }
    faults
}

/// Returns what is wrong with a picture: it says which text it was drawn from, and needs nothing but
/// itself.
pub(crate) fn fault(picture: &str, drawn: &[&str]) -> Option<String> {
    let said = picture.split_once("<desc>").and_then(|(_, rest)| rest.split_once("</desc>"));
    let Some((said, _)) = said else {
        return Some("it says no text that it was drawn from".to_owned());
    };
    let said = said.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    if !drawn.contains(&said.as_str()) {
        return Some("no block of the page is the one that it was drawn from".to_owned());
    }
    let own = picture.replace("=\"http://www.w3.org/2000/svg\"", "");
    let reaches = ["http:", "https:", "<script", "@import"];
    reaches.iter().any(|part| own.contains(part)).then(|| "it refers to other places".to_owned())
}
