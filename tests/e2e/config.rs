//! A container's config, as lines.

/// The lines of a config that do not speak of how it was made: LXC puts the template and its
/// parameters at the head.
pub(crate) fn body(config: &str) -> Vec<&str> {
    const HEADER: &[&str] = &["# Template ", "# Parameters "];
    config.lines().filter(|line| !HEADER.iter().any(|start| line.starts_with(start))).collect()
}

/// Sees that each of the lines stands there once, in this order.
#[track_caller]
pub(crate) fn assert_in_order(config: &str, expected: &[&str]) {
    let found: Vec<_> = config.lines().filter(|line| expected.contains(line)).collect();
    assert_eq!(found, expected, "in the config\n{config}");
}

/// Sees that lines of a layer stand together under one comment that names the layer.
#[track_caller]
pub(crate) fn assert_under_comment(config: &str, layer: &str, expected: &[&str]) {
    let lines: Vec<_> = config.lines().collect();
    let comments: Vec<_> = (0..lines.len()).filter(|&at| names(lines[at], layer)).collect();
    let [comment] = comments[..] else {
        panic!("{} comments name the layer {layer} in\n{config}", comments.len());
    };
    let block = &lines[comment + 1..lines.len().min(comment + 1 + expected.len())];
    assert_eq!(block, expected, "in the config\n{config}");
}

/// Whether a line is a comment in which the layer's name is a word.
pub(crate) fn names(line: &str, layer: &str) -> bool {
    line.starts_with('#')
        && line
            .split(|letter: char| !letter.is_alphanumeric() && !"-_".contains(letter))
            .any(|word| word == layer)
        && !line.contains("Parameters")
}
