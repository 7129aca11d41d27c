//! Bans, quotas, ACL and explain.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::problem::{Failure, Problem};
use super::super::views::{
    AclRuleView, AclTestRequest, AclTestView, BanRequest, BanView, DropView, ExplainRequest, ExplainView,
    List, QuotaView, parse_duration,
};
use super::caller::{Operator, Reader};
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

/// Bans in force
#[utoipa::path(get, path = "/bans", params(PageQuery), tag = "policy",
    responses((status = 200, body = List<BanView>), (status = "4XX", body = Problem)))]
pub(super) async fn bans(
    State(api): State<Api>,
    _: Reader,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<BanView>>, Failure> {
    api.backend.bans(page(query.limit, query.after)?).await.map(Json)
}

/// Ban an address, range, client or user; kicks live matches
#[utoipa::path(post, path = "/bans", request_body = BanRequest, tag = "policy",
    responses((status = 200, body = Answer<BanView>), (status = "4XX", body = Problem)))]
pub(super) async fn ban(
    State(api): State<Api>,
    Operator(actor): Operator,
    Json(request): Json<BanRequest>,
) -> Told<BanView> {
    if let Some(text) = &request.duration
        && parse_duration(text).is_none()
    {
        return Err(Failure::Usage(format!(
            "for: `{text}` is no duration like 10m, 1h, 7d"
        )));
    }
    told(api.backend.ban(request, actor).await)
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UnbanQuery {
    /// Who lifts it, if not the caller.
    by: Option<String>,
}

/// Lift a ban
#[utoipa::path(delete, path = "/bans/{what}", tag = "policy",
    params(("what", description = "address, CIDR, client:ID or user:NAME"), UnbanQuery),
    responses((status = 200, body = Answer<DropView>), (status = "4XX", body = Problem)))]
pub(super) async fn unban(
    State(api): State<Api>,
    Operator(actor): Operator,
    Segment(what): Segment<String>,
    Params(query): Params<UnbanQuery>,
) -> Told<DropView> {
    told(api.backend.unban(what, query.by, actor).await)
}

/// Prefixes by use of their quota
#[utoipa::path(get, path = "/quota", params(PageQuery), tag = "policy",
    responses((status = 200, body = List<QuotaView>), (status = "4XX", body = Problem)))]
pub(super) async fn quota(
    State(api): State<Api>,
    _: Reader,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<QuotaView>>, Failure> {
    api.backend.quota(page(query.limit, query.after)?).await.map(Json)
}

/// The prefix of an address
#[utoipa::path(get, path = "/quota/{prefix}", params(("prefix", description = "address or prefix")), tag = "policy",
    responses((status = 200, body = Answer<QuotaView>), (status = "4XX", body = Problem)))]
pub(super) async fn quota_of(
    State(api): State<Api>,
    _: Reader,
    Segment(prefix): Segment<String>,
) -> Told<QuotaView> {
    told(api.backend.quota_of(prefix).await)
}

/// Fill its buckets again
#[utoipa::path(delete, path = "/quota/{prefix}", params(("prefix", description = "address or prefix")), tag = "policy",
    responses((status = 200, body = Answer<QuotaView>), (status = "4XX", body = Problem)))]
pub(super) async fn reset_quota(
    State(api): State<Api>,
    Operator(actor): Operator,
    Segment(prefix): Segment<String>,
) -> Told<QuotaView> {
    let call = format!("DELETE /quota/{prefix}");
    api.change(actor.clone(), call, api.backend.reset_quota(prefix, actor))
        .await
}

/// The ACL rules in force
#[utoipa::path(get, path = "/acl/rules", tag = "policy",
    responses((status = 200, body = Answer<Vec<AclRuleView>>), (status = "4XX", body = Problem)))]
pub(super) async fn acl_rules(State(api): State<Api>, _: Reader) -> Told<Vec<AclRuleView>> {
    told(api.backend.acl_rules().await)
}

/// What the rules say, and which line decides
#[utoipa::path(post, path = "/acl/test", request_body = AclTestRequest, tag = "policy",
    responses((status = 200, body = Answer<AclTestView>), (status = "4XX", body = Problem)))]
pub(super) async fn acl_test(
    State(api): State<Api>,
    _: Reader,
    Json(request): Json<AclTestRequest>,
) -> Told<AclTestView> {
    let asked = [
        request.connect,
        request.publish.is_some(),
        request.subscribe.is_some(),
    ];
    if asked.into_iter().filter(|asked| *asked).count() != 1 {
        return Err(Failure::Usage(
            "exactly one of connect, publish, subscribe".to_owned(),
        ));
    }
    told(api.backend.acl_test(request).await)
}

/// What the running configuration makes of these bytes and fields
#[utoipa::path(post, path = "/peername/explain", request_body = ExplainRequest, tag = "policy",
    responses((status = 200, body = Answer<ExplainView>), (status = "4XX", body = Problem)))]
pub(super) async fn explain(
    State(api): State<Api>,
    _: Reader,
    Json(request): Json<ExplainRequest>,
) -> Told<ExplainView> {
    told(api.backend.explain(request).await)
}
