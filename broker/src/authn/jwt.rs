//! JSON Web Tokens as a source of `auth.chain`: signature, lifetime, claims.
//!
//! What does not live here: where keys come from (`keys`), what an ACL claim means (`permissions`).

use std::sync::Arc;

use jsonwebtoken::{AlgorithmFamily, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::chain::{Credentials, Opinion, Verified};
use super::keys::{Key, Keys};
use super::permissions::Permissions;
use super::template::fill;
use crate::audit::AuthnReason;
use crate::config::{JwtAlgorithm, JwtConfig, TokenFrom};
use crate::metrics::AuthMethod;

/// How far the clock of who made a token may be ahead of ours, in seconds (`nbf`).
const LEEWAY: u64 = 60;

/// Verifies tokens.
#[derive(Debug)]
pub struct Tokens {
    config: JwtConfig,
    keys: Keys,
}

impl Tokens {
    /// With the keys of the files that the configuration names. Keys behind a URL are read when they are needed.
    ///
    /// # Errors
    /// What is wrong with a file, with its name.
    pub fn read(config: &JwtConfig) -> Result<Self, String> {
        Ok(Self {
            keys: Keys::read(config)?,
            config: config.clone(),
        })
    }

    /// Whether a username is a token, and so nothing to show or log.
    pub fn is_token(&self, username: &str) -> bool {
        self.config.from == TokenFrom::Username && looks_like(username)
    }

    /// Accepts a good token, rejects a bad one, ignores who shows none. `now` is in ms since 1970.
    pub async fn verify(&self, shown: &Credentials<'_>, now: u64) -> Opinion {
        let token = match self.config.from {
            TokenFrom::Username => shown.username,
            TokenFrom::Password => shown.password.and_then(|bytes| std::str::from_utf8(bytes).ok()),
        };
        let Some(token) = token.filter(|token| looks_like(token)) else {
            return Opinion::Ignore;
        };
        let Ok(header) = decode_header(token) else {
            return refuse("its header is wrong");
        };
        let keys = match self.keys.current().await {
            Ok(keys) => keys,
            Err(problem) => {
                tracing::warn!("auth.jwt: no keys: {problem}");
                return Opinion::Reject(AuthnReason::BackendError);
            }
        };
        let Some(claims) = keys.iter().find_map(|key| self.claims(token, &header, key)) else {
            return refuse("no key verifies it, or its lifetime is over");
        };
        match self.judge(&claims, shown, now) {
            Ok(verified) => Opinion::Accept(verified),
            Err(problem) => refuse(&problem),
        }
    }

    /// What the token says, if this key signed it.
    fn claims(&self, token: &str, header: &Header, key: &Key) -> Option<Map<String, Value>> {
        let hmac = self.config.algorithm == JwtAlgorithm::HmacBased;
        if hmac != (header.alg.family() == AlgorithmFamily::Hmac) || !key.is_for(header) {
            return None;
        }
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        // Audiences are for verify_claims to check.
        validation.validate_aud = false;
        let decoded = decode::<Map<String, Value>>(token, key.decoding(), &validation);
        decoded.map(|data| data.claims).ok()
    }

    fn judge(
        &self,
        claims: &Map<String, Value>,
        shown: &Credentials<'_>,
        now: u64,
    ) -> Result<Verified, String> {
        let ends = claims.get("exp").and_then(Value::as_f64).unwrap_or_default() * 1000.0;
        let ends = ends.max(0.0) as u64;
        if ends <= now {
            return Err("it has expired".to_owned());
        }
        for (name, wanted) in &self.config.verify_claims {
            let wanted = fill(wanted, shown, str::to_owned);
            if !claims.get(name).is_some_and(|claim| says(claim, &wanted)) {
                return Err(format!("its claim `{name}` is not what it must be"));
            }
        }
        if let Some(name) = &self.config.clientid_claim
            && claims.get(name).and_then(Value::as_str) != Some(shown.client_id)
        {
            return Err(format!("its claim `{name}` is not the client id"));
        }
        let mut verified = Verified::by(AuthMethod::Jwt);
        if let Some(name) = &self.config.username_claim {
            let username = claims.get(name).and_then(Value::as_str).filter(|u| !u.is_empty());
            verified.username = Some(
                username
                    .ok_or_else(|| format!("it has no claim `{name}`"))?
                    .into(),
            );
        }
        let name = &self.config.acl_claim_name;
        if let Some(list) = claims.get(name).filter(|_| !name.is_empty()) {
            let known = Credentials {
                username: verified.username.as_deref().or(shown.username),
                ..*shown
            };
            let permissions = Permissions::parse(list, |text| fill(text, &known, str::to_owned));
            let permissions = permissions.map_err(|problem| format!("its claim `{name}`: {problem}"))?;
            verified.permissions = Some(Arc::new(permissions));
        }
        verified.until = self.config.disconnect_after_expire.then_some(ends);
        Ok(verified)
    }
}

fn refuse(problem: &str) -> Opinion {
    tracing::debug!("auth.jwt: a token is refused: {problem}");
    Opinion::Reject(AuthnReason::BadCredentials)
}

/// Three parts of base64url, the first of them a JSON object: what is not even that may be a password.
fn looks_like(text: &str) -> bool {
    let of_token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.starts_with("eyJ") && text.split('.').count() == 3 && text.split('.').all(of_token)
}

/// Whether a claim is this text, or a list with it.
fn says(claim: &Value, wanted: &str) -> bool {
    match claim {
        Value::String(text) => text == wanted,
        Value::Number(number) => number.to_string() == wanted,
        Value::Bool(yes) => yes.to_string() == wanted,
        Value::Array(list) => list.iter().any(|one| !one.is_array() && says(one, wanted)),
        Value::Null | Value::Object(_) => false,
    }
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
