//! Switches that are stopped at each of their steps.

use super::*;

/// Writes what tells of a word into a directory: a config, a record, a tree, and files beside that. Where the container
/// tells of a word already, it is what takes its place.
fn generation(container: &Path, at: &Path, word: &str, kind: &str) {
    let before = fs::read_to_string(container.join(record::NAME)).ok();
    fs::create_dir_all(at.join(kind)).unwrap();
    fs::write(at.join(kind).join("word"), word).unwrap();
    fs::write(at.join(record::NAME), word).unwrap();
    let tree = container.join(kind).display().to_string();
    let path =
        if kind == "delta" { format!("overlay:/s/{word}:{tree}") } else { format!("dir:{tree}") };
    let text = format!("# {word}\nlxc.rootfs.path = {path}\n");
    fs::write(at.join(config_name()), text).unwrap();
    let names = ["hook".to_owned(), format!("only-{word}"), "keys".to_owned()];
    fs::write(at.join(&names[0]), word).unwrap();
    fs::write(at.join(&names[1]), word).unwrap();
    fs::create_dir(at.join(&names[2])).unwrap();
    fs::write(at.join(&names[2]).join("key"), word).unwrap();
    if let Some(before) = before {
        sidecar::come(at, &names.map(Into::into)).unwrap();
        sidecar::goes(at, format!("only-{before}").as_ref()).unwrap();
    }
}

/// Makes a container that was of one word after the other. What is of the last one is about to take its place.
fn about_to_be(container: &Path, kind: &str, words: &[&str]) -> Generations {
    let generations = Generations::of(container);
    generation(container, container, words[0], kind);
    for word in &words[1..] {
        generations.advance(true, &mut || Ok(())).unwrap();
        generations.tidy(false).unwrap();
        generation(container, &generations.next(), word, kind);
        generations.begin(NEXT).unwrap();
    }
    generations
}

/// Makes a container that was of one word after the other, and is of the last one.
fn made(container: &Path, kind: &str, words: &[&str]) -> Generations {
    let generations = about_to_be(container, kind, words);
    generations.advance(true, &mut || Ok(())).unwrap();
    generations
}

/// Kills whoever takes more steps than that.
fn killing(mut left: i32) -> impl FnMut() -> io::Result<()> {
    move || {
        left -= 1;
        if left < 0 { Err(io::Error::other("killed")) } else { Ok(()) }
    }
}

/// Returns the word that the tree tells of which the config names, and that of the config itself. What else a config
/// may name is there.
fn words(container: &Path) -> [String; 2] {
    let config = fs::read_to_string(container.join(config_name())).unwrap();
    let value = config::last_value(&config, "lxc.rootfs.path").unwrap();
    let tree = value.rsplit(':').next().unwrap();
    let word = fs::read_to_string(Path::new(tree).join("word")).unwrap();
    let told = config.lines().next().unwrap().trim_start_matches("# ").to_owned();
    for name in [format!("only-{told}"), "hook".to_owned()] {
        assert!(container.join(&name).is_file(), "{name}");
    }
    [word, told]
}

fn settled(container: &Path, kind: &str) -> String {
    let [tree, config] = words(container);
    let read = |path: PathBuf| fs::read_to_string(container.join(path)).unwrap();
    let record = read(record::NAME.into());
    let texts = [Path::new(kind).join("word"), "hook".into(), "keys/key".into()].map(read);
    assert!([tree, config].iter().chain(&texts).all(|text| *text == record), "{record} {texts:?}");
    assert!(!container.join(kind).is_symlink() && is_directory(&container.join(kind)));
    let names = |directory: &Path| -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    let mut others = names(container);
    others.retain(|name| name.starts_with("only-"));
    assert_eq!(others, [format!("only-{record}")]);
    let mut names = names(&container.join(GENERATIONS));
    // A rollback removes its note when it has told of itself.
    names.retain(|name| ![PREVIOUS, BACK].contains(&name.as_str()));
    assert!(names.is_empty(), "{names:?}");
    record
}

#[test]
fn a_switch_is_one_moment() {
    for kind in ["delta", "rootfs"] {
        let (mut taken_back, mut finished) = (0, 0);
        for stop in 0.. {
            let place = tempfile::tempdir().unwrap();
            let container = place.path();
            let generations = about_to_be(container, kind, &["old", "new"]);
            let result = generations.advance(true, &mut killing(stop));
            // Whatever is there starts, and is of one generation.
            let [tree, config] = words(container);
            assert_eq!(tree, config, "{kind}, stopped at {stop}");
            generations.tidy(false).unwrap();
            let there = settled(container, kind);
            assert_eq!(there, tree);
            match there.as_str() {
                "old" => {
                    taken_back += 1;
                    assert!(!generations.has_previous());
                }
                _ => {
                    finished += 1;
                    generations.back(false).unwrap();
                    assert_eq!(settled(container, kind), "old");
                    generations.back(false).unwrap();
                    assert_eq!(settled(container, kind), "new");
                    generations.undo().unwrap();
                    assert_eq!(settled(container, kind), "old");
                    assert!(!generations.has_previous());
                }
            }
            if result.is_ok() {
                break;
            }
        }
        assert_eq!((taken_back, finished), (2, 14), "{kind}");
    }
}

#[test]
fn what_was_kept_is_kept_where_going_back_is_interrupted() {
    let place = tempfile::tempdir().unwrap();
    let container = place.path();
    let generations = made(container, "delta", &["old", "new"]);
    fs::write(generations.within(PREVIOUS).join(KEPT), "").unwrap();
    generations.begin(PREVIOUS).unwrap();
    assert!(generations.is_interrupted());
    generations.advance(true, &mut killing(1)).unwrap_err();
    assert!(generations.tidy(true).is_err(), "it runs");
    generations.tidy(false).unwrap();
    assert_eq!(settled(container, "delta"), "new");
    generations.back(false).unwrap();
    assert_eq!(settled(container, "delta"), "old");
}

#[test]
fn rolled_back_it_is_what_it_was_whenever_that_or_the_upgrade_was_interrupted() {
    let moments = [(true, 16), (false, 15)].into_iter();
    let moments = moments.flat_map(|(is, count)| (0..count).map(move |at| (is, at)));
    // Going back has one less.
    for (is_upgrade, stop) in moments {
        let place = tempfile::tempdir().unwrap();
        let container = place.path();
        let generations = about_to_be(container, "delta", &["first", "second", "third"]);
        if !is_upgrade {
            generations.advance(true, &mut || Ok(())).unwrap();
            fs::write(generations.within(PREVIOUS).join(KEPT), "").unwrap();
            generations.begin(PREVIOUS).unwrap();
        }
        generations.advance(true, &mut killing(stop)).unwrap_err();
        generations.roll_back().unwrap();
        assert_eq!(settled(container, "delta"), "second", "{is_upgrade}, stopped at {stop}");
    }
}

#[test]
fn a_filesystem_that_exchanges_nothing_has_the_tree_brought_home_all_the_same() {
    let place = tempfile::tempdir().unwrap();
    let container = place.path();
    let generations = about_to_be(container, "rootfs", &["old", "new"]);
    let link = container.join("rootfs");
    let killed = generations.advance(true, &mut || match link.is_symlink() {
        true => Err(io::Error::other("killed")),
        false => Ok(()),
    });
    killed.unwrap_err();
    let last = read(&generations.within(SWITCH).join(config_name())).unwrap();
    fs::write(container.join(config_name()), last).unwrap();
    fs::remove_file(link).unwrap();
    assert!(generations.recover().unwrap());
    assert_eq!(settled(container, "rootfs"), "new");
}

#[test]
fn undone_it_is_all_as_before() {
    let place = tempfile::tempdir().unwrap();
    let container = place.path();
    let generations = made(container, "delta", &["first", "second", "third"]);
    generations.undo().unwrap();
    assert_eq!(settled(container, "delta"), "second");
    generations.back(false).unwrap();
    assert_eq!(settled(container, "delta"), "first");
}

#[test]
fn what_the_container_has_come_to_have_beside_its_rootfs_is_kept() {
    let place = tempfile::tempdir().unwrap();
    let container = place.path();
    let generations = made(container, "delta", &["old", "new"]);
    fs::remove_file(container.join("hook")).unwrap();
    fs::create_dir(container.join("hook")).unwrap();
    fs::write(container.join("hook/own"), "own").unwrap();
    generations.back(false).unwrap();
    assert_eq!(settled(container, "delta"), "old");
    generations.back(false).unwrap();
    assert_eq!(fs::read_to_string(container.join("hook/own")).unwrap(), "own");
}

#[test]
fn one_that_was_stopped_is_started_again_as_long_as_the_machine_runs() {
    let place = tempfile::tempdir().unwrap();
    let container = place.path();
    let generations = made(container, "delta", &["old", "new"]);
    assert!(!generations.owes_start() && !generations.is_back());
    generations.note_halt(false).unwrap();
    assert!(generations.owes_start() && !generations.is_back());
    assert!(generations.is_cut_off(false) && !generations.is_cut_off(true));
    let lock = generations.lock().unwrap();
    assert!(lock.is_some() && !generations.is_cut_off(false), "somebody is at work");
    drop(lock);
    // An upgrade had changed nothing yet.
    fs::create_dir(generations.next()).unwrap();
    assert!(generations.is_back() && generations.is_interrupted_upgrade());
    generations.tidy(false).unwrap();
    generations.note_halt(true).unwrap();
    assert!(generations.owes_start() && generations.is_back());
    assert!(!generations.is_interrupted_upgrade());
    fs::write(container.join("upgrade/halted"), "another-boot over\n").unwrap();
    assert!(!generations.owes_start() && generations.is_back() && !generations.is_cut_off(false));
    generations.forget_halt().unwrap();
    generations.forget_halt().unwrap();
    assert_eq!(settled(container, "delta"), "new");
}

#[test]
fn a_look_leaves_no_trace() {
    let place = tempfile::tempdir().unwrap();
    let container = place.path();
    let generations = Generations::of(container);
    let seen = || {
        let mut seen = Vec::new();
        for path in [container.to_path_buf(), container.join(GENERATIONS)] {
            seen.push(fs::metadata(path).and_then(|found| found.modified()).ok());
        }
        seen
    };
    for is_upgraded in [false, true] {
        if is_upgraded {
            fs::create_dir(container.join(GENERATIONS)).unwrap();
            fs::create_dir(generations.next()).unwrap();
        }
        let before = seen();
        let look = generations.look().unwrap();
        fs::create_dir(look.at()).unwrap();
        fs::write(look.at().join("f"), "").unwrap();
        look.end().unwrap();
        assert_eq!(seen(), before);
        assert_eq!(generations.next().exists(), is_upgraded);
    }
}

#[test]
fn the_tree_of_a_container_is_in_its_directory() {
    let name = |value: &str| {
        tree_name(format!("lxc.rootfs.path = {value}\n").as_bytes(), Path::new("/l/c"))
    };
    assert_eq!(name("overlay:/s/rootfs:/l/c/delta0").as_deref(), Some("delta0"));
    assert_eq!(name("dir:/l/c/rootfs").as_deref(), Some("rootfs"));
    assert_eq!(name("/l/c/rootfs").as_deref(), Some("rootfs"));
    for other in ["overlay:/s/rootfs:/l/d/delta", "dir:/l/c", "lvm:/dev/x/c", "dir:/l/c/a/b"] {
        assert_eq!(name(other), None, "{other}");
    }
}

#[test]
fn undone_it_is_wholly_so_or_not_at_all_whenever_that_was_interrupted() {
    for (before, stop) in [&["old", "new"][..], &["older", "old", "new"]]
        .into_iter()
        .flat_map(|before| (0..18).map(move |stop| (before, stop)))
    {
        let place = tempfile::tempdir().unwrap();
        let container = place.path();
        let generations = about_to_be(container, "delta", before);
        generations.advance(true, &mut || Ok(())).unwrap();
        for name in [KEPT, UNDOES] {
            fs::write(generations.within(PREVIOUS).join(name), "").unwrap();
        }
        generations.begin(PREVIOUS).unwrap();
        let _ = generations.advance(true, &mut killing(stop));
        generations.recover().unwrap();
        generations.discard().unwrap();
        let there = settled(container, "delta");
        let kept = fs::read_to_string(generations.previous().join(record::NAME)).ok();
        match there.as_str() {
            "new" => assert_eq!(kept.as_deref(), Some("old"), "{before:?}, stopped at {stop}"),
            _ => {
                assert_eq!(there, "old");
                let expected = (before.len() > 2).then_some("older");
                assert_eq!(kept.as_deref(), expected, "{before:?}, stopped at {stop}");
            }
        }
    }
}

#[test]
fn what_was_moved_since_is_not_begun() {
    let place = tempfile::tempdir().unwrap();
    let (container, moved) = (place.path().join("one"), place.path().join("two"));
    fs::create_dir(&container).unwrap();
    made(&container, "delta", &["old", "new"]);
    fs::rename(&container, &moved).unwrap();
    let text = fs::read_to_string(moved.join(config_name())).unwrap();
    let adapted = |text: &str| text.replace(container.to_str().unwrap(), moved.to_str().unwrap());
    fs::write(moved.join(config_name()), adapted(&text)).unwrap();
    let generations = Generations::of(&moved);
    let error = generations.back(false).unwrap_err().to_string();
    assert!(error.contains("upgrade/previous/config` names no tree of "), "{error}");
    assert!(!generations.is_interrupted());
    let kept = generations.previous().join(config_name());
    let text = fs::read_to_string(&kept).unwrap();
    fs::write(&kept, adapted(&text)).unwrap();
    generations.back(false).unwrap();
    assert_eq!(settled(&moved, "delta"), "old");
}

#[test]
fn a_tree_that_the_config_spells_otherwise_is_switched_as_well() {
    for (kind, spelt) in [("rootfs", "/./"), ("rootfs", "//"), ("delta", "//"), ("delta", "/./")] {
        let place = tempfile::tempdir().unwrap();
        let container = place.path();
        generation(container, container, "old", kind);
        let config = container.join(config_name());
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replace(&format!("/{kind}\n"), &format!("{spelt}{kind}\n")))
            .unwrap();
        let generations = Generations::of(container);
        generations.tidy(false).unwrap();
        generation(container, &generations.next(), "new", kind);
        generations.begin(NEXT).unwrap();
        generations.advance(true, &mut || Ok(())).unwrap();
        assert_eq!(settled(container, kind), "new");
        generations.back(false).unwrap();
        assert_eq!(settled(container, kind), "old");
        assert!(fs::read_to_string(&config).unwrap().contains(spelt));
        generations.back(false).unwrap();
        assert_eq!(settled(container, kind), "new");
    }
}

#[test]
fn nobody_goes_back_to_what_has_lost_something() {
    for lost in ["rootfs", record::NAME, config_name()] {
        let place = tempfile::tempdir().unwrap();
        let container = place.path();
        let generations = made(container, "rootfs", &["old", "new"]);
        let lost = generations.previous().join(lost);
        let aside = place.path().join("aside");
        fs::rename(&lost, &aside).unwrap();
        let error = generations.roll_back().unwrap_err().to_string();
        assert!(error.contains(lost.to_str().unwrap()), "{error}");
        assert_eq!(settled(container, "rootfs"), "new");
        fs::rename(&aside, &lost).unwrap();
        generations.roll_back().unwrap();
        assert_eq!(settled(container, "rootfs"), "old");
    }
}

#[test]
fn a_file_keeps_what_it_has_besides_its_text() {
    let place = tempfile::tempdir().unwrap();
    let container = place.path();
    let config = container.join(config_name());
    let has = |value: &[u8]| {
        let mut found = [0; 8];
        let length = rustix::fs::getxattr(&config, "user.of", &mut found).unwrap();
        assert_eq!(&found[..length], value);
    };
    let set = |value: &[u8]| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&config, "user.of", value, flags).unwrap();
    };
    let generations = about_to_be(container, "delta", &["old", "new"]);
    set(b"old");
    let times = |seconds| {
        fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
    };
    fs::File::open(&config).unwrap().set_times(times(5)).unwrap();
    // What is kept of it was kept before.
    generations.tidy(false).unwrap();
    generation(container, &generations.next(), "new", "delta");
    generations.switch().unwrap();
    has(b"old");
    set(b"new");
    generations.back(false).unwrap();
    assert_eq!(settled(container, "delta"), "old");
    has(b"old");
    assert_eq!(
        fs::metadata(&config).unwrap().modified().unwrap(),
        std::time::UNIX_EPOCH + Duration::from_secs(5)
    );
    generations.back(false).unwrap();
    has(b"new");
}
