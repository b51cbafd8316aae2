//! The text of a container's config.

/// The largest config that is read, in bytes.
pub const LARGEST: usize = 16 * 1024 * 1024;

/// What a comment begins with that this program writes.
const NOTE: &str = "# layered-template: ";

/// Returns `config` with a layer's lines behind it, under a comment that names the layer.
///
/// LXC joins an unterminated last line with what follows, so that one is ended first.
pub fn append<'a>(
    config: &[u8],
    layer: &str,
    lines: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<u8> {
    append_text(config, &layer_note(layer), lines)
}

/// Returns the comment that the lines of a layer have above them.
pub fn layer_note(layer: &str) -> String {
    format!("{NOTE}layer {layer}")
}

/// Returns `config` with lines behind it, under a comment that says what they are.
pub fn append_note<'a>(
    config: &[u8],
    note: &str,
    lines: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<u8> {
    append_text(config, &format!("{NOTE}{note}"), lines)
}

fn append_text<'a>(
    config: &[u8],
    comment: &str,
    lines: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<u8> {
    let mut text = config.to_vec();
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(format!("{comment}\n").as_bytes());
    for (key, value) in lines {
        text.extend_from_slice(line(key, value).as_bytes());
        text.push(b'\n');
    }
    text
}

/// Returns one line as LXC reads it back: one pair of quotes is stripped from a value, and so are
/// spaces around it.
pub fn line(key: &str, value: &str) -> String {
    let quotes = |quote| value.len() > 1 && value.starts_with(quote) && value.ends_with(quote);
    if value.trim() != value || quotes('"') || quotes('\'') {
        let quote = if value.contains('"') { '\'' } else { '"' };
        return format!("{key} = {quote}{value}{quote}");
    }
    if value.is_empty() {
        // An empty value clears a list.
        return format!("{key} =");
    }
    format!("{key} = {value}")
}

/// Returns a value as LXC reads it: without blanks around it, and without one pair of quotes.
pub fn unquoted(value: &str) -> &str {
    let value = value.trim();
    let within = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(value)
}

/// Returns the lines that say something, each as it is without the blanks around it.
pub fn effective(config: &str) -> Vec<String> {
    let lines = config.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// Returns the path of the tree that a container writes to, as its config names it: the upper one of an overlay,
/// or the rootfs itself.
pub fn own_tree(config: &str) -> Option<&str> {
    let value = unquoted(last_value(config, "lxc.rootfs.path")?);
    match value.strip_prefix("overlay:") {
        Some(rest) => rest.rsplit(':').next(),
        None => Some(value.strip_prefix("dir:").unwrap_or(value)),
    }
}

/// Returns the last value of a key: the one that counts, where a key has one value.
pub fn last_value<'a>(config: &'a str, key: &str) -> Option<&'a str> {
    config.lines().rev().filter_map(pair).find_map(|(name, value)| (name == key).then_some(value))
}

/// What stands for a hardware address that LXC, or a template, has made up.
pub const ANY_ADDRESS: &str = "00:16:3e:xx:xx:xx";

/// Returns the key and the value of a line, where it has them.
pub fn pair(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim();
    (!key.starts_with('#')).then_some((key, value.trim()))
}

/// Tells whether a key's value is a hardware address.
pub fn is_address(key: &str) -> bool {
    key.starts_with("lxc.net.") && key.ends_with(".hwaddr")
}

/// Writes other values in the place of those that `value` gives for a key and its value; all else
/// stays byte for byte.
pub fn rewrite(config: &[u8], mut value: impl FnMut(&str, &str) -> Option<String>) -> Vec<u8> {
    let mut text = Vec::with_capacity(config.len());
    for line in config.split_inclusive(|byte| *byte == b'\n') {
        let new = str::from_utf8(line).ok().and_then(|line| {
            let (key, old) = pair(line)?;
            Some(self::line(key, &value(key, old)?))
        });
        match new {
            None => text.extend_from_slice(line),
            Some(new) => {
                text.extend_from_slice(new.as_bytes());
                text.extend_from_slice(&line[line.len() - usize::from(line.ends_with(b"\n"))..]);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_last_line_is_ended_first() {
        let text = append(b"lxc.uts.name = foo", "app", [("lxc.tty.max", "3")]);
        let expected = "lxc.uts.name = foo\n# layered-template: layer app\nlxc.tty.max = 3\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        assert!(append(b"", "app", []).starts_with(b"# "));
    }

    #[test]
    fn values_are_rewritten_and_all_else_stays() {
        let config = b"# c\nlxc.net.0.hwaddr = 00:16:3e:d3:04:aa\njunk\n\
            #lxc.rootfs.path = x\n lxc.rootfs.path=dir:/l/c/rootfs";
        let expected = "# c\nlxc.net.0.hwaddr = 00:16:3e:xx:xx:xx\njunk\n\
            #lxc.rootfs.path = x\nlxc.rootfs.path = dir:ROOTFS";
        let found = rewrite(config, |key, _| match key {
            "lxc.rootfs.path" => Some("dir:ROOTFS".to_owned()),
            key if is_address(key) => Some(ANY_ADDRESS.to_owned()),
            _ => None,
        });
        assert_eq!(String::from_utf8(found).unwrap(), expected);
    }

    #[test]
    fn values_survive_the_reading_of_lxc() {
        assert_eq!(line("k", "v"), "k = v");
        assert_eq!(line("k", ""), "k =");
        assert_eq!(line("k", " v "), "k = \" v \"");
        assert_eq!(line("k", "\"v\""), "k = '\"v\"'");
        for value in ["v", "", " v ", "\"v\"", "'v'", "\"", "' v\"", "''v\""] {
            let text = line("k", value);
            assert_eq!(unquoted(text.strip_prefix("k =").unwrap()), value);
        }
    }

    #[test]
    fn the_last_value_counts() {
        let text = "lxc.lxcpath = /a\n# lxc.lxcpath = /b\nlxc.lxcpath=/c\nlxc.lxcpath.x = /d\n";
        assert_eq!(last_value(text, "lxc.lxcpath"), Some("/c"));
        assert_eq!(last_value(text, "lxc.bdev"), None);
    }
}
