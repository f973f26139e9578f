//! The ends of a connection, and listeners.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use mainstem_machine::Time;
use mainstem_oracles::FaultKind;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;
use super::{Chunk, Net, WINDOW};
use crate::arrows::ArrowId;
use crate::world::Sleep;

/// One end of a connection. Dropping it ends its outgoing stream; data that arrives afterwards is answered by
/// a reset, as a kernel does.
pub struct Stream {
    net: Net,
    connection: u64,
    end: usize,
    /// One for each direction: two tasks may wait for them.
    read_alarm: Option<(Time, Sleep)>,
    write_alarm: Option<(Time, Sleep)>,
    /// The writer's description of the next write.
    label: Option<String>,
}

impl Stream {
    pub(super) fn new(net: Net, connection: u64, end: usize) -> Self {
        Self { net, connection, end, read_alarm: None, write_alarm: None, label: None }
    }

    /// Describes the following writes, for the trace. `describe` is called only if the trace is kept.
    pub fn label(&mut self, label: impl FnOnce() -> String) {
        if self.net.lock().world.is_watched() {
            self.label = Some(label());
        }
    }

    /// Polled again at `at`.
    fn poll_at(alarm: &mut Option<(Time, Sleep)>, at: Time, net: &super::Inner, cx: &mut Context<'_>) {
        if alarm.as_ref().is_none_or(|(until, _)| *until != at) {
            *alarm = Some((at, net.world.sleep_until(at)));
        }
        let (_, sleep) = alarm.as_mut().expect("set above");
        if Pin::new(sleep).poll(cx).is_ready() {
            *alarm = None;
            cx.waker().wake_by_ref();
        }
    }

    fn close(&self) {
        let mut guard = self.net.lock();
        let net = &mut *guard;
        let Some(connection) = net.connections.get(&self.connection) else { return };
        if !connection.ends[self.end].open || !net.is_alive(&connection.ends[self.end]) {
            return;
        }
        let (from, to) = (connection.ends[self.end].host.clone(), connection.ends[1 - self.end].host.clone());
        net.end_writing(self.connection, self.end);
        net.refuse_unread(self.connection, self.end);
        let connection = net.connections.get_mut(&self.connection).expect("found above");
        connection.ends[self.end].open = false;
        connection.pipes[1 - self.end].wake();
        connection.pipes[1 - self.end].leave_unread(&net.world);
        if !connection.ends[1 - self.end].open {
            connection.pipes[self.end].leave_unread(&net.world);
            net.connections.remove(&self.connection);
        }
        net.world.trace(&from, format_args!("closes connection {} with {to}", self.connection));
    }
}

impl super::Inner {
    fn end_writing(&mut self, id: u64, end: usize) {
        let connection = &self.connections[&id];
        if connection.pipes[end].ended || connection.silent {
            return;
        }
        let (from, to) = (connection.ends[end].host.clone(), connection.ends[1 - end].host.clone());
        let connection_way = connection.way;
        let arrival = self.arrival(&from, &to);
        let arrow = self.world.sent(&from, &to, connection_way, format_args!("end"));
        let pipe = &mut self.connections.get_mut(&id).expect("found above").pipes[end];
        pipe.ended = true;
        let arrives = pipe.flight.back().map_or(arrival, |last| arrival.max(last.arrives));
        pipe.flight.push_back(Chunk { arrives, bytes: vec![], arrow });
        pipe.wake();
    }
}

impl super::Inner {
    /// Whoever closes an end with data on its way there answers that data with a reset, as a kernel does: a writer that
    /// waits for room would wait for ever.
    fn refuse_unread(&mut self, id: u64, end: usize) {
        let connection = &self.connections[&id];
        let (from, to) = (connection.ends[end].host.clone(), connection.ends[1 - end].host.clone());
        let unread = connection.pipes[1 - end].flight.iter().find(|chunk| !chunk.bytes.is_empty());
        let Some(arrives) = unread.map(|chunk| chunk.arrives).filter(|_| !connection.silent) else { return };
        let answered = self.arrival(&from, &to) + arrives.since(self.world.now());
        let writer = &mut self.connections.get_mut(&id).expect("found above").ends[1 - end];
        writer.reset = Some(writer.reset.map_or(answered, |at| at.min(answered)));
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let net = this.net.clone();
        let mut guard = net.lock();
        let net = &mut *guard;
        let now = net.world.now();
        let connection = net.connections.get(&this.connection).ok_or(io::ErrorKind::ConnectionReset)?;
        let (to, from) = (connection.ends[this.end].host.clone(), connection.ends[1 - this.end].host.clone());
        let clogged = net.link(&from, &to).clogged;
        let connection = net.connections.get_mut(&this.connection).expect("found above");
        let reset = connection.ends[this.end].reset;
        let pipe = &mut connection.pipes[1 - this.end];
        pipe.reader = Some(cx.waker().clone());
        let mut read = false;
        while !clogged && !connection.silent && into.remaining() > 0 {
            let Some(chunk) = pipe.flight.front_mut().filter(|chunk| chunk.arrives <= now) else { break };
            net.world.arrived(chunk.arrow);
            let chunk = &mut chunk.bytes;
            if chunk.is_empty() {
                // The end of the stream is not removed: every later read finds it again.
                return Poll::Ready(Ok(()));
            }
            let taken = chunk.len().min(into.remaining());
            into.put_slice(&chunk[..taken]);
            chunk.drain(..taken);
            if chunk.is_empty() {
                pipe.flight.pop_front();
            }
            pipe.used -= taken;
            read = true;
        }
        if read {
            if let Some(writer) = pipe.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(()));
        }
        if reset.is_some_and(|at| at <= now) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let arrival =
            pipe.flight.front().map(|chunk| chunk.arrives).filter(|_| !clogged && !connection.silent);
        if let Some(next) = [arrival, reset].into_iter().flatten().min() {
            Self::poll_at(&mut this.read_alarm, next, net, cx);
        }
        Poll::Pending
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let net = this.net.clone();
        let mut guard = net.lock();
        let net = &mut *guard;
        let now = net.world.now();
        let connection = net.connections.get(&this.connection).ok_or(io::ErrorKind::ConnectionReset)?;
        let [me, peer] = [&connection.ends[this.end], &connection.ends[1 - this.end]];
        if me.reset.is_some_and(|at| at <= now) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if connection.pipes[this.end].ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let (from, to, peer_open, reset) = (me.host.clone(), peer.host.clone(), peer.open, me.reset);
        let arrival = net.arrival(&from, &to);
        let reply = arrival + net.link(&to, &from).latency;
        let connection = net.connections.get_mut(&this.connection).expect("found above");
        let way = connection.way;
        let pipe = &mut connection.pipes[this.end];
        let capacity = WINDOW - pipe.used;
        if capacity == 0 {
            pipe.writer = Some(cx.waker().clone());
            if let Some(at) = reset {
                Self::poll_at(&mut this.write_alarm, at, net, cx);
            }
            return Poll::Pending;
        }
        let taken = bytes.len().min(capacity);
        if taken == 0 {
            return Poll::Ready(Ok(0));
        }
        net.land_on_write(&from, &to);
        let connection = net.connections.get_mut(&this.connection).expect("found above");
        let pipe = &mut connection.pipes[this.end];
        let arrow = match &this.label {
            _ if !net.world.is_watched() => ArrowId::UNRECORDED,
            Some(label) => net.world.sent(&from, &to, way, format_args!("{label}")),
            None => {
                let frames = Frames { bytes: &bytes[..taken], asks: this.end == 0 };
                net.world.sent(&from, &to, way, format_args!("{frames}"))
            }
        };
        if connection.silent {
            net.world.lost(arrow);
            if !std::mem::replace(&mut connection.silence_landed, true) {
                net.world.landed(
                    FaultKind::HalfOpen,
                    &from,
                    format_args!("connection {} with {to}", this.connection),
                );
            }
        } else if !peer_open {
            // The reader is gone: a reset comes back, and these bytes are lost.
            net.world.lost(arrow);
            let me = &mut connection.ends[this.end];
            me.reset = Some(me.reset.map_or(reply, |at| at.min(reply)));
            connection.pipes[1 - this.end].wake();
            return Poll::Ready(Ok(taken));
        }
        pipe.used += taken;
        let arrives = pipe.flight.back().map_or(arrival, |last| arrival.max(last.arrives));
        pipe.flight.push_back(Chunk { arrives, bytes: bytes[..taken].to_vec(), arrow });
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut net = self.net.lock();
        if net.connections.contains_key(&self.connection) {
            net.end_writing(self.connection, self.end);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({}, end {})", self.connection, self.end)
    }
}

/// A listener at one address.
pub struct Listener {
    net: Net,
    address: String,
    host: String,
    life: u64,
}

impl Listener {
    pub(super) fn new(net: Net, address: String, host: String, life: u64) -> Self {
        Self { net, address, host, life }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn accept(&mut self) -> impl Future<Output = io::Result<Stream>> + Send + use<> {
        let (net, address) = (self.net.clone(), self.address.clone());
        poll_fn(move |cx| {
            let mut net = net.lock();
            let Some(backlog) = net.listeners.get_mut(&address) else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            match backlog.waiting.pop_front() {
                Some(stream) => Poll::Ready(Ok(stream)),
                None => {
                    backlog.acceptor = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut net = self.net.lock();
        let mine = net.hosts.get(&self.host).is_some_and(|host| host.up && host.life == self.life);
        let gone = if mine { net.listeners.remove(&self.address) } else { None };
        drop(net);
        drop(gone);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.address)
    }
}
