//! Faults of the network.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_oracles::{Evidence, FaultKind};
use mainstem_story::DialRule;

use super::{Inner, LATENCY, Net};
use crate::arrows::Standing;

/// How a host goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The process died: the kernel resets its connections and refuses new ones.
    Process,
    /// The process exited normally. For peers it looks like a crash, but it is not counted as a fault.
    Exit,
    /// The machine vanished: nothing answers any more.
    Machine,
}

impl Net {
    /// Sets the rule for all dials from now on. Hanging dials complete, unless the new rule is to hang.
    pub fn set_dials(&self, from: &str, to: &str, rule: DialRule) {
        let mut net = self.lock();
        net.link(from, to).dials = rule;
        if rule != DialRule::Through {
            net.touch(FaultKind::DialsRuled, from, to);
        } else if !net.still(from, to, super::Link::rules_dials) {
            net.over(FaultKind::DialsRuled, from, to);
        }
        if rule != DialRule::Hangs {
            net.release_dials(from, to, rule == DialRule::Refused);
        }
    }

    pub fn set_next_dial(&self, from: &str, to: &str, rule: DialRule) {
        let mut net = self.lock();
        net.link(from, to).next_dial = Some(rule);
        net.touch(FaultKind::DialsRuled, from, to);
    }

    /// Sets the latency of one direction.
    pub fn set_latency(&self, from: &str, to: &str, latency: Duration, jitter: Duration) {
        let mut net = self.lock();
        let link = net.link(from, to);
        let slower = latency > link.latency || jitter > link.jitter;
        (link.latency, link.jitter) = (latency, jitter);
        link.awaits_delay = slower;
        let usual = net.vary;
        if slower {
            net.touch(FaultKind::LinkSlow, from, to);
        } else if !net.still(from, to, |link| link.latency > LATENCY || link.jitter > usual) {
            net.over(FaultKind::LinkSlow, from, to);
        }
    }

    /// Stops delivery in one direction; data is held back.
    pub fn clog(&self, from: &str, to: &str) {
        let mut net = self.lock();
        let link = net.link(from, to);
        (link.clogged, link.awaits_clog) = (true, true);
        net.touch(FaultKind::Clog, from, to);
    }

    /// Delivers what was held back, in order.
    pub fn unclog(&self, from: &str, to: &str) {
        let mut net = self.lock();
        let link = net.link(from, to);
        link.awaits_clog = false;
        if std::mem::take(&mut link.clogged) {
            net.world.trace("network", format_args!("{from} to {to} flows again"));
            if !net.still(from, to, |link| link.clogged) {
                net.over(FaultKind::Clog, from, to);
            }
        }
        net.wake_between(from, to);
        net.release_dials(from, to, false);
        net.release_dials(to, from, false);
    }

    pub fn cut(&self, one: &str, other: &str) {
        self.clog(one, other);
        self.clog(other, one);
    }

    pub fn join(&self, one: &str, other: &str) {
        self.unclog(one, other);
        self.unclog(other, one);
    }

    /// Resets every connection between the two, visibly for both.
    pub fn reset(&self, one: &str, other: &str) -> usize {
        let mut guard = self.lock();
        let net = &mut *guard;
        let now = net.world.now();
        net.touch(FaultKind::Reset, one, other);
        let mut broken = 0;
        for (id, connection) in &mut net.connections {
            if !connection.is_between(one, other) {
                continue;
            }
            broken += 1;
            for end in &mut connection.ends {
                end.reset = Some(now);
            }
            for pipe in &mut connection.pipes {
                pipe.lose(&net.world);
                (pipe.used, _) = (0, pipe.flight.clear());
                pipe.wake();
            }
            net.world.landed(
                FaultKind::Reset,
                "network",
                format_args!("connection {id} of {one} and {other}"),
            );
        }
        broken
    }

    /// Makes every connection between the two half-open: data is lost silently.
    pub fn silence(&self, one: &str, other: &str) -> usize {
        let mut net = self.lock();
        net.touch(FaultKind::HalfOpen, one, other);
        let net = &mut *net;
        let mut silenced = 0;
        for connection in net.connections.values_mut().filter(|c| c.is_between(one, other)) {
            connection.silent = true;
            connection.pipes.iter().for_each(|pipe| pipe.lose(&net.world));
            silenced += 1;
        }
        silenced
    }

    /// Takes the host down. Kill its tasks afterwards, so that nothing they do while they are dropped reaches
    /// anybody.
    pub fn take_down(&self, host: &str, death: Death) {
        let mut guard = self.lock();
        let net = &mut *guard;
        if death != Death::Exit {
            net.world.landed(FaultKind::Crash, host, format_args!("{death:?}"));
        }
        net.world.stands(host, Standing::Down);
        if let Some(state) = net.hosts.get_mut(host) {
            (state.up, state.vanished) = (false, death == Death::Machine);
        }
        let gone: Vec<_> = net
            .listeners
            .extract_if(.., |_, backlog| backlog.host == host)
            .map(|(_, backlog)| backlog)
            .collect();
        let ids: Vec<u64> = net.connections.keys().copied().collect();
        for id in ids {
            let connection = &net.connections[&id];
            let Some(dead) = connection.ends.iter().position(|end| end.host == host) else { continue };
            let other = connection.ends[1 - dead].host.clone();
            let arrival = net.arrival(host, &other);
            let connection = net.connections.get_mut(&id).expect("listed above");
            connection.ends[dead].open = false;
            match death {
                Death::Process | Death::Exit => connection.ends[1 - dead].reset = Some(arrival),
                Death::Machine => connection.silent = true,
            }
            connection.pipes.iter_mut().for_each(super::Pipe::wake);
            connection.pipes[1 - dead].lose(&net.world);
            if connection.silent || !connection.ends[1 - dead].open {
                connection.pipes[dead].lose(&net.world);
            }
            if !connection.ends[1 - dead].open {
                net.connections.remove(&id);
            }
        }
        if death != Death::Machine {
            let now = net.world.now();
            for dial in net.dials.values_mut().filter(|dial| dial.to == host) {
                (dial.due, dial.refused) = (Some(now), true);
                if let Some(waker) = dial.waker.take() {
                    waker.wake();
                }
            }
        }
        drop(guard);
        drop(gone);
    }

    /// Clears all faults. Connections that are broken stay so.
    pub fn clear_faults(&self) {
        let pairs: Vec<(String, String)> = {
            let inner = self.lock();
            let of = |(from, links): (&String, &BTreeMap<String, _>)| -> Vec<_> {
                links.keys().map(|to| (from.clone(), to.clone())).collect()
            };
            inner.links.iter().flat_map(of).collect()
        };
        for (from, to) in pairs {
            self.lock().link(&from, &to).next_dial = None;
            self.set_dials(&from, &to, DialRule::Through);
            self.unclog(&from, &to);
            let vary = self.lock().vary;
            self.set_latency(&from, &to, LATENCY, vary);
        }
    }
}

impl Inner {
    /// Something is written to this link: what it suffers from takes effect.
    pub(super) fn land_on_write(&mut self, from: &str, to: &str) {
        let link = self.link(from, to);
        let (clogs, delays) = (std::mem::take(&mut link.awaits_clog), std::mem::take(&mut link.awaits_delay));
        let latency = link.latency;
        if clogs {
            self.world.landed(FaultKind::Clog, "network", format_args!("{from} to {to}"));
        }
        if delays {
            self.world.landed(FaultKind::LinkSlow, "network", format_args!("{from} to {to}: {latency:?}"));
        }
    }

    /// Reports to the judges that data over this link may be late.
    fn touch(&self, kind: FaultKind, from: &str, to: &str) {
        self.world.observe(Evidence::Fault { kind, who: from.into(), other: Some(to.into()), chat: None });
    }

    /// Reports to the judges that this does not befall the link any more.
    fn over(&self, kind: FaultKind, from: &str, to: &str) {
        self.world.observe(Evidence::FaultOver {
            kind,
            who: from.into(),
            other: Some(to.into()),
            chat: None,
        });
    }

    /// Whether something still keeps data on this link, in one of its directions.
    fn still(&mut self, from: &str, to: &str, kept: impl Fn(&super::Link) -> bool) -> bool {
        kept(self.link(from, to)) || kept(self.link(to, from))
    }
}

impl super::Connection {
    fn is_between(&self, one: &str, other: &str) -> bool {
        let hosts = [self.ends[0].host.as_str(), self.ends[1].host.as_str()];
        hosts == [one, other] || hosts == [other, one]
    }
}

impl Inner {
    fn wake_between(&mut self, one: &str, other: &str) {
        for connection in self.connections.values_mut().filter(|c| c.is_between(one, other)) {
            connection.pipes.iter_mut().for_each(super::Pipe::wake);
        }
    }

    fn release_dials(&mut self, from: &str, to: &str, refused: bool) {
        let due = self.arrival(from, to);
        for (id, dial) in &mut self.dials {
            if dial.from == from && dial.to == to && dial.due.is_none() {
                (dial.due, dial.refused) = (Some(due), refused);
                self.world.trace("network", format_args!("lets dial {id} from {from} to {to} go on"));
                if let Some(waker) = dial.waker.take() {
                    waker.wake();
                }
            }
        }
    }
}
