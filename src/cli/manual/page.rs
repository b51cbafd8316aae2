//! One manual page.

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::markdown::{inlines, rows};
use super::{MANIFEST, NAME};
use crate::cli::examples::{self, Example};

/// The day of this version, as CHANGELOG.md has it.
const DATE: &str = "2026-12-01";

/// How long a line of a page's source may be, in bytes.
const WIDTH: usize = 80;

/// The texts of tables that the documentation has.
const STATUSES: &str = include_str!("../../../docs/exit-codes.md");
const ENVIRONMENT: &str = include_str!("../../../docs/environment.md");

/// A page, as a file of its section.
pub(super) struct Page {
    pub(super) file: String,
    pub(super) text: String,
}

/// Returns the page of the program, or of a subcommand.
pub(super) fn of(command: &Command) -> Page {
    let name = command.get_display_name().unwrap_or(NAME).to_owned();
    let man = described(Man::new(command.clone()), &name, "1", "User Commands");
    let mut text = Vec::new();
    let rendered = man
        .render_title(&mut text)
        .and_then(|()| man.render_name_section(&mut text))
        .and_then(|()| man.render_synopsis_section(&mut text))
        .and_then(|()| man.render_description_section(&mut text))
        .and_then(|()| man.render_options_section(&mut text))
        .and_then(|()| match command.has_subcommands() {
            true => man.render_subcommands_section(&mut text),
            false => Ok(()),
        });
    rendered.expect("a vector takes all that is written");
    let mut roff = Roff::new();
    if name == NAME {
        section(&mut roff, "EXIT STATUS", &rows(STATUSES, "Exit statuses"));
        section(&mut roff, "ENVIRONMENT", &rows(ENVIRONMENT, "Environment"));
        section(&mut roff, "FILES", &rows(ENVIRONMENT, "Files"));
    } else {
        roff.control("SH", ["EXIT STATUS"]);
        roff.text([
            roman("0 if all went well. The other statuses, files and variables are in "),
            bold(NAME),
            roman("(1)."),
        ]);
    }
    examples(&mut roff, examples::of(&name));
    let own = if name == NAME { None } else { Some((NAME, "1")) };
    let others = [(MANIFEST, "5"), ("lxc-create", "1"), ("lxc.container.conf", "5")];
    see_also(&mut roff, own.into_iter().chain(others));
    let text = String::from_utf8_lossy(&text).into_owned() + &roff.to_roff();
    Page { file: format!("{name}.1"), text: tidy(&text) }
}

/// Says which page this is.
pub(super) fn described(man: Man, name: &str, section: &str, manual: &str) -> Man {
    man.title(name.to_uppercase())
        .section(section)
        .date(DATE)
        .source(format!("{NAME} {}", env!("CARGO_PKG_VERSION")))
        .manual(manual)
}

/// Adds a section that lists terms, each with what it means.
fn section(roff: &mut Roff, title: &str, terms: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (term, meaning) in terms {
        roff.control("TP", []).text(inlines(term)).text(inlines(meaning));
    }
}

fn examples(roff: &mut Roff, examples: &[Example]) {
    roff.control("SH", ["EXAMPLES"]);
    for (number, (purpose, line)) in examples.iter().enumerate() {
        if number > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(format!("{purpose}:"))]);
        verbatim(roff, line);
    }
}

/// Adds lines as they are.
pub(super) fn verbatim(roff: &mut Roff, text: &str) {
    roff.control("PP", []).control("RS", ["4"]).control("nf", []);
    for line in text.lines() {
        roff.text([roman(if line.is_empty() { "\\&" } else { line })]);
    }
    roff.control("fi", []).control("RE", []);
}

pub(super) fn see_also<'a>(roff: &mut Roff, pages: impl Iterator<Item = (&'a str, &'a str)>) {
    roff.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (name, section) in pages {
        if !line.is_empty() {
            line.push(roman(", "));
        }
        line.extend([bold(name), roman(format!("({section})"))]);
    }
    roff.text(line);
}

/// Returns the source of a page as those who lint pages want it.
pub(super) fn tidy(source: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut verbatim = false;
    for line in source.lines().map(str::trim_end) {
        let line = if line.is_empty() && !verbatim { ".sp" } else { line };
        let last = lines.last().map_or("", String::as_str);
        match line {
            ".nf" => verbatim = true,
            ".fi" => verbatim = false,
            // One of both is enough.
            ".br" | ".sp" if last == ".sp" => continue,
            ".sp" if last == ".br" => drop(lines.pop()),
            _ => {}
        }
        if verbatim || line.starts_with('.') {
            lines.push(line.to_owned());
        } else {
            lines.extend(folded(line));
        }
    }
    lines.join("\n") + "\n"
}

/// Breaks a line at its spaces, where it is too long.
fn folded(line: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let last = lines.last_mut().expect("one is there");
        if last.is_empty() {
            last.push_str(word);
        } else if last.len() + 1 + word.len() < WIDTH && !word.is_empty() {
            last.push(' ');
            last.push_str(word);
        } else if word.starts_with(['.', '\'']) {
            lines.push(format!("\\&{word}"));
        } else if !word.is_empty() {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_that_of_the_newest_version() {
        let log = include_str!("../../../CHANGELOG.md");
        let newest = log.lines().filter(|line| line.starts_with("## ")).nth(1).unwrap();
        assert_eq!(newest, format!("## {} - {DATE}", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn long_lines_are_folded_and_none_becomes_a_request() {
        let long = "word ".repeat(15) + "and .then 'more";
        let text = tidy(&format!("{long}\n.br\n.sp\n.nf\n{long}\n.fi\n"));
        assert!(text.contains("\n\\&.then 'more\n.sp\n.nf\n"), "{text}");
        assert!(text.contains(&long), "{text}");
    }
}
