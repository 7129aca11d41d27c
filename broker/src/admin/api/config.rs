//! `/config` and `/log/level`.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::problem::{Failure, Problem};
use super::super::views::{
    ConfigDiffRow, ConfigRow, LogLevelRequest, LogLevelView, ReloadRequest, ReloadView, parse_duration,
};
use super::caller::{Operator, Reader};
use super::extract::{Json, Params};
use super::{Answer, Api, Told, told};

/// What a reload can be narrowed to.
const PARTS: [&str; 4] = ["acl", "tls", "networks", "passwd"];
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ShowQuery {
    /// Only keys that begin so.
    prefix: Option<String>,
}

/// The configuration in force with the origin of each value
#[utoipa::path(get, path = "/config", params(ShowQuery), tag = "config",
    responses((status = 200, body = Answer<Vec<ConfigRow>>), (status = "4XX", body = Problem)))]
pub(super) async fn show(
    State(api): State<Api>,
    _: Reader,
    Params(query): Params<ShowQuery>,
) -> Told<Vec<ConfigRow>> {
    told(api.backend.config(query.prefix).await)
}

/// Where the files on disk differ from what runs
#[utoipa::path(get, path = "/config/diff", tag = "config",
    responses((status = 200, body = Answer<Vec<ConfigDiffRow>>), (status = "4XX", body = Problem)))]
pub(super) async fn diff(State(api): State<Api>, _: Reader) -> Told<Vec<ConfigDiffRow>> {
    told(api.backend.config_diff().await)
}

/// Read, check and swap the configuration, all or nothing
#[utoipa::path(post, path = "/config/reload", request_body = ReloadRequest, tag = "config",
    responses((status = 200, body = Answer<ReloadView>), (status = "4XX", body = Problem)))]
pub(super) async fn reload(
    State(api): State<Api>,
    Operator(actor): Operator,
    Json(request): Json<ReloadRequest>,
) -> Told<ReloadView> {
    if let Some(part) = request.only.iter().find(|part| !PARTS.contains(&part.as_str())) {
        return Err(Failure::Usage(format!(
            "only: `{part}` is none of {}",
            PARTS.join(", ")
        )));
    }
    told(api.backend.reload(request, actor).await)
}

/// Log levels in force
#[utoipa::path(get, path = "/log/level", tag = "config",
    responses((status = 200, body = Answer<LogLevelView>), (status = "4XX", body = Problem)))]
pub(super) async fn log_level(State(api): State<Api>, _: Reader) -> Told<LogLevelView> {
    told(api.backend.log_level().await)
}

/// Set a log level, for a time if given
#[utoipa::path(put, path = "/log/level", request_body = LogLevelRequest, tag = "config",
    responses((status = 200, body = Answer<LogLevelView>), (status = "4XX", body = Problem)))]
pub(super) async fn set_log_level(
    State(api): State<Api>,
    Operator(actor): Operator,
    Json(request): Json<LogLevelRequest>,
) -> Told<LogLevelView> {
    if !LEVELS.contains(&request.level.as_str()) {
        return Err(Failure::Usage(format!(
            "level: `{}` is none of {}",
            request.level,
            LEVELS.join(", ")
        )));
    }
    if let Some(text) = &request.duration
        && parse_duration(text).is_none()
    {
        return Err(Failure::Usage(format!(
            "for: `{text}` is no duration like 10m, 1h"
        )));
    }
    let call = format!(
        "PUT /log/level {}={}",
        request.module.as_deref().unwrap_or("*"),
        request.level
    );
    api.change(actor.clone(), call, api.backend.set_log_level(request, actor))
        .await
}
