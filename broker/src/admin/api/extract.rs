//! Parameters in and answers out, with every fault as `application/problem+json`.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::backend::Backend;
use super::super::problem::Failure;
use super::super::views::{PAGE_MAX, Page};

/// A JSON body: of a request (absent = all defaults, at most 1 MiB), or of an answer.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|e| Failure::Usage(e.body_text()))?;
        let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
        serde_json::from_slice(body)
            .map(Self)
            .map_err(|e| Failure::Usage(format!("body: {e}")))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => json("application/json", StatusCode::OK, body),
            Err(e) => Failure::Internal(e.to_string()).into_response(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(
            "application/problem+json",
            status,
            serde_json::to_vec(&problem).unwrap_or_default(),
        );
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn json(kind: &'static str, status: StatusCode, body: Vec<u8>) -> Response {
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}

/// Query parameters; unknown ones are refused.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let params = Query::try_from_uri(&parts.uri).map_err(|e| Failure::Usage(e.body_text()))?;
        Ok(Self(params.0))
    }
}

/// One segment of the path, percent-decoded.
pub(super) struct Segment<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segment<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|p| Self(p.0)).map_err(|e| Failure::Usage(e.body_text()))
    }
}

/// `limit` and `after` as a [`Page`].
pub(super) fn page(limit: Option<usize>, after: Option<String>) -> Result<Page, Failure> {
    let limit = limit.unwrap_or(100);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Failure::Usage(format!("limit: 1 to {PAGE_MAX}")));
    }
    Ok(Page { limit, after })
}

/// `a,@b,c` as ranges: addresses, CIDRs and named sets.
pub(super) fn nets(backend: &dyn Backend, key: &str, text: Option<&str>) -> Result<Vec<IpNet>, Failure> {
    let mut nets = Vec::new();
    for item in text.into_iter().flat_map(|text| text.split(',')).map(str::trim) {
        if let Some(name) = item.strip_prefix('@') {
            let found = backend.network(name);
            nets.extend(found.ok_or_else(|| Failure::Usage(format!("{key}: no network @{name}")))?);
        } else if let Ok(address) = item.parse() {
            nets.push(IpNet::new_assert(
                address,
                if address.is_ipv4() { 32 } else { 128 },
            ));
        } else {
            let net: IpNet = item
                .parse()
                .map_err(|_| Failure::Usage(format!("{key}: `{item}` is no address or CIDR")))?;
            nets.push(net.trunc());
        }
    }
    Ok(nets)
}
