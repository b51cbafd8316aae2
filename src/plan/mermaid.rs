//! A plan as a diagram: the nest as boxes within boxes, in the language of Mermaid.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::drop::Content;
use super::nest::{Act, Inner, Layer, Plan, Step};
use crate::shell;

/// The longest text in a box, in characters.
const LONGEST: usize = 48;

/// Writes a plan as a flowchart: each layer is a box around what it wraps, and arrows show the
/// order. A box that no arrow leaves would go sideways if it did not say that it goes down.
pub fn mermaid(plan: &Plan, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "flowchart TB")?;
    let mut chart = Chart { to, boxes: 0, last: None, arrows: Vec::new() };
    chart.layer(&plan.layer, 1)?;
    for (from, next) in std::mem::take(&mut chart.arrows) {
        writeln!(chart.to, "  n{from} --> n{next}")?;
    }
    Ok(())
}

struct Chart<'a> {
    to: &'a mut dyn Write,
    /// How many boxes there are.
    boxes: usize,
    /// The box that the next one follows.
    last: Option<usize>,
    arrows: Vec<(usize, usize)>,
}

impl Chart<'_> {
    fn layer(&mut self, layer: &Layer, depth: usize) -> io::Result<()> {
        let indent = "  ".repeat(depth.min(16));
        let number = self.boxes;
        self.boxes += 1;
        let name = label(layer.name.as_str());
        writeln!(self.to, "{indent}subgraph l{number}[\"layer {name}\"]")?;
        writeln!(self.to, "{indent}  direction TB")?;
        for step in &layer.before {
            self.step(step, &indent)?;
        }
        match &layer.inner {
            Inner::Layer(inner) => self.layer(inner, depth + 1)?,
            Inner::Upstream(upstream) => {
                let text = format!("template {}", label(&upstream.template));
                self.node(&text, &indent, "([", "])")?;
            }
        }
        let mut files = String::new();
        for act in &layer.after {
            if let Act::Drop(file) = act {
                let sign = if matches!(file.content, Content::Remove) { "- " } else { "+ " };
                let line = if files.is_empty() { "" } else { "<br/>" };
                let _ = write!(files, "{line}{sign}{}", label(file.path.as_str()));
                continue;
            }
            self.files(&mut files, &indent)?;
            match act {
                Act::Step(step) => self.step(step, &indent)?,
                Act::Config(lines) => {
                    let lines: Vec<_> = lines.iter().map(|line| label(&line.key)).collect();
                    self.node(&format!("config<br/>{}", lines.join("<br/>")), &indent, "[/", "/]")?;
                }
                Act::Drop(_) => {}
            }
        }
        self.files(&mut files, &indent)?;
        for step in &layer.finally {
            self.step(step, &indent)?;
        }
        writeln!(self.to, "{indent}end")
    }

    /// Writes the files that have come together, in one box.
    fn files(&mut self, files: &mut String, indent: &str) -> io::Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let text = std::mem::take(files);
        self.node(&text, indent, "[", "]")
    }

    fn step(&mut self, step: &Step, indent: &str) -> io::Result<()> {
        let text = step.argv.last().map(String::as_str).unwrap_or_default();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let line = step.title.as_deref().or_else(|| lines.next()).unwrap_or_default();
        self.node(&format!("{}: {}", step.phase, label(line)), indent, "[[", "]]")
    }

    fn node(&mut self, text: &str, indent: &str, open: &str, close: &str) -> io::Result<()> {
        let number = self.boxes;
        self.boxes += 1;
        if let Some(last) = self.last.replace(number) {
            self.arrows.push((last, number));
        }
        writeln!(self.to, "{indent}  n{number}{open}\"{text}\"{close}")
    }
}

/// Returns a text as it can stand between quotes, cut to a bearable length.
fn label(text: &str) -> String {
    let text = shell::one_line(text);
    let cut: String = text.chars().take(LONGEST).collect();
    let dots = if cut.len() < text.len() { "..." } else { "" };
    let mut escaped = String::with_capacity(cut.len());
    for character in cut.chars() {
        match character {
            '"' | '#' | '<' | '>' | '&' | '`' | ';' => {
                let _ = write!(escaped, "#{};", u32::from(character));
            }
            _ => escaped.push(character),
        }
    }
    escaped + dots
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::chain;
    use crate::diagnostic::Report;
    use crate::manifest::LayerName;
    use crate::plan::{Facts, Program, Target, build};
    use crate::source::{At, Source};

    /// The library of a manifest that names no other file.
    struct Alone;

    impl chain::Library for Alone {
        fn base(&mut self, path: &Path, _: &At) -> Result<Arc<Source>, Report> {
            unreachable!("{} is named by nobody", path.display())
        }

        fn layer(&mut self, name: &LayerName, _: &At) -> Result<Option<Arc<Source>>, Report> {
            unreachable!("{name} is named by nobody")
        }

        fn names(&mut self, _: &At) -> Vec<String> {
            Vec::new()
        }
    }

    #[test]
    fn nothing_of_a_manifest_ends_a_label() {
        assert_eq!(label("a \"b\" <c>; #1"), "a #34;b#34; #60;c#62;#59; #35;1");
        assert_eq!(label("x\ny"), "x\\ny");
        assert_eq!(label(&"é".repeat(60)), "é".repeat(48) + "...");
    }

    /// Mermaid turns a box around in which no arrow begins or ends, such as the outermost, so each
    /// says which way it goes.
    #[test]
    fn every_box_goes_down() {
        let text = "manifest = 1\n[[layer]]\nname = 'os'\ntemplate = 'builtin:busybox'\n\
                    post = 'one'\n[[layer]]\nname = 'app'\nfinally = 'two'\n";
        let source = Arc::new(Source::new("m.toml", "/", text));
        let role = chain::resolve(&source, &mut Alone).0.unwrap();
        let context = chain::BindContext {
            container: chain::Container { name: "web1", arch: "amd64" },
            set: &[],
            set_by: chain::SetBy::Set,
            vars_files: &[],
            directory: Path::new("/"),
            lxc: None,
        };
        let chain = chain::bind(&role, &context).0.unwrap();
        let target = Target {
            name: "web1".to_owned(),
            arch: "amd64".to_owned(),
            path: "/l/web1".into(),
            rootfs: "/l/web1/rootfs".into(),
            mapped: None,
            args: Vec::new(),
        };
        let facts = Facts {
            is_absent: false,
            program: Some(Program::Busybox(Some("/bin/busybox".into()))),
            foreign: None,
            environment: Vec::new(),
            sources: BTreeMap::new(),
            scripts: BTreeMap::new(),
        };
        let plan = build(&chain, target, &facts).unwrap();
        let mut drawn = Vec::new();
        mermaid(&plan, &mut drawn).unwrap();
        let expected = "\
flowchart TB
  subgraph l0[\"layer app\"]
    direction TB
    subgraph l1[\"layer os\"]
      direction TB
      n2([\"template builtin:busybox\"])
      n3[[\"post: one\"]]
    end
    n4[[\"finally: two\"]]
  end
  n2 --> n3
  n3 --> n4
";
        assert_eq!(String::from_utf8(drawn).unwrap(), expected);
    }
}
