//! `cargo sim bisect`: the commit since which a run fails. Each commit is built in a copy of the repository, and the
//! run is replayed there. Where it does not apply, it is not comparable, and the search goes round it.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mainstem_oracles::Guarantee;

use crate::copied_build;

/// The limit of a replay by the clock on the wall.
const REPLAY_LIMIT: Duration = Duration::from_secs(300);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// What a replay of the pure world says of choices that did nothing.
pub const IMPOSSIBLE: &str = "choices that were not possible: ";

/// What becomes of the run at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    Passes,
    Fails,
    /// The run cannot be had there, or fails by something else. Why.
    NotComparable(String),
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passes => f.write_str("passes"),
            Self::Fails => f.write_str("fails"),
            Self::NotComparable(why) => write!(f, "not comparable: {why}"),
        }
    }
}

/// Where the run passed for the last time and failed for the first time: places in a list of commits, oldest first.
/// What lies between them is not comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub passed: usize,
    pub failed: usize,
}

/// Searches the commits between the first, where the run passes, and the last, where it fails.
pub fn search<E>(count: usize, mut judge: impl FnMut(usize) -> Result<Judged, E>) -> Result<Found, E> {
    let (mut passed, mut failed) = (0_usize, count - 1);
    let mut apart = vec![];
    loop {
        let middle = passed.midpoint(failed);
        let open = (passed + 1..failed).filter(|at| !apart.contains(at));
        let Some(at) = open.min_by_key(|at| at.abs_diff(middle)) else { return Ok(Found { passed, failed }) };
        match judge(at)? {
            Judged::Passes => passed = at,
            Judged::Fails => failed = at,
            Judged::NotComparable(_) => apart.push(at),
        }
    }
}

/// How a replay ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Replayed {
    code: Option<i32>,
    /// What it broke, if it names it.
    guarantee: Option<Guarantee>,
    /// Choices of it that did nothing.
    impossible: usize,
    /// The first line of what it complained of.
    first_line: String,
}

impl Replayed {
    fn of(output: &Output) -> Self {
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let words = complained.split(|c: char| !c.is_ascii_alphanumeric());
        let impossible = said.lines().find_map(|line| line.strip_prefix(IMPOSSIBLE)?.parse().ok());
        Self {
            code: output.status.code(),
            guarantee: words.into_iter().find_map(|word| word.parse().ok()),
            impossible: impossible.unwrap_or_default(),
            first_line: complained.lines().next().unwrap_or_default().to_owned(),
        }
    }

    fn fails(&self) -> bool {
        matches!(self.code, Some(1 | 2 | 4))
    }

    /// What it says, beside the same run where it fails.
    fn beside(&self, failing: &Self) -> Judged {
        match self.code {
            Some(0) if self.impossible > failing.impossible => Judged::NotComparable(format!(
                "{} of its choices are not possible there",
                self.impossible - failing.impossible
            )),
            Some(0) => Judged::Passes,
            _ if self.fails() && self.guarantee == failing.guarantee => Judged::Fails,
            _ => Judged::NotComparable(self.first_line.clone()),
        }
    }
}

/// A copy of the repository, in which commits are checked out and built.
struct Copy {
    tree: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn new(root: &Path, home: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(home).with_context(|| format!("making {}", home.display()))?;
        // Cargo and the replay run in the tree, where a relative path would be another one.
        let home = home.canonicalize().with_context(|| format!("finding {}", home.display()))?;
        let (tree, target) = (home.join("tree"), home.join("target"));
        if tree.exists() {
            std::fs::remove_dir_all(&tree).with_context(|| format!("removing {}", tree.display()))?;
        }
        let mut clone = Command::new("git");
        clone.args(["clone", "--quiet", "--shared", "--no-checkout"]).arg(root).arg(&tree);
        succeed(&mut clone)?;
        Ok(Self { tree, target })
    }

    fn check_out(&self, commit: &str) -> anyhow::Result<()> {
        let mut git = Command::new("git");
        succeed(git.current_dir(&self.tree).args(["checkout", "--quiet", "--force", "--detach", commit]))?;
        Ok(())
    }

    /// Builds what is checked out. `Err`: why it does not build.
    fn build(&self) -> anyhow::Result<Result<PathBuf, String>> {
        copied_build::spare_the_libraries(&self.target);
        let mut cargo = copied_build::command(&self.tree, &self.target);
        let output = cargo.output().context("building")?;
        if output.status.success() {
            return Ok(Ok(copied_build::program(&self.target)));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().find(|line| line.starts_with("error")).unwrap_or("no error is named");
        Ok(Err(format!("it does not build: {line}")))
    }

    fn replay(&self, program: &Path, file: &Path) -> anyhow::Result<Replayed> {
        let mut replay = Command::new(program);
        replay.current_dir(&self.tree).arg("replay").arg(file);
        Ok(Replayed::of(&limited(&mut replay)?))
    }
}

/// Runs a program, and ends it at the limit.
fn limited(command: &mut Command) -> anyhow::Result<Output> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("replaying")?;
    let read = |mut pipe: Box<dyn std::io::Read + Send>| {
        std::thread::spawn(move || {
            let mut text = vec![];
            // What was said until it ended is all there is.
            let _ = pipe.read_to_end(&mut text);
            text
        })
    };
    let stdout = read(Box::new(child.stdout.take().context("its output")?));
    let stderr = read(Box::new(child.stderr.take().context("its output")?));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().context("waiting for a replay")? {
            break status;
        }
        if begun.elapsed() > REPLAY_LIMIT {
            child.kill().context("ending a replay")?;
        }
        std::thread::sleep(POLL_INTERVAL);
    };
    let text = |read: std::thread::JoinHandle<Vec<u8>>| read.join().unwrap_or_default();
    Ok(Output { status, stdout: text(stdout), stderr: text(stderr) })
}

fn succeed(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {}", said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The commits of a range, with the one before them, oldest first.
fn commits(root: &Path, range: &str) -> anyhow::Result<Vec<String>> {
    let Some((from, to)) = range.split_once("..").filter(|(from, to)| !from.is_empty() && !to.is_empty())
    else {
        bail!("{range:?} is no range of commits: expected A..B, where A passes and B fails");
    };
    let git = || {
        let mut git = Command::new("git");
        git.current_dir(root);
        git
    };
    let first = succeed(git().args(["rev-parse", "--verify", &format!("{from}^{{commit}}")]))?;
    let range = format!("{from}..{to}");
    let later = succeed(git().args(["rev-list", "--first-parent", "--reverse", &range]))?;
    let commits: Vec<_> = first.lines().chain(later.lines()).map(str::to_owned).collect();
    ensure!(commits.len() > 1, "there is no commit in {range}");
    Ok(commits)
}

/// Finds the commit in `range` since which `file` fails, and says so.
pub fn run(root: &Path, file: &Path, range: &str, home: &Path) -> anyhow::Result<()> {
    let file = file.canonicalize().with_context(|| format!("finding {}", file.display()))?;
    let commits = commits(root, range)?;
    let copy = Copy::new(root, home)?;
    let name = |at: usize| {
        let mut git = Command::new("git");
        succeed(git.current_dir(root).args(["log", "-1", "--format=%h %s", &commits[at]]))
            .map(|line| line.trim().to_owned())
    };
    let replay = |at: usize| -> anyhow::Result<Result<Replayed, String>> {
        copy.check_out(&commits[at])?;
        match copy.build()? {
            Ok(program) => copy.replay(&program, &file).map(Ok),
            Err(why) => Ok(Err(why)),
        }
    };
    let last = commits.len() - 1;
    let failing = match replay(last)? {
        Ok(failing) if failing.fails() => failing,
        Ok(other) => bail!("{} does not fail at {}: {}", file.display(), name(last)?, other.first_line),
        Err(why) => bail!("{}: {why}", name(last)?),
    };
    println!("{:<60} fails", name(last)?);
    let judge = |at: usize| -> anyhow::Result<Judged> {
        let judged = match replay(at)? {
            Ok(replayed) => replayed.beside(&failing),
            Err(why) => Judged::NotComparable(why),
        };
        println!("{:<60} {judged}", name(at)?);
        Ok(judged)
    };
    let first = judge(0)?;
    ensure!(first == Judged::Passes, "the run has to pass at {}, and it {first}", name(0)?);
    let Found { passed, failed } = search(commits.len(), judge)?;
    if failed == passed + 1 {
        println!("fails since {}", name(failed)?);
    } else {
        println!("fails since one of these, of which only the last is comparable:");
        for at in passed + 1..=failed {
            println!("  {}", name(at)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `p` passes, `f` fails, `?` is not comparable.
    fn searched(commits: &str) -> (Found, usize) {
        let mut judged = 0;
        let found = search(commits.len(), |at| {
            judged += 1;
            assert!(at > 0 && at + 1 < commits.len(), "the ends are known");
            Ok::<_, ()>(match commits.as_bytes()[at] {
                b'p' => Judged::Passes,
                b'f' => Judged::Fails,
                _ => Judged::NotComparable(String::new()),
            })
        });
        (found.expect("nothing is in the way"), judged)
    }

    #[test]
    fn the_first_that_fails_is_found_in_few_steps() {
        for first in 1..100 {
            let commits: String = (0..100).map(|at| if at < first { 'p' } else { 'f' }).collect();
            let (found, judged) = searched(&commits);
            assert_eq!(found, Found { passed: first - 1, failed: first });
            assert!(judged <= 7, "{judged} commits were built");
        }
    }

    #[test]
    fn what_is_not_comparable_is_gone_round_and_left_between() {
        assert_eq!(searched("pp??ff").0, Found { passed: 1, failed: 4 });
        assert_eq!(searched("p????f").0, Found { passed: 0, failed: 5 });
        assert_eq!(searched("p?pff?f").0, Found { passed: 2, failed: 3 });
        assert_eq!(searched("pf").0, Found { passed: 0, failed: 1 });
    }

    fn replayed(code: i32, complaint: &str, impossible: usize) -> Replayed {
        let status = Command::new("sh").args(["-c", &format!("exit {code}")]).status().expect("a shell");
        let stdout = format!("{IMPOSSIBLE}{impossible}\n").into_bytes();
        Replayed::of(&Output { status, stdout, stderr: complaint.as_bytes().to_vec() })
    }

    #[test]
    fn only_the_same_run_that_breaks_the_same_fails() {
        let failing = replayed(1, "S7: a run is cancelled", 1);
        assert_eq!(failing.beside(&failing), Judged::Fails);
        assert_eq!(replayed(0, "", 1).beside(&failing), Judged::Passes);
        assert_eq!(
            replayed(0, "", 4).beside(&failing),
            Judged::NotComparable("3 of its choices are not possible there".into())
        );
        for (code, complaint) in [(1, "S1: something else"), (64, "line 3: no such sentence"), (5, "S7")] {
            let other = replayed(code, complaint, 1).beside(&failing);
            assert_eq!(other, Judged::NotComparable(complaint.into()));
        }
    }

    #[test]
    fn a_commit_is_checked_out_beside_the_repository() {
        let home = std::env::temp_dir().join(format!("mainstem-bisect-{}", std::process::id()));
        let root = home.join("root");
        std::fs::create_dir_all(&root).expect("a directory");
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.current_dir(&root).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(arguments);
            succeed(&mut git).expect("git")
        };
        git(&["init", "--quiet"]);
        for text in ["one", "two", "three"] {
            std::fs::write(root.join("file"), text).expect("a file");
            git(&["add", "file"]);
            git(&["commit", "--quiet", "-m", text]);
        }
        let found = commits(&root, "HEAD~2..HEAD").expect("commits");
        assert_eq!(found.len(), 3);
        let copy = Copy::new(&root, &home.join("copy")).expect("a copy");
        let relative = home.join("root/../copy");
        assert_eq!(Copy::new(&root, &relative).expect("a copy").target, copy.target, "wherever cargo runs");
        for (commit, text) in found.iter().zip(["one", "two", "three"]) {
            copy.check_out(commit).expect("it is there");
            assert_eq!(std::fs::read_to_string(copy.tree.join("file")).expect("a file"), text);
        }
        assert_eq!(git(&["status", "--porcelain"]), "", "the repository is left alone");
        for range in ["HEAD", "..", "HEAD..HEAD", "nowhere..HEAD"] {
            assert!(commits(&root, range).is_err(), "{range}");
        }
        std::fs::remove_dir_all(&home).expect("it was made here");
    }
}
