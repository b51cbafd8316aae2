//! The program is killed at random moments: the container is the old or the new one, whole, and the next
//! upgrade or rollback ends well.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use super::{change, role, rollback, sidecars, upgrade, within};
use crate::requirement::root;
use crate::sandbox::{NAME, Ran, Sandbox};

/// How often for each storage.
const KILLS: u32 = 16;

/// How many times as often at the most, where few have come at a moment that tells something.
const MOST_TURNS: u32 = 4;

/// Where the program is when the time that it is given begins.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Start,
    Staged,
    Switching,
}

struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Self(u64::from(now.subsec_nanos()) | 1)
    }

    fn below(&mut self, limit: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        limit.mul_f64(f64::from(u32::try_from(self.0 >> 40).unwrap()) / f64::from(1 << 24))
    }
}

/// Begins an upgrade or a rollback as the program itself, without a shell before it.
fn begin(sandbox: &Sandbox, verb: &str) -> Child {
    let mut command = sandbox.command(sandbox.program_path());
    command.arg(verb).arg(sandbox.container()).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0).spawn().unwrap()
}

/// Waits for a moment, and a while longer; tells whether the program still works.
fn wait(sandbox: &Sandbox, child: &mut Child, moment: Moment, longer: Duration) -> bool {
    let below = |name: &str| -> PathBuf { sandbox.container().join("upgrade").join(name) };
    let sign = match moment {
        Moment::Start => None,
        Moment::Staged => Some(below("next/layered-template.json")),
        Moment::Switching => Some(below("switch")),
    };
    let is_there = || sign.as_ref().is_none_or(|sign| sign.symlink_metadata().is_ok());
    while !is_there() {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
    }
    let until = Instant::now() + longer;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    child.try_wait().unwrap().is_none()
}

/// Returns what the container is: what its config, and its tree, tell of; all else in it is as it has to be.
fn state(sandbox: &Sandbox) -> String {
    let shown = "cat srv/www/index.html srv/data/mine etc/conf; stat -c %a opt; echo srv/old/*";
    let found = within(sandbox, shown);
    let beside = sidecars::beside(sandbox);
    let (page, rest) = found.split_once(&format!(" of {NAME}\n")).unwrap();
    assert_eq!(rest, "mine\none\nmore\n700\nsrv/old/new\n", "{page}");
    let config = sandbox.config();
    assert!(
        config.contains(&format!("PAGE={page}\"")) || config.contains(&format!("PAGE={page}\n"))
    );
    let expected = |own: &str| format!("hook: {page} of web1\n{own}: {page} of web1\n");
    if !sandbox.container().join("upgrade/switch").exists() {
        assert_eq!(beside, expected(own_sidecar(page)));
    }
    page.to_owned()
}

/// Returns what the role leaves beside the rootfs with one page and not with the other.
fn own_sidecar(page: &str) -> &'static str {
    if page == "one" { "gone" } else { "more" }
}

/// Changes the role.
fn turn(sandbox: &Sandbox, page: &str) {
    sidecars::leave(sandbox, page, &["hook", own_sidecar(page)]);
    change(sandbox, page, if page == "one" { 2 } else { 4 }, "true");
}

/// Calls it until those are gone that died with the one that was killed.
fn settled(call: impl Fn() -> Ran) -> Ran {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let ran = call();
        if !ran.stderr().contains("is at work") || Instant::now() > until {
            return ran;
        }
        sleep(Duration::from_millis(20));
    }
}

fn killed(storage: &str) {
    if !root() {
        return;
    }
    let sandbox = role();
    turn(&sandbox, "one");
    sandbox.create([format!("--storage={storage}")]).exits(0);
    let own = "echo mine >srv/data/mine; echo more >>etc/conf; chmod 700 opt; rm -r srv/old; mkdir srv/old; \
               echo x >srv/old/new";
    within(&sandbox, own);
    turn(&sandbox, "two");
    let began = Instant::now();
    upgrade(&sandbox, &[]).exits(0);
    let whole = began.elapsed();
    let mut chance = Chance::new();
    let (mut now, mut was_killed, mut is_new, mut was_switching) = ("two".to_owned(), 0, 0, 0);
    for number in 0..KILLS * MOST_TURNS {
        if number >= KILLS && was_killed > KILLS / 2 && was_switching > 0 {
            break;
        }
        let other = if now == "one" { "two" } else { "one" };
        turn(&sandbox, other);
        let (moment, most) = match number % 4 {
            0 => (Moment::Start, whole),
            1 => (Moment::Staged, whole / 3),
            // In memory a switch is soon over.
            2 => (Moment::Switching, Duration::from_millis(1)),
            _ => (Moment::Switching, Duration::from_millis(12)),
        };
        let verb = if number % 8 == 7 { "rollback" } else { "upgrade" };
        let longer = chance.below(most);
        let mut child = begin(&sandbox, verb);
        let about = format!("{storage}, {verb}, {moment:?} and {longer:?}");
        let still_works = wait(&sandbox, &mut child, moment, longer);
        child.kill().unwrap();
        child.wait().unwrap();
        if sandbox.container().join("upgrade/switch").exists() {
            was_switching += 1;
            let why = "an upgrade or rollback of it was interrupted";
            let (lxc, container) = (sandbox.path("lxc"), sandbox.container());
            let asked: [&[&str]; 3] = [&["status", "-P"], &["diff"], &["show"]];
            for (words, path, status) in
                [(asked[0], &lxc, 0), (asked[1], &container, 2), (asked[2], &container, 0)]
            {
                let ran = sandbox.run([words, &[path.to_str().unwrap()]].concat());
                ran.exits(status);
                assert!([ran.stdout(), ran.stderr()].concat().contains(why), "{about}, {words:?}");
            }
        }
        let found = state(&sandbox);
        assert!(found == now || found == other, "{about}: {found}");
        is_new += u32::from(found == other);
        was_killed += u32::from(still_works);
        if number % 3 == 0 {
            settled(|| rollback(&sandbox)).exits(0);
            state(&sandbox);
        }
        settled(|| upgrade(&sandbox, &[])).exits(0);
        assert_eq!(state(&sandbox), other, "{about}");
        let listed = Command::new("ls").arg(sandbox.container().join("upgrade")).output().unwrap();
        assert_eq!(String::from_utf8(listed.stdout).unwrap(), "previous\n", "{about}");
        other.clone_into(&mut now);
    }
    let told = format!("{is_new} of {was_killed} were new, {was_switching} at the switch");
    assert!(was_killed > KILLS / 2 && was_switching > 0, "{storage}: {told}");
    rollback(&sandbox).exits(0);
    let left: Vec<_> =
        std::fs::read_dir(sandbox.path("state/work")).into_iter().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn killed_at_any_moment_a_copy_is_the_old_or_the_new_one() {
    killed("copy");
}

#[test]
fn killed_at_any_moment_an_overlay_is_the_old_or_the_new_one() {
    killed("overlay");
}
