//! Ports: accepting connections, TLS, HTTP, and the time that each may take.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use omadm_tls::{Peer, ServerContext, TlsError};
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::auth::block;
use crate::config::Limits;
use crate::problem::Refusal;
use crate::seats::{Seat, Seats};
use crate::stall::Unstalled;

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 32 * 1024;
/// A connection is closed after so long, between two requests.
const LIFETIME: Duration = Duration::from_secs(600);
/// How long requests may go on after the server was told to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait when the system gives no further connection.
const BREATHER: Duration = Duration::from_millis(100);

/// What answers the requests of a port.
pub(crate) trait Site: Send + Sync + 'static {
    /// Answers a request.
    fn answer(
        self: Arc<Self>,
        remote: IpAddr,
        peer: Arc<Peer>,
        request: Request<Body>,
    ) -> impl Future<Output = Response> + Send;
    /// Takes note of a connection that never brought a request.
    fn broken(&self, remote: IpAddr, code: &'static str, why: String) -> impl Future<Output = ()> + Send;
}

/// A port.
pub(crate) struct Port<S> {
    pub(crate) listener: TcpListener,
    /// Without it the port speaks plain HTTP. What it holds is for connections that come from then on.
    pub(crate) tls: Option<watch::Receiver<ServerContext>>,
    pub(crate) limits: Limits,
    /// Connections of each address, IPv6 of each /64.
    pub(crate) addresses: Seats<IpAddr>,
    pub(crate) site: Arc<S>,
    /// Turns true when the server is to stop.
    pub(crate) stop: watch::Receiver<bool>,
}

/// A connection's place among all at its port, and among those of its address.
type Place = (OwnedSemaphorePermit, Seat<IpAddr>);

struct Connection<S> {
    /// Held by its requests too: one that was begun goes on without its connection, and costs as much.
    place: Arc<Place>,
    remote: IpAddr,
    tls: Option<ServerContext>,
    limits: Limits,
    site: Arc<S>,
    stop: watch::Receiver<bool>,
}

impl<S: Site> Port<S> {
    /// Serves until told to stop; what is under way then may end.
    pub(crate) async fn serve(mut self) {
        let permits = Arc::new(Semaphore::new(self.limits.connections as usize));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => break,
                accepted = async { (Arc::clone(&permits).acquire_owned().await, self.listener.accept().await) } => accepted,
            };
            match accepted {
                (Ok(permit), Ok((stream, address))) => {
                    let remote = address.ip().to_canonical();
                    let Some(seat) = self.addresses.take(block(remote)) else {
                        tracing::debug!(%remote, "it has too many connections already");
                        continue;
                    };
                    let connection = Connection {
                        place: Arc::new((permit, seat)),
                        remote,
                        tls: self.tls.as_ref().map(|tls| tls.borrow().clone()),
                        limits: self.limits.clone(),
                        site: Arc::clone(&self.site),
                        stop: self.stop.clone(),
                    };
                    connections.spawn(connection.run(stream));
                }
                (_, Err(error)) => {
                    tracing::warn!(%error, "no connection could be accepted");
                    sleep(BREATHER).await;
                }
                (Err(_), Ok(_)) => break,
            }
        }
        drop(self.listener);
        let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    }
}

impl<S: Site> Connection<S> {
    async fn run(self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => self.http(stream, Peer::Anonymous).await,
            Some(context) => match self.unless_stopped(context.accept(stream, self.limits.handshake)).await {
                None => {}
                Some(Ok((stream, peer))) => self.http(stream, peer).await,
                Some(Err(TlsError::Io { source, .. })) => {
                    tracing::debug!(error = %source, "gone before the TLS handshake")
                }
                Some(Err(error @ TlsError::Timeout { .. })) => {
                    self.site.broken(self.remote, "timeout", error.to_string()).await;
                }
                Some(Err(
                    error @ (TlsError::Handshake { .. }
                    | TlsError::Psk { .. }
                    | TlsError::Certificate { .. }
                    | TlsError::Clock { .. }),
                )) => self.site.broken(self.remote, "tls", error.to_string()).await,
            },
        }
    }

    /// The output of this future; `None` if the server is to stop first.
    async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut stop = self.stop.clone();
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => None,
            output = future => Some(output),
        }
    }

    async fn http<I: AsyncRead + AsyncWrite + Unpin>(&self, stream: I, peer: Peer) {
        let peer = Arc::new(peer);
        let answered = AtomicBool::new(false);
        let service = service_fn(|request: Request<Incoming>| {
            answered.store(true, Ordering::Relaxed);
            // On its own task: a request that was begun is finished and recorded, even if its sender is gone.
            let answer = Arc::clone(&self.site).answer(self.remote, Arc::clone(&peer), request.map(Body::new));
            let place = Arc::clone(&self.place);
            let answer = tokio::spawn(async move {
                let _place = place;
                answer.await
            });
            async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|error| failed(&error))) }
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.limits.header)
                .max_buf_size(MAX_HEAD)
                .serve_connection(TokioIo::new(Unstalled::new(stream, self.limits.body)), service)
        );
        let mut stop = self.stop.clone();
        let result = tokio::select! {
            result = connection.as_mut() => Some(result),
            _ = stop.wait_for(|stop| *stop) => None,
            () = sleep(LIFETIME) => None,
        };
        let result = match result {
            Some(result) => result,
            None => {
                connection.as_mut().graceful_shutdown();
                timeout(self.limits.body, connection).await.unwrap_or(Ok(()))
            }
        };
        let Err(error) = result else { return };
        // Between two requests silence is no fault.
        if error.is_timeout() && !answered.load(Ordering::Relaxed) {
            self.site.broken(self.remote, "timeout", "the head of the request did not arrive in time".to_owned()).await;
        } else if error.is_parse() {
            self.site.broken(self.remote, "malformed", format!("not HTTP as expected: {error}")).await;
        }
    }
}

fn failed(error: &tokio::task::JoinError) -> Response {
    tracing::error!(%error, "answering a request failed");
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "server", "the server failed; its log says why").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    /// Answers when it is told to.
    #[derive(Default)]
    struct Slow {
        begun: Notify,
        go_on: Notify,
    }

    impl Site for Slow {
        async fn answer(self: Arc<Self>, _: IpAddr, _: Arc<Peer>, _: Request<Body>) -> Response {
            self.begun.notify_one();
            self.go_on.notified().await;
            Response::new(Body::empty())
        }

        async fn broken(&self, _: IpAddr, _: &'static str, _: String) {}
    }

    async fn ask(address: std::net::SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        stream
    }

    #[tokio::test]
    async fn a_request_whose_sender_is_gone_keeps_its_place_until_it_is_answered() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_stop, stop) = watch::channel(false);
        let (site, addresses) = (Arc::new(Slow::default()), Seats::new(1));
        let port = Port {
            listener,
            tls: None,
            limits: Limits::default(),
            addresses: addresses.clone(),
            site: Arc::clone(&site),
            stop,
        };
        let serving = tokio::spawn(port.serve());
        let gone = ask(address).await;
        site.begun.notified().await;
        drop(gone);
        for _ in 0..50 {
            let (mut refused, mut buffer) = (ask(address).await, [0]);
            tokio::select! {
                () = site.begun.notified() => panic!("the address has one place, and it is taken"),
                answer = refused.read(&mut buffer) => assert_eq!(answer.unwrap_or(0), 0),
            }
        }
        site.go_on.notify_one();
        while addresses.take(address.ip()).is_none() {
            tokio::task::yield_now().await;
        }
        serving.abort();
    }
}
