//! Who calls: the unix socket's user, who is an admin, or the bearer of a token with its scope.

use std::net::SocketAddr;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::super::problem::Failure;
use super::super::tokens::From;
use super::super::views::Actor;
use super::Api;

/// What `server` knows of a connection; it stands in the extensions of each of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// The unix socket: file permissions let it in, SO_PEERCRED says who it is.
    Unix {
        /// The user.
        uid: u32,
    },
    /// HTTPS, or HTTP on loopback: it must show a token.
    Http {
        /// The TCP peer; the caller's own address is found as on a WebSocket listener.
        socket: SocketAddr,
    },
}

/// What a token may do; each covers those before it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look.
    Read,
    /// Kick, ban, trace, reload, drain, log level.
    Operate,
    /// Everything.
    Admin,
}

impl Scope {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

fn caller(parts: &Parts, api: &Api, needed: Scope) -> Result<(Actor, Scope), Failure> {
    let (actor, scope) = match parts.extensions.get::<Connection>() {
        Some(Connection::Unix { uid }) => {
            let actor = Actor {
                uid: Some(*uid),
                token: None,
                peer_ip: "unix".to_owned(),
            };
            (actor, Scope::Admin)
        }
        Some(Connection::Http { socket }) => {
            let from = address(&api.policy, *socket, parts)?;
            let header = parts.headers.get(header::AUTHORIZATION);
            let bearer = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
            let bearer = bearer.ok_or(Failure::Unauthorized)?.trim();
            let (token, scope) = api
                .tokens
                .verify(bearer, from, &|name| api.backend.network(name))?;
            let actor = Actor {
                uid: None,
                token: Some(token),
                peer_ip: from.ip.to_string(),
            };
            (actor, scope)
        }
        None => return Err(Failure::Internal("a request without its connection".to_owned())),
    };
    if scope < needed {
        return Err(Failure::Forbidden(needed.as_str().to_owned()));
    }
    Ok((actor, scope))
}

/// Whose request it is, by the rules for WebSocket listeners (peername 6): `admin.address_header` counts only
/// from `admin.trusted_proxies`.
fn address(policy: &peer::Policy, socket: SocketAddr, parts: &Parts) -> Result<From, Failure> {
    let refused = || Failure::Usage("the address header names no client".to_owned());
    let stage = peer::ProxyStage::new(policy, socket.into()).map_err(|_| refused())?;
    let peer::Verdict::Accept { hop, .. } = stage.without_header() else {
        return Err(refused());
    };
    let fields = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let peer = peer::resolve_headers(policy, &hop, fields).map_err(|_| refused())?;
    Ok(From {
        ip: peer.peername().ip().unwrap_or(socket.ip()),
        is_client: peer.client().is_some(),
    })
}

/// The caller, who may look, with its scope.
pub(super) struct Reader(pub(super) Actor, pub(super) Scope);

impl FromRequestParts<Api> for Reader {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        caller(parts, api, Scope::Read).map(|(actor, scope)| Self(actor, scope))
    }
}

/// The caller, who may operate.
pub(super) struct Operator(pub(super) Actor);

impl FromRequestParts<Api> for Operator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        caller(parts, api, Scope::Operate).map(|(actor, _)| Self(actor))
    }
}

/// The caller, who may do everything.
pub(super) struct Administrator(pub(super) Actor);

impl FromRequestParts<Api> for Administrator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        caller(parts, api, Scope::Admin).map(|(actor, _)| Self(actor))
    }
}
