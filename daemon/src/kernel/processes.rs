//! Who a process is, as far as `/proc` shows.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The longest command line that is kept, in characters.
const COMMAND_LINE: usize = 200;

/// A process. Whatever is `None` was gone already, or out of sight, as it is for a confined service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub command_line: Option<String>,
    /// The user that it runs as.
    pub uid: Option<u32>,
    /// Who started it: number and name.
    pub parent: Option<String>,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.command_line, self.pid) {
            (Some(line), pid) => write!(f, "`{line}` (pid {pid}")?,
            (None, 0) => return write!(f, "{}", self.name),
            (None, pid) => write!(f, "{} (pid {pid}", self.name)?,
        }
        if let Some(uid) = self.uid.filter(|uid| *uid != 0) {
            write!(f, ", uid {uid}")?;
        }
        if let Some(parent) = &self.parent {
            write!(f, ", started by {parent}")?;
        }
        f.write_str(")")
    }
}

/// The process of this number, whose name is known already.
pub fn look(pid: u32, name: &str) -> Process {
    look_in(Path::new("/proc"), pid, name)
}

fn look_in(proc: &Path, pid: u32, name: &str) -> Process {
    let directory = proc.join(pid.to_string());
    let status = fs::read_to_string(directory.join("status")).unwrap_or_default();
    let field = |key: &str| {
        let mut fields = status.lines().filter_map(|line| line.split_once(':'));
        fields
            .find(|(field, _)| *field == key)
            .map(|(_, value)| value.trim())
    };
    // Another process may have the number by now.
    let is_it = field("Name").is_some_and(|found| found == name.trim());
    let parent = field("PPid").filter(|parent| is_it && *parent != "0");
    let parent = parent.map(|parent| {
        let name = fs::read_to_string(proc.join(parent).join("comm")).unwrap_or_default();
        format!("{} (pid {parent})", name.trim_end())
    });
    let uid = field("Uid").and_then(|uids| uids.split_whitespace().next()?.parse().ok());
    Process {
        pid,
        name: name.to_owned(),
        command_line: command_line(&directory).filter(|_| is_it),
        uid: uid.filter(|_| is_it),
        parent,
    }
}

/// One line of printable text.
fn command_line(directory: &Path) -> Option<String> {
    let bytes = fs::read(directory.join("cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let words: Vec<&str> = text.split('\0').filter(|word| !word.is_empty()).collect();
    let line = words.join(" ").replace(char::is_control, " ");
    (!line.is_empty()).then(|| line.chars().take(COMMAND_LINE).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_shows_is_told_and_only_of_the_process_that_is_meant() {
        let proc = tempfile::tempdir().unwrap();
        let file = |path: &str, text: &str| {
            let path = proc.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        file("7/status", "Name:\tnft\nPPid:\t5\nUid:\t1000\t1000\t1000\t1000\n");
        file("7/cmdline", "nft\0flush\0ruleset\0");
        file("5/comm", "bash\n");
        let nft = look_in(proc.path(), 7, "nft");
        assert_eq!(
            nft.to_string(),
            "`nft flush ruleset` (pid 7, uid 1000, started by bash (pid 5))"
        );
        let other = look_in(proc.path(), 7, "iptables");
        assert_eq!(other.to_string(), "iptables (pid 7)");
        assert_eq!(look_in(proc.path(), 8, "nft").to_string(), "nft (pid 8)");
    }
}
