//! Dials: from the first packet to a connection, or to an error.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use mainstem_machine::Time;
use mainstem_oracles::{Evidence, FaultKind};

use super::{BACKLOG_MAX, Connection, Dial, DialRule, End, Inner, Net, Pipe, Stream, way_to};
use crate::world::Sleep;

/// The outcome of a dial when it is due.
enum Verdict {
    Connected(u64),
    Refused,
    Hangs,
}

/// Cancels the dial if it is dropped before it was decided.
struct InFlight {
    net: Net,
    id: u64,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut net = self.net.lock();
        if let Some(dial) = net.dials.remove(&self.id) {
            net.world.lost(dial.arrow);
            net.world.trace(&dial.from, format_args!("gives up dial {} to {}", self.id, dial.to));
        }
    }
}

impl Net {
    pub(crate) fn connect(
        &self,
        from: &str,
        address: &str,
    ) -> impl Future<Output = io::Result<Stream>> + Send + use<> {
        let (net, from, address) = (self.clone(), from.to_owned(), address.to_owned());
        async move {
            let id = net.lock().begin_dial(from, address)?;
            let in_flight = InFlight { net: net.clone(), id };
            let mut sleep = None;
            let dialed = poll_fn(|cx| net.poll_dial(id, &mut sleep, cx)).await;
            drop(in_flight);
            dialed
        }
    }

    fn poll_dial(
        &self,
        id: u64,
        sleep: &mut Option<(Time, Sleep)>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Stream>> {
        let mut guard = self.lock();
        let net = &mut *guard;
        let now = net.world.now();
        let dial = net.dials.get_mut(&id).expect("a dial that is polled is in flight");
        dial.waker = Some(cx.waker().clone());
        let Some(due) = dial.due else { return Poll::Pending };
        if due > now {
            if sleep.as_ref().is_none_or(|(until, _)| *until != due) {
                *sleep = Some((due, net.world.sleep_until(due)));
            }
            let (_, sleep) = sleep.as_mut().expect("set above");
            if Pin::new(sleep).poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        let verdict = net.decide(id);
        if matches!(verdict, Verdict::Hangs) {
            net.dials.get_mut(&id).expect("it still hangs").due = None;
            return Poll::Pending;
        }
        let dial = net.dials.remove(&id).expect("decided once");
        match verdict {
            Verdict::Connected(connection) => {
                net.world.arrived(dial.arrow);
                net.world.trace(&dial.from, format_args!("dial {id} to {} is connected", dial.to));
                let accepted = Stream::new(self.clone(), connection, 1);
                let backlog =
                    net.listeners.get_mut(&dial.address).expect("it was there when this was decided");
                backlog.waiting.push_back(accepted);
                if let Some(waker) = backlog.acceptor.take() {
                    waker.wake();
                }
                Poll::Ready(Ok(Stream::new(self.clone(), connection, 0)))
            }
            Verdict::Refused => {
                net.world.lost(dial.arrow);
                net.world.trace(&dial.from, format_args!("dial {id} to {} is refused", dial.to));
                Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()))
            }
            Verdict::Hangs => unreachable!("returned above"),
        }
    }
}

impl Inner {
    fn begin_dial(&mut self, from: String, address: String) -> io::Result<u64> {
        let (to, _) = address.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
        let to = to.to_owned();
        let id = self.id();
        *self.dialed.entry((from.clone(), to.clone())).or_default() += 1;
        self.world.trace(&from, format_args!("dials {address}, dial {id}"));
        self.world.observe(Evidence::Dialed { from: from.as_str().into(), to: to.as_str().into() });
        let arrow = self.world.sent(&from, &to, way_to(&address), format_args!("dial {id}"));
        let link = self.link(&from, &to);
        let rule = link.next_dial.take().unwrap_or(link.dials);
        let round_trip = link.latency * 2;
        let now = self.world.now();
        let mut dial =
            Dial { from, to, address, waker: None, due: Some(now + round_trip), refused: false, arrow };
        match rule {
            DialRule::Through => {}
            DialRule::Refused => {
                dial.refused = true;
                self.world.landed(
                    FaultKind::DialRefused,
                    &dial.from,
                    format_args!("dial {id} to {}", dial.to),
                );
            }
            DialRule::Hangs => {
                dial.due = None;
                self.world.landed(
                    FaultKind::DialHanging,
                    &dial.from,
                    format_args!("dial {id} to {}", dial.to),
                );
            }
            DialRule::Takes(delay) => {
                dial.due = Some(now + delay);
                self.world.landed(FaultKind::DialLate, &dial.from, format_args!("dial {id} to {}", dial.to));
            }
        }
        self.dials.insert(id, dial);
        Ok(id)
    }

    fn decide(&mut self, id: u64) -> Verdict {
        let dial = &self.dials[&id];
        let (from, to, address) = (dial.from.clone(), dial.to.clone(), dial.address.clone());
        if dial.refused {
            return Verdict::Refused;
        }
        if self.link(&from, &to).clogged || self.link(&to, &from).clogged {
            self.world.landed(
                FaultKind::DialHanging,
                &from,
                format_args!("dial {id} to {to} over a cut link"),
            );
            return Verdict::Hangs;
        }
        match self.hosts.get(&to) {
            Some(host) if host.up => {}
            Some(host) if host.vanished => return Verdict::Hangs,
            _ => return Verdict::Refused,
        }
        match self.listeners.get(&address) {
            Some(backlog) if backlog.waiting.len() < BACKLOG_MAX => {}
            _ => return Verdict::Refused,
        }
        let connection = self.id();
        let end = |host: String, life| End { host, life, open: true, reset: None };
        let ends = [end(from.clone(), self.hosts[&from].life), end(to.clone(), self.hosts[&to].life)];
        let pipes = [Pipe::default(), Pipe::default()];
        let way = way_to(&address);
        self.connections
            .insert(connection, Connection { ends, pipes, silent: false, silence_landed: false, way });
        Verdict::Connected(connection)
    }
}
