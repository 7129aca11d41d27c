//! The description of the API, made from the handlers; `etc/openapi.json` is a copy that a test compares.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use super::{clients, config, node, policy, sessions, streams};

#[derive(OpenApi)]
#[openapi(
    info(title = "Admin API", description = "What `broker ctl` and the page use. On the unix socket no token is needed."),
    servers((url = "/api/v1")),
    security(("bearer" = [])),
    modifiers(&Bearer),
    paths(
        node::status, node::whoami, node::health, node::metrics, node::doctor, node::proxies, node::listeners,
        node::listener, node::store, node::drain, clients::list, clients::show, clients::peername,
        clients::kick_one, clients::kick, sessions::list, sessions::show, sessions::remove,
        sessions::subscriptions, sessions::topics, sessions::retained, sessions::retained_message,
        sessions::delete_retained, policy::bans, policy::ban, policy::unban, policy::quota, policy::quota_of,
        policy::reset_quota, policy::acl_rules, policy::acl_test, policy::explain, config::show, config::diff,
        config::reload, config::log_level, config::set_log_level, streams::events, streams::trace,
        streams::audit, streams::audit_head,
    )
)]
struct Description;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi
            .components
            .get_or_insert_default()
            .add_security_scheme("bearer", scheme);
    }
}

/// The description as indented JSON, with a line end.
pub fn text() -> String {
    let mut text = Description::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// `GET /openapi.json`; anybody may read it, it says nothing about this broker.
pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text()).into_response()
}
