//! Connections: accepted, protected, limited, and ended in good order.

use super::guard::Peer;
use super::model::Load;
use super::patient::Patient;
use super::router::router;
use super::server::Server;
use super::settings::Settings;
use super::tls::Tls;
use crate::{Error, Result};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Threads that move bytes; each request that computes has another.
const WORKERS: usize = 2;
/// Connections for each request that may be computed: the others are idle, or ask small things.
const CONNECTIONS_PER_REQUEST: usize = 4;
const MORE_CONNECTIONS: usize = 64;
/// How long a client may take to shake hands, and to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a connection's buffer, and so of the head of a request.
const BUFFER: usize = 64 << 10;
/// After a failure to accept (too many open files), before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until a signal ends the program (SIGTERM, SIGINT); SIGHUP reloads model and certificate.
///
/// Errors: an address that is not allowed or in use; a model, certificate or token file that cannot be read.
pub fn run(mut settings: Settings, load: Load) -> Result<()> {
    settings.check()?;
    let tls = settings.tls.take().map(Tls::open).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = runtime.map_err(|e| Error::failed(format!("cannot start the threads of the server: {e}")))?;
    let outcome = runtime.block_on(serve(Arc::new(Server::new(settings, tls, load))));
    // Threads of requests that did not end in time end with the program.
    runtime.shutdown_background();
    outcome
}

/// The signals that a server heeds.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(PartialEq)]
enum Asked {
    End,
    Reload,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End,
            _ = self.interrupt.recv() => Asked::End,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    async fn end(&mut self) {
        while self.next().await != Asked::End {}
    }
}

async fn serve(server: Arc<Server>) -> Result<()> {
    let asked = server.settings.listen;
    let listener = TcpListener::bind(asked)
        .await
        .map_err(|e| Error::failed(format!("--listen {asked}: {e}; give another port, or 0 for one that is free")))?;
    let mut signals = Signals::new().map_err(|e| Error::failed(format!("cannot wait for signals: {e}")))?;
    let accepting = tokio::spawn(accept(listener, server.clone()));
    tokio::select! {
        loaded = server.load() => loaded?,
        () = signals.end() => return Ok(()),
    }
    tracing::info!("ready");
    while signals.next().await == Asked::Reload {
        reload(&server).await;
    }
    tracing::info!("stopping: requests that are under way have {:?} to end", server.settings.timeout);
    server.stopping.send_replace(true);
    let Ok(connections) = accepting.await else { return Ok(()) };
    tokio::select! {
        ended = timeout(server.settings.timeout, connections.shutdown()) => if ended.is_err() {
            tracing::warn!("some requests did not end in time and are cut off");
        },
        () = signals.end() => tracing::warn!("stopped at once: requests that were under way are cut off"),
    }
    Ok(())
}

/// Reloads because of a signal; the server goes on as it was if that fails.
async fn reload(server: &Arc<Server>) {
    match server.load().await {
        Ok(()) => tracing::info!("model reloaded"),
        Err(error) => tracing::error!("reload failed, the model before stays: {error}"),
    }
}

/// Accepts connections until the server stops; returns those that are open then.
async fn accept(listener: TcpListener, server: Arc<Server>) -> GracefulShutdown {
    let most = CONNECTIONS_PER_REQUEST * server.settings.max_requests + MORE_CONNECTIONS;
    let (places, connections) = (Arc::new(Semaphore::new(most)), GracefulShutdown::new());
    let (router, mut stopping) = (router(server.clone()), server.stopping.subscribe());
    if let Ok(address) = listener.local_addr() {
        let scheme = if server.tls.is_some() { "https" } else { "http" };
        tracing::info!("listening on {scheme}://{address}");
    }
    loop {
        // Further connections wait in the queue of the system.
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            _ = stopping.wait_for(|stopped| *stopped) => return connections,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("a connection was not accepted: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (router, server, watcher) = (router.clone(), server.clone(), connections.watcher());
        tokio::spawn(async move {
            connection(stream, peer, router, &server, watcher).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, server: &Server, watcher: Watcher) {
    // Answers are small and wanted at once.
    let _ = stream.set_nodelay(true);
    let stream = Patient::new(stream, server.settings.timeout);
    let Some(tls) = &server.tls else { return http(stream, peer, router, watcher).await };
    match timeout(HEAD_TIMEOUT, TlsAcceptor::from(tls.config()).accept(stream)).await {
        Ok(Ok(stream)) => http(stream, peer, router, watcher).await,
        Ok(Err(error)) => tracing::debug!("{peer}: no TLS: {error}"),
        Err(_) => tracing::debug!("{peer}: it did not shake hands in time"),
    }
}

async fn http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    watcher: Watcher,
) {
    let service = TowerToHyperService::new(router.layer(Extension(Peer(peer))));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(BUFFER);
    if let Err(error) = watcher.watch(builder.serve_connection(TokioIo::new(stream), service)).await {
        tracing::debug!("{peer}: {error}");
    }
}
