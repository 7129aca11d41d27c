//! A question to the rules, as `acl test`, its cases and `POST /acl/test` put it: supposed facts and an action.
//!
//! What does not live here: the answer (`auth`), the facts of a live client (`shard`).

use std::net::IpAddr;

use auth::{Action, Endpoint, Explanation, Facts, Policy, TlsBy};
use codec::topic::{TopicFilter, valid_topic_name};
use peer::{Addr, Kind, Source};

use crate::admin::views::{AclTestRequest, AclTestView};

/// A question that makes sense. Facts that are not set are unknown, which no allow matches; kind is client.
#[derive(Clone, Debug)]
pub struct Question {
    request: AclTestRequest,
    ip: Option<Addr>,
    socket: Option<Addr>,
    san: Vec<String>,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Connect,
    Publish,
    Subscribe,
}

impl Question {
    /// Checks what was asked; the error says what makes no sense.
    pub fn new(request: AclTestRequest) -> Result<Self, String> {
        let what = match (request.connect, &request.publish, &request.subscribe) {
            (true, None, None) => What::Connect,
            (false, Some(topic), None) => {
                if !valid_topic_name(plain_topic(topic)) {
                    return Err(format!("{} is no topic to publish to", auth::shown(topic)));
                }
                What::Publish
            }
            (false, None, Some(filter)) => {
                TopicFilter::parse(filter, usize::MAX)
                    .map_err(|error| format!("{} is no topic filter: {error}", auth::shown(filter)))?;
                What::Subscribe
            }
            _ => return Err("ask for one of connect, publish and subscribe".to_owned()),
        };
        let known = |name: &str, value: &Option<String>, words: &[&str]| match value {
            Some(word) if !words.contains(&word.as_str()) => Err(format!(
                "{name} is one of {}, not {}",
                words.join(", "),
                auth::shown(word)
            )),
            _ => Ok(()),
        };
        known("kind", &request.kind, &["client", "proxy"])?;
        known("via", &request.via, &["socket", "proxy_v1", "proxy_v2", "header"])?;
        known("auth", &request.auth, &["yes", "no"])?;
        known("tls", &request.tls, &["yes", "proxy", "no"])?;
        if request.qos.is_some_and(|qos| qos > 2) {
            return Err("qos is 0, 1 or 2".to_owned());
        }
        Ok(Self {
            ip: request.ip.as_deref().map(address).transpose()?,
            socket: request.socket.as_deref().map(address).transpose()?,
            san: request
                .san
                .iter()
                .flat_map(|names| names.split(','))
                .map(str::to_owned)
                .collect(),
            what,
            request,
        })
    }

    /// The supposed facts.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            ip: self.ip,
            socket: self.socket,
            kind: if self.request.kind.as_deref() == Some("proxy") {
                Kind::Proxy
            } else {
                Kind::Client
            },
            via: match self.request.via.as_deref() {
                Some("socket") => Some(Source::Socket),
                Some("proxy_v1") => Some(Source::ProxyV1),
                Some("proxy_v2") => Some(Source::ProxyV2),
                Some("header") => Some(Source::Header),
                _ => None,
            },
            listener: self.request.listener.as_deref(),
            client_id: self.request.client.as_deref(),
            username: self.request.user.as_deref(),
            cn: self.request.cn.as_deref(),
            san: &self.san,
            sni: self.request.sni.as_deref(),
            vpce: self.request.vpce.as_deref().map(Endpoint::Name),
            auth: self.request.auth.as_deref().map(|word| word == "yes"),
            tls: match self.request.tls.as_deref() {
                Some("yes") => Some(TlsBy::Broker),
                Some("proxy") => Some(TlsBy::Proxy),
                Some("no") => Some(TlsBy::Nobody),
                _ => None,
            },
        }
    }

    /// The action. A shared subscription is asked about by its inner filter, a delayed topic by the topic.
    pub fn action(&self) -> Action<'_> {
        let qos = self.request.qos.unwrap_or(0);
        match self.what {
            What::Connect => Action::Connect,
            What::Publish => Action::Publish {
                topic: plain_topic(self.request.publish.as_deref().unwrap_or_default()),
                qos,
                retain: self.request.retain.unwrap_or(false),
            },
            What::Subscribe => {
                match Action::subscribe(self.request.subscribe.as_deref().unwrap_or_default(), qos) {
                    Action::Subscribe { filter, qos, shared } => Action::Subscribe {
                        filter,
                        qos,
                        shared: shared || self.request.shared.unwrap_or(false),
                    },
                    other => other,
                }
            }
        }
    }

    /// Which rule decides, and why not each before it.
    pub fn explain(&self, policy: &Policy) -> Explanation {
        policy.explain(&self.facts(), &self.action(), self.request.all)
    }

    /// The same for a client whose facts are known: only the action is taken from the question.
    pub fn explain_for(&self, policy: &Policy, facts: &Facts<'_>) -> Explanation {
        policy.explain(facts, &self.action(), self.request.all)
    }
}

/// `$delayed/N/topic` is judged by its topic.
fn plain_topic(topic: &str) -> &str {
    let inner = topic
        .strip_prefix("$delayed/")
        .and_then(|rest| rest.split_once('/'));
    match inner {
        Some((seconds, topic)) if seconds.bytes().all(|b| b.is_ascii_digit()) => topic,
        _ => topic,
    }
}

/// An address with or without a port, or `unix`.
fn address(text: &str) -> Result<Addr, String> {
    let ip = auth::nets::parse_ip(text).map(|ip: IpAddr| Addr::new(ip, 0));
    ip.or_else(|| text.parse().ok())
        .ok_or_else(|| format!("{} is no address", auth::shown(text)))
}

/// The explanation as the API gives it.
pub fn view(explanation: &Explanation) -> AclTestView {
    AclTestView {
        verdict: explanation.decision.effect.as_str().to_owned(),
        place: explanation.place.clone(),
        text: explanation.to_string().lines().map(str::to_owned).collect(),
    }
}
