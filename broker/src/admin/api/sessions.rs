//! `/sessions`, `/subscriptions`, `/topics`, `/retained`.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::problem::{Failure, Problem};
use super::super::views::{
    DropView, List, RetainedMessageView, RetainedView, SessionView, SubscriptionFilter, SubscriptionView,
    TopicView,
};
use super::caller::{Administrator, Reader};
use super::extract::{Json, Params, Segment, page};
use super::{Answer, Api, Told, told};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// 1 to 1000.
    limit: Option<usize>,
    /// Cursor.
    after: Option<String>,
}

/// Sessions, live and stored
#[utoipa::path(get, path = "/sessions", params(PageQuery), tag = "sessions",
    responses((status = 200, body = List<SessionView>), (status = "4XX", body = Problem)))]
pub(super) async fn list(
    State(api): State<Api>,
    _: Reader,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<SessionView>>, Failure> {
    api.backend
        .sessions(page(query.limit, query.after)?)
        .await
        .map(Json)
}

/// One session with its subscriptions
#[utoipa::path(get, path = "/sessions/{id}", params(("id", description = "client id")), tag = "sessions",
    responses((status = 200, body = Answer<SessionView>), (status = "4XX", body = Problem)))]
pub(super) async fn show(
    State(api): State<Api>,
    _: Reader,
    Segment(id): Segment<String>,
) -> Told<SessionView> {
    told(api.backend.session(id).await)
}

/// End a session, connected or not
#[utoipa::path(delete, path = "/sessions/{id}", params(("id", description = "client id")), tag = "sessions",
    responses((status = 200, body = Answer<DropView>), (status = "4XX", body = Problem)))]
pub(super) async fn remove(
    State(api): State<Api>,
    Administrator(actor): Administrator,
    Segment(id): Segment<String>,
) -> Told<DropView> {
    let call = format!("DELETE /sessions/{id}");
    api.change(actor.clone(), call, api.backend.drop_session(id, actor))
        .await
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SubscriptionQuery {
    /// Of this client.
    client: Option<String>,
    /// That match this topic name, or are this very filter.
    topic: Option<String>,
    /// 1 to 1000.
    limit: Option<usize>,
    /// Cursor.
    after: Option<String>,
}

/// Subscriptions
#[utoipa::path(get, path = "/subscriptions", params(SubscriptionQuery), tag = "sessions",
    responses((status = 200, body = List<SubscriptionView>), (status = "4XX", body = Problem)))]
pub(super) async fn subscriptions(
    State(api): State<Api>,
    _: Reader,
    Params(query): Params<SubscriptionQuery>,
) -> Result<Json<List<SubscriptionView>>, Failure> {
    let page = page(query.limit, query.after)?;
    let filter = SubscriptionFilter {
        client: query.client,
        topic: query.topic,
    };
    api.backend.subscriptions(filter, page).await.map(Json)
}

/// Topic filters in use
#[utoipa::path(get, path = "/topics", params(PageQuery), tag = "sessions",
    responses((status = 200, body = List<TopicView>), (status = "4XX", body = Problem)))]
pub(super) async fn topics(
    State(api): State<Api>,
    _: Reader,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<TopicView>>, Failure> {
    api.backend
        .topics(page(query.limit, query.after)?)
        .await
        .map(Json)
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RetainedQuery {
    /// Topics that match this filter.
    filter: Option<String>,
    /// 1 to 1000.
    limit: Option<usize>,
    /// Cursor.
    after: Option<String>,
}

/// Retained messages
#[utoipa::path(get, path = "/retained", params(RetainedQuery), tag = "retained",
    responses((status = 200, body = List<RetainedView>), (status = "4XX", body = Problem)))]
pub(super) async fn retained(
    State(api): State<Api>,
    _: Reader,
    Params(query): Params<RetainedQuery>,
) -> Result<Json<List<RetainedView>>, Failure> {
    let page = page(query.limit, query.after)?;
    api.backend.retained(query.filter, page).await.map(Json)
}

/// One retained message with its payload
#[utoipa::path(get, path = "/retained/{topic}", params(("topic", description = "topic name")), tag = "retained",
    responses((status = 200, body = Answer<RetainedMessageView>), (status = "4XX", body = Problem)))]
pub(super) async fn retained_message(
    State(api): State<Api>,
    _: Reader,
    Segment(topic): Segment<String>,
) -> Told<RetainedMessageView> {
    told(api.backend.retained_message(topic).await)
}

/// Delete a retained message
#[utoipa::path(delete, path = "/retained/{topic}", params(("topic", description = "topic name")), tag = "retained",
    responses((status = 200, body = Answer<DropView>), (status = "4XX", body = Problem)))]
pub(super) async fn delete_retained(
    State(api): State<Api>,
    Administrator(actor): Administrator,
    Segment(topic): Segment<String>,
) -> Told<DropView> {
    let call = format!("DELETE /retained/{topic}");
    api.change(actor.clone(), call, api.backend.delete_retained(topic, actor))
        .await
}
