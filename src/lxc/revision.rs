//! What a role makes of a container's config otherwise than before, put into one that somebody has edited.
//!
//! This is a three-way merge of sequences of lines. The old and the new config are those that a container has just when
//! it is made, of the same lines of its own: of one that nobody has edited, the new one is what comes of it. Of a key
//! that somebody has edited, what LXC reads counts: of some keys the last line holds, of others every line, and an empty
//! value clears what stands in front of it.

mod alignment;
mod line;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::keys::{Shape, shape};
pub(crate) use alignment::align;
use line::Line;
pub(crate) use line::{MadeLine, completed, given};

/// A key that the role and somebody else have both given another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigConflict {
    /// The key.
    pub key: String,
    /// What the role had; `None` for nothing.
    pub old: Option<String>,
    /// What it has now.
    pub new: Option<String>,
    /// What the container has.
    pub own: Option<String>,
}

/// Which side holds where both have changed a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConfigChoice {
    /// What the role has now.
    New,
    /// What the container has.
    Own,
}

/// Puts into a config what a new container's lines are otherwise than before; all else of it stays byte for byte. Where
/// the rootfs is and what ids there are is none of them, and a conflict is for `choose` to decide.
///
/// # Errors
///
/// The keys that both have changed and that nothing is chosen for.
pub(crate) fn revised(
    text: &[u8],
    old: &[MadeLine],
    new: &[MadeLine],
    choose: impl Fn(&str) -> Option<ConfigChoice>,
) -> Result<Vec<u8>, Vec<ConfigConflict>> {
    let raw: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let own = raw.iter().map(|line| String::from_utf8_lossy(line).into_owned());
    let own = own.enumerate().filter_map(|(at, text)| Some((at, Line::read(&text, false)?)));
    let made = |lines: &[MadeLine]| -> Vec<Line> {
        lines.iter().filter_map(|line| Line::read(&line.text, line.is_given)).collect()
    };
    let mut revision = Revision::new(raw.len(), own.collect(), made(old), made(new));
    let mut conflicts = Vec::new();
    for group in revision.groups() {
        revision.judge(&group, &choose, &mut conflicts);
    }
    if conflicts.is_empty() { Ok(revision.written(&raw)) } else { Err(conflicts) }
}

/// Lines that are judged together: those of a key, or of one thing that a key has several lines of. They are known by
/// their places in the container's config, the old one and the new one.
#[derive(Debug, Default)]
struct Group {
    key: String,
    thing: String,
    own: Vec<usize>,
    old: Vec<usize>,
    new: Vec<usize>,
}

/// What becomes of a group that both sides have changed.
enum Verdict {
    /// The role's changes are made, but for these new lines.
    Apply(Vec<usize>),
    /// It stays as it is.
    Leave,
    /// It becomes what the role has now.
    Replace,
    Conflict,
}

struct Revision {
    /// How many lines the text has.
    length: usize,
    /// The lines of the container's config, with their places in its text.
    own: Vec<(usize, Line)>,
    old: Vec<Line>,
    new: Vec<Line>,
    /// Where the container has each old line.
    there: Vec<Option<usize>>,
    /// Which old line each new one is.
    kept: Vec<Option<usize>>,
    /// Where the container has what each new line is put behind or in the place of.
    anchors: Vec<Option<usize>>,
    /// The lines of the container's that go, and the new ones that come.
    going: BTreeSet<usize>,
    coming: BTreeSet<usize>,
}

impl Revision {
    fn new(length: usize, own: Vec<(usize, Line)>, old: Vec<Line>, new: Vec<Line>) -> Self {
        let lines: Vec<&Line> = own.iter().map(|(_, line)| line).collect();
        let [of_old, of_new] = [&old, &new].map(|lines| lines.iter().collect::<Vec<_>>());
        let (mut there, edited) = matched(&of_old, &lines, Line::pair);
        // Somebody may have moved some.
        let known: BTreeSet<usize> = there.iter().flatten().copied().collect();
        let mut moved: BTreeMap<_, VecDeque<usize>> = BTreeMap::new();
        for (at, line) in lines.iter().enumerate() {
            if !line.is_comment() && !known.contains(&at) {
                moved.entry(line.pair()).or_default().push_back(at);
            }
        }
        for (line, place) in old.iter().zip(&mut there).filter(|(_, place)| place.is_none()) {
            *place = moved.get_mut(&line.pair()).and_then(VecDeque::pop_front);
        }
        // What is in the same order within a key is the same, wherever it was moved to.
        let [of_key, own_of_key] = [&of_old, &lines].map(|lines| {
            let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
            for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_comment()) {
                places.entry(&line.key).or_default().push(at);
            }
            places
        });
        for (key, of_old) in &of_key {
            let Some(of_own) = own_of_key.get(key).filter(|own| own.len() == of_old.len()) else {
                continue;
            };
            let pairs = || of_old.iter().zip(of_own);
            if pairs().all(|(at, place)| old[*at].is_same(lines[*place])) {
                pairs().for_each(|(at, place)| there[*at] = Some(*place));
            }
        }
        let (kept, replaced) = matched(&of_new, &of_old, |line| (line.pair(), line.is_given));
        let place = |at: usize| there[at].or(edited[at]);
        let anchors = kept.iter().zip(&replaced);
        let anchors = anchors.map(|(kept, replaced)| kept.or(*replaced).and_then(place)).collect();
        let stays: BTreeSet<usize> = kept.iter().flatten().copied().collect();
        let going = (0..old.len()).filter(|at| !stays.contains(at));
        let going = going.filter_map(|at| there[at]).collect();
        let coming = (0..new.len()).filter(|at| kept[*at].is_none()).collect();
        Self { length, own, old, new, there, kept, anchors, going, coming }
    }

    /// Returns the groups of all lines but comments.
    fn groups(&self) -> Vec<Group> {
        let sides: [Vec<&Line>; 3] = [
            self.own.iter().map(|(_, line)| line).collect(),
            self.old.iter().collect(),
            self.new.iter().collect(),
        ];
        // What is cleared is all of a key.
        let cleared: BTreeSet<&str> = sides
            .iter()
            .flatten()
            .filter(|line| line.is_clear())
            .map(|line| line.key.as_str())
            .collect();
        let mut order = Vec::new();
        let mut groups: BTreeMap<(&str, &str), Group> = BTreeMap::new();
        for (side, lines) in sides.iter().enumerate() {
            for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_comment()) {
                let (key, thing) = line.subject();
                let thing = if cleared.contains(key) { "" } else { thing };
                let group = groups.entry((key, thing)).or_insert_with(|| {
                    order.push((key, thing));
                    Group { key: key.to_owned(), thing: thing.to_owned(), ..Group::default() }
                });
                [&mut group.own, &mut group.old, &mut group.new][side].push(at);
            }
        }
        order.into_iter().filter_map(|subject| groups.remove(&subject)).collect()
    }

    fn lines(&self, group: &Group) -> [Vec<&Line>; 3] {
        [
            group.own.iter().map(|at| &self.own[*at].1).collect(),
            group.old.iter().map(|at| &self.old[*at]).collect(),
            group.new.iter().map(|at| &self.new[*at]).collect(),
        ]
    }

    /// Decides what becomes of a group.
    fn judge(
        &mut self,
        group: &Group,
        choose: &impl Fn(&str) -> Option<ConfigChoice>,
        conflicts: &mut Vec<ConfigConflict>,
    ) {
        let verdict = self.verdict(group);
        let verdict = match verdict {
            Verdict::Conflict => match choose(&group.key) {
                Some(ConfigChoice::New) => Verdict::Replace,
                Some(ConfigChoice::Own) => Verdict::Leave,
                None => {
                    let conflict = self.conflict(group);
                    if !conflicts.contains(&conflict) {
                        conflicts.push(conflict);
                    }
                    return;
                }
            },
            verdict => verdict,
        };
        match verdict {
            Verdict::Apply(but) => {
                for at in but {
                    self.coming.remove(&at);
                }
            }
            Verdict::Leave => {
                for at in &group.own {
                    self.going.remove(at);
                }
                for at in &group.new {
                    self.coming.remove(at);
                }
            }
            Verdict::Replace => {
                let [own, _, new] = self
                    .lines(group)
                    .map(|lines| lines.into_iter().map(Line::pair).collect::<Vec<_>>());
                let pairs = align(&new, &own);
                self.going.extend(&group.own);
                self.coming.extend(&group.new);
                for (new, own) in pairs {
                    let (new, own) = (group.new[new], group.own[own]);
                    self.going.remove(&own);
                    self.coming.remove(&new);
                    self.anchors[new] = Some(own);
                }
            }
            Verdict::Conflict => {}
        }
    }

    fn conflict(&self, group: &Group) -> ConfigConflict {
        let [own, old, new] = self.lines(group).map(|lines| {
            let last = [lines.last().copied()];
            let lines: Vec<_> = match is_one(group) {
                true => last.into_iter().flatten().collect(),
                false => lines,
            };
            let values: Vec<_> = lines.iter().map(|line| line.value.as_str()).collect();
            (!lines.is_empty()).then(|| values.join("; "))
        });
        ConfigConflict { key: group.key.clone(), old, new, own }
    }

    fn verdict(&self, group: &Group) -> Verdict {
        let [own, old, new] = self.lines(group);
        let is_same = |one: &[&Line], other: &[&Line]| {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.is_same(other))
        };
        if is_same(&own, &old) {
            return Verdict::Apply(Vec::new());
        }
        if is_same(&own, &new) || is_same(&old, &new) {
            return Verdict::Leave;
        }
        match (is_one(group), group.thing.as_str()) {
            (true, _) => self.of_one(group),
            (false, "") => self.of_several(group),
            (false, _) => Verdict::Conflict,
        }
    }

    /// Judges lines of which the last one holds.
    fn of_one(&self, group: &Group) -> Verdict {
        let [own, old, new] = self.lines(group);
        let value = |lines: &[&Line]| lines.last().map(|line| line.value.clone());
        let (own, before, now) = (value(&own), value(&old), value(&new));
        if own != before && own != now && before != now {
            return Verdict::Conflict;
        }
        let result = self.result(group);
        if own == before && before != now {
            // What somebody has written in front of a line of the role that goes holds from then on.
            let comes = group.new.last().is_some_and(|at| self.coming.contains(at));
            return if comes && result != now {
                Verdict::Replace
            } else {
                Verdict::Apply(Vec::new())
            };
        }
        let is_doubled =
            group.new.iter().any(|at| self.coming.contains(at)) && own == now && own != before;
        if result == own && !is_doubled { Verdict::Apply(Vec::new()) } else { Verdict::Leave }
    }

    /// Returns the value that the lines of a group come to by the role's changes.
    fn result(&self, group: &Group) -> Option<String> {
        let stays = group.own.iter().filter(|at| !self.going.contains(at));
        let stays = stays.map(|at| (2 * self.own[*at].0 + 1, 0, &self.own[*at].1));
        let places = self.places();
        let comes = group.new.iter().filter(|at| self.coming.contains(at));
        let comes = comes.map(|at| (2 * places[at], *at, &self.new[*at]));
        let last = stays.chain(comes).max_by_key(|(place, at, _)| (*place, *at));
        last.map(|(.., line)| line.value.clone())
    }

    /// Judges lines of which every one counts.
    fn of_several(&self, group: &Group) -> Verdict {
        let stays: BTreeSet<usize> = group.new.iter().filter_map(|at| self.kept[*at]).collect();
        let mut gone: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for at in group.old.iter().rev().filter(|at| !stays.contains(at)) {
            gone.entry(self.old[*at].pair()).or_default().push(*at);
        }
        let (mut left_out, mut come) = (Vec::new(), Vec::new());
        for at in group.new.iter().copied().filter(|at| self.coming.contains(at)) {
            // What the role has only moved is not what somebody has removed.
            match gone.get_mut(&self.new[at].pair()).and_then(Vec::pop) {
                Some(old) if self.there[old].is_some() => {}
                Some(_) => left_out.push(at),
                None => come.push(at),
            }
        }
        let known: BTreeSet<usize> = group.old.iter().filter_map(|at| self.there[*at]).collect();
        let added = group.own.iter().filter(|at| !known.contains(at));
        let added: Vec<&Line> = added.map(|at| &self.own[*at].1).collect();
        let things: BTreeSet<&str> = added.iter().map(|line| line.thing()).collect();
        let mut equal: BTreeMap<_, usize> = BTreeMap::new();
        for line in &added {
            *equal.entry(line.pair()).or_default() += 1;
        }
        let is_in_place = |line: &Line| {
            let thing = line.thing();
            !thing.is_empty() && things.contains(thing) && !equal.contains_key(&line.pair())
        };
        let is_edited = gone.values().flatten().any(|at| self.there[*at].is_none());
        let is_conflict = |at: &usize| {
            let line = &self.new[*at];
            is_edited || is_in_place(line) || line.is_clear() && !added.is_empty()
        };
        let clears = added.iter().any(|line| line.is_clear());
        if come.iter().any(|at| clears || is_conflict(at)) {
            return Verdict::Conflict;
        }
        for at in come {
            if let Some(count) = equal.get_mut(&self.new[at].pair()).filter(|count| **count > 0) {
                *count -= 1;
                left_out.push(at);
            }
        }
        Verdict::Apply(left_out)
    }

    /// Returns the places in the text that the new lines come to: each is put in front of the line that has it now.
    fn places(&self) -> BTreeMap<usize, usize> {
        let behind = |at: usize| self.own[at].0 + 1;
        // The order of a key's lines counts, whatever they are moved behind.
        let mut next: BTreeMap<&str, usize> = BTreeMap::new();
        let mut limits = vec![self.length; self.new.len()];
        for (at, line) in self.new.iter().enumerate().rev().filter(|(_, line)| !line.is_comment()) {
            limits[at] = next.get(line.key.as_str()).copied().unwrap_or(self.length);
            if let Some(anchor) = self.anchors[at] {
                next.insert(&line.key, self.own[anchor].0);
            }
        }
        let mut places = BTreeMap::new();
        let mut by_key: BTreeMap<&str, usize> = BTreeMap::new();
        let mut before = None;
        for (at, line) in self.new.iter().enumerate() {
            let anchor = self.anchors[at].map(behind);
            let place = match anchor {
                Some(place) => place,
                None if !self.coming.contains(&at) => continue,
                None => before.unwrap_or_else(|| {
                    let next = self.anchors[at..].iter().flatten().next();
                    next.map_or(self.length, |next| self.own[*next].0)
                }),
            };
            let last = by_key.entry(&line.key).or_default();
            let place = match anchor {
                _ if line.is_comment() => place,
                None => place.min(limits[at]).max(*last),
                Some(_) => place.max(*last),
            };
            *last = place;
            before = Some(place);
            if self.coming.contains(&at) {
                places.insert(at, place);
            }
        }
        places
    }

    /// Returns the text as it becomes.
    fn written(mut self, raw: &[&[u8]]) -> Vec<u8> {
        self.drop_comments();
        let mut coming: BTreeMap<usize, Vec<&Line>> = BTreeMap::new();
        for (at, place) in self.places() {
            coming.entry(place).or_default().push(&self.new[at]);
        }
        let going: BTreeSet<usize> = self.going.iter().map(|at| self.own[*at].0).collect();
        let mut text = Vec::new();
        for at in 0..=raw.len() {
            for line in coming.get(&at).into_iter().flatten() {
                if text.last().is_some_and(|last| *last != b'\n') {
                    text.push(b'\n');
                }
                text.extend_from_slice(line.text.as_bytes());
                text.push(b'\n');
            }
            match raw.get(at) {
                Some(line) if !going.contains(&at) => text.extend_from_slice(line),
                _ => {}
            }
        }
        text
    }

    /// Leaves out the comments that come and head nothing.
    fn drop_comments(&mut self) {
        let (mut heads, mut is_above) = (false, false);
        for (at, line) in self.new.iter().enumerate().rev() {
            if line.is_comment() {
                is_above = true;
                if !heads {
                    self.coming.remove(&at);
                }
                continue;
            }
            let is_there = self.kept[at].is_some_and(|old| self.there[old].is_some());
            heads = heads && !is_above || is_there || self.coming.contains(&at);
            is_above = false;
        }
    }
}

/// Tells whether lines are of one thing that has one value: the last one holds.
fn is_one(group: &Group) -> bool {
    shape(&group.key) == Shape::Scalar || !group.thing.is_empty() && group.key != "lxc.mount.entry"
}

/// Returns which line of the others each is; and which it may have been made of, as far as it is none of them.
fn matched<'a, T: Ord>(
    lines: &[&'a Line],
    others: &[&'a Line],
    identity: impl Fn(&'a Line) -> T,
) -> (Vec<Option<usize>>, Vec<Option<usize>>) {
    let identities = |lines: &[&'a Line]| lines.iter().copied().map(&identity).collect::<Vec<_>>();
    let pairs = align(&identities(lines), &identities(others));
    let (mut same, mut edited) = (vec![None; lines.len()], vec![None; lines.len()]);
    let (mut here, mut there) = (0, 0);
    for (one, other) in pairs.into_iter().chain([(lines.len(), others.len())]) {
        // A comment of another text is another comment.
        let subjects = |lines: &[&'a Line]| {
            lines
                .iter()
                .map(|line| (line.subject(), line.is_comment().then_some(&line.text)))
                .collect::<Vec<_>>()
        };
        for (a, b) in align(&subjects(&lines[here..one]), &subjects(&others[there..other])) {
            edited[here + a] = Some(there + b);
        }
        if let Some(same) = same.get_mut(one) {
            *same = Some(other);
        }
        (here, there) = (one + 1, other + 1);
    }
    (same, edited)
}
