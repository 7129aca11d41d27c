//! `/events` and `/traces` as server-sent events, `/audit` from memory.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, BoxStream, StreamExt};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::MissedTickBehavior;
use utoipa::IntoParams;

use super::super::backend::Items;
use super::super::problem::{Failure, Problem};
use super::super::views::{
    AuditFilter, AuditHeadView, EventFilter, StreamItem, TraceRequest, parse_duration,
};
use super::caller::{Operator, Reader};
use super::extract::{Json, Params, nets};
use super::{Answer, Api, Told, told};

/// How often a `stats` event goes out, and how often a ping when there is nothing else.
const STATS_EVERY: Duration = Duration::from_secs(2);
const PING_EVERY: Duration = Duration::from_secs(15);
/// Records kept in memory: operator-interface 4.
const AUDIT_MAX: usize = 10_000;

type Stream = Sse<axum::response::sse::KeepAliveStream<BoxStream<'static, Result<Event, Infallible>>>>;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventQuery {
    /// Audit event names, with commas; `stats` for the numbers.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    types: Option<String>,
    /// peer_ip in this CIDR or `@name`.
    ip: Option<String>,
    /// Newest records wanted (`/audit` only).
    limit: Option<usize>,
}

fn filter(api: &Api, query: &EventQuery) -> Result<EventFilter, Failure> {
    let types = query
        .types
        .iter()
        .flat_map(|t| t.split(','))
        .map(|t| t.trim().to_owned())
        .collect();
    Ok(EventFilter {
        types,
        ip: nets(&*api.backend, "ip", query.ip.as_deref())?,
        since: None,
    })
}

/// Audit events as they happen; `Last-Event-ID` resumes from memory
#[utoipa::path(get, path = "/events", params(EventQuery), tag = "streams",
    responses((status = 200, content_type = "text/event-stream"), (status = "4XX", body = Problem)))]
pub(super) async fn events(
    State(api): State<Api>,
    _: Reader,
    Params(query): Params<EventQuery>,
    headers: HeaderMap,
) -> Result<Stream, Failure> {
    let mut filter = filter(&api, &query)?;
    if let Some(id) = headers.get("last-event-id") {
        let id = id.to_str().ok().and_then(|id| id.parse().ok());
        filter.since = Some(id.ok_or_else(|| Failure::Usage("Last-Event-ID: a number".to_owned()))?);
    }
    let wanted = filter.types.is_empty() || filter.types.iter().any(|t| t == "stats");
    let items = api.backend.events(filter).await?;
    let stats = if wanted {
        stats(api)
    } else {
        stream::empty().boxed()
    };
    Ok(sse(stream::select(events_of(items), stats).boxed()))
}

/// Live packets of the clients that match
#[utoipa::path(post, path = "/traces", request_body = TraceRequest, tag = "streams",
    responses((status = 200, content_type = "text/event-stream"), (status = "4XX", body = Problem)))]
pub(super) async fn trace(
    State(api): State<Api>,
    Operator(actor): Operator,
    Json(request): Json<TraceRequest>,
) -> Result<Stream, Failure> {
    if request.client.is_none() && request.ip.is_none() && request.topic.is_none() {
        return Err(Failure::Usage("one of client, ip, topic".to_owned()));
    }
    if let Some(text) = &request.duration
        && parse_duration(text).is_none()
    {
        return Err(Failure::Usage(format!(
            "for: `{text}` is no duration like 10m, 1h"
        )));
    }
    let items = api.backend.trace(request, actor).await?;
    Ok(sse(events_of(items)))
}

fn sse(events: BoxStream<'static, Result<Event, Infallible>>) -> Stream {
    Sse::new(events).keep_alive(KeepAlive::new().interval(PING_EVERY).text("ping"))
}

fn events_of(items: Items) -> BoxStream<'static, Result<Event, Infallible>> {
    items
        .map(|item| {
            Ok(match item {
                StreamItem::Record { event, id, data } => {
                    let event = Event::default().event(event).data(data.to_string());
                    id.map_or(event.clone(), |id| event.id(id.to_string()))
                }
                StreamItem::Lagged(n) => Event::default()
                    .event("lagged")
                    .data(format!("{{\"missed\":{n}}}")),
            })
        })
        .boxed()
}

fn stats(api: Api) -> BoxStream<'static, Result<Event, Infallible>> {
    let mut interval = tokio::time::interval(STATS_EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    stream::unfold((api, interval), |(api, mut interval)| async move {
        interval.tick().await;
        let stats = api.backend.stats().await.ok()?;
        let data = serde_json::to_string(&stats).ok()?;
        Some((Ok(Event::default().event("stats").data(data)), (api, interval)))
    })
    .boxed()
}

/// The newest audit records in memory, oldest first
#[utoipa::path(get, path = "/audit", params(EventQuery), tag = "streams",
    responses((status = 200, body = Answer<Vec<Object>>), (status = "4XX", body = Problem)))]
pub(super) async fn audit(
    State(api): State<Api>,
    _: Reader,
    Params(query): Params<EventQuery>,
) -> Told<Vec<Value>> {
    let limit = query.limit.unwrap_or(100);
    if !(1..=AUDIT_MAX).contains(&limit) {
        return Err(Failure::Usage(format!("limit: 1 to {AUDIT_MAX}")));
    }
    let events = filter(&api, &query)?;
    told(api.backend.audit(AuditFilter { events, limit }).await)
}

/// Sequence number and hash of the newest record
#[utoipa::path(get, path = "/audit/head", tag = "streams",
    responses((status = 200, body = Answer<AuditHeadView>), (status = "4XX", body = Problem)))]
pub(super) async fn audit_head(State(api): State<Api>, _: Reader) -> Told<AuditHeadView> {
    told(api.backend.audit_head().await)
}
