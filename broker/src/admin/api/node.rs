//! The node: status, health, metrics, listeners, store, findings, drain.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::backend::ListenerAction;
use super::super::problem::{Failure, Problem};
use super::super::views::{Actor, DoctorView, HealthView, ListenerView, ProxyView, StatusView, StoreView};
use super::caller::{Administrator, Operator, Reader, Scope};
use super::extract::{Params, Segment};
use super::{Answer, Api, Told, told};

/// Who you are
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct WhoamiView {
    /// The actor as the audit log names it.
    actor: Actor,
    /// What you may do.
    scope: Scope,
}

/// Version, listeners, counts, pending restart, worst finding
#[utoipa::path(get, path = "/status", tag = "node",
    responses((status = 200, body = Answer<StatusView>), (status = "4XX", body = Problem)))]
pub(super) async fn status(State(api): State<Api>, _: Reader) -> Told<StatusView> {
    told(api.backend.status().await)
}

/// Who you are
#[utoipa::path(get, path = "/whoami", tag = "node",
    responses((status = 200, body = Answer<WhoamiView>), (status = "4XX", body = Problem)))]
pub(super) async fn whoami(Reader(actor, scope): Reader) -> Told<WhoamiView> {
    told(Ok(WhoamiView { actor, scope }))
}

/// Ready or not, and why
#[utoipa::path(get, path = "/health", tag = "node",
    responses((status = 200, body = Answer<HealthView>), (status = "4XX", body = Problem)))]
pub(super) async fn health(State(api): State<Api>, _: Reader) -> Told<HealthView> {
    told(api.backend.health().await)
}

/// One scrape
#[utoipa::path(get, path = "/metrics", tag = "node",
    responses((status = 200, body = String, content_type = "text/plain"), (status = "4XX", body = Problem)))]
pub(super) async fn metrics(State(api): State<Api>, _: Reader) -> Result<Response, Failure> {
    let text = api.backend.metrics().await?;
    Ok((
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
        .into_response())
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DoctorQuery {
    /// Only findings about this listener.
    listener: Option<String>,
}

/// Findings, worst first
#[utoipa::path(get, path = "/doctor", params(DoctorQuery), tag = "node",
    responses((status = 200, body = Answer<DoctorView>), (status = "4XX", body = Problem)))]
pub(super) async fn doctor(
    State(api): State<Api>,
    _: Reader,
    Params(query): Params<DoctorQuery>,
) -> Told<DoctorView> {
    told(api.backend.doctor(query.listener).await)
}

/// Which proxies stand before which listener
#[utoipa::path(get, path = "/proxies", tag = "node",
    responses((status = 200, body = Answer<Vec<ProxyView>>), (status = "4XX", body = Problem)))]
pub(super) async fn proxies(State(api): State<Api>, _: Reader) -> Told<Vec<ProxyView>> {
    told(api.backend.proxies().await)
}

/// The listeners
#[utoipa::path(get, path = "/listeners", tag = "node",
    responses((status = 200, body = Answer<Vec<ListenerView>>), (status = "4XX", body = Problem)))]
pub(super) async fn listeners(State(api): State<Api>, _: Reader) -> Told<Vec<ListenerView>> {
    told(api.backend.listeners().await)
}

/// Start, stop or drain a listener
#[utoipa::path(post, path = "/listeners/{name}/{action}", tag = "node",
    params(("name", description = "listener"), ("action", description = "start, stop or drain")),
    responses((status = 200, body = Answer<ListenerView>), (status = "4XX", body = Problem)))]
pub(super) async fn listener(
    State(api): State<Api>,
    Administrator(actor): Administrator,
    Segment((name, action)): Segment<(String, String)>,
) -> Told<ListenerView> {
    let call = format!("POST /listeners/{name}/{action}");
    let action = match action.as_str() {
        "start" => ListenerAction::Start,
        "stop" => ListenerAction::Stop,
        "drain" => ListenerAction::Drain,
        _ => return Err(Failure::Usage(format!("{action}: start, stop or drain"))),
    };
    api.change(actor.clone(), call, api.backend.listener(name, action, actor))
        .await
}

/// The store's sizes
#[utoipa::path(get, path = "/store", tag = "node",
    responses((status = 200, body = Answer<StoreView>), (status = "4XX", body = Problem)))]
pub(super) async fn store(State(api): State<Api>, _: Reader) -> Told<StoreView> {
    told(api.backend.store().await)
}

/// readyz 503 and no new connections from now on
#[utoipa::path(post, path = "/drain", tag = "node",
    responses((status = 200, body = Answer<HealthView>), (status = "4XX", body = Problem)))]
pub(super) async fn drain(State(api): State<Api>, Operator(actor): Operator) -> Told<HealthView> {
    api.change(actor.clone(), "POST /drain".to_owned(), api.backend.drain(actor))
        .await
}
