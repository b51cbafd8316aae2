//! What other programs call what this one does: said where somebody tries it here.

/// Words, and what there is in their place.
const WORDS: [(&[&str], &str); 15] = [
    (
        &["ls", "list", "ps"],
        "`status` lists containers, `store list` what is stored, `runs` the runs of this host",
    ),
    (&["apply", "run", "up", "make", "new", "launch"], "`create` makes a container"),
    (&["start", "stop", "restart"], "that is LXC's: `lxc-start -n NAME`, `lxc-stop -n NAME`"),
    (&["check", "lint", "test", "verify"], "`validate` checks manifests, `store verify` the store"),
    (
        &["rm", "remove", "delete", "destroy"],
        "`lxc-destroy -n NAME` removes a container, `store remove` what is stored",
    ),
    (&["inspect", "describe", "info", "cat"], "`show` tells of a container or a manifest"),
    (&["history", "log", "logs", "events"], "`runs` lists the runs of this host, `runs show` one"),
    (
        &["exec", "attach", "enter", "console"],
        "`shell` enters a rootfs; of a container that runs, `lxc-attach`",
    ),
    (&["prune", "clean", "cleanup", "gc"], "`store gc` removes what nobody uses"),
    (&["preview", "dry-run", "explain", "graph"], "`plan` shows what a run would do"),
    (&["export", "save", "image"], "`build --output` writes a role as an image"),
    (&["fetch", "download", "import"], "`pull` fills the layer store from a registry"),
    (&["layers", "images"], "`store list` lists what is stored, `layer list` the reusable layers"),
    (&["freeze", "pin"], "`lock` writes down what a role is made from"),
    (&["install", "setup"], "`install-template` installs this program for `lxc-create -t`"),
];

/// Says what there is in the place of a word that is no subcommand.
pub(super) fn meant(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    WORDS.iter().find(|(words, _)| words.contains(&word.as_str())).map(|(_, meant)| *meant)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::arguments::Cli;

    #[test]
    fn no_word_is_a_subcommand_and_all_that_is_named_are() {
        let command = Cli::command();
        let subcommands: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
        for (words, meant) in WORDS {
            assert!(words.iter().all(|word| !subcommands.contains(word)), "{words:?}");
            for named in
                meant.split('`').skip(1).step_by(2).filter(|named| !named.starts_with("lxc-"))
            {
                assert!(subcommands.contains(&named.split(' ').next().unwrap()), "{named}");
            }
        }
    }

    #[test]
    fn a_word_stands_once() {
        let mut words: Vec<_> = WORDS.iter().flat_map(|(words, _)| words.iter()).collect();
        let count = words.len();
        words.sort();
        words.dedup();
        assert_eq!(words.len(), count);
        assert!(meant("LS").is_some() && meant("zz").is_none());
    }
}
