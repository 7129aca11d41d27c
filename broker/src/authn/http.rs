//! An HTTP service as a source of `auth.chain`: it is told who wants in and says allow, deny or ignore.
//!
//! What does not live here: connections (`web`), placeholders (`template`).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::chain::{Credentials, Opinion, Verified};
use super::permissions::Permissions;
use super::template::fill;
use super::web::{Asked, Pool, Site, WebError};
use crate::audit::AuthnReason;
use crate::config::{HttpAuthConfig, HttpMethod};
use crate::ctl::client::encode;
use crate::metrics::AuthMethod;

/// Asks the service.
#[derive(Debug)]
pub struct Service {
    config: HttpAuthConfig,
    path: String,
    pool: Pool,
    breaker: Mutex<Breaker>,
    cache: Mutex<HashMap<[u8; 32], (Instant, Answer)>>,
}

/// What the service said.
#[derive(Clone, Debug)]
enum Answer {
    Allow {
        until: Option<u64>,
        permissions: Option<Arc<Permissions>>,
    },
    Deny,
    Ignore,
}

/// Does not ask a service that keeps failing.
#[derive(Debug, Default)]
struct Breaker {
    failures: u32,
    closed_until: Option<Instant>,
}

impl Service {
    /// As configured.
    ///
    /// # Errors
    /// What is wrong with its URL, its headers or the file of authorities.
    pub fn new(config: &HttpAuthConfig) -> Result<Self, String> {
        let url = config.url.as_deref().ok_or("auth.http.url is not set")?;
        let (site, path) = Site::of_url(url, config.ca_file.as_deref())?;
        for name in config.headers.keys() {
            HeaderName::try_from(name.as_str())
                .map_err(|_| format!("auth.http.headers: `{name}` is no header"))?;
        }
        Ok(Self {
            pool: Pool::new(site, config.pool_size, config.connect_timeout),
            path,
            breaker: Mutex::default(),
            cache: Mutex::default(),
            config: config.clone(),
        })
    }

    /// Asks about a client. No answer, or one that makes no sense, is a failure of ours, not of the client.
    pub async fn verify(&self, shown: &Credentials<'_>) -> Opinion {
        if shown
            .password
            .is_some_and(|password| std::str::from_utf8(password).is_err())
        {
            // JSON has no room for it, and a password that is changed on the way is another one.
            return Opinion::Reject(AuthnReason::BadCredentials);
        }
        let (request, key) = match self.request(shown) {
            Ok(made) => made,
            Err(problem) => {
                tracing::debug!("auth.http: {problem}");
                return Opinion::Reject(AuthnReason::BadCredentials);
            }
        };
        if let Some(answer) = self.cached(&key) {
            return answer.opinion();
        }
        if !self.may_ask() {
            return Opinion::Reject(AuthnReason::BackendError);
        }
        let answer = self.pool.ask(request, self.config.request_timeout).await;
        let answer = answer
            .map_err(|error| error.to_string())
            .and_then(|(status, body)| Answer::parse(status, &body, shown));
        self.asked(answer.as_ref().err());
        match answer {
            Ok(answer) => {
                self.remember(key, &answer);
                answer.opinion()
            }
            Err(_) => Opinion::Reject(AuthnReason::BackendError),
        }
    }

    /// The request, and the hash of everything in it.
    fn request(&self, shown: &Credentials<'_>) -> Result<(Asked, [u8; 32]), WebError> {
        let mut path = fill(&self.path, shown, encode);
        let mut body = String::new();
        let fields = self.config.body.iter();
        let mut fields = fields.map(|(name, template)| (name.as_str(), fill(template, shown, str::to_owned)));
        let method = match self.config.method {
            HttpMethod::Get => {
                for (name, value) in fields {
                    let mark = if path.contains('?') { '&' } else { '?' };
                    // Writing to a String cannot fail.
                    let _ = write!(path, "{mark}{}={}", encode(name), encode(&value));
                }
                "GET"
            }
            HttpMethod::Post if self.is_form() => {
                let pair = |(name, value): (&str, String)| format!("{}={}", encode(name), encode(&value));
                body = fields.map(pair).collect::<Vec<_>>().join("&");
                "POST"
            }
            HttpMethod::Post => {
                let object: Map<String, Value> = fields
                    .by_ref()
                    .map(|(name, value)| (name.to_owned(), Value::from(value)))
                    .collect();
                body = Value::Object(object).to_string();
                "POST"
            }
        };
        let mut hash = Sha256::new();
        let mut note = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        note(&path);
        note(&body);
        let mut request = self.pool.site().request(method, &path);
        for (name, template) in &self.config.headers {
            if self.config.method == HttpMethod::Get && name.eq_ignore_ascii_case("content-type") {
                continue;
            }
            let value = fill(template, shown, str::to_owned);
            note(&value);
            let mut value =
                HeaderValue::try_from(value).map_err(|_| WebError::Request(format!("header {name}")))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let request = request.header(header::ACCEPT, "application/json");
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| WebError::Request(error.to_string()))?;
        Ok((request, hash.finalize().into()))
    }

    fn is_form(&self) -> bool {
        let content_type = |(name, value): (&String, &String)| {
            name.eq_ignore_ascii_case("content-type")
                && value.starts_with("application/x-www-form-urlencoded")
        };
        self.config.headers.iter().any(content_type)
    }

    fn cached(&self, key: &[u8; 32]) -> Option<Answer> {
        if self.config.cache_ttl.is_zero() {
            return None;
        }
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, answer) = cache.get(key)?;
        (*until > Instant::now()).then(|| answer.clone())
    }

    fn remember(&self, key: [u8; 32], answer: &Answer) {
        if self.config.cache_ttl.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= self.config.cache_max {
            cache.retain(|_, (until, _)| *until > now);
        }
        if cache.len() >= self.config.cache_max {
            // Full of answers that still count: beginning anew is cheaper than keeping an order.
            cache.clear();
        }
        cache.insert(key, (now + self.config.cache_ttl, answer.clone()));
    }

    /// Whether the breaker lets a request through. When its time is over, one tries for all.
    fn may_ask(&self) -> bool {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        match breaker.closed_until {
            None => true,
            Some(until) if until > Instant::now() => false,
            Some(_) => {
                breaker.closed_until = Some(Instant::now() + self.trial());
                true
            }
        }
    }

    fn trial(&self) -> Duration {
        self.config.connect_timeout + self.config.request_timeout
    }

    fn asked(&self, problem: Option<&String>) {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(problem) = problem else {
            *breaker = Breaker::default();
            return;
        };
        breaker.failures = breaker.failures.saturating_add(1);
        if breaker.failures >= self.config.breaker_failures {
            breaker.closed_until = Some(Instant::now() + self.config.breaker_open);
        }
        let failures = breaker.failures;
        drop(breaker);
        // The first one, and the one that stops asking, are news; the rest is noise.
        if failures == 1 || failures == self.config.breaker_failures {
            tracing::warn!(
                "auth.http: {:?} failed ({failures} in a row): {problem}",
                self.pool.site()
            );
        }
    }
}

impl Answer {
    /// EMQX's answers: 204, or 200 with `{"result": "allow" | "deny" | "ignore"}`, and beside an allow `expire_at`
    /// (seconds since 1970) and `acl`, permissions that narrow. `is_superuser` means nothing here: nobody is above the
    /// rules.
    fn parse(status: u16, body: &[u8], shown: &Credentials<'_>) -> Result<Self, String> {
        match status {
            204 => {
                return Ok(Self::Allow {
                    until: None,
                    permissions: None,
                });
            }
            200 => {}
            other => return Err(format!("HTTP {other}")),
        }
        let answer: Value = serde_json::from_slice(body).map_err(|error| format!("its answer: {error}"))?;
        match answer.get("result").and_then(Value::as_str) {
            Some("deny") => Ok(Self::Deny),
            Some("ignore") => Ok(Self::Ignore),
            Some("allow") => {
                let until = match answer.get("expire_at") {
                    None | Some(Value::Null) => None,
                    Some(at) => Some(at.as_u64().ok_or("its answer: `expire_at` is no number")?),
                };
                let list = answer.get("acl").filter(|list| !list.is_null());
                let permissions = list
                    .map(|list| Permissions::parse(list, |text| fill(text, shown, str::to_owned)))
                    .transpose()
                    .map_err(|problem| format!("its answer: `acl`: {problem}"))?;
                Ok(Self::Allow {
                    until: until.map(|seconds| seconds.saturating_mul(1000)),
                    permissions: permissions.map(Arc::new),
                })
            }
            _ => Err("its answer has no `result` of allow, deny or ignore".to_owned()),
        }
    }

    fn opinion(&self) -> Opinion {
        match self {
            Self::Allow { until, permissions } => Opinion::Accept(Verified {
                until: *until,
                permissions: permissions.clone(),
                ..Verified::by(AuthMethod::Http)
            }),
            Self::Deny => Opinion::Reject(AuthnReason::BadCredentials),
            Self::Ignore => Opinion::Ignore,
        }
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
