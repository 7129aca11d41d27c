//! Every code the resolver can report, with its level, HTTP status and log text (peername 5, 6, 9).
//! Not here: configuration codes (`policy`), findings (`doctor`).

use crate::addr::Addr;
use std::fmt;

/// Declares an enum whose variants have the names of the specification.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// All of them, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name as the specification writes it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The code of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|c| c.as_str() == name)
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }
    };
}
pub(crate) use codes;

codes! {
    /// Why a connection was refused (`E_`) or quietly closed (`Q_`).
    Code {
        /// `required`, and the socket is not listed: refused before a byte is read.
        ProxyPeer = "E_PROXY_PEER",
        /// A PROXY header where the stage is off.
        ProxyUnexpected = "E_PROXY_UNEXPECTED",
        /// A PROXY header from a socket that is not listed.
        ProxyUntrusted = "E_PROXY_UNTRUSTED",
        /// Something else where a PROXY header is required; the detail is the class of the first bytes.
        ProxyRequired = "E_PROXY_REQUIRED",
        /// The peer closed inside the header.
        ProxyTruncated = "E_PROXY_TRUNCATED",
        /// The deadline passed inside the header.
        ProxyTimeout = "E_PROXY_TIMEOUT",
        /// A version that proxy_versions leaves out.
        ProxyVersionDisabled = "E_PROXY_VERSION_DISABLED",
        /// A malformed v1 line.
        ProxyV1 = "E_PROXY_V1",
        /// A malformed v2 header.
        ProxyV2 = "E_PROXY_V2",
        /// A header longer than allowed.
        ProxyTooLarge = "E_PROXY_TOO_LARGE",
        /// The CRC-32C of a v2 header is wrong.
        ProxyCrc = "E_PROXY_CRC",
        /// The source is of class invalid.
        ProxyAddr = "E_PROXY_ADDR",
        /// The source is loopback while the socket is not.
        ProxyScope = "E_PROXY_SCOPE",
        /// UNKNOWN, refused by proxy_unknown.
        ProxyUnknown = "E_PROXY_UNKNOWN",
        /// A second PROXY header after the first.
        ProxyDouble = "E_PROXY_DOUBLE",
        /// A PROXY header as the first decrypted bytes.
        ProxyInsideTls = "E_PROXY_INSIDE_TLS",
        /// pp2_require_tls, and the client did not use TLS at the proxy.
        Pp2Tls = "E_PP2_TLS",
        /// A client certificate is required and none was verified.
        Pp2Cert = "E_PP2_CERT",
        /// An address header from a hop that is not listed.
        HeaderUntrusted = "E_HEADER_UNTRUSTED",
        /// Address and port header longer than header_max_bytes.
        HeaderTooLarge = "E_HEADER_TOO_LARGE",
        /// A listed hop sent no address header.
        HeaderMissing = "E_HEADER_MISSING",
        /// More than header_max_elements.
        HeaderElements = "E_HEADER_ELEMENTS",
        /// The header does not say who the client is.
        HeaderUnresolvable = "E_HEADER_UNRESOLVABLE",
        /// A rate limit before login.
        Rate = "E_RATE",
        /// Too many unfinished logins of one address.
        HalfOpen = "E_HALF_OPEN",
        /// The upgrade request is no HTTP request that is accepted here.
        HttpBadRequest = "E_HTTP_BAD_REQUEST",
        /// The first packet is no MQTT CONNECT.
        MqttFirstPacket = "E_MQTT_FIRST_PACKET",
        /// Closed without a byte.
        Empty = "Q_EMPTY",
        /// Silent until the deadline.
        Idle = "Q_IDLE",
        /// A LOCAL header, closed by proxy_local.
        Local = "Q_LOCAL",
        /// Closed after the header without another byte: a health check.
        Probe = "Q_PROBE",
    }
}

codes! {
    /// Something noteworthy about an accepted connection; in the order of the names, as they are listed.
    Warning {
        /// Every element is a listed proxy.
        AllTrusted = "W_ALL_TRUSTED",
        /// An address header of a hop that is not listed was not believed.
        HeaderIgnored = "W_HEADER_IGNORED",
        /// A listed hop sent no address header.
        HeaderMissing = "W_HEADER_MISSING",
        /// The value at the result's place in the port header is no port.
        PortInvalid = "W_PORT_INVALID",
        /// Port header and address header have different lengths.
        PortMisaligned = "W_PORT_MISALIGNED",
        /// pp2_cn_as_username, and there is no verified name.
        Pp2CnUnusable = "W_PP2_CN_UNUSABLE",
        /// A listed proxy came without a header.
        ProxyAbsent = "W_PROXY_ABSENT",
        /// A PROXY header of a socket that is not listed was consumed and not believed.
        ProxyIgnored = "W_PROXY_IGNORED",
        /// The header names no client address.
        ProxyUnknown = "W_PROXY_UNKNOWN",
        /// The result is one of the listed proxies.
        ResultIsProxy = "W_RESULT_IS_PROXY",
        /// The content of a TLV broke its rule and was dropped.
        TlvContent = "W_TLV_CONTENT",
        /// A TLV came twice; the first was kept.
        TlvDup = "W_TLV_DUP",
        /// The header could not be resolved; the last trusted address was kept.
        Unresolvable = "W_UNRESOLVABLE",
        /// The destination of a v1 line has the other family.
        V1DstFamily = "W_V1_DST_FAMILY",
        /// The zone of a link-local address was cut off.
        ZoneStripped = "W_ZONE_STRIPPED",
    }
}

/// The narrower reason behind a code: one of the words of peername 5 and 6, or a first-bytes class.
pub type Detail = Option<&'static str>;

/// How loud a code is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The deployment is broken.
    Error,
    /// Refused; somebody should look.
    Warn,
    /// Of no interest in operation.
    Debug,
}

impl Code {
    /// The log level (peername 9).
    pub fn level(self) -> Level {
        match self {
            Self::ProxyUnexpected | Self::ProxyRequired => Level::Error,
            _ if self.is_close() => Level::Debug,
            _ => Level::Warn,
        }
    }

    /// Whether this closes quietly (`Q_`) rather than refuses (`E_`).
    pub fn is_close(self) -> bool {
        matches!(self, Self::Empty | Self::Idle | Self::Local | Self::Probe)
    }

    /// The status of the HTTP answer, on listeners that have come that far; `None` if there is none.
    pub fn http_status(self) -> Option<u16> {
        match self {
            Self::HeaderUntrusted => Some(403),
            Self::HeaderTooLarge => Some(431),
            Self::HeaderMissing | Self::HeaderElements | Self::HeaderUnresolvable | Self::HttpBadRequest => {
                Some(400)
            }
            Self::Rate => Some(429),
            _ => None,
        }
    }
}

/// What a log text of peername 9 is filled in with.
#[derive(Clone, Copy, Debug)]
pub struct LogContext<'a> {
    /// The listener's name.
    pub listener: &'a str,
    /// The socket's address.
    pub socket: Addr,
    /// The hop, if the PROXY stage is done.
    pub hop: Option<Addr>,
    /// The address header as configured; empty if none.
    pub address_header: &'a str,
}

impl Code {
    /// The text of peername 9 for this code; `detail` may be empty. `Q_` codes have no text of their own and
    /// are described by their name.
    pub fn log_text(self, detail: Detail, at: &LogContext<'_>) -> String {
        let LogContext {
            listener: l,
            socket,
            hop,
            address_header,
        } = *at;
        let detail = detail.unwrap_or_default();
        let hop = hop.unwrap_or(socket);
        match self {
            Self::ProxyUnexpected => format!(
                "listener {l}: {socket} sent a PROXY {detail} header but proxy_protocol is off; set \
                 proxy_protocol=\"required\" and trusted_proxies=[\"{ip}\"], or stop the proxy from sending it",
                ip = socket.host_text()
            ),
            Self::ProxyRequired => format!(
                "listener {l}: {socket} sent {detail} where a PROXY header is required; turn on send-proxy \
                 there, or use a listener without PROXY"
            ),
            Self::ProxyPeer | Self::ProxyUntrusted => {
                format!("listener {l}: {socket} is not in trusted_proxies; connection refused")
            }
            Self::ProxyDouble => format!(
                "listener {l}: a second PROXY header after the first ({hop}); only one proxy of a chain may \
                 add it, the others pass it on or parse and replace it"
            ),
            Self::HeaderUntrusted
            | Self::HeaderTooLarge
            | Self::HeaderMissing
            | Self::HeaderElements
            | Self::HeaderUnresolvable => with_detail(
                format!("listener {l}: {address_header} from {hop} refused: {self}"),
                detail,
            ),
            Self::Rate | Self::HalfOpen | Self::HttpBadRequest | Self::MqttFirstPacket => with_detail(
                format!("listener {l}: connection from {hop} refused: {self}"),
                detail,
            ),
            _ if self.is_close() => format!("listener {l}: {socket} closed: {self}"),
            _ => with_detail(
                format!("listener {l}: PROXY header from {socket} refused: {self}"),
                detail,
            ),
        }
    }
}

fn with_detail(mut text: String, detail: &str) -> String {
    if !detail.is_empty() {
        text.push(' ');
        text.push_str(detail);
    }
    text
}

/// A set of [`Warning`]s.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Warnings(u16);

impl Warnings {
    /// Adds a warning; one that is there already stays.
    pub(crate) fn insert(&mut self, warning: Warning) {
        self.0 |= 1 << warning as u16;
    }

    /// Whether the warning is in the set.
    pub fn contains(self, warning: Warning) -> bool {
        self.0 & (1 << warning as u16) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in the set, in the order of [`Warning::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Warning> {
        Warning::ALL.iter().copied().filter(move |w| self.contains(*w))
    }

    /// Both sets together.
    #[cfg(feature = "test-util")]
    #[must_use]
    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<Warning> for Warnings {
    fn from_iter<T: IntoIterator<Item = Warning>>(warnings: T) -> Self {
        let mut set = Self::default();
        warnings.into_iter().for_each(|w| set.insert(w));
        set
    }
}

impl fmt::Debug for Warnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Warning::as_str)).finish()
    }
}

impl serde::Serialize for Warnings {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_fit_and_are_a_set() {
        assert!(Warning::ALL.len() <= 16);
        let set: Warnings = [
            Warning::ResultIsProxy,
            Warning::ProxyIgnored,
            Warning::ProxyIgnored,
        ]
        .into_iter()
        .collect();
        let names: Vec<_> = set.iter().map(Warning::as_str).collect();
        assert_eq!(names, ["W_PROXY_IGNORED", "W_RESULT_IS_PROXY"]);
    }

    #[test]
    fn log_texts_name_both_sides() {
        let at = LogContext {
            listener: "edge",
            socket: "10.0.0.5:40000".parse().unwrap(),
            hop: Some("198.51.100.7:1".parse().unwrap()),
            address_header: "X-Forwarded-For",
        };
        assert_eq!(
            Code::ProxyUnexpected.log_text(Some("v1"), &at),
            "listener edge: 10.0.0.5:40000 sent a PROXY v1 header but proxy_protocol is off; set \
             proxy_protocol=\"required\" and trusted_proxies=[\"10.0.0.5\"], or stop the proxy from sending it"
        );
        assert_eq!(
            Code::HeaderUnresolvable.log_text(Some("garbage"), &at),
            "listener edge: X-Forwarded-For from 198.51.100.7:1 refused: E_HEADER_UNRESOLVABLE garbage"
        );
        assert_eq!(
            Code::ProxyCrc.log_text(None, &at),
            "listener edge: PROXY header from 10.0.0.5:40000 refused: E_PROXY_CRC"
        );
    }

    #[test]
    fn levels() {
        assert_eq!(Code::ProxyRequired.level(), Level::Error);
        assert_eq!(Code::ProxyPeer.level(), Level::Warn);
        assert_eq!(Code::Probe.level(), Level::Debug);
        assert!(
            Code::ALL
                .iter()
                .all(|c| c.is_close() == c.as_str().starts_with("Q_"))
        );
    }
}
