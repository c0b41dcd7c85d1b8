//! Ends the compiler where a cell is interrupted before it runs, for instance while a dependency of the user's compiles.

use std::collections::HashMap;

use rustix::process::{Pid, Signal, kill_process};

/// Stops compilers that run for this kernel; false where there are none. Only where `/proc` tells which processes there are.
pub fn stop() -> bool {
    let processes = processes();
    let mut stopped = false;
    let mut below: Vec<i32> = children(&processes, std::process::id() as i32);
    // The process that runs the cells is a child too, and stays.
    below.retain(|pid| is_compiler(&processes[pid].1));
    while let Some(pid) = below.pop() {
        below.extend(children(&processes, pid));
        if let Some(pid) = Pid::from_raw(pid) {
            stopped |= kill_process(pid, Signal::TERM).is_ok();
        }
    }
    stopped
}

fn is_compiler(name: &str) -> bool {
    ["cargo", "rustc", "mold"].iter().any(|c| name.starts_with(c))
}

fn children(processes: &HashMap<i32, (i32, String)>, of: i32) -> Vec<i32> {
    processes.iter().filter(|(_, (parent, _))| *parent == of).map(|(pid, _)| *pid).collect()
}

/// Parent and name of every process.
fn processes() -> HashMap<i32, (i32, String)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| process(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn process(pid: i32) -> Option<(i32, (i32, String))> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold some; state and parent follow.
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    let parent = after.split_whitespace().nth(1)?.parse().ok()?;
    Some((pid, (parent, name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn only_compilers_are_stopped() {
        let mut other = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let found = processes();
        assert_eq!(found[&(other.id() as i32)], (std::process::id() as i32, "sleep".to_owned()));
        assert!(!is_compiler("sleep") && is_compiler("cargo"));
        assert!(!stop());
        assert!(other.try_wait().unwrap().is_none(), "it still runs");
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
