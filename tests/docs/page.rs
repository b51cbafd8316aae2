//! A page of Markdown as the blocks of code in it.

use std::path::{Path, PathBuf};

/// What names the file that a block becomes: a comment in the line before it.
const MARK: &str = "<!-- file:";

/// What names the programs and templates of LXC's that the commands of a block call: a comment in the line
/// before it.
const NEEDS: &str = "<!-- needs:";

/// What stands behind the name of a manifest that is shown for its faults.
const WITH_ERRORS: &str = "with errors";

/// A page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) path: PathBuf,
    pub(crate) blocks: Vec<Block>,
}

/// A fenced block of code.
#[derive(Debug)]
pub(crate) struct Block {
    /// The line of its fence, counted from 1.
    pub(crate) line: usize,
    pub(crate) language: String,
    pub(crate) text: String,
    /// The file that it becomes.
    pub(crate) file: Option<File>,
    /// The programs and templates that it calls, such as `skopeo` or `lxc-local`.
    pub(crate) needs: Vec<String>,
}

/// The file that a block becomes.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    /// Whether it is a manifest that is shown for its faults.
    pub(crate) with_errors: bool,
}

impl Page {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(path, &text)
    }

    /// Parses a page.
    ///
    /// # Errors
    ///
    /// A block that is written in another way than the rules know, or a manifest with errors that
    /// no command judges.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let mut blocks = Vec::new();
        let mut file = None;
        let mut needs = Vec::new();
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        while let Some((number, line)) = lines.next() {
            let fault = |what: &str| Err(format!("{}:{number}: {what}", path.display()));
            if let Some(language) = line.strip_prefix("```") {
                let mut text = String::new();
                loop {
                    match lines.next() {
                        None => return fault("the block has no end"),
                        Some((_, "```")) => break,
                        Some((_, line)) => text.extend([line, "\n"]),
                    }
                }
                let language = language.trim().to_owned();
                let (file, needs) = (file.take(), std::mem::take(&mut needs));
                blocks.push(Block { line: number, language, text, file, needs });
            } else if line.trim_start().starts_with("```") {
                return fault("a block begins in the first column");
            } else if line.trim_start().starts_with("~~~") {
                return fault("a block is fenced by backticks");
            } else if file.is_some() || !needs.is_empty() {
                return fault("no block follows the comment that is about it");
            } else if let Some(mark) = line.strip_prefix(NEEDS) {
                let Some(mark) = mark.strip_suffix("-->") else {
                    return fault("the comment that names what a block needs is one line");
                };
                needs = mark.split_whitespace().map(str::to_owned).collect();
            } else if let Some(mark) = line.strip_prefix(MARK) {
                let Some(mark) = mark.strip_suffix("-->") else {
                    return fault("the comment that names a file is one line");
                };
                file = Some(File::parse(mark));
            }
        }
        let page = Self { path: path.to_path_buf(), blocks };
        page.manifests_with_errors_are_judged()?;
        Ok(page)
    }

    fn manifests_with_errors_are_judged(&self) -> Result<(), String> {
        let commands: Vec<_> =
            self.blocks.iter().filter(|block| block.language == "console").collect();
        for block in &self.blocks {
            let Some(file) = block.file.as_ref().filter(|file| file.with_errors) else { continue };
            if !commands.iter().any(|command| command.text.contains(&file.name)) {
                let path = self.path.display();
                let (line, name) = (block.line, &file.name);
                return Err(format!("{path}:{line}: no command shows the errors of {name}"));
            }
        }
        Ok(())
    }
}

impl File {
    fn parse(mark: &str) -> Self {
        let (name, rest) = mark.split_once(',').unwrap_or((mark, ""));
        Self { name: name.trim().to_owned(), with_errors: rest.trim() == WITH_ERRORS }
    }
}
