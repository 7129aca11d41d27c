//! `/clients` and `/kick`.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::problem::{Failure, Problem};
use super::super::views::{
    ClientFilter, ClientSort, ClientView, ExplainView, KickRequest, KickView, Kind, List, Via,
};
use super::caller::{Operator, Reader};
use super::extract::{Json, Params, Segment, nets, page};
use super::{Answer, Api, Told, told};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Query {
    /// Peername's address in this CIDR or `@name` (several with commas).
    ip: Option<String>,
    /// Socket's address in this CIDR or `@name`.
    socket: Option<String>,
    /// `client` or `proxy`.
    #[param(inline)]
    kind: Option<Kind>,
    /// `socket`, `proxy_v1`, `proxy_v2`, `header`.
    #[param(inline)]
    via: Option<Via>,
    /// Username glob.
    user: Option<String>,
    /// Listener.
    listener: Option<String>,
    /// Order.
    #[param(inline)]
    sort: Option<ClientSort>,
    /// 1 to 1000.
    limit: Option<usize>,
    /// Cursor.
    after: Option<String>,
}

/// Clients, connected or with a stored session
#[utoipa::path(get, path = "/clients", params(Query), tag = "clients",
    responses((status = 200, body = List<ClientView>), (status = "4XX", body = Problem)))]
pub(super) async fn list(
    State(api): State<Api>,
    _: Reader,
    Params(query): Params<Query>,
) -> Result<Json<List<ClientView>>, Failure> {
    let filter = ClientFilter {
        ip: nets(&*api.backend, "ip", query.ip.as_deref())?,
        socket: nets(&*api.backend, "socket", query.socket.as_deref())?,
        kind: query.kind,
        via: query.via,
        user: query.user,
        listener: query.listener,
        sort: query.sort.unwrap_or_default(),
    };
    let page = page(query.limit, query.after)?;
    api.backend.clients(filter, page).await.map(Json)
}

/// One client
#[utoipa::path(get, path = "/clients/{id}", params(("id", description = "client id")), tag = "clients",
    responses((status = 200, body = Answer<ClientView>), (status = "4XX", body = Problem)))]
pub(super) async fn show(
    State(api): State<Api>,
    _: Reader,
    Segment(id): Segment<String>,
) -> Told<ClientView> {
    told(api.backend.client(id).await)
}

/// The steps by which its address was found
#[utoipa::path(get, path = "/clients/{id}/peername", params(("id", description = "client id")), tag = "clients",
    responses((status = 200, body = Answer<ExplainView>), (status = "4XX", body = Problem)))]
pub(super) async fn peername(
    State(api): State<Api>,
    _: Reader,
    Segment(id): Segment<String>,
) -> Told<ExplainView> {
    told(api.backend.client_peername(id).await)
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct KickQuery {
    /// For the audit log and the client.
    reason: Option<String>,
}

/// Disconnect one client; its session stays
#[utoipa::path(delete, path = "/clients/{id}", params(("id", description = "client id"), KickQuery), tag = "clients",
    responses((status = 200, body = Answer<KickView>), (status = "4XX", body = Problem)))]
pub(super) async fn kick_one(
    State(api): State<Api>,
    Operator(actor): Operator,
    Segment(id): Segment<String>,
    Params(query): Params<KickQuery>,
) -> Told<KickView> {
    let request = KickRequest {
        clientid: Some(id),
        reason: query.reason,
        ..KickRequest::default()
    };
    told(api.backend.kick(request, actor).await)
}

/// Disconnect all clients that match; one of `clientid`, `ip`, `user` must be given
#[utoipa::path(post, path = "/kick", request_body = KickRequest, tag = "clients",
    responses((status = 200, body = Answer<KickView>), (status = "4XX", body = Problem)))]
pub(super) async fn kick(
    State(api): State<Api>,
    Operator(actor): Operator,
    Json(request): Json<KickRequest>,
) -> Told<KickView> {
    let named = [&request.clientid, &request.ip, &request.user]
        .into_iter()
        .flatten()
        .count();
    if named != 1 {
        return Err(Failure::Usage("exactly one of clientid, ip, user".to_owned()));
    }
    told(api.backend.kick(request, actor).await)
}
