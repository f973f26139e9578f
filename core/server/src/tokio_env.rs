//! The production environment: tokio's tasks, timers and TCP, in TLS if that is set up, the process's clock, and the system's
//! entropy.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use mainstem_machine::Time;
use mainstem_runtime::ports::{Env, TaskHandle};
use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{Accept, TlsAcceptor, TlsConnector, TlsStream};

use crate::tls::Mutual;

/// [`Env`] on tokio. Used only inside a tokio runtime that has its timers and its network enabled.
#[derive(Clone, Debug)]
pub struct TokioEnv {
    start: Instant,
    tls: Option<PeerTls>,
}

/// TLS between replicas, as it is set up at the moment.
#[derive(Clone, Debug)]
pub struct PeerTls {
    now: watch::Receiver<Mutual>,
    /// What all replicas are called in their certificates; `None`: as they are reached.
    name: Option<ServerName<'static>>,
}

impl PeerTls {
    /// Fails if `name` is none that a certificate could have.
    pub fn new(now: watch::Receiver<Mutual>, name: Option<&str>) -> Result<Self, String> {
        let named = name.map(|name| ServerName::try_from(name.to_owned()));
        let name = named.transpose().map_err(|_| "expected a host's name or address".to_owned())?;
        Ok(Self { now, name })
    }
}

impl TokioEnv {
    /// Time begins now.
    pub fn new() -> Self {
        Self { start: Instant::now(), tls: None }
    }
}

impl TokioEnv {
    /// The same with TLS on all connections that it makes and accepts.
    #[must_use]
    pub fn with_tls(self, tls: Option<PeerTls>) -> Self {
        Self { tls, ..self }
    }
}

impl Default for TokioEnv {
    fn default() -> Self {
        Self::new()
    }
}

impl Env for TokioEnv {
    type Stream = PeerStream;
    type Listener = TcpListener;
    type Sleep = tokio::time::Sleep;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        let task = tokio::spawn(task).abort_handle();
        TaskHandle::new(move || task.abort())
    }

    fn now(&self) -> Time {
        // The kernel's monotonic clock, which continues while the process is stopped.
        Time::START + self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        tokio::time::sleep(duration)
    }

    async fn listen(&self, address: &str) -> io::Result<TcpListener> {
        TcpListener::bind(address).await
    }

    fn local_address(&self, listener: &TcpListener) -> io::Result<String> {
        Ok(listener.local_addr()?.to_string())
    }

    fn accept<'a>(
        &self,
        listener: &'a mut TcpListener,
    ) -> impl Future<Output = io::Result<PeerStream>> + Send + use<'a> {
        let acceptor = self.tls.as_ref().map(|tls| TlsAcceptor::from(tls.now.borrow().server.clone()));
        async move {
            let (stream, _) = listener.accept().await?;
            without_delay(&stream);
            let from = stream.peer_addr().ok().map(|address| address.ip().to_canonical());
            let inner = match acceptor {
                None => Inner::Plain(stream),
                // Whoever reads first waits for the handshake, and not who accepts.
                Some(acceptor) => Inner::Accepting(Box::new(acceptor.accept(stream))),
            };
            Ok(PeerStream { inner, from })
        }
    }

    fn origin(&self, stream: &PeerStream) -> Option<IpAddr> {
        stream.from
    }

    async fn connect(&self, address: &str) -> io::Result<PeerStream> {
        let stream = TcpStream::connect(address).await?;
        without_delay(&stream);
        let Some(tls) = &self.tls else { return Ok(PeerStream { inner: Inner::Plain(stream), from: None }) };
        let name = match &tls.name {
            Some(name) => name.clone(),
            None => {
                let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                ServerName::try_from(host).map_err(io::Error::other)?
            }
        };
        let connector = TlsConnector::from(tls.now.borrow().client.clone());
        let stream = connector.connect(name, stream).await?;
        Ok(PeerStream { inner: Inner::Secure(Box::new(stream.into())), from: None })
    }

    fn entropy(&self) -> u64 {
        OsRng.try_next_u64().expect("the system gives entropy")
    }
}

/// A connection to a peer, or from one.
#[derive(Debug)]
pub struct PeerStream {
    inner: Inner,
    from: Option<IpAddr>,
}

enum Inner {
    Plain(TcpStream),
    /// The handshake goes on, by whoever reads or writes.
    Accepting(Box<Accept<TcpStream>>),
    Secure(Box<TlsStream<TcpStream>>),
    /// The handshake failed.
    Failed,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Accepting(_) => "Accepting",
            Self::Secure(_) => "Secure",
            Self::Failed => "Failed",
        })
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl PeerStream {
    /// What bytes go through, once a handshake is over.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut (dyn Duplex + Send)>>> {
        if let Inner::Accepting(accepting) = &mut self.inner {
            self.inner = match ready!(Pin::new(&mut **accepting).poll(cx)) {
                Ok(stream) => Inner::Secure(Box::new(stream.into())),
                Err(error) => {
                    self.inner = Inner::Failed;
                    return Poll::Ready(Err(error));
                }
            };
        }
        Poll::Ready(match &mut self.inner {
            Inner::Plain(stream) => Ok(Pin::new(stream)),
            Inner::Secure(stream) => Ok(Pin::new(&mut **stream)),
            Inner::Accepting(_) | Inner::Failed => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.get_mut().poll_ready(cx))?.poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.get_mut().poll_ready(cx))?.poll_write(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.get_mut().poll_ready(cx))?.poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.get_mut().poll_ready(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.get_mut().poll_ready(cx))?.poll_shutdown(cx)
    }
}

/// Sets TCP_NODELAY, so that a part does not wait for the acknowledgement of the previous one. If that fails,
/// the connection is lost already, and its user will notice.
fn without_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was lost as soon as it was made");
    }
}
