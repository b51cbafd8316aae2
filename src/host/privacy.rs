//! Keeps the memory of a process that holds secrets to itself.

use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;

use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior, setrlimit};

/// How large a core the caller allows.
static CORE: OnceLock<Option<u64>> = OnceLock::new();

/// Makes this process, and those that it forks, write no memory to the disk when they crash, and
/// show none to anybody but root of the host. A panic says where it was, and not what about.
///
/// From then on `/proc` has all that changes the process as root's. So a user namespace whose maps
/// the process writes itself is entered before.
///
/// # Errors
///
/// What `prctl(2)` and `setrlimit(2)` say.
pub(crate) fn keep() -> io::Result<()> {
    let limit = getrlimit(Resource::Core);
    CORE.get_or_init(|| limit.current);
    setrlimit(Resource::Core, rustix::process::Rlimit { current: Some(0), ..limit })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    panic::set_hook(Box::new(tell));
    Ok(())
}

/// Gives a program that is about to be executed what the caller allows of a core. Safe in the child
/// of a fork.
pub(super) fn restore_core_limit() -> io::Result<()> {
    let Some(current) = CORE.get() else { return Ok(()) };
    let limit = rustix::process::Rlimit { current: *current, ..getrlimit(Resource::Core) };
    Ok(setrlimit(Resource::Core, limit)?)
}

fn tell(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
    let _ = writeln!(
        io::stderr(),
        "error: the program has a fault{place}; what it is about is not shown, since it may quote a \
         secret"
    );
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The variable that tells the test to be the process that it looks at.
    const INNER: &str = "LAYERED_TEMPLATE_TEST_PRIVACY";

    #[test]
    fn a_panic_does_not_say_what_it_is_about() {
        if let Some(secret) = std::env::var_os(INNER) {
            keep().unwrap();
            panic!("{secret:?} is no number");
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        let name = format!("{}::a_panic_does_not_say_what_it_is_about", module_path!());
        let name = name.split_once("::").unwrap().1;
        command.args(["--exact", name, "--nocapture"]).env(INNER, "hunter2");
        let output = command.output().unwrap();
        let [said, printed] = [output.stderr, output.stdout]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(output.status.code(), Some(101), "{said}{printed}");
        assert!(said.contains(&format!("the program has a fault at {}:", file!())), "{said}");
        assert!(!(said + &printed).contains("hunter2"));
    }
}
