//! What processes have spent, as the kernel tells it (proc(5)), and medians: what benches count with.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::process::Replica;

/// What the kernel counts processors' time in, on every machine that Linux tells programs of.
const TICK: Duration = Duration::from_millis(10);

/// The processor's time of each process, with that of its children that have ended, and its parent.
fn processes() -> BTreeMap<u32, (u32, u64)> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").expect("the kernel tells").flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // Behind the name, which is in brackets: the 2nd is the parent, the 12th to 15th are times.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        let parent = u32::try_from(number(1)).unwrap_or(0);
        all.insert(id, (parent, [11, 12, 13, 14].into_iter().map(number).sum()));
    }
    all
}

/// The time that a process and all below it have had of the processors.
pub fn time_of_tree(root: u32) -> Duration {
    let all = processes();
    let is_below = |id: u32| {
        let mut at = id;
        loop {
            if at == root {
                return true;
            }
            match all.get(&at) {
                Some((parent, _)) if *parent > 1 => at = *parent,
                _ => return false,
            }
        }
    };
    let ticks: u64 = all.iter().filter(|(id, _)| is_below(**id)).map(|(_, (_, ticks))| *ticks).sum();
    TICK * u32::try_from(ticks).expect("no process is that old")
}

/// The time that a process has had of the processors.
pub fn time_of_process(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    let ticks: u32 = [11, 12].map(|at| fields[at].parse::<u32>().expect("a number")).iter().sum();
    TICK * ticks
}

/// The time that all of these have had of the processors.
pub fn time_of(replicas: &[Replica]) -> Duration {
    replicas.iter().map(|replica| time_of_process(replica.process_id())).sum()
}

/// The one in the middle, the upper one of two.
///
/// # Panics
///
/// If there is none.
pub fn median(mut of: Vec<f64>) -> f64 {
    quantile(&mut of, 0.5)
}

/// The smallest value that is above so much of all.
///
/// # Panics
///
/// If there is none.
pub fn quantile(of: &mut [f64], share: f64) -> f64 {
    assert!(!of.is_empty(), "nothing was measured");
    of.sort_by(f64::total_cmp);
    of[((of.len() as f64 * share) as usize).min(of.len() - 1)]
}

/// Raises how many files this process, and those that it starts from now on, may have open, as far as it may.
pub fn need_open_files(wanted: u64) -> anyhow::Result<()> {
    let limits = || -> anyhow::Result<(u64, u64)> {
        let limits = std::fs::read_to_string("/proc/self/limits").context("the system has no /proc")?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let mut numbers =
            line.unwrap_or_default().split_whitespace().map(|word| word.parse().unwrap_or(u64::MAX));
        Ok((numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)))
    };
    let (now, most) = limits()?;
    if now < wanted {
        // The system call needs unsafe code.
        let own = std::process::id().to_string();
        let limit = format!("--nofile={}:{most}", wanted.min(most));
        Command::new("prlimit").args(["--pid", &own, &limit]).status().context("prlimit does not start")?;
    }
    let (now, _) = limits()?;
    ensure!(now >= wanted, "{now} files may be open, and {wanted} are needed: `ulimit -n {wanted}`");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::time::Instant;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 4.0);
        let mut hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&mut hundred, 0.99), 100.0);
        assert_eq!(quantile(&mut hundred, 0.5), 51.0);
        assert_eq!(quantile(&mut hundred, 1.0), 100.0);
    }

    #[test]
    fn open_files_are_had_or_it_is_told_how() {
        need_open_files(64).expect("so many may be open everywhere");
        let told = need_open_files(1 << 40).expect_err("no kernel lets so many be open").to_string();
        assert!(told.contains("ulimit -n 1099511627776"), "{told}");
    }

    #[test]
    fn the_time_of_a_tree_has_its_children_that_run_and_those_that_ended() {
        let ours = std::process::id();
        let before = (time_of_tree(ours), time_of_process(ours));
        // The first turns until it is ended, the other one ends by itself.
        let spin = "i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done";
        let mut running =
            Command::new("sh").args(["-c", &format!("while :; do {spin}; done")]).spawn().expect("a shell");
        let mut ended = Command::new("sh").args(["-c", spin]).stdin(Stdio::null()).spawn().expect("a shell");
        ended.wait().expect("it ends");
        let deadline = Instant::now() + crate::deadline::WAIT_MAX;
        let of_both = |ended: Duration| time_of_process(running.id()) + ended;
        while of_both(Duration::ZERO) < Duration::from_millis(200) && Instant::now() < deadline {
            std::thread::yield_now();
        }
        // In this order, so that what is spent meanwhile counts for the tree.
        let (alone, own) = (time_of_process(running.id()), time_of_process(ours) - before.1);
        let tree = time_of_tree(ours) - before.0;
        running.kill().expect("it runs");
        running.wait().expect("it ends");
        assert!(alone >= Duration::from_millis(200), "the child ran");
        let least = alone + own + Duration::from_millis(20);
        assert!(tree >= least, "{tree:?} has {alone:?} of one child, {own:?} of ours, and the other child's");
    }
}
