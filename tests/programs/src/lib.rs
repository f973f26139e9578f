//! Other people's programs that the tests start: PostgreSQL, NATS, Redis, a browser, proxies,
//! Python, Node.js.
//!
//! A program is taken from `PATH` or from where Debian puts it. If it is missing, and this is a Debian on which we are
//! root, its package is installed, so that the test command alone is enough on a fresh machine. Elsewhere, or with
//! `MAINSTEM_TEST_INSTALL=no`, the test fails with one line that says what is missing and what the package is called.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set to `no`, nothing is installed.
const INSTALL_VARIABLE: &str = "MAINSTEM_TEST_INSTALL";
/// Tests run in several processes; one of them installs.
const LOCK_FILE: &str = "mainstem-tests-install.lock";

/// Where Debian keeps what is not on every user's path.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Something that comes as one package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// What people call it.
    name: &'static str,
    /// The executables, any of which will do.
    executables: &'static [&'static str],
    /// The name of its package on Debian.
    package: &'static str,
    /// Where it is besides the directories of `PATH`. A last component `*/bin` stands for every version's.
    directories: &'static [&'static str],
}

pub const CHROMIUM: Program = Program {
    name: "Chromium",
    executables: &["chromium", "chromium-browser", "google-chrome"],
    package: "chromium",
    directories: &[],
};

pub const NGINX: Program =
    Program { name: "nginx", executables: &["nginx"], package: "nginx", directories: &SYSTEM_DIRECTORIES };

pub const HAPROXY: Program = Program {
    name: "HAProxy",
    executables: &["haproxy"],
    package: "haproxy",
    directories: &SYSTEM_DIRECTORIES,
};

pub const PGBOUNCER: Program = Program {
    name: "PgBouncer",
    executables: &["pgbouncer"],
    package: "pgbouncer",
    directories: &SYSTEM_DIRECTORIES,
};

pub const NATS: Program = Program {
    name: "NATS",
    executables: &["nats-server"],
    package: "nats-server",
    directories: &SYSTEM_DIRECTORIES,
};

pub const REDIS: Program = Program {
    name: "Redis",
    executables: &["redis-server"],
    package: "redis-server",
    directories: &SYSTEM_DIRECTORIES,
};

pub const SYSTEMD_ANALYZE: Program = Program {
    name: "systemd-analyze",
    executables: &["systemd-analyze"],
    package: "systemd",
    directories: &[],
};

/// A library that is loaded before others, and tells another time.
pub const FAKETIME: Program = Program {
    name: "libfaketime",
    executables: &["libfaketime.so.1"],
    package: "libfaketime",
    directories: &["/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime"],
};

/// Without a window, a sandbox (which root cannot have), or a word to anybody but the page that is opened.
pub const CHROMIUM_FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// The servers' side: `initdb` and `postgres`.
pub const POSTGRESQL: Program = Program {
    name: "PostgreSQL",
    executables: &["initdb"],
    package: "postgresql",
    directories: &["/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin"],
};

pub const PYTHON: Program =
    Program { name: "Python", executables: &["python3"], package: "python3", directories: &[] };

/// Debian's Python comes without.
pub const PIP: Program =
    Program { name: "pip", executables: &["pip3", "pip"], package: "python3-pip", directories: &[] };

/// Version 20 or later.
pub const NODE: Program =
    Program { name: "Node.js", executables: &["node", "nodejs"], package: "nodejs", directories: &[] };

pub const NPM: Program = Program { name: "npm", executables: &["npm"], package: "npm", directories: &[] };

/// A program that is not there.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    #[error("{name} is missing (`{executable}`): install it, on Debian with `apt-get install {package}`")]
    NotInstalled { name: &'static str, executable: &'static str, package: &'static str },
    #[error("{name} is missing, and `apt-get install {package}` failed: {why}")]
    InstallFailed { name: &'static str, package: &'static str, why: String },
}

impl Program {
    /// The path of its executable, which is installed if need be.
    pub fn path(&self) -> Result<PathBuf, Missing> {
        if let Some(found) = self.find() {
            return Ok(found);
        }
        if !may_install() {
            return Err(self.not_installed());
        }
        self.install().map_err(|error| Missing::InstallFailed {
            name: self.name,
            package: self.package,
            why: error.to_string(),
        })?;
        self.find().ok_or_else(|| self.not_installed())
    }

    fn find(&self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let of_path: Vec<_> = std::env::split_paths(&path).collect();
        let others = self.directories.iter().flat_map(|pattern| expand(pattern));
        of_path
            .into_iter()
            .chain(others)
            .flat_map(|directory| self.executables.iter().map(move |name| directory.join(name)))
            .find(|program| program.is_file())
    }

    fn install(&self) -> io::Result<()> {
        let lock = File::create(std::env::temp_dir().join(LOCK_FILE))?;
        lock.lock()?;
        if self.find().is_some() {
            // Another process was quicker.
            return Ok(());
        }
        apt_get(&["update", "--quiet"])?;
        apt_get(&["install", "--yes", "--quiet", "--no-install-recommends", self.package])
    }

    fn not_installed(&self) -> Missing {
        Missing::NotInstalled { name: self.name, executable: self.executables[0], package: self.package }
    }
}

/// The directories that a pattern names, the newest version first.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((above, below)) = pattern.split_once("/*/") else { return vec![PathBuf::from(pattern)] };
    let entries = fs::read_dir(above).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path().join(below)).collect();
    found.sort_by_key(|directory| std::cmp::Reverse(version(directory)));
    found
}

/// The number in the path's last component but one, as `15` in `/usr/lib/postgresql/15/bin`.
fn version(directory: &Path) -> u32 {
    let parent = directory.parent().and_then(Path::file_name);
    parent.and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0)
}

/// Whether this is a Debian, we are root, and nobody said no.
fn may_install() -> bool {
    let forbidden = std::env::var_os(INSTALL_VARIABLE).is_some_and(|value| value == "no");
    !forbidden && Path::new("/usr/bin/apt-get").is_file() && is_root()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn apt_get(arguments: &[&str]) -> io::Result<()> {
    let output = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // The tests start servers of their own: none that a package brings is started.
        .env("RUNLEVEL", "1")
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(told.lines().last().unwrap_or("it says nothing").to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_in_one_line_with_its_package() {
        let program =
            Program { name: "X", executables: &["no-such-x"], package: "x-tools", directories: &[] };
        assert_eq!(program.find(), None);
        let told = program.not_installed().to_string();
        assert!(
            !told.contains('\n') && told.contains("no-such-x") && told.contains("apt-get install x-tools")
        );
    }

    #[test]
    fn the_newest_version_comes_first() {
        let mut found = ["/x/9/bin", "/x/15/bin", "/x/main/bin"].map(PathBuf::from);
        found.sort_by_key(|directory| std::cmp::Reverse(version(directory)));
        assert_eq!(found[0], Path::new("/x/15/bin"));
    }

    #[test]
    fn what_is_on_the_path_is_found() {
        let program = Program { name: "the shell", executables: &["sh"], package: "dash", directories: &[] };
        assert!(program.path().is_ok_and(|path| path.is_file()));
    }
}
