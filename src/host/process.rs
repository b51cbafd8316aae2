//! Processes of the host, by what the kernel tells of them.

use super::proc;

/// What the kernel tells of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessStatus {
    /// Its name, as `comm` has it.
    pub name: String,
    /// The id of its parent; 0 where that is in another pid namespace.
    pub parent: u32,
    /// When it began, in clock ticks since the boot: with its id, what no other process ever has.
    pub began: u64,
}

impl ProcessStatus {
    /// Reads that of a process; `None` if there is none of this id.
    pub(crate) fn read(id: u32) -> Option<Self> {
        let stat = proc::read(&format!("/proc/{id}/stat")).ok()?;
        Self::parse(&String::from_utf8_lossy(&stat))
    }

    fn parse(stat: &str) -> Option<Self> {
        // The name stands in brackets, and may itself hold brackets and spaces.
        let (head, tail) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let mut columns = tail.split_whitespace();
        // The state, parent, and what begins at the 22nd column of all.
        let parent = columns.nth(1)?.parse().ok()?;
        let began = columns.nth(17)?.parse().ok()?;
        Some(Self { name, parent, began })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "7 (a) b (c)) S 3 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        let expected = ProcessStatus { name: "a) b (c)".to_owned(), parent: 3, began: 98765 };
        assert_eq!(ProcessStatus::parse(stat), Some(expected));
        for cut in 0..stat.len() - 10 {
            let _ = ProcessStatus::parse(&stat[..cut]);
        }
    }

    #[test]
    fn this_process_has_one_parent_and_one_beginning() {
        let own = ProcessStatus::read(std::process::id()).unwrap();
        assert_eq!(own.parent, std::os::unix::process::parent_id());
        assert!(own.began > 0);
        assert_eq!(ProcessStatus::read(0), None);
    }
}
