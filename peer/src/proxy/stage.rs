//! The stage itself: gate, then bytes to a verdict (peername 5.1, 5.4 end, 5.5).

use super::sniff::{Signature, signature, sniff};
use super::{Bad, Header, v1, v2};
use crate::addr::{Addr, Class};
use crate::code::{Code, Detail, Warning, Warnings};
use crate::info::Info;
use crate::outcome::Reject;
use crate::peer::{Command, Family, Hop, Kind, ProxyUse, Source};
use crate::policy::{Policy, ProxyMode, ProxyVersions, TypeSet};
use crate::steps::{Step, Steps};
use std::sync::Arc;

/// The buffer grows by at most so much more than has arrived.
const GROW_MAX: usize = 4096;

/// The PROXY stage of one connection. Push what the socket gives until the verdict is another than
/// [`Verdict::Undecided`]; after that take [`ProxyStage::into_rest`].
///
/// The verdict depends on the bytes alone, not on how they were cut, and more bytes do not change it. It
/// comes only when the bytes after the header have been looked at too (a second header is refused), so a
/// client that says nothing after its header keeps the stage undecided until eof or the deadline, which
/// then end it without error.
#[derive(Debug)]
pub struct ProxyStage<'p> {
    policy: &'p Policy,
    socket: Addr,
    received: Vec<u8>,
    /// Bytes of the header, once accepted.
    consumed: usize,
}

/// What is known after the bytes so far.
#[derive(Debug)]
pub enum Verdict {
    /// More bytes are needed.
    Undecided,
    /// The connection goes on.
    Accept {
        /// The address so far, for the header stage or as the result.
        hop: Hop,
        /// Bytes of the PROXY header; everything after them is the next layer's.
        consumed: usize,
    },
    /// The connection is refused; it is closed without a byte.
    Reject(Reject),
    /// The connection is closed, and nobody needs to hear of it (a `Q_` code).
    Close(Code),
}

/// Why no more bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed.
    Eof,
    /// The deadline passed: accept + [`Policy::proxy_header_timeout`].
    Timeout,
}

impl<'p> ProxyStage<'p> {
    /// The stage of a socket that has just been accepted. The error is that this socket may not speak at
    /// all (E_PROXY_PEER): nothing is to be read.
    pub fn new(policy: &'p Policy, socket: Addr) -> Result<Self, Reject> {
        if policy.proxy.mode == ProxyMode::Required && policy.proxy.trusted.gate(&socket).is_none() {
            return Err(reject(policy, socket, Code::ProxyPeer, None));
        }
        Ok(Self {
            policy,
            socket,
            received: Vec::new(),
            consumed: 0,
        })
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Verdict {
        self.keep(bytes);
        self.decide(None)
    }

    /// No more bytes come. The verdict is never [`Verdict::Undecided`].
    pub fn finish(&mut self, end: End) -> Verdict {
        self.decide(Some(end))
    }

    /// The verdict on a connection that is known to send no header: `required` refuses it, else it goes on.
    pub fn without_header(&self) -> Verdict {
        Evaluation {
            policy: self.policy,
            socket: self.socket,
            end: None,
        }
        .no_header(&[])
    }

    /// The bytes after the header: the beginning of the next layer. All bytes if nothing was consumed.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.received.drain(..self.consumed.min(self.received.len()));
        self.received
    }

    /// What has arrived so far, the header included; for the first-bytes class and for logs.
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    fn keep(&mut self, bytes: &[u8]) {
        let free = self.received.capacity() - self.received.len();
        if free < bytes.len() {
            let ahead = self.received.len().min(GROW_MAX);
            self.received.reserve_exact(bytes.len().max(ahead));
        }
        self.received.extend_from_slice(bytes);
    }

    fn decide(&mut self, end: Option<End>) -> Verdict {
        let verdict = Evaluation {
            policy: self.policy,
            socket: self.socket,
            end,
        }
        .run(&self.received);
        if let Verdict::Accept { consumed, .. } = verdict {
            self.consumed = consumed;
        }
        verdict
    }
}

/// The first decrypted bytes on tls and wss: a PROXY header there is refused (E_PROXY_INSIDE_TLS). `Ok(true)`:
/// go on; `Ok(false)`: they may still become one, ask again with more (eof and deadline go on).
pub fn after_tls(hop: &Hop, first: &[u8]) -> Result<bool, Reject> {
    match signature(first) {
        Signature::None => Ok(true),
        Signature::Undecided => Ok(false),
        found => {
            let mut steps = hop.steps.clone();
            let detail = Some(version_name(found));
            steps.push(Step::ProxyEnded {
                code: Code::ProxyInsideTls,
                detail,
            });
            Err(Reject::new(Code::ProxyInsideTls, detail, Some(hop.addr), steps))
        }
    }
}

/// Most that is read of a refused peer's header for [`names_itself`], in bytes.
const NAMES_ITSELF_MAX: usize = 232;

/// Whether the PROXY header in `bytes` names its own sender as the client (`same_address` of peername 11.1):
/// what a balancer does that keeps client addresses and sends PROXY as well. It is for the doctor alone, on a
/// header that is refused already; nothing of it is believed. `None`: more bytes may tell, 232 at most.
pub fn names_itself(socket: &Addr, bytes: &[u8]) -> Option<bool> {
    let parsed = match signature(bytes) {
        Signature::Undecided => return None,
        Signature::None => return Some(false),
        Signature::V1 => v1::parse(bytes),
        Signature::V2 => v2::parse(bytes, NAMES_ITSELF_MAX, TypeSet::default()),
    };
    match parsed {
        Ok(None) => None,
        Ok(Some(header)) => Some(header.ends.is_some_and(|(source, _)| source.same_host(socket))),
        Err(_) => Some(false),
    }
}

/// One look at the bytes so far.
struct Evaluation<'p> {
    policy: &'p Policy,
    socket: Addr,
    end: Option<End>,
}

impl Evaluation<'_> {
    fn run(&self, bytes: &[u8]) -> Verdict {
        match signature(bytes) {
            Signature::None => self.no_header(bytes),
            Signature::Undecided => self.incomplete(bytes),
            found => self.header(found, bytes),
        }
    }

    fn no_header(&self, bytes: &[u8]) -> Verdict {
        match self.policy.proxy.mode {
            ProxyMode::Off | ProxyMode::Optional => Verdict::Accept {
                hop: self.direct(),
                consumed: 0,
            },
            ProxyMode::Required => self.reject(Code::ProxyRequired, Some(sniff(bytes).as_str())),
        }
    }

    /// The bytes may still become a header, or one has begun and is not complete.
    fn incomplete(&self, bytes: &[u8]) -> Verdict {
        let Some(end) = self.end else {
            return Verdict::Undecided;
        };
        match (self.policy.proxy.mode, end) {
            (ProxyMode::Off, _) => Verdict::Accept {
                hop: self.direct(),
                consumed: 0,
            },
            (_, End::Eof) if bytes.is_empty() => Verdict::Close(Code::Empty),
            (_, End::Timeout) if bytes.is_empty() => Verdict::Close(Code::Idle),
            (_, End::Eof) => self.reject(Code::ProxyTruncated, None),
            (_, End::Timeout) => self.reject(Code::ProxyTimeout, None),
        }
    }

    fn header(&self, found: Signature, bytes: &[u8]) -> Verdict {
        let proxy = &self.policy.proxy;
        if proxy.mode == ProxyMode::Off {
            return self.reject(Code::ProxyUnexpected, Some(version_name(found)));
        }
        let believed = proxy.trusted.gate(&self.socket).is_some();
        if !believed && !proxy.ignore_untrusted {
            return self.reject(Code::ProxyUntrusted, Some(version_name(found)));
        }
        let disabled = match found {
            Signature::V1 => ProxyVersions::V2,
            _ => ProxyVersions::V1,
        };
        if proxy.versions == disabled {
            return self.reject(Code::ProxyVersionDisabled, Some(version_name(found)));
        }
        let parsed = if found == Signature::V1 {
            v1::parse(bytes)
        } else {
            v2::parse(bytes, proxy.header_max, proxy.expose)
        };
        let header = match parsed {
            Ok(Some(header)) => header,
            Ok(None) => return self.incomplete(bytes),
            Err(Bad { code, detail }) => return self.reject(code, detail),
        };
        let consumed = header.len;
        let judged = if believed {
            self.judge(header)
        } else {
            Ok(self.ignored(&header))
        };
        match judged {
            Ok(hop) => self.after(hop, bytes, consumed),
            Err(Bad { code, .. }) if code.is_close() => Verdict::Close(code),
            Err(Bad { code, detail }) => self.reject(code, detail),
        }
    }

    /// What follows the header must not be another one.
    fn after(&self, hop: Hop, bytes: &[u8], consumed: usize) -> Verdict {
        let rest = bytes.get(consumed..).unwrap_or_default();
        match (signature(rest), self.end) {
            (Signature::Undecided, None) => Verdict::Undecided,
            (Signature::Undecided, Some(End::Eof)) if rest.is_empty() => Verdict::Close(Code::Probe),
            (Signature::None, _) | (Signature::Undecided, Some(_)) => Verdict::Accept { hop, consumed },
            (found, _) => {
                let reject = reject(
                    self.policy,
                    self.socket,
                    Code::ProxyDouble,
                    Some(version_name(found)),
                );
                Verdict::Reject(reject.at_hop(hop.addr))
            }
        }
    }

    /// The policy rules for a header that is believed, in the order of peername 5.4.
    fn judge(&self, mut header: Header) -> Result<Hop, Bad> {
        let proxy = &self.policy.proxy;
        match (header.command, header.ends) {
            (Command::Local, _) => {
                if proxy.close_local {
                    return Err(Bad {
                        code: Code::Local,
                        detail: None,
                    });
                }
                return Ok(self.used(header));
            }
            (_, None) if proxy.reject_unknown => {
                let detail = if header.family == Family::Unix {
                    "unix"
                } else {
                    "unspec"
                };
                return Err(Bad::new(Code::ProxyUnknown, detail));
            }
            (_, None) => header.warnings.insert(Warning::ProxyUnknown),
            (_, Some((source, _))) => self.check_source(&source)?,
        }
        let ssl = header.info.ssl.as_deref();
        let verified = ssl.is_some_and(|s| s.verified);
        if proxy.require_tls && !ssl.is_some_and(|s| s.client_tls) {
            return Err(Bad {
                code: Code::Pp2Tls,
                detail: None,
            });
        }
        if proxy.require_client_cert && !verified {
            return Err(Bad {
                code: Code::Pp2Cert,
                detail: None,
            });
        }
        if proxy.cn_as_username {
            match ssl.filter(|s| s.verified).and_then(|s| s.cn.clone()) {
                Some(name) => header.info.username = Some(name),
                None if proxy.require_client_cert => {
                    return Err(Bad {
                        code: Code::Pp2Cert,
                        detail: None,
                    });
                }
                None => header.warnings.insert(Warning::Pp2CnUnusable),
            }
        }
        Ok(self.used(header))
    }

    fn check_source(&self, source: &Addr) -> Result<(), Bad> {
        match source.class() {
            Class::Invalid => Err(Bad {
                code: Code::ProxyAddr,
                detail: None,
            }),
            Class::Loopback if self.policy.scope_check && self.socket.class() != Class::Loopback => {
                Err(Bad {
                    code: Code::ProxyScope,
                    detail: None,
                })
            }
            _ => Ok(()),
        }
    }

    /// The hop after a header that is believed.
    fn used(&self, header: Header) -> Hop {
        let Header {
            version,
            command,
            family,
            ends,
            info,
            warnings,
            ..
        } = header;
        let mut steps = socket_step(self.policy, self.socket);
        let (addr, source, kind) = if let Some((source, destination)) = ends {
            steps.push(Step::ProxyUsed {
                version,
                source,
                destination,
            });
            let by = if version == 1 {
                Source::ProxyV1
            } else {
                Source::ProxyV2
            };
            (source, by, self.policy.listed_kind(&source))
        } else {
            steps.push(Step::ProxyNoClient { version, command });
            (self.socket, Source::Socket, Kind::Proxy)
        };
        Hop {
            socket: self.socket,
            addr,
            kind,
            source,
            warnings,
            absent: false,
            proxy: Some(ProxyUse {
                version,
                command,
                family,
            }),
            info: (info != Info::default()).then(|| Arc::new(info)),
            steps,
        }
    }

    /// The hop after a header that is not believed: as if there had been none.
    fn ignored(&self, header: &Header) -> Hop {
        let mut hop = self.socket_hop(Step::ProxyIgnored {
            version: header.version,
            command: header.command,
        });
        hop.warnings.insert(Warning::ProxyIgnored);
        hop
    }

    /// The hop of a connection without a header.
    fn direct(&self) -> Hop {
        if self.policy.proxy.mode == ProxyMode::Off {
            return self.hop(socket_step(self.policy, self.socket));
        }
        let mut hop = self.socket_hop(Step::ProxyNone);
        if self.policy.proxy.trusted.gate(&self.socket).is_some() {
            hop.absent = true;
            hop.kind = Kind::Proxy;
        }
        hop
    }

    fn socket_hop(&self, step: Step) -> Hop {
        let mut steps = socket_step(self.policy, self.socket);
        steps.push(step);
        self.hop(steps)
    }

    fn hop(&self, steps: Steps) -> Hop {
        Hop {
            socket: self.socket,
            addr: self.socket,
            kind: self.policy.listed_kind(&self.socket),
            source: Source::Socket,
            warnings: Warnings::default(),
            absent: false,
            proxy: None,
            info: None,
            steps,
        }
    }

    fn reject(&self, code: Code, detail: Detail) -> Verdict {
        Verdict::Reject(reject(self.policy, self.socket, code, detail))
    }
}

/// The first step of every resolution.
pub(crate) fn socket_step(policy: &Policy, socket: Addr) -> Steps {
    let mut steps = Steps::default();
    steps.push(match (policy.proxy.mode, policy.proxy.trusted.gate(&socket)) {
        (ProxyMode::Off, _) => Step::SocketOff,
        (_, Some(range)) => Step::SocketListed(range),
        (_, None) => Step::SocketUnlisted,
    });
    steps
}

fn reject(policy: &Policy, socket: Addr, code: Code, detail: Detail) -> Reject {
    let mut steps = socket_step(policy, socket);
    steps.push(Step::ProxyEnded { code, detail });
    Reject::new(code, detail, None, steps)
}

fn version_name(found: Signature) -> &'static str {
    if found == Signature::V1 { "v1" } else { "v2" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{RawPolicy, Transport};

    /// A length field allocates nothing: what is held is what has arrived and at most 4 KiB (peername 12).
    #[test]
    fn memory_follows_what_has_arrived() {
        let mut raw = RawPolicy::default();
        raw.set("proxy_protocol", "required")
            .set("trusted_proxies", "10.0.0.0/24")
            .set("proxy_header_max", 65_551);
        let policy = raw.check(Transport::Tcp, &|_| None).policy.unwrap();
        for step in [1, 7, 4096, 65_551] {
            let mut stage = ProxyStage::new(&policy, "10.0.0.5:1".parse().unwrap()).unwrap();
            let header = [&b"\r\n\r\n\0\r\nQUIT\n\x20\x00\xff\xff"[..], &vec![0; 65_535]].concat();
            for chunk in header.chunks(step) {
                let verdict = stage.push(chunk);
                assert!(matches!(verdict, Verdict::Undecided));
                assert!(stage.received.capacity() <= stage.received.len() + GROW_MAX);
            }
            assert!(matches!(
                stage.push(b"\x10"),
                Verdict::Accept { consumed: 65_551, .. }
            ));
            assert_eq!(stage.into_rest(), b"\x10");
        }
    }

    #[test]
    fn a_header_may_not_come_first_inside_tls() {
        let policy = Policy::defaults(Transport::Tls);
        let mut stage = ProxyStage::new(&policy, "10.0.0.5:1".parse().unwrap()).unwrap();
        let Verdict::Accept { hop, .. } = stage.push(b"\x16") else {
            panic!("not accepted")
        };
        assert!(after_tls(&hop, b"\x10").unwrap());
        assert!(!after_tls(&hop, b"PROX").unwrap());
        let reject = after_tls(&hop, b"PROXY ").unwrap_err();
        assert_eq!(
            (reject.code(), reject.detail()),
            (Code::ProxyInsideTls, Some("v1"))
        );
    }

    #[test]
    fn a_balancer_that_keeps_addresses_names_the_socket() {
        let socket = "203.0.113.7:50000".parse().unwrap();
        let line = |source: &str| format!("PROXY TCP4 {source} 10.0.0.1 50000 1883\r\n").into_bytes();
        assert_eq!(names_itself(&socket, &line("203.0.113.7")), Some(true));
        assert_eq!(names_itself(&socket, &line("203.0.113.8")), Some(false));
        assert_eq!(names_itself(&socket, b"PROXY TCP4 203."), None);
        assert_eq!(names_itself(&socket, b"PROXY TCP9\r\n"), Some(false));
        assert_eq!(names_itself(&socket, b"\x10"), Some(false));
        let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x0a\0\0\x01\xc3\x50\x07\x5b";
        assert_eq!(names_itself(&socket, v2), Some(true));
    }
}
