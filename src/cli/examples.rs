//! Two examples of each subcommand, for its help and its manual page.

/// A command line, and what it is for: an imperative sentence.
pub(super) type Example = (&'static str, &'static str);

/// The examples of the program, and of each subcommand by its words.
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "layered-template",
        &[
            (
                "Make a container from a manifest",
                "lxc-create -t layered-template -n web1 -- --manifest web.toml",
            ),
            ("Show what that would do", "layered-template plan web.toml --name web1"),
        ],
    ),
    (
        "layered-template-plan",
        &[
            ("Show what a run would do", "layered-template plan web.toml"),
            (
                "Show each step in full, with another port",
                "layered-template plan -v web.toml --set http_port=8081",
            ),
        ],
    ),
    (
        "layered-template-validate",
        &[
            ("Check all manifests of a directory", "layered-template validate roles/*.toml"),
            (
                "Annotate a pull request with what is found",
                "layered-template validate --format github web.toml",
            ),
        ],
    ),
    (
        "layered-template-create",
        &[
            ("Make a container", "layered-template create web.toml --name web1"),
            (
                "Keep what there is of it if a step fails",
                "layered-template create web.toml --name web1 --keep-failed",
            ),
        ],
    ),
    (
        "layered-template-build",
        &[
            (
                "Build the layers of two roles, each layer once",
                "layered-template build web.toml database.toml",
            ),
            (
                "Write a role as an image for podman or Docker",
                "layered-template build web.toml --output oci:image:latest",
            ),
        ],
    ),
    (
        "layered-template-push",
        &[
            (
                "Push a role, and sign each of its layers",
                "layered-template push web.toml registry.example.com/team/web:2 --sign ~/.ssh/id_ed25519",
            ),
            (
                "Push what is locked, and nothing else",
                "layered-template push --locked web.toml registry.example.com/team/web",
            ),
        ],
    ),
    (
        "layered-template-pull",
        &[
            (
                "Pull what a role is made of",
                "layered-template pull web.toml --from registry.example.com/team/web",
            ),
            ("Pull what its lock pins", "layered-template pull --locked web.toml"),
        ],
    ),
    (
        "layered-template-lock",
        &[
            ("Lock a role to what it is made from", "layered-template lock web.toml"),
            ("Tell whether it has changed since", "layered-template lock --check web.toml"),
        ],
    ),
    (
        "layered-template-shell",
        &[
            ("Enter the rootfs of a container", "layered-template shell web1"),
            ("List a directory of it", "layered-template shell web1 -- ls -l /etc"),
        ],
    ),
    (
        "layered-template-status",
        &[
            ("List all containers", "layered-template status"),
            ("Fail if one of them is outdated", "layered-template status --exit-code web1 web2"),
        ],
    ),
    (
        "layered-template-show",
        &[
            ("Show what a container was made from", "layered-template show web1"),
            ("Show what a role is made of", "layered-template show web.toml --format json"),
        ],
    ),
    (
        "layered-template-diff",
        &[
            (
                "Show what has changed since a container was made",
                "layered-template diff --patch web1",
            ),
            ("Show what a manifest would change", "layered-template diff web1 web.toml"),
        ],
    ),
    (
        "layered-template-runs",
        &[
            ("List the latest runs of this host", "layered-template runs"),
            ("Print them as JSON", "layered-template runs --format json"),
        ],
    ),
    (
        "layered-template-runs-show",
        &[
            ("Show the latest run", "layered-template runs show"),
            ("Print the log of the third", "layered-template runs show 3 --log"),
        ],
    ),
    (
        "layered-template-upgrade",
        &[
            ("Show what would change in a container", "layered-template upgrade --dry-run web1"),
            (
                "Upgrade all outdated containers of a role",
                "layered-template upgrade --all web.toml",
            ),
        ],
    ),
    (
        "layered-template-rollback",
        &[
            ("Put a container back on what it was", "layered-template rollback web1"),
            (
                "Put back one in another directory",
                "layered-template rollback -P /srv/containers web1",
            ),
        ],
    ),
    (
        "layered-template-doctor",
        &[
            ("Look at this host", "layered-template doctor"),
            ("Print what is found as JSON", "layered-template doctor --format json"),
        ],
    ),
    (
        "layered-template-layer",
        &[
            ("List the reusable layers", "layered-template layer list"),
            ("Show what one does", "layered-template layer show apt-packages"),
        ],
    ),
    (
        "layered-template-layer-list",
        &[
            ("List the reusable layers", "layered-template layer list"),
            (
                "List those of a directory of yours too",
                "LAYERED_TEMPLATE_PATH=/srv/layers layered-template layer list",
            ),
        ],
    ),
    (
        "layered-template-layer-show",
        &[
            ("Show what a layer does", "layered-template layer show apt-packages"),
            ("Show what users it can make", "layered-template layer show user"),
        ],
    ),
    (
        "layered-template-store",
        &[
            ("List what is stored", "layered-template store list"),
            ("Show what could be removed", "layered-template store gc --dry-run"),
        ],
    ),
    (
        "layered-template-store-list",
        &[
            ("List what is stored", "layered-template store list"),
            ("Print it as JSON", "layered-template store list --format json"),
        ],
    ),
    (
        "layered-template-store-verify",
        &[
            ("Reread everything stored", "layered-template store verify"),
            ("Reread a single entry", "layered-template store verify 3f9a"),
        ],
    ),
    (
        "layered-template-store-gc",
        &[
            ("Show what would be removed", "layered-template store gc --dry-run"),
            (
                "Keep two generations of each role, and all of the last month",
                "layered-template store gc --keep 2 --older-than 30d",
            ),
        ],
    ),
    (
        "layered-template-store-remove",
        &[
            ("Remove an entry", "layered-template store remove 3f9a"),
            (
                "Remove one though a container that is gone was made on it",
                "layered-template store remove --forget 3f9a",
            ),
        ],
    ),
    (
        "layered-template-init",
        &[
            ("Write a manifest for a small container", "layered-template init web.toml"),
            ("Write one for Debian", "layered-template init web.toml --template debian"),
        ],
    ),
    (
        "layered-template-schema",
        &[
            (
                "Print the schema by which an editor checks manifests",
                "layered-template schema manifest",
            ),
            ("Print that of a plan", "layered-template schema plan"),
        ],
    ),
    (
        "layered-template-install-template",
        &[
            ("Install for all users of LXC", "layered-template install-template"),
            (
                "Install into a directory of your own",
                "layered-template install-template --directory ~/templates",
            ),
        ],
    ),
    (
        "layered-template-completions",
        &[
            ("Complete in this shell", "source <(layered-template completions bash)"),
            (
                "Complete in every fish",
                "layered-template completions fish >~/.config/fish/completions/layered-template.fish",
            ),
        ],
    ),
    (
        "layered-template-man",
        &[
            ("Read the manual page without installing it", "layered-template man | man -l -"),
            ("Write all pages into a directory", "layered-template man --output man"),
        ],
    ),
];

/// Returns the examples of the page of this name.
pub(super) fn of(page: &str) -> &'static [Example] {
    EXAMPLES.iter().find(|(name, _)| *name == page).map_or(&[], |(_, examples)| examples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::Cli;
    use crate::cli::command;
    use clap::Parser;

    fn names(command: &clap::Command, name: &str, into: &mut Vec<String>) {
        into.push(name.to_owned());
        for inner in command.get_subcommands() {
            names(inner, &format!("{name}-{}", inner.get_name()), into);
        }
    }

    #[test]
    fn each_subcommand_has_two_examples_that_parse() {
        let mut pages = Vec::new();
        names(&command::command(), "layered-template", &mut pages);
        for page in &pages {
            assert!(of(page).len() >= 2, "{page}");
        }
        for (page, examples) in EXAMPLES {
            assert!(pages.iter().any(|name| name == page), "{page} is no subcommand");
            for (purpose, line) in *examples {
                assert!(purpose.starts_with(char::is_uppercase), "{purpose}");
                let own = line.split("<(").last().unwrap_or_default();
                let own = own.split([')', '|', '>']).next().unwrap_or_default();
                let words = shlex::split(own).unwrap_or_default();
                let Some(first) = words.iter().position(|word| word == "layered-template") else {
                    panic!("{line}");
                };
                if words[0] != "lxc-create" {
                    let parsed = Cli::try_parse_from(&words[first..]);
                    assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
                }
            }
        }
    }

    #[test]
    fn help_shows_the_examples() {
        let mut all = command::command();
        let plan = all.find_subcommand_mut("plan").unwrap();
        let help = command::shown(&plan.render_help().to_string());
        assert!(
            help.ends_with("  layered-template plan -v web.toml --set http_port=8081\n"),
            "{help}"
        );
    }
}
