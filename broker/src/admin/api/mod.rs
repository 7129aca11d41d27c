//! The router of `/api/v1`: one for the unix socket and for HTTPS. A handler reads its parameters, asks the
//! [`Backend`] and wraps the answer; it decides nothing. Who calls and with which scope is found in
//! `caller`, from facts that `server` puts beside each request.

mod caller;
mod clients;
mod config;
mod extract;
mod node;
pub mod openapi;
mod policy;
mod sessions;
mod streams;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use caller::{Connection, Scope};

use super::backend::{Backend, Reply};
use super::problem::Failure;
use super::tokens::Tokens;
use super::views::{Actor, AdminCall};
use extract::Json;

/// What every handler has.
#[derive(Clone)]
pub struct Api {
    backend: Arc<dyn Backend>,
    tokens: Arc<Tokens>,
    /// Who may name the callers of HTTPS.
    policy: Arc<peer::Policy>,
}

/// An answer that is not a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Answer<T> {
    /// What was asked for.
    pub data: T,
}

/// What a handler returns.
type Told<T> = Result<Json<Answer<T>>, Failure>;

impl Api {
    /// The API over this broker; `tokens` are those of the HTTPS side, where nobody may name callers yet.
    pub fn new(backend: Arc<dyn Backend>, tokens: Arc<Tokens>) -> Self {
        let policy = Arc::new(peer::Policy::defaults(peer::Transport::Ws));
        Self {
            backend,
            tokens,
            policy,
        }
    }

    /// The same behind proxies that name callers in a header.
    #[must_use]
    pub fn behind(mut self, policy: peer::Policy) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// The router: the API, its description, and the page.
    pub fn router(self) -> Router {
        let api = Router::new()
            .route("/openapi.json", get(openapi::document))
            .merge(node_routes())
            .merge(client_routes())
            .merge(policy_routes())
            .fallback(unknown)
            .method_not_allowed_fallback(wrong_method);
        super::page::routes().nest("/api/v1", api).with_state(self)
    }

    /// Waits for a change and records it, done or not.
    async fn change<T>(&self, actor: Actor, call: String, reply: Reply<'_, T>) -> Told<T> {
        let result = reply.await;
        let error = result.as_ref().err().map(|failure| failure.problem().detail);
        self.backend.record(AdminCall {
            actor,
            call,
            success: error.is_none(),
            error,
        });
        told(result)
    }
}

fn told<T>(result: Result<T, Failure>) -> Told<T> {
    result.map(|data| Json(Answer { data }))
}

async fn unknown() -> Failure {
    Failure::NotFound("path".to_owned())
}

async fn wrong_method() -> Failure {
    Failure::Usage("this path does not take that method".to_owned())
}

fn node_routes() -> Router<Api> {
    Router::new()
        .route("/status", get(node::status))
        .route("/whoami", get(node::whoami))
        .route("/health", get(node::health))
        .route("/metrics", get(node::metrics))
        .route("/doctor", get(node::doctor))
        .route("/proxies", get(node::proxies))
        .route("/listeners", get(node::listeners))
        .route("/listeners/{name}/{action}", post(node::listener))
        .route("/store", get(node::store))
        .route("/drain", post(node::drain))
        .route("/config", get(config::show))
        .route("/config/diff", get(config::diff))
        .route("/config/reload", post(config::reload))
        .route("/log/level", get(config::log_level).put(config::set_log_level))
        .route("/events", get(streams::events))
        .route("/traces", post(streams::trace))
        .route("/audit", get(streams::audit))
        .route("/audit/head", get(streams::audit_head))
}

fn client_routes() -> Router<Api> {
    Router::new()
        .route("/clients", get(clients::list))
        .route("/clients/{id}", get(clients::show).delete(clients::kick_one))
        .route("/clients/{id}/peername", get(clients::peername))
        .route("/kick", post(clients::kick))
        .route("/sessions", get(sessions::list))
        .route("/sessions/{id}", get(sessions::show).delete(sessions::remove))
        .route("/subscriptions", get(sessions::subscriptions))
        .route("/topics", get(sessions::topics))
        .route("/retained", get(sessions::retained))
        .route(
            "/retained/{topic}",
            get(sessions::retained_message).delete(sessions::delete_retained),
        )
}

fn policy_routes() -> Router<Api> {
    Router::new()
        .route("/bans", get(policy::bans).post(policy::ban))
        .route("/bans/{what}", delete(policy::unban))
        .route("/quota", get(policy::quota))
        .route(
            "/quota/{prefix}",
            get(policy::quota_of).delete(policy::reset_quota),
        )
        .route("/acl/rules", get(policy::acl_rules))
        .route("/acl/test", post(policy::acl_test))
        .route("/peername/explain", post(policy::explain))
}
