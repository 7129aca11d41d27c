//! Who calls: the unix socket's user, who is an admin, or the bearer of a token with its scope.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::super::problem::Failure;
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
        /// The resolved client address.
        ip: IpAddr,
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
    let connection = parts.extensions.get::<Connection>();
    let (actor, scope) = match connection {
        Some(Connection::Unix { uid }) => (
            Actor {
                uid: Some(*uid),
                token: None,
                peer_ip: "unix".to_owned(),
            },
            Scope::Admin,
        ),
        Some(Connection::Http { ip }) => {
            let header = parts
                .headers
                .get(header::AUTHORIZATION)
                .and_then(|value| value.to_str().ok());
            let bearer = header
                .and_then(|value| value.strip_prefix("Bearer "))
                .ok_or(Failure::Unauthorized)?;
            let (token, scope) = api
                .tokens
                .verify(bearer.trim(), *ip, &|name| api.backend.network(name))?;
            (
                Actor {
                    uid: None,
                    token: Some(token),
                    peer_ip: ip.to_string(),
                },
                scope,
            )
        }
        None => return Err(Failure::Internal("a request without its connection".to_owned())),
    };
    if scope < needed {
        return Err(Failure::Forbidden(needed.as_str().to_owned()));
    }
    Ok((actor, scope))
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
