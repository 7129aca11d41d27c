//! How a peername came about, as text and as data (peername 10). It prints the steps that the resolver
//! returned and decides nothing itself.

use crate::addr::Addr;
use crate::code::{Code, Detail};
use crate::header::resolve_headers;
use crate::outcome::Reject;
use crate::peer::{Peer, Source, Strategy};
use crate::policy::Policy;
use crate::proxy::{End, ProxyStage, Verdict, socket_step};
use crate::steps::{ElementFound, ElementRule, HeaderFound, PortFound, Step};
use std::fmt::{self, Write};

/// The resolution of one connection, ready to be printed (`Display` gives the text, `Serialize` the fields
/// of peername 7.1 and `steps`).
#[derive(Debug)]
pub struct Explanation<'a> {
    policy: &'a Policy,
    listener: &'a str,
    socket: Addr,
    outcome: Outcome,
}

/// How a connection's resolution ended.
#[derive(Debug)]
pub enum Outcome {
    /// The connection goes on.
    Accept {
        /// Whose it is.
        peer: Box<Peer>,
        /// Bytes of the PROXY header.
        consumed: usize,
    },
    /// It is refused.
    Reject(Box<Reject>),
    /// It is closed quietly.
    Close(Code),
}

impl Outcome {
    /// `accept`, `reject` or `close`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accept { .. } => "accept",
            Self::Reject(_) => "reject",
            Self::Close(_) => "close",
        }
    }

    /// Code and detail; `None` for an accepted connection.
    pub fn code(&self) -> Option<(Code, Detail)> {
        match self {
            Self::Accept { .. } => None,
            Self::Reject(reject) => Some((reject.code(), reject.detail())),
            Self::Close(code) => Some((*code, None)),
        }
    }
}

impl<'a> Explanation<'a> {
    /// Runs the resolver as the listener would: `proxy_bytes` are what the socket sends before anything
    /// else, `fields` the upgrade request's lines (looked at on ws and wss only). Without PROXY bytes a
    /// listener in `required` refuses, one in `optional` goes on without.
    pub fn resolve(
        policy: &'a Policy,
        listener: &'a str,
        socket: Addr,
        proxy_bytes: &[u8],
        fields: &[(&[u8], &[u8])],
    ) -> Self {
        let outcome = outcome(policy, socket, proxy_bytes, fields);
        Self {
            policy,
            listener,
            socket,
            outcome,
        }
    }

    /// The steps kept from a live client's own resolution, beside the listener's present configuration.
    pub fn of_peer(policy: &'a Policy, listener: &'a str, peer: &Peer) -> Self {
        let outcome = Outcome::Accept {
            peer: Box::new(peer.clone()),
            consumed: 0,
        };
        Self {
            policy,
            listener,
            socket: peer.socket(),
            outcome,
        }
    }

    /// A resolution that has already been made.
    pub fn of_outcome(policy: &'a Policy, listener: &'a str, socket: Addr, outcome: Outcome) -> Self {
        Self {
            policy,
            listener,
            socket,
            outcome,
        }
    }

    /// How it ended; anything but accept is exit status 1.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The text, line by line.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.config_line()];
        for (number, step) in (1..).zip(self.steps()) {
            let StepText {
                stage,
                subject,
                verdict,
            } = step;
            lines.push(format!("{number:>2} {stage:<10} {subject:<24} {verdict}"));
        }
        let mut result =
            |mark: &str, name: &str, text: String| lines.push(format!(" {mark} {name:<10} {text}"));
        match &self.outcome {
            Outcome::Accept { peer, .. } => {
                let text = format!(
                    "{:<24} kind={} source={}",
                    peer.peername(),
                    peer.kind(),
                    source_text(peer)
                );
                result("=", "peername", text);
                if !peer.chain().is_empty() {
                    result(" ", "chain", join(peer.chain(), " <- "));
                }
                if let Some(claimed) = peer.claimed() {
                    result(" ", "claimed", claimed.to_string());
                }
                if !peer.warnings().is_empty() {
                    result(" ", "warnings", join(peer.warnings().iter(), ", "));
                }
            }
            Outcome::Reject(reject) => {
                result(
                    "=",
                    "reject",
                    format!("{:<24} detail={}", reject.code(), or_dash(reject.detail())),
                );
            }
            Outcome::Close(code) => result("=", "close", format!("{code:<24} detail=-")),
        }
        lines
    }

    /// The steps as they are printed.
    pub fn steps(&self) -> Vec<StepText> {
        let steps = match &self.outcome {
            Outcome::Accept { peer, .. } => peer.steps(),
            Outcome::Reject(reject) => reject.steps(),
            Outcome::Close(code) => {
                let mut steps = socket_step(self.policy, self.socket);
                steps.push(Step::ProxyEnded {
                    code: *code,
                    detail: None,
                });
                steps.into_vec()
            }
        };
        steps.iter().map(|step| self.step_text(step)).collect()
    }

    fn config_line(&self) -> String {
        let policy = self.policy;
        let mut line = format!(
            "listener {} ({}) proxy_protocol={}",
            self.listener, policy.transport, policy.proxy.mode
        );
        if !policy.proxy.trusted.is_empty() {
            let _ = write!(
                line,
                " trusted_proxies={}",
                join(policy.proxy.trusted.written(), ",")
            );
        }
        if let Some(header) = &policy.header {
            let _ = write!(
                line,
                " address_header={} strategy={}",
                header.name, header.strategy
            );
            if header.strategy == Strategy::TrustedHops {
                let _ = write!(line, "({})", header.hops);
            }
        }
        line
    }

    fn step_text(&self, step: &Step) -> StepText {
        let socket = |verdict: String| StepText::new("socket", self.socket, verdict);
        match step {
            Step::SocketOff => socket("PROXY stage off".to_owned()),
            Step::SocketListed(range) => socket(format!("in trusted_proxies ({range})")),
            Step::SocketUnlisted => socket("not in trusted_proxies".to_owned()),
            Step::ProxyNone => StepText::new("proxy", "none", "optional: continue with the socket address"),
            Step::ProxyUsed {
                version,
                source,
                destination,
            } => {
                let verdict = format!("source {source} destination {destination}");
                StepText::new("proxy", format_args!("v{version} PROXY"), verdict)
            }
            Step::ProxyNoClient { version, command } => {
                let verdict = "no client address: keep the socket address";
                StepText::new("proxy", format_args!("v{version} {command}"), verdict)
            }
            Step::ProxyIgnored { version, command } => {
                let verdict = "ignored: the socket peer is not in trusted_proxies";
                StepText::new("proxy", format_args!("v{version} {command}"), verdict)
            }
            Step::ProxyEnded { code, detail } => StepText::new("proxy", code, or_dash(*detail)),
            Step::HeaderNotLookedFor => StepText::new(
                "header",
                self.policy.address_header(),
                "not looked for: the hop is not in header_trusted_proxies",
            ),
            Step::Header { name, found } => StepText::new("header", name, header_verdict(*found)),
            Step::Claimed { element, strategy } => {
                StepText::new("claimed", element, format!("{strategy}: for display only"))
            }
            Step::Element {
                by,
                index,
                element,
                found,
            } => StepText::new(
                format!("{} [{index}]", rule_name(*by)),
                element,
                element_verdict(*by, *found),
            ),
            Step::LeftOfClient(left) => StepText::new(
                format!("walk [<{left}]"),
                format_args!("{left} element(s)"),
                "left of the client: not examined, could be forged",
            ),
            Step::TooFewHops { hops, elements } => {
                StepText::new("hops", hops, format!("only {elements} element(s)"))
            }
            Step::Port { name, found } => StepText::new("port", name, port_verdict(*found)),
            Step::Fallback(detail) => StepText::new(
                "fallback",
                "last_trusted",
                format!("{detail}: keep the last trusted address"),
            ),
        }
    }
}

/// One step as it is printed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StepText {
    /// Where: `socket`, `proxy`, `header`, `walk [2]`, …
    pub stage: String,
    /// What was looked at; foreign text is escaped.
    pub subject: String,
    /// What was found.
    pub verdict: String,
}

impl StepText {
    fn new(stage: impl Into<String>, subject: impl fmt::Display, verdict: impl Into<String>) -> Self {
        Self {
            stage: stage.into(),
            subject: subject.to_string(),
            verdict: verdict.into(),
        }
    }
}

fn outcome(policy: &Policy, socket: Addr, proxy_bytes: &[u8], fields: &[(&[u8], &[u8])]) -> Outcome {
    let mut stage = match ProxyStage::new(policy, socket) {
        Ok(stage) => stage,
        Err(reject) => return Outcome::Reject(Box::new(reject)),
    };
    let verdict = match stage.push(proxy_bytes) {
        Verdict::Undecided if proxy_bytes.is_empty() => stage.without_header(),
        // A header and nothing after it goes on, as on a connection whose client is silent for now.
        Verdict::Undecided => match stage.finish(End::Timeout) {
            accept @ Verdict::Accept { .. } => accept,
            _ => stage.finish(End::Eof),
        },
        decided => decided,
    };
    match verdict {
        Verdict::Accept { hop, consumed } => match resolve_headers(policy, &hop, fields.iter().copied()) {
            Ok(peer) => Outcome::Accept {
                peer: Box::new(peer),
                consumed,
            },
            Err(reject) => Outcome::Reject(Box::new(reject)),
        },
        Verdict::Reject(reject) => Outcome::Reject(Box::new(reject)),
        Verdict::Close(code) => Outcome::Close(code),
        Verdict::Undecided => unreachable!("finish decides"),
    }
}

fn header_verdict(found: HeaderFound) -> String {
    match found {
        HeaderFound::Ignored(hop) => format!("ignored: the hop {hop} is not in header_trusted_proxies"),
        HeaderFound::Untrusted(hop) => {
            format!("present but the hop {hop} is not in header_trusted_proxies: rejected")
        }
        HeaderFound::TooLarge => "longer than header_max_bytes".to_owned(),
        HeaderFound::MissingRejected => "missing: rejected".to_owned(),
        HeaderFound::Missing(range) => format!("missing although the hop is trusted ({range}): keep the hop"),
        HeaderFound::TooMany => "more than header_max_elements".to_owned(),
        HeaderFound::Elements(elements, range) => {
            format!("{elements} element(s); the hop is trusted ({range})")
        }
    }
}

fn rule_name(by: ElementRule) -> &'static str {
    match by {
        ElementRule::Walk => "walk",
        ElementRule::Hops(_) => "hops",
        ElementRule::Leftmost => "leftmost",
    }
}

fn element_verdict(by: ElementRule, found: ElementFound) -> String {
    match (found, by) {
        (ElementFound::Trusted(range), _) => format!("trusted ({range}): continue"),
        (ElementFound::Client, ElementRule::Walk) => "not trusted: this is the client".to_owned(),
        (ElementFound::Client, ElementRule::Hops(hops)) => {
            format!("element {hops} from the right: this is the client")
        }
        (ElementFound::Client, ElementRule::Leftmost) => {
            "the edge overwrites the header: this is the client".to_owned()
        }
        (ElementFound::NoAddress(class), ElementRule::Walk) => format!("{class}: cannot go further left"),
        (ElementFound::NoAddress(what) | ElementFound::Scope(what), _) => what.to_owned(),
    }
}

fn port_verdict(found: PortFound) -> String {
    match found {
        PortFound::Value { number, of, port } => format!("value {number} of {of}: {port}"),
        PortFound::Misaligned { values, addresses } => {
            format!("{values} value(s) for {addresses} address(es): port unknown")
        }
        PortFound::Invalid(number) => format!("value {number} is not a port: port unknown"),
    }
}

fn source_text(peer: &Peer) -> String {
    match peer.header() {
        Some(header) => format!(
            "{}({}, {}, {})",
            Source::Header,
            header.name,
            header.strategy,
            header.index
        ),
        None => peer.source().to_string(),
    }
}

fn or_dash(detail: Detail) -> &'static str {
    detail.unwrap_or("-")
}

fn join<T: fmt::Display>(items: impl IntoIterator<Item = T>, by: &str) -> String {
    let items: Vec<String> = items.into_iter().map(|i| i.to_string()).collect();
    items.join(by)
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl serde::Serialize for Explanation<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("listener", self.listener)?;
        map.serialize_entry("outcome", self.outcome.name())?;
        match &self.outcome {
            Outcome::Accept { peer, consumed } => {
                map.serialize_entry("peername", &peer.peername())?;
                map.serialize_entry("kind", &peer.kind())?;
                map.serialize_entry("socket", &peer.socket())?;
                map.serialize_entry("hop", &peer.hop())?;
                map.serialize_entry("source", &peer.source())?;
                map.serialize_entry("header", &peer.header())?;
                map.serialize_entry("proxy", &peer.proxy())?;
                map.serialize_entry("chain", peer.chain())?;
                map.serialize_entry("claimed", &peer.claimed())?;
                map.serialize_entry("warnings", &peer.warnings())?;
                map.serialize_entry("info", peer.info().unwrap_or(&crate::Info::default()))?;
                map.serialize_entry("consumed", consumed)?;
            }
            Outcome::Reject(reject) => {
                map.serialize_entry("code", &reject.code())?;
                map.serialize_entry("detail", &reject.detail())?;
                map.serialize_entry("http_status", &reject.http_status())?;
                map.serialize_entry("socket", &self.socket)?;
                map.serialize_entry("hop", &reject.hop())?;
            }
            Outcome::Close(code) => {
                map.serialize_entry("code", code)?;
                map.serialize_entry("socket", &self.socket)?;
            }
        }
        map.serialize_entry("steps", &self.steps())?;
        map.end()
    }
}
