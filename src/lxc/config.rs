//! The text of a container's config.

/// Returns `config` with a layer's lines behind it, under a comment that names the layer.
///
/// LXC joins an unterminated last line with what follows, so that one is ended first.
pub fn append<'a>(
    config: &[u8],
    layer: &str,
    lines: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<u8> {
    let mut text = config.to_vec();
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(format!("# layered-template: layer {layer}\n").as_bytes());
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

/// Returns the last value of a key: the one that counts, where a key has one value.
pub fn last_value<'a>(config: &'a str, key: &str) -> Option<&'a str> {
    config.lines().rev().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then(|| value.trim())
    })
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
    fn values_survive_the_reading_of_lxc() {
        assert_eq!(line("k", "v"), "k = v");
        assert_eq!(line("k", ""), "k =");
        assert_eq!(line("k", " v "), "k = \" v \"");
        assert_eq!(line("k", "\"v\""), "k = '\"v\"'");
    }

    #[test]
    fn the_last_value_counts() {
        let text = "lxc.lxcpath = /a\n# lxc.lxcpath = /b\nlxc.lxcpath=/c\nlxc.lxcpath.x = /d\n";
        assert_eq!(last_value(text, "lxc.lxcpath"), Some("/c"));
        assert_eq!(last_value(text, "lxc.bdev"), None);
    }
}
