//! The config of a container that is upgraded: the lines of its role, as they were and as they are now, put into it.

use super::Rebase;
use super::choices::Named;
use crate::lxc::config;
use crate::lxc::revision::{ConfigChoice, ConfigConflict, revised};
use crate::merge::Side;
use crate::plan::Plan;
use crate::record::Record;

impl Rebase<'_> {
    /// Returns the config of the next generation, and its lines as the record has them.
    #[expect(clippy::type_complexity, reason = "two results of one merge")]
    pub(super) fn configs(
        &self,
        live: &[u8],
        made: &[u8],
        record: &Record,
        plan: &Plan,
    ) -> Result<(Vec<u8>, Option<Vec<String>>), Vec<ConfigConflict>> {
        let mut old = config::effective(&String::from_utf8_lossy(
            &self.old.contents().config_of(b"", &plan.container),
        ));
        // What was not stored was added by the layers themselves.
        let layers = self.record.layers.iter().filter(|layer| layer.supply.is_none());
        old.extend(layers.flat_map(|layer| layer.config.iter().cloned()));
        let mut new = config::effective(&String::from_utf8_lossy(made));
        // An address is none of the role's, unless a layer has given it.
        for (lines, record) in [(&mut old, self.record), (&mut new, record)] {
            lines.retain(|line| {
                let mut given = record.layers.iter().flat_map(|layer| &layer.config);
                !config::is_address(key_of(line)) || given.any(|other| other == line)
            });
        }
        let choose = |key: &str| {
            self.choices.on(Named::Key(key.as_bytes())).map(|side| match side {
                Side::New => ConfigChoice::New,
                Side::Own => ConfigChoice::Own,
            })
        };
        let lower = config::last_value(&new.join("\n"), "lxc.rootfs.path").and_then(lower_of);
        let on_lower = |text: &[u8]| {
            config::rewrite(text, |key, value| {
                let there = lower_of(config::unquoted(value))?;
                let lower = lower.as_ref().filter(|_| key == "lxc.rootfs.path")?;
                Some(config::unquoted(value).replacen(&there, lower, 1))
            })
        };
        let text = on_lower(&revised(live, &old, &new, choose)?);
        let lines = self.record.config.as_ref().map(|before| {
            let before = before.join("\n");
            // What somebody has edited is none of what was made.
            let text = revised(before.as_bytes(), &old, &new, |_| Some(ConfigChoice::New));
            let text = on_lower(&text.unwrap_or_else(|_| before.into_bytes()));
            config::effective(&String::from_utf8_lossy(&text))
        });
        Ok((text, lines))
    }
}

/// Returns the key of a line of a config.
pub(super) fn key_of(line: &str) -> &str {
    line.split('=').next().unwrap_or_default().trim()
}

/// Returns the lines of a config that go, and those that come; where the tree is belongs to none of them.
pub(super) fn config_lines(before: &[u8], now: &[u8]) -> (Vec<String>, Vec<String>) {
    let [mut gone, mut come] = [before, now].map(|text| {
        let mut lines = config::effective(&String::from_utf8_lossy(text));
        lines.retain(|line| !key_of(line).starts_with("lxc.rootfs."));
        lines
    });
    come.retain(|line| match gone.iter().position(|other| other == line) {
        Some(at) => {
            gone.remove(at);
            false
        }
        None => true,
    });
    (gone, come)
}

/// Returns the lower directory of an overlay as a config names it.
fn lower_of(value: &str) -> Option<String> {
    value.strip_prefix("overlay:")?.rsplit_once(':').map(|(lower, _)| lower.to_owned())
}
