//! The control endpoint: a thread of its own with an HTTP server on the loopback interface, for as long as its guard lives.

mod answer;
mod exposition;
mod listener;
mod near;
mod routes;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::control_file::ControlFile;
use crate::error::{Error, Result};
use crate::job_view::JobView;
use crate::protocol::PROTOCOL_VERSION;
use crate::registry::Registry;
use crate::server::listener::LimitedListener;
use crate::server::routes::Service;
use crate::token::Token;

const WAITING_THREADS_MAX: usize = 8; // requests wait for the job on these, not on the server's thread

/// A served control endpoint; dropping it stops the server and removes the control file.
#[derive(Debug)]
pub struct ControlEndpoint {
    file: ControlFile,
    state_dir: PathBuf,
    registry: Registry,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Serves a job's control endpoint, found by its state directory or by the registry of the user.
///
/// The endpoint holds `job` until it is dropped: a `JobObserver` does not keep the job alive.
///
/// # Errors
/// The job is gone, no port, no thread, or the control file can't be written. A registry that can't be written is only a warning.
pub fn serve(job: Arc<dyn JobView>, state_dir: &Path) -> Result<ControlEndpoint> {
    serve_in(job, state_dir, Registry::of_user())
}

/// As [`serve`], with a registry of one's own.
///
/// # Errors
/// As [`serve`].
pub fn serve_in(job: Arc<dyn JobView>, state_dir: &Path, registry: Registry) -> Result<ControlEndpoint> {
    let token = Token::random()?;
    let (listener, address) = bind()?;
    let file =
        ControlFile { version: PROTOCOL_VERSION, job: name(&*job)?, pid: std::process::id(), address, token };
    let service = Service::new(job, state_dir.to_path_buf(), file.token.clone());
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(WAITING_THREADS_MAX)
        .thread_name("tidegate-console")
        .build()
        .map_err(|source| Error::Serve { source })?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("tidegate-console".to_owned())
        .spawn(move || run(runtime, listener, service, stopped))
        .map_err(|source| Error::Serve { source })?;
    let endpoint = ControlEndpoint {
        file,
        state_dir: state_dir.to_path_buf(),
        registry,
        stop: Some(stop),
        thread: Some(thread),
    };
    // Published last: who finds the file finds a server.
    endpoint.file.publish(state_dir)?;
    if let Err(error) = endpoint.registry.enter(state_dir) {
        tracing::warn!(%error, "the job is found by its state directory only");
    }
    tracing::info!(%address, state_dir = %state_dir.display(), "the control endpoint is served");
    Ok(endpoint)
}

impl ControlEndpoint {
    /// Where it listens, on the loopback interface.
    pub fn address(&self) -> SocketAddr {
        self.file.address
    }
}

impl Drop for ControlEndpoint {
    fn drop(&mut self) {
        self.registry.leave(&self.state_dir);
        self.file.withdraw(&self.state_dir);
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by a failure already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // Short: the thread waits for no request.
            let _ = thread.join();
        }
    }
}

fn name(job: &dyn JobView) -> Result<String> {
    job.name().map_err(|refusal| Error::Gone { problem: refusal.error })
}

fn bind() -> Result<(TcpListener, SocketAddr)> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|source| Error::Serve { source })
}

fn run(runtime: Runtime, listener: TcpListener, service: Service, stopped: oneshot::Receiver<()>) {
    runtime.block_on(async move {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => LimitedListener::new(listener),
            Err(error) => return tracing::error!(%error, "the control endpoint is not served"),
        };
        tokio::select! {
            biased;
            _ = stopped => {}
            ended = axum::serve(listener, routes::router(service)).into_future() => {
                tracing::error!(?ended, "the control endpoint ended before its job");
            }
        }
    });
    // Requests that still wait for the job are let go with their connections.
    runtime.shutdown_background();
}
