//! What a terminal shows of a run: one line of what goes on, which leaves nothing behind.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::sandbox::Sandbox;

/// A terminal as far as the program needs one: lines that break, and what clears them.
struct Vt {
    columns: usize,
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    saved: (usize, usize),
    /// A sequence that has begun.
    escape: Option<String>,
    /// Every state of the last line before it was cleared.
    cleared: Vec<String>,
    colours: Vec<String>,
}

impl Vt {
    fn new(columns: usize) -> Self {
        let (lines, cleared, colours) = (vec![Vec::new()], Vec::new(), Vec::new());
        Self { columns, lines, row: 0, column: 0, saved: (0, 0), escape: None, cleared, colours }
    }

    fn take(&mut self, text: &str) {
        for letter in text.chars() {
            self.letter(letter);
        }
    }

    fn letter(&mut self, letter: char) {
        if let Some(escape) = &mut self.escape {
            escape.push(letter);
            if letter.is_ascii_alphabetic() || escape.len() == 1 && letter != '[' {
                let escape = self.escape.take().unwrap_or_default();
                match escape.as_str() {
                    "[K" => self.clear(),
                    "[B" => self.row = (self.row + 1).min(self.lines.len() - 1),
                    "7" => self.saved = (self.row, self.column),
                    "8" => (self.row, self.column) = self.saved,
                    // Colours take no room.
                    colour if colour.ends_with('m') => self.colours.push(colour.to_owned()),
                    other => panic!("an unknown sequence: {other:?}"),
                }
            }
            return;
        }
        match letter {
            '\x1b' => self.escape = Some(String::new()),
            '\r' => self.column = 0,
            '\n' => self.down(),
            '\x08' => self.column = self.column.saturating_sub(1),
            control if control.is_control() => panic!("a control character: {control:?}"),
            _ => {
                let width = if letter >= '\u{1100}' { 2 } else { 1 };
                if self.column + width > self.columns {
                    self.column = 0;
                    self.down();
                }
                let line = &mut self.lines[self.row];
                if line.len() < self.column + width {
                    line.resize(self.column + width, ' ');
                }
                line[self.column] = letter;
                if width == 2 {
                    line[self.column + 1] = '\0';
                }
                self.column += width;
            }
        }
    }

    fn down(&mut self) {
        self.row += 1;
        if self.row == self.lines.len() {
            self.lines.push(Vec::new());
        }
    }

    fn clear(&mut self) {
        let shown = self.line(self.row);
        if !shown.is_empty() {
            self.cleared.push(shown);
        }
        self.lines[self.row].truncate(self.column);
    }

    /// Makes it narrower or wider, as terminals do that break their lines anew: the cursor stays at its letter.
    fn resize(&mut self, columns: usize) {
        self.columns = columns;
        let mut lines = Vec::new();
        let (row, mut new_row) = (self.row, 0);
        for (index, line) in self.lines.iter().enumerate() {
            if index == row {
                new_row = lines.len() + self.column / columns;
            }
            if line.is_empty() {
                lines.push(Vec::new());
            }
            lines.extend(line.chunks(columns).map(<[char]>::to_vec));
        }
        (self.lines, self.row, self.column) = (lines, new_row, self.column % columns);
    }

    fn line(&self, row: usize) -> String {
        let letters = self.lines[row].iter().filter(|letter| **letter != '\0');
        letters.collect::<String>().trim_end().to_owned()
    }

    fn screen(&self) -> String {
        let lines: Vec<_> = (0..self.lines.len()).map(|row| self.line(row)).collect();
        lines.join("\n").trim_end().to_owned()
    }
}

/// A run on a terminal.
struct Screened {
    child: std::process::Child,
    terminal: OwnedFd,
    read: Receiver<Vec<u8>>,
    vt: Vt,
    pending: Vec<u8>,
    since: Instant,
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Screened {
    fn start(command: Command, columns: u16, rows: u16) -> Self {
        Self::begin(command, (columns, rows), false)
    }

    /// Starts what prints a report there too.
    fn report(command: Command, columns: u16) -> Self {
        Self::begin(command, (columns, 24), true)
    }

    fn begin(mut command: Command, (columns, rows): (u16, u16), is_report: bool) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let terminal = openpt(flags).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        tcsetwinsize(&terminal, size(columns, rows)).unwrap();
        let theirs = ioctl_tiocgptpeer(&terminal, flags).unwrap();
        let stdout = if is_report { theirs.try_clone().unwrap().into() } else { Stdio::null() };
        command.stdin(Stdio::null()).stdout(stdout).stderr(theirs).process_group(0);
        let child = command.spawn().unwrap();
        drop(command);
        let (to, read) = channel();
        let mut from = std::fs::File::from(terminal.try_clone().unwrap());
        spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = from.read(&mut buffer) {
                if count == 0 || to.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let vt = Vt::new(columns.into());
        Self { child, terminal, read, vt, pending: Vec::new(), since: Instant::now() }
    }

    fn resize(&mut self, columns: u16) {
        self.read_for(Duration::from_millis(50));
        tcsetwinsize(&self.terminal, size(columns, 24)).unwrap();
        self.vt.resize(columns.into());
    }

    fn read_for(&mut self, time: Duration) {
        while let Ok(bytes) = self.read.recv_timeout(time) {
            self.pending.extend(bytes);
            let whole = match str::from_utf8(&self.pending) {
                Ok(text) => text.len(),
                Err(error) => error.valid_up_to(),
            };
            let text: Vec<u8> = self.pending.drain(..whole).collect();
            self.vt.take(str::from_utf8(&text).unwrap());
        }
    }

    /// Waits until the screen shows something.
    #[track_caller]
    fn waits_for(&mut self, is_there: impl Fn(&str) -> bool) {
        while !is_there(&self.vt.screen()) {
            let ended = self.child.try_wait().unwrap();
            let screen = self.vt.screen();
            assert!(self.since.elapsed() < Duration::from_secs(20), "{ended:?}\n{screen}");
            self.read_for(Duration::from_millis(20));
        }
    }

    fn ended(mut self) -> (ExitStatus, Vt) {
        while self.child.try_wait().unwrap().is_none() {
            assert!(self.since.elapsed() < Duration::from_secs(30), "{}", self.vt.screen());
            self.read_for(Duration::from_millis(20));
        }
        self.read_for(Duration::from_millis(200));
        (self.child.wait().unwrap(), self.vt)
    }
}

fn call(sandbox: &Sandbox) -> Command {
    sandbox.shell();
    let mut command = sandbox.within();
    command.args(sandbox.three()).arg("m.toml").env("TERM", "xterm").env("NO_COLOR", "1");
    command
}

const STEPS: &str = "
[[layer]]
name = \"app\"
post = [
  { title = \"Install 日本語 packages\", run = \"touch begun; until test -e go; do sleep .05; done; echo one; echo two; sleep 1.2\" },
  \"true\",
]
";

/// What stays when all is done, whatever the terminal was.
const LEFT: &str = "os: template fake
app: post: Install 日本語 packages
  app| one
  app| two
app: post done after * s: Install 日本語 packages
app: post: true
web1 made in * s: os";

/// Tells whether a text is another, in which stars stand for anything.
fn matches(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(after) = rest.strip_prefix(first) else { return false };
    rest = after;
    parts.all(|part| match rest.find(part) {
        None => false,
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
    })
}

#[test]
fn the_line_of_what_goes_on_leaves_nothing_behind() {
    for (columns, rows) in [(80, 24), (200, 50), (30, 24), (8, 24)] {
        let sandbox = Sandbox::new().layers(STEPS);
        let mut command = call(&sandbox);
        command.arg("--storage=none");
        let mut run = Screened::start(command, columns, rows);
        run.waits_for(|_| sandbox.role().join("begun").exists());
        run.waits_for(|screen| screen.contains(" 1 s") || columns < 10);
        let last = run.vt.line(run.vt.lines.len() - 1);
        if columns >= 80 {
            assert_eq!(last, "[2/2] app: post: Install 日本語 packages  1 s", "{columns}");
        } else if columns == 30 {
            assert_eq!(last, "[2/2] app: post: Inst...  1 s");
        }
        std::fs::write(sandbox.role().join("go"), "").unwrap();
        let (status, vt) = run.ended();
        assert!(status.success(), "{}", vt.screen());
        if columns >= 80 {
            let screen = vt.screen();
            assert!(matches(&screen, LEFT), "{screen}");
            assert!(screen.lines().last().unwrap_or_default().contains("lxc-start -n web1 -P "));
            // While output streams, the line stands below it.
            let below =
                vt.cleared.iter().filter(|line| line.starts_with("[2/2] app: post: Install"));
            assert!(below.count() >= 2, "{:#?}", vt.cleared);
        }
        assert!(!vt.screen().contains("[2/2]"), "{}", vt.screen());
    }
}

#[test]
fn the_line_of_a_long_step_is_cut_and_not_broken() {
    let sandbox = Sandbox::new().layers(
        "[[layer]]\nname = \"app\"\n\
         post = \"sleep 1.1; echo this is a line; echo and this is one, which makes it long\"\n",
    );
    let mut command = call(&sandbox);
    command.arg("--storage=none");
    let (status, vt) = Screened::start(command, 60, 24).ended();
    let screen = vt.screen();
    assert!(status.success(), "{screen}");
    let begun =
        "app: post: sleep 1.1; echo this is a line; echo and this ...\n  app| this is a line\n";
    let ended = "\napp: post done after 1.* s: sleep 1.1; echo this is a*...\nweb1 made";
    assert!(screen.contains(begun) && matches(&screen, &format!("*{ended}*")), "{screen}");
}

#[test]
fn a_terminal_that_becomes_narrower_keeps_no_piece_of_the_line() {
    let sandbox = Sandbox::new().layers(STEPS);
    let mut command = call(&sandbox);
    command.arg("--storage=none");
    let mut run = Screened::start(command, 80, 24);
    run.waits_for(|_| sandbox.role().join("begun").exists());
    run.waits_for(|screen| screen.contains("packages  1 s"));
    run.resize(24);
    run.waits_for(|screen| screen.contains("\n[2/2] app: pos") && screen.contains("...  "));
    run.resize(80);
    run.waits_for(|screen| screen.contains("packages  ") && screen.ends_with(" s"));
    assert_eq!(run.vt.screen().matches("[2/2]").count(), 1, "{}", run.vt.screen());
    std::fs::write(sandbox.role().join("go"), "").unwrap();
    let (status, vt) = run.ended();
    assert!(status.success() && matches(&vt.screen(), LEFT), "{}", vt.screen());
}

#[test]
fn a_run_that_is_interrupted_leaves_no_line() {
    for (signal, expected) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let sandbox = Sandbox::new().layers(STEPS);
        let mut command = call(&sandbox);
        command.arg("--storage=none");
        let mut run = Screened::start(command, 80, 24);
        run.waits_for(|_| sandbox.role().join("begun").exists());
        run.waits_for(|screen| screen.contains("[2/2]"));
        kill_process(Pid::from_child(&run.child), signal).unwrap();
        let (status, vt) = run.ended();
        assert_eq!(status.code(), Some(expected), "{}", vt.screen());
        let screen = vt.screen();
        assert!(!screen.contains("[2/2]") && screen.contains("interrupted after"), "{screen}");
        assert!(screen.contains("error: "), "{screen}");
    }
}

/// Whoever has called the program ends by the same key, and the terminal is the shell's then.
#[test]
fn a_signal_takes_the_line_away_before_the_step_has_ended() {
    let sandbox = Sandbox::new().layers(
        "[[layer]]\nname = \"app\"\npost = { title = \"Be deaf\", run = \"trap : INT; touch begun; until test -e go; do sleep .05 || :; done\" }\n",
    );
    let mut command = call(&sandbox);
    command.arg("--storage=none");
    let mut run = Screened::start(command, 80, 24);
    run.waits_for(|_| sandbox.role().join("begun").exists());
    run.waits_for(|screen| screen.contains("[2/2]"));
    kill_process(Pid::from_child(&run.child), Signal::INT).unwrap();
    run.waits_for(|screen| !screen.contains("[2/2]"));
    // Nor does it come back.
    run.read_for(Duration::from_millis(1200));
    assert!(!run.vt.screen().contains("[2/2]"), "{}", run.vt.screen());
    assert_eq!(run.child.try_wait().unwrap(), None, "{}", run.vt.screen());
    std::fs::write(sandbox.role().join("go"), "").unwrap();
    let (status, vt) = run.ended();
    assert_eq!(status.code(), Some(130), "{}", vt.screen());
    assert!(vt.screen().contains("app: post interrupted after"), "{}", vt.screen());
}

#[test]
fn a_report_goes_on_below_its_text_on_a_terminal_alone() {
    let sandbox = Sandbox::new().layers(
        "[[layer]]\nname = \"app\"\npost = \"echo one two three four five six seven eight nine ten\"\n",
    );
    let plan = || {
        let mut command = sandbox.within();
        command.args(["plan", "m.toml", "--name=web1"]).env("TERM", "xterm");
        command
    };
    let (status, vt) = Screened::report(plan(), 50).ended();
    let screen = vt.screen();
    assert!(status.success(), "{screen}");
    let step =
        "\n| post     echo one two three four five six seven\n|          eight nine ten  (m.toml:";
    assert!(screen.contains(step), "{screen}");
    let ran = sandbox.ran(plan());
    ran.exits(0)
        .shows("| post     echo one two three four five six seven eight nine ten  (m.toml:");
}

#[test]
fn a_long_name_leaves_room_for_all_else_on_a_terminal_and_is_whole_elsewhere() {
    let sandbox = Sandbox::new().layers("[[layer]]\nname = \"app\"\n");
    sandbox.create(["--storage=copy"]).exits(0);
    let name = "a-name-that-is-longer-than-all-that-a-terminal-has-room-for-in-one-line";
    let other = sandbox.path("lxc").join(name);
    std::fs::create_dir(&other).unwrap();
    let record = sandbox.container().join("layered-template.json");
    std::fs::copy(record, other.join("layered-template.json")).unwrap();
    let status = || {
        let mut command = sandbox.within();
        command.args(["status", "-P"]).arg(sandbox.path("lxc")).env("TERM", "xterm");
        command
    };
    let (ended, vt) = Screened::report(status(), 80).ended();
    let screen = vt.screen();
    assert!(ended.success(), "{screen}");
    let row = screen.lines().find(|line| line.starts_with("a-name-that-is-")).expect(&screen);
    assert!(row.contains("...  ") && row.ends_with("unknown"), "{screen}");
    sandbox.ran(status()).exits(0).shows(&format!("\n{name}  "));
}

#[test]
fn a_terminal_that_can_write_over_nothing_gets_plain_lines() {
    for (term, force) in [("dumb", ""), ("", ""), ("dumb", "1")] {
        let sandbox = Sandbox::new().layers(STEPS);
        let mut command = call(&sandbox);
        command.arg("--storage=none").env("TERM", term).env("CLICOLOR_FORCE", force);
        if !force.is_empty() {
            command.env_remove("NO_COLOR");
        }
        let mut run = Screened::start(command, 80, 24);
        run.waits_for(|screen| screen.contains("app: post"));
        std::fs::write(sandbox.role().join("go"), "").unwrap();
        sleep(Duration::from_millis(10));
        let (status, vt) = run.ended();
        assert!(status.success());
        assert!(vt.cleared.is_empty() && !vt.screen().contains("[2/2]"), "{}", vt.screen());
        assert!(!vt.screen().contains("made in"), "{}", vt.screen());
    }
}

#[test]
fn a_question_of_a_template_stays_in_its_line() {
    let sandbox = Sandbox::new()
        .upstream("printf 'Distribution: '; touch begun; until test -e go; do sleep .05; done; mkdir \"$rootfs/etc\"; echo debian")
        .layers("");
    let mut command = call(&sandbox);
    command.arg("--storage=none");
    let mut run = Screened::start(command, 80, 24);
    run.waits_for(|screen| screen.ends_with("Distribution:"));
    run.read_for(Duration::from_millis(1200));
    assert!(run.vt.screen().ends_with("os: template fake\nDistribution:"), "{}", run.vt.screen());
    std::fs::write(sandbox.role().join("go"), "").unwrap();
    let (status, vt) = run.ended();
    assert!(status.success() && vt.screen().contains("Distribution: debian\n"), "{}", vt.screen());
}

/// What would change the title, the clipboard, the cursor and the screen, or have the terminal answer.
const HOSTILE: &str =
    r"\033]0;title\007 \033]52;c;cm0=\033\\ \033[2J\033[1;1H \033[6n \302\2330c \2330c \033[>4;2m";
const SHOWN: &str = r"\u{1b}]0;title\u{7} \u{1b}]52;c;cm0=\u{1b}\ \u{1b}[2J\u{1b}[1;1H \u{1b}[6n \u{9b}0c \x9b0c \u{1b}[>4;2m";

#[test]
fn what_is_printed_drives_no_terminal() {
    let printed =
        format!("printf '{HOSTILE}\\n'; printf 'x\\b\\033[31mred\\n'; printf 'open\\033[1'");
    let sandbox = Sandbox::new()
        .upstream(&format!("mkdir \"$rootfs/etc\"; printf '{HOSTILE}\\n'"))
        .program("role/print", &format!("#!/bin/sh\n{printed}\n"))
        .layers("[[layer]]\nname = \"app\"\npost = [{ title = \"Print\", script = \"print\" }, \"true\"]\n");
    for term in ["xterm", "dumb"] {
        let mut command = call(&sandbox);
        command.arg("--storage=none").env("TERM", term);
        let (status, vt) = Screened::start(command, 200, 24).ended();
        let screen = vt.screen();
        assert!(status.success(), "{screen}");
        let app =
            format!("os: template fake\n{SHOWN}\napp: post: Print\n  app| {SHOWN}\n  app| red\n");
        let end = "  app| open\\u{1b}[1\napp: post: true";
        assert!(screen.starts_with(&(app + end)), "{screen}");
        assert_eq!(vt.colours, ["[31m", "[0m"], "{screen}");
        std::fs::remove_dir_all(sandbox.container()).unwrap();
    }
    // Whoever reads a pipe gets every byte.
    let mut command = call(&sandbox);
    command.arg("--storage=none");
    let ran = sandbox.ran(command);
    ran.exits(0);
    let raw = b"\x1b[6n \xc2\x9b0c \x9b0c";
    assert!(ran.output.stderr.windows(raw.len()).filter(|part| *part == raw).count() == 2);
}

#[test]
fn a_colour_that_is_left_on_ends_with_its_step() {
    let sandbox = Sandbox::new().layers(
        "[[layer]]\nname = \"app\"\npost = { title = \"Hide\", run = \"printf '\\\\033[8mhidden'; exit 1\" }\n",
    );
    let mut command = call(&sandbox);
    command.arg("--storage=none");
    let (status, vt) = Screened::start(command, 80, 24).ended();
    assert_eq!(status.code(), Some(6), "{}", vt.screen());
    assert_eq!(vt.colours, ["[8m", "[0m"], "{}", vt.screen());
}

#[test]
fn what_is_written_over_a_line_leaves_the_layer_in_front_of_it() {
    let sandbox = Sandbox::new().layers(
        "[[layer]]\nname = \"app\"\npost = '''\nprintf 'step 1 0%%\\rstep 2 5%%\\r'; sleep 0.3\n\
         printf 'step 3\\r\\n'; printf 'abc\\b\\b\\b\\b\\b\\b\\bz\\n'\n'''\n",
    );
    let mut command = call(&sandbox);
    command.arg("--storage=none");
    let (status, vt) = Screened::start(command, 80, 24).ended();
    let screen = vt.screen();
    assert!(status.success(), "{screen}");
    assert!(screen.contains("\n  app| step 3 5%\n  app| zbc\n"), "{screen}");
}

#[test]
fn what_a_failed_build_has_stored_stands_in_lines_of_its_own() {
    let sandbox = Sandbox::new().layers(
        "[[layer]]\nname = \"app\"\nstore = true\n\
         post = { title = \"A step whose title is longer than what is told of a layer\", run = \"exit 3\" }\n",
    );
    let mut command = sandbox.within();
    command.args(["build", "m.toml"]).env("TERM", "xterm").env("NO_COLOR", "1");
    let (status, vt) = Screened::report(command, 80).ended();
    let screen = vt.screen();
    assert_eq!(status.code(), Some(6), "{screen}");
    let told = screen.lines().find(|line| line.starts_with("os  built in ")).expect(&screen);
    assert!(told.ends_with(" s") && told.len() < "os  built in 1000.0 s".len(), "{screen}");
    assert!(screen.find(told) < screen.find("error: `post` of layer `app`"), "{screen}");
}
