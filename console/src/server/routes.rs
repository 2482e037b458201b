//! The endpoint's routes: who may ask, what is asked of the job, and on which thread.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use tidegate_supervisor::StopMode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::job_view::{JobView, Refusal, RefusalKind};
use crate::protocol::{Checkpoints, Done, JobIdentity, Picture, route};
use crate::server::answer;
use crate::server::exposition::{self, Metrics};
use crate::server::near::{self, Meant};
use crate::token::Token;

const READERS_MAX: usize = 4; // a thread each
const CHANGERS_MAX: usize = 4; // a thread each; the two together are WAITING_THREADS_MAX
const SUGGESTIONS_MAX: usize = 5;

/// What every route needs.
#[derive(Clone)]
pub(super) struct Service {
    job: Arc<dyn JobView>,
    state_dir: Arc<PathBuf>,
    token: Arc<Token>,
    readers: Arc<Semaphore>,
    changers: Arc<Semaphore>,
}

impl Service {
    pub(super) fn new(job: Arc<dyn JobView>, state_dir: PathBuf, token: Token) -> Self {
        Self {
            job,
            state_dir: Arc::new(state_dir),
            token: Arc::new(token),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            changers: Arc::new(Semaphore::new(CHANGERS_MAX)),
        }
    }

    /// Reads from the job beside the server's thread; further readers queue for a moment.
    async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn JobView) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = Arc::clone(&self.readers).acquire_owned().await;
        self.beside(place.expect("I41: the places of requests are never closed"), ask).await
    }

    /// Changes the job beside the server's thread; who waits for a checkpoint may wait long, so there is no queue.
    async fn change<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn JobView) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let Ok(place) = Arc::clone(&self.changers).try_acquire_owned() else {
            let error = format!("{CHANGERS_MAX} requests wait for the job already");
            return Err(Refusal::new(RefusalKind::Conflict, error, "try again when they are done"));
        };
        self.beside(place, ask).await
    }

    async fn beside<T: Send + 'static>(
        &self,
        place: OwnedSemaphorePermit,
        ask: impl FnOnce(&dyn JobView) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let job = Arc::clone(&self.job);
        let asked = tokio::task::spawn_blocking(move || {
            // Held here, not by the request: a client that goes away leaves its thread busy.
            let _place = place;
            ask(&*job)
        });
        asked.await.unwrap_or_else(|panic| {
            tracing::error!(%panic, "a request to the job panicked");
            Err(Refusal::new(
                RefusalKind::Failed,
                "the request panicked",
                "see the job's log; the job runs on",
            ))
        })
    }
}

/// The routes, behind the token.
pub(super) fn router(service: Service) -> Router {
    Router::new()
        .route(route::JOB, get(job))
        .route(route::TOPOLOGY, get(topology))
        .route(route::CHECKPOINTS, get(checkpoints))
        .route(route::METRICS, get(metrics))
        .route(route::CHECKPOINT, post(checkpoint))
        .route(route::KILL, post(kill))
        .route(route::STOP, post(stop))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(service.clone(), authorize))
        .with_state(service)
}

async fn authorize(State(service): State<Service>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION);
    if given.is_some_and(|given| service.token.admits(given.as_bytes())) {
        return next.run(request).await;
    }
    answer::error(
        StatusCode::UNAUTHORIZED,
        "the request does not carry this job's token",
        "send `Authorization: Bearer TOKEN` with the token in control.json of the job's state directory",
    )
}

async fn job(State(service): State<Service>) -> Result<Response, Refusal> {
    let state_dir = PathBuf::clone(&service.state_dir);
    service
        .read(move |job| {
            let (name, state) = (job.name()?, job.state()?);
            Ok(answer::ok(JobIdentity { job: name, pid: std::process::id(), state_dir, state }))
        })
        .await
}

async fn topology(State(service): State<Service>) -> Result<Response, Refusal> {
    service.read(|job| Ok(answer::ok(picture(job)?))).await
}

fn picture(job: &dyn JobView) -> Result<Picture, Refusal> {
    Ok(Picture::new(job.topology()?, job.checkpoints()?))
}

async fn checkpoints(State(service): State<Service>) -> Result<Response, Refusal> {
    service.read(|job| Ok(answer::ok(Checkpoints { checkpoints: job.checkpoints()? }))).await
}

#[derive(Deserialize)]
struct MetricsQuery {
    #[serde(default)]
    json: bool,
}

async fn metrics(
    State(service): State<Service>,
    query: Result<Query<MetricsQuery>, QueryRejection>,
) -> Response {
    let Ok(Query(MetricsQuery { json })) = query else {
        let hint = "ask for /metrics or /metrics?json=true";
        return answer::error(StatusCode::BAD_REQUEST, "`json` is not true or false", hint);
    };
    let answered = service.read(move |job| {
        let picture = picture(job)?;
        let metrics = Metrics::of(&picture);
        if json {
            return Ok(answer::ok(metrics));
        }
        Ok(([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], metrics.text()).into_response())
    });
    answered.await.unwrap_or_else(Refusal::into_response)
}

async fn checkpoint(State(service): State<Service>) -> Result<Response, Refusal> {
    let report = service.change(JobView::checkpoint).await?;
    Ok(answer::ok(report))
}

#[derive(Deserialize)]
struct KillQuery {
    actor: String,
}

async fn kill(State(service): State<Service>, query: Result<Query<KillQuery>, QueryRejection>) -> Response {
    let Ok(Query(KillQuery { actor })) = query else {
        return answer::error(StatusCode::BAD_REQUEST, "no actor is named", "ask for /kill?actor=PATH");
    };
    match service.change(move |job| kill_meant(job, &actor)).await {
        Ok(path) => answer::ok(Done { done: path }),
        Err(refusal) => refusal.into_response(),
    }
}

/// Kills the actor that `name` stands for, and says its path.
fn kill_meant(job: &dyn JobView, name: &str) -> Result<String, Refusal> {
    let topology = job.topology()?;
    let paths: Vec<&str> = topology.actors.iter().map(|actor| actor.path.as_str()).collect();
    match near::find(name, &paths, SUGGESTIONS_MAX) {
        Meant::One(path) => job.kill(path).map(|()| path.to_owned()),
        Meant::Several(paths) => Err(Refusal::new(
            RefusalKind::Unknown,
            format!("`{name}` is the end of several actors' paths"),
            format!("name one of them: {}", paths.join(", ")),
        )),
        Meant::None(near) if near.is_empty() => Err(Refusal::new(
            RefusalKind::Unknown,
            format!("no live actor is called `{name}`"),
            "`tidegate topology` lists them",
        )),
        Meant::None(near) => Err(Refusal::new(
            RefusalKind::Unknown,
            format!("no live actor is called `{name}`"),
            format!("did you mean {}? `tidegate topology` lists all", near.join(", ")),
        )),
    }
}

#[derive(Deserialize)]
struct StopQuery {
    #[serde(default)]
    drain: bool,
}

async fn stop(State(service): State<Service>, query: Result<Query<StopQuery>, QueryRejection>) -> Response {
    let Ok(Query(StopQuery { drain })) = query else {
        let hint = "ask for /stop?drain=true or /stop?drain=false";
        return answer::error(StatusCode::BAD_REQUEST, "`drain` is not true or false", hint);
    };
    let (mode, begun) = if drain { (StopMode::Drain, "drain") } else { (StopMode::Suspend, "stop") };
    match service.change(move |job| job.stop(mode)).await {
        Ok(()) => answer::ok(Done { done: begun.to_owned() }),
        Err(refusal) => refusal.into_response(),
    }
}

async fn no_route(uri: Uri) -> Response {
    let hint =
        "routes: GET /job /topology /checkpoints /metrics?json=, POST /checkpoint /kill?actor= /stop?drain=";
    answer::error(StatusCode::NOT_FOUND, format!("there is no route {}", uri.path()), hint)
}

async fn no_method(method: Method, uri: Uri) -> Response {
    let hint = "what looks is GET, what changes the job is POST";
    answer::error(StatusCode::METHOD_NOT_ALLOWED, format!("{} takes no {method}", uri.path()), hint)
}
