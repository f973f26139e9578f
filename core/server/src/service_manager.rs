//! What systemd is told of this process, if it asks to be: that it is ready, that it ends, and that it lives (sd_notify(3)).
//!
//! A datagram to the socket that `NOTIFY_SOCKET` names, by a path or, with `@`, in the abstract namespace. Nobody waits for it,
//! and that nobody takes it is no reason to end. With `WatchdogSec=` in the unit, a task says again and again that it is
//! there: a runtime whose threads hang says nothing more, and systemd starts the process anew.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::limits::process::WATCHDOG_SHARE;

/// Whom to tell.
#[derive(Debug, Default)]
pub(crate) struct ServiceManager {
    socket: Option<Arc<Socket>>,
    watched: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Socket {
    from: UnixDatagram,
    to: SocketAddr,
}

impl Socket {
    fn open(name: &OsStr) -> io::Result<Self> {
        let to = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "expected a path, or a name behind @",
                ));
            }
        };
        let from = UnixDatagram::unbound()?;
        from.set_nonblocking(true)?;
        Ok(Self { from, to })
    }

    fn tell(&self, state: &str) {
        if let Err(error) = self.from.send_to_addr(state.as_bytes(), &self.to) {
            tracing::debug!(%error, state, "the service manager was not told");
        }
    }
}

impl ServiceManager {
    /// As the environment says.
    pub(crate) fn from_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        match Socket::open(&name) {
            Ok(socket) => Self { socket: Some(Arc::new(socket)), watched: None },
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET names no socket: the service manager is told nothing");
                Self::default()
            }
        }
    }

    /// Clients are answered from now on. Begins to say that the process lives, if it is watched. Within a runtime.
    pub(crate) fn ready(&mut self) {
        let Some(socket) = self.socket.clone() else { return };
        socket.tell("READY=1");
        let variable = |name: &str| std::env::var(name).ok();
        let watch = interval(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), std::process::id());
        self.watched = watch.map(|interval| {
            tracing::info!(?interval, "the service manager watches this process");
            tokio::spawn(async move {
                loop {
                    socket.tell("WATCHDOG=1");
                    tokio::time::sleep(interval).await;
                }
            })
        });
    }

    /// The process drains, and ends.
    pub(crate) fn stopping(&self) {
        if let Some(socket) = &self.socket {
            socket.tell("STOPPING=1");
        }
    }
}

impl Drop for ServiceManager {
    fn drop(&mut self) {
        if let Some(task) = &self.watched {
            task.abort();
        }
    }
}

/// How often to say that the process lives: `None` if nobody watches it.
fn interval(microseconds: Option<String>, process: Option<String>, own: u32) -> Option<Duration> {
    let is_ours = process.is_none_or(|process| process.parse() == Ok(own));
    let watch = microseconds?.parse().ok().filter(|watch| *watch > 0 && is_ours)?;
    Some(Duration::from_micros(watch) / WATCHDOG_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_watched_that_the_variables_mean() {
        let of =
            |watch: &str, process: Option<&str>| interval(Some(watch.into()), process.map(str::to_owned), 7);
        assert_eq!(of("3000000", Some("7")), Some(Duration::from_secs(1)));
        assert_eq!(of("3000000", None), Some(Duration::from_secs(1)));
        assert_eq!(of("3000000", Some("8")), None, "another process is meant");
        assert_eq!((of("0", None), of("x", None), interval(None, None, 7)), (None, None, None));
    }

    #[test]
    fn a_name_that_is_no_socket_is_refused() {
        for odd in ["relative", "vsock:2:1234", ""] {
            assert!(Socket::open(OsStr::new(odd)).is_err(), "{odd:?}");
        }
        assert!(Socket::open(OsStr::new("@abstract")).is_ok());
        assert!(
            Socket::open(OsStr::new("/run/systemd/notify")).is_ok(),
            "whether it is there shows when it is used"
        );
    }
}
