//! What is wrong with a deployment, by what its connections look like (peername 11): a rolling window of
//! what the resolver produced, per listener. It holds no packets and asks no clock.
//! Not here: the conditions (`judge`), the texts (`message`), findings about anything but addresses.

mod judge;
mod message;
#[cfg(test)]
mod tests;
mod window;

use crate::addr::{Addr, Class};
use crate::code::{Code, Detail, Warnings, codes};
use crate::outcome::Reject;
use crate::peer::{Command, Kind, Link, Peer, Source};
use crate::policy::{Policy, Problem, Transport};
use crate::proxy::FirstBytes;
use crate::steps::{ElementFound, Step};
use std::collections::BTreeMap;
use window::Window;

codes! {
    /// A finding of peername 11.
    FindingCode {
        /// Everybody comes from one private address.
        D01 = "D01",
        /// An address header of a host that is not listed.
        D02 = "D02",
        /// PROXY headers where the stage is off.
        D03 = "D03",
        /// No PROXY header where one is required.
        D04 = "D04",
        /// PROXY headers of hosts that are not listed.
        D05 = "D05",
        /// TLS on a plain listener.
        D06 = "D06",
        /// HTTP on an MQTT listener.
        D07 = "D07",
        /// MQTT on a listener that expects something else.
        D08 = "D08",
        /// Trust that is too wide.
        D09 = "D09",
        /// Results that are proxies.
        D10 = "D10",
        /// A listed hop without the address header.
        D11 = "D11",
        /// Address headers that cannot be resolved.
        D12 = "D12",
        /// The port header carries the server's port.
        D13 = "D13",
        /// Ports that do not match the addresses.
        D14 = "D14",
        /// Two PROXY headers.
        D15 = "D15",
        /// PROXY headers about their own sender.
        D16 = "D16",
        /// Everybody has one address although a proxy names them.
        D17 = "D17",
        /// Health checks.
        D18 = "D18",
        /// Claims of addresses out of scope.
        D19 = "D19",
        /// A client that comes directly and through a proxy by turns.
        D20 = "D20",
        /// Connections cut off before login.
        D21 = "D21",
    }
}

codes! {
    /// How serious a finding is.
    Severity {
        /// Addresses are wrong or forgeable, or clients are refused.
        Error = "error",
        /// Something is probably not as meant.
        Warn = "warn",
        /// Nothing to do.
        Info = "info",
    }
}

impl FindingCode {
    /// How serious it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::D01 | Self::D03 | Self::D04 | Self::D09 | Self::D10 | Self::D11 | Self::D12 => {
                Severity::Error
            }
            Self::D15 | Self::D16 | Self::D17 => Severity::Error,
            Self::D18 => Severity::Info,
            _ => Severity::Warn,
        }
    }
}

/// One connection, as far as the doctor looks at it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The socket's address.
    pub socket: Addr,
    /// The client id, once it is known.
    pub client_id: Option<Box<str>>,
    /// What the first bytes were, of a connection that ended before it was understood.
    pub class: Option<FirstBytes>,
    /// It ended after its PROXY header without another byte.
    pub probe: bool,
    /// It sent a PROXY header whose source is its own socket's address.
    pub same_address: bool,
    /// How it ended.
    pub result: EventResult,
}

/// How an event's connection ended.
#[derive(Clone, Debug)]
pub enum EventResult {
    /// It went on.
    Accepted {
        /// The result's address.
        peername: Addr,
        /// Its kind.
        kind: Kind,
        /// Its source.
        source: Source,
        /// Its warnings.
        warnings: Warnings,
        /// The nearest proxy of its chain; `None` if the chain is empty.
        through: Option<Addr>,
        /// The header element that could not be read, escaped.
        element: Option<Box<str>>,
    },
    /// It was refused or closed.
    Ended {
        /// Why.
        code: Code,
        /// The narrower reason.
        detail: Detail,
        /// The hop, if known.
        hop: Option<Addr>,
        /// The header element that could not be read, escaped.
        element: Option<Box<str>>,
    },
}

impl Event {
    /// An accepted connection; `client_id` as soon as CONNECT has told it.
    pub fn accepted(peer: &Peer, client_id: Option<&str>) -> Self {
        let names_client = peer.proxy().is_some_and(|p| p.command == Command::Proxy);
        let through = peer.chain().first().map(|link| match link {
            Link::Addr(addr) => *addr,
            Link::Unreadable => peer.socket(),
        });
        let result = EventResult::Accepted {
            peername: peer.peername().addr(),
            kind: peer.kind(),
            source: peer.source(),
            warnings: peer.warnings(),
            through,
            element: unreadable(&peer.steps()),
        };
        Self {
            socket: peer.socket(),
            client_id: client_id.map(Into::into),
            class: None,
            probe: false,
            // A listed proxy that speaks about itself is a health check.
            same_address: names_client && peer.kind() == Kind::Client && peer.hop().same_host(&peer.socket()),
            result,
        }
    }

    /// A refused connection; `class` is that of its first bytes.
    pub fn rejected(socket: Addr, reject: &Reject, class: Option<FirstBytes>) -> Self {
        let result = EventResult::Ended {
            code: reject.code(),
            detail: reject.detail(),
            hop: reject.hop(),
            element: unreadable(&reject.steps()),
        };
        Self {
            socket,
            client_id: None,
            class,
            probe: false,
            same_address: false,
            result,
        }
    }

    /// A connection that ended for a reason outside the resolver (rates, time limits, first packets), or
    /// quietly.
    pub fn ended(socket: Addr, code: Code, class: Option<FirstBytes>) -> Self {
        let result = EventResult::Ended {
            code,
            detail: None,
            hop: None,
            element: None,
        };
        Self {
            socket,
            client_id: None,
            class,
            probe: code == Code::Probe,
            same_address: false,
            result,
        }
    }
}

/// The element that stopped the resolution, if one did.
fn unreadable(steps: &[Step]) -> Option<Box<str>> {
    steps.iter().rev().find_map(|step| match step {
        Step::Element {
            element,
            found: ElementFound::NoAddress(_) | ElementFound::Scope(_),
            ..
        } => Some(element.clone()),
        _ => None,
    })
}

/// What the doctor knows of its listener besides the policy.
#[derive(Clone, Debug)]
pub struct ListenerFacts {
    /// Its name.
    pub name: String,
    /// Its address as configured, for the texts and snippets.
    pub bind: String,
    /// Its port, for the snippets.
    pub port: u16,
    /// Whether the broker runs in local mode, where everybody is 127.0.0.1.
    pub local_mode: bool,
}

/// The doctor of one listener.
#[derive(Debug)]
pub struct Doctor {
    facts: ListenerFacts,
    transport: Transport,
    address_header: String,
    port_header: String,
    /// Ranges that are trusted too widely, by the checks of the configuration.
    wide: Vec<String>,
    window: Window,
    open: BTreeMap<(FindingCode, String), Open>,
}

/// A finding that has been made and has not been cleared.
#[derive(Debug)]
struct Open {
    finding: Finding,
    logged_ms: u64,
}

/// Something to be told to the operator.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Which one.
    pub code: FindingCode,
    /// How serious it is.
    pub severity: Severity,
    /// The listener's name.
    pub listener: String,
    /// The address or range meant; empty if the finding is about none.
    pub address: String,
    /// The number of connections it rests on.
    pub count: u64,
    /// The text of peername 11.2, filled in.
    pub text: String,
    /// The snippets that the text names, filled in.
    pub snippets: Vec<String>,
    /// When its condition held for the first and the last time, in the clock of the caller.
    pub first_ms: u64,
    /// See `first_ms`.
    pub last_ms: u64,
    /// Whether it is to be logged now: it is new, or an hour has passed.
    #[serde(skip)]
    pub log: bool,
}

const HOUR_MS: u64 = 3_600_000;
const CLEAR_MS: u64 = 24 * HOUR_MS;

impl Doctor {
    /// The doctor of a listener; `problems` are those of its configuration (D09).
    pub fn new(facts: ListenerFacts, policy: &Policy, problems: &[Problem]) -> Self {
        // A client id tells something only where there is more than one way in.
        let several_ways = policy.proxy_mode() != crate::ProxyMode::Off || policy.header_stage();
        let mut wide: Vec<String> = problems.iter().filter_map(judge::wide_range).collect();
        wide.sort();
        wide.dedup();
        Self {
            facts,
            transport: policy.transport(),
            address_header: policy.address_header().to_owned(),
            port_header: policy.port_header().to_owned(),
            wide,
            window: Window::new(several_ways),
            open: BTreeMap::new(),
        }
    }

    /// Takes note of a connection. `now_ms` is a monotonic clock.
    pub fn record(&mut self, now_ms: u64, event: &Event) {
        self.window.record(now_ms, event, self.transport);
    }

    /// The findings that hold or held in the last 24 hours. Ask about once a minute: a condition that held
    /// only between two calls and left the window is not seen.
    pub fn evaluate(&mut self, now_ms: u64) -> Vec<Finding> {
        for mut finding in self.conditions(now_ms) {
            let key = (finding.code, finding.address.clone());
            match self.open.get_mut(&key) {
                Some(open) => {
                    finding.first_ms = open.finding.first_ms;
                    finding.log = now_ms.saturating_sub(open.logged_ms) >= HOUR_MS;
                    if finding.log {
                        open.logged_ms = now_ms;
                    }
                    open.finding = finding;
                }
                None => {
                    self.open.insert(
                        key,
                        Open {
                            finding,
                            logged_ms: now_ms,
                        },
                    );
                }
            }
        }
        self.open
            .retain(|_, open| now_ms.saturating_sub(open.finding.last_ms) < CLEAR_MS);
        let findings = self.open.values_mut().map(|open| {
            let finding = open.finding.clone();
            open.finding.log = false;
            finding
        });
        findings.collect()
    }
}

/// Loopback or local: an address of our own networks.
fn is_inside(addr: &Addr) -> bool {
    matches!(addr.class(), Class::Loopback | Class::Local)
}
