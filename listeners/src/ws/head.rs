//! The upgrade request: HTTP head -> the checks of RFC 6455 section 4.2 and MQTT 6 -> the answer.
//! Pure: bytes in, verdict out. What does not live here: who the client is (`peer`), frames.

use crate::spec::WsSettings;
use std::fmt;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Why an upgrade is not done. Each has one HTTP status; the answer gives no reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum UpgradeFault {
    /// Not an HTTP/1.1 request head that we read (peername 6: line folding, a blank before the
    /// colon, control characters, a name that is no token).
    Malformed,
    /// More bytes or lines than `upgrade_max_bytes`, `upgrade_max_lines`.
    TooLarge,
    /// Another path than the listener's.
    Path,
    /// Not a WebSocket upgrade: method, `Upgrade`, `Connection`, `Host` or key missing or wrong.
    NotUpgrade,
    /// Another version than 13.
    Version,
    /// No subprotocol of ours is offered [MQTT-6.0.0-3].
    Subprotocol,
    /// A web page of an origin that is not allowed.
    Origin,
}

impl UpgradeFault {
    /// The HTTP status that answers.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::NotUpgrade | Self::Subprotocol => 400,
            Self::Origin => 403,
            Self::Path => 404,
            Self::Version => 426,
            Self::TooLarge => 431,
        }
    }
}

impl fmt::Display for UpgradeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed HTTP head",
            Self::TooLarge => "HTTP head too large",
            Self::Path => "no such path",
            Self::NotUpgrade => "not a WebSocket upgrade",
            Self::Version => "WebSocket version is not 13",
            Self::Subprotocol => "no MQTT subprotocol offered",
            Self::Origin => "origin not allowed",
        })
    }
}

/// A checked upgrade request.
#[derive(Debug)]
pub(crate) struct Upgrade {
    /// The 101 answer, whole.
    pub(crate) answer: Vec<u8>,
    /// All field lines in the order received.
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of the request; what follows are frames.
    pub(crate) consumed: usize,
}

/// Reads a request head: `None` while it is incomplete.
pub(crate) fn read(bytes: &[u8], settings: &WsSettings) -> Result<Option<Upgrade>, UpgradeFault> {
    let mut lines = vec![httparse::EMPTY_HEADER; settings.upgrade_max_lines];
    let mut request = httparse::Request::new(&mut lines);
    let consumed = match request.parse(bytes) {
        Ok(httparse::Status::Complete(n)) if n <= settings.upgrade_max_bytes => n,
        Ok(httparse::Status::Partial) if bytes.len() < settings.upgrade_max_bytes => {
            return Ok(None);
        }
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(UpgradeFault::TooLarge),
        Err(_) => return Err(UpgradeFault::Malformed),
    };
    let answer = check(&request, settings)?;
    let fields = request
        .headers
        .iter()
        .map(|h| (h.name.as_bytes().to_vec(), h.value.to_vec()))
        .collect();
    Ok(Some(Upgrade {
        answer,
        fields,
        consumed,
    }))
}

/// The head of a refusal: no body, no reason (peername 6.8).
pub(crate) fn refusal(status: u16) -> Vec<u8> {
    let phrase = match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    };
    // RFC 6455 4.4: the version that would do; RFC 9110 15.5.22: the protocol.
    let extra = if status == 426 {
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    } else {
        ""
    };
    format!("HTTP/1.1 {status} {phrase}\r\n{extra}Content-Length: 0\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

fn check(request: &httparse::Request<'_, '_>, settings: &WsSettings) -> Result<Vec<u8>, UpgradeFault> {
    let path = request.path.unwrap_or_default();
    if path.split('?').next() != Some(settings.path.as_str()) {
        return Err(UpgradeFault::Path);
    }
    let fields = Fields(request.headers);
    let upgrade = request.method == Some("GET")
        && request.version == Some(1)
        && fields.all("host").count() == 1
        && fields.has_token("upgrade", "websocket")
        && fields.has_token("connection", "upgrade");
    if !upgrade {
        return Err(UpgradeFault::NotUpgrade);
    }
    if fields.one("sec-websocket-version") != Some(b"13") {
        return Err(UpgradeFault::Version);
    }
    let Some(key) = fields.one("sec-websocket-key").filter(|k| is_key(k)) else {
        return Err(UpgradeFault::NotUpgrade);
    };
    if !origin_allowed(&fields, settings) {
        return Err(UpgradeFault::Origin);
    }
    let mut offered = fields.tokens("sec-websocket-protocol");
    let Some(chosen) = offered.find_map(|o| settings.subprotocols.iter().find(|s| s.as_bytes() == o)) else {
        return Err(UpgradeFault::Subprotocol);
    };
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {chosen}\r\n\r\n",
        derive_accept_key(key)
    )
    .into_bytes())
}

/// 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let Some((text, b"==")) = key.split_last_chunk::<2>() else {
        return false;
    };
    text.len() == 22
        && text
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

/// A missing Origin is no web page, so it is always let in.
fn origin_allowed(fields: &Fields<'_, '_>, settings: &WsSettings) -> bool {
    let mut origins = fields.all("origin");
    let Some(origin) = origins.next() else {
        return true;
    };
    if origins.next().is_some() {
        return false;
    }
    if settings.loopback_origin_only && !is_loopback_origin(origin) {
        return false;
    }
    settings.allowed_origins.is_empty()
        || settings
            .allowed_origins
            .iter()
            .any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin))
}

/// `scheme://host[:port]` with a host that is this machine.
fn is_loopback_origin(origin: &[u8]) -> bool {
    let Some(rest) = std::str::from_utf8(origin)
        .ok()
        .and_then(|o| o.split_once("://"))
        .map(|(_, rest)| rest)
    else {
        return false;
    };
    let host = match rest.strip_prefix('[') {
        Some(v6) => v6.split(']').next(),
        None => rest.split(':').next(),
    };
    host.is_some_and(|h| {
        h.eq_ignore_ascii_case("localhost") || h.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

struct Fields<'h, 'b>(&'h [httparse::Header<'b>]);

impl<'b> Fields<'_, 'b> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'b [u8]> {
        self.0
            .iter()
            .filter(move |h| h.name.eq_ignore_ascii_case(name))
            .map(|h| h.value)
    }

    /// The value of a field that stands exactly once.
    fn one(&self, name: &'static str) -> Option<&'b [u8]> {
        let mut all = self.all(name);
        all.next().filter(|_| all.next().is_none())
    }

    fn tokens(&self, name: &'static str) -> impl Iterator<Item = &'b [u8]> {
        self.all(name)
            .flat_map(|value| value.split(|b| *b == b','))
            .map(<[u8]>::trim_ascii)
    }

    fn has_token(&self, name: &'static str, token: &str) -> bool {
        self.tokens(name)
            .any(|t| t.eq_ignore_ascii_case(token.as_bytes()))
    }
}

#[cfg(test)]
mod tests;
