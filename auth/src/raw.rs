//! An ACL file as written: rules, groups and defaults with their places, every value already typed.
//!
//! Reading the text is `parse`'s work; what it means for a client is `policy`'s and `rule`'s.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use peer::Range;

use crate::diagnostic::{Diagnostic, Pos};
use crate::nets::NetSet;
use crate::pattern::Pattern;

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The action may be done.
    Allow,
    /// It may not.
    Deny,
}

impl Effect {
    /// `allow` or `deny`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActionKind {
    /// Being here at all.
    Connect,
    /// Sending to a topic; a will too.
    Publish,
    /// Asking for a filter.
    Subscribe,
    /// Publish and subscribe, never connect.
    All,
}

impl ActionKind {
    /// The word of the language.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::All => "all",
        }
    }

    /// Whether a rule of this kind is asked about an action of kind `asked`.
    pub fn includes(self, asked: Self) -> bool {
        self == asked || (self == Self::All && asked != Self::Connect)
    }
}

/// Terms on a text that the client has, or has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextKey {
    /// Username.
    User,
    /// Client id.
    Client,
    /// Listener name.
    Listener,
    /// Common name of the verified certificate.
    Cn,
    /// Subject alternative names.
    San,
    /// Server name the client asked for.
    Sni,
    /// Cloud endpoint id.
    Vpce,
}

impl TextKey {
    /// The word of the language.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Client => "client",
            Self::Listener => "listener",
            Self::Cn => "cn",
            Self::San => "san",
            Self::Sni => "sni",
            Self::Vpce => "vpce",
        }
    }
}

/// Terms on an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddrKey {
    /// The peername.
    Ip,
    /// The accepted TCP socket's peer.
    Socket,
}

/// One value of `ip=` or `socket=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddrValue {
    /// An address, a CIDR or `unix`.
    Range(Range),
    /// `@name`.
    Group(Box<str>),
}

impl fmt::Display for AddrValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(Range::Net(net)) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            Self::Range(range) => range.fmt(f),
            Self::Group(name) => write!(f, "@{name}"),
        }
    }
}

/// Terms on a property with few values; a set bit is a value that was listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlagKey {
    /// client, proxy.
    Kind,
    /// socket, `proxy_v1`, `proxy_v2`, header.
    Via,
    /// yes, no.
    Auth,
    /// yes, proxy, no.
    Tls,
}

impl FlagKey {
    /// The values, in the order of their bits.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Kind => &["client", "proxy"],
            Self::Via => &["socket", "proxy_v1", "proxy_v2", "header"],
            Self::Auth => &["no", "yes"],
            Self::Tls => &["no", "proxy", "yes"],
        }
    }

    /// The word of the language.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Via => "via",
            Self::Auth => "auth",
            Self::Tls => "tls",
        }
    }
}

/// One condition of a rule; all of them must hold.
#[derive(Debug, Clone)]
pub enum Cond {
    /// A term on a text; the values are alternatives.
    Text {
        /// Which text.
        key: TextKey,
        /// `!=` or `!~`.
        negated: bool,
        /// The values.
        patterns: Vec<Pattern>,
    },
    /// A term on an address; the values are alternatives.
    Addr {
        /// Which address.
        key: AddrKey,
        /// `!=`.
        negated: bool,
        /// The values.
        values: Vec<AddrValue>,
    },
    /// A term on a property with few values.
    Flag {
        /// Which property.
        key: FlagKey,
        /// `!=`.
        negated: bool,
        /// Bit n is set if the nth word of [`FlagKey::words`] is listed.
        mask: u8,
    },
    /// `qos=`; bit n is set if n is listed.
    Qos(u8),
    /// `retain=`, for publish.
    Retain(bool),
    /// `shared=`, for subscribe.
    Shared(bool),
}

/// A value that is put into a filter for each client; it stands for one whole level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Placeholder {
    /// `${clientid}`, `%c`.
    ClientId,
    /// `${username}`, `%u`.
    Username,
    /// `${peerhost}`, `%a`.
    PeerHost,
    /// `${cn}`.
    Cn,
    /// `${listener}`.
    Listener,
}

/// One level of a filter with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Level {
    /// Text, `+` or `#`.
    Text(Box<str>),
    /// One whole level.
    Hole(Placeholder),
}

/// One filter of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFilter {
    /// Where.
    pub pos: Pos,
    /// Without quotes and without the leading `=`.
    pub text: Box<str>,
    /// `=`: this very filter.
    pub exact: bool,
    /// The levels; at least one.
    pub levels: Box<[Level]>,
}

impl fmt::Display for RawFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.exact { "=" } else { "" }, self.text)
    }
}

/// One rule as written.
#[derive(Debug, Clone)]
pub struct RawRule {
    /// Where it begins.
    pub pos: Pos,
    /// allow or deny.
    pub effect: Effect,
    /// What it is about.
    pub action: ActionKind,
    /// Terms and options in their order, each with its place and its text as written.
    pub conds: Vec<RawCond>,
    /// Filters; empty = every topic.
    pub filters: Vec<RawFilter>,
    /// What follows verdict and action, words separated by one blank.
    pub rest: Box<str>,
}

/// One term or option as written.
#[derive(Debug, Clone)]
pub struct RawCond {
    /// Where.
    pub pos: Pos,
    /// Its meaning.
    pub cond: Cond,
    /// As written.
    pub text: Box<str>,
}

impl RawRule {
    /// The rule in one line, verdict and action in columns, as `acl test` and `acl fmt` print it.
    pub fn line(&self) -> String {
        format!(
            "{:<6}{:<10}{}",
            self.effect.as_str(),
            self.action.as_str(),
            self.rest
        )
        .trim_end()
        .to_owned()
    }
}

/// Where a group came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupOrigin {
    /// `group NAME = ...` in an ACL file.
    Inline(Pos),
    /// `group NAME from PATH`.
    File(Pos),
    /// `[networks]` of the configuration.
    Config,
    /// `@loopback`, `@private`, `@proxies`.
    BuiltIn,
}

/// A named set of ranges.
#[derive(Debug, Clone)]
pub struct Group {
    /// Where it was defined.
    pub origin: GroupOrigin,
    /// All of it.
    pub set: Arc<NetSet>,
    /// The ranges if they are few and stand in the file or configuration, for messages; else empty.
    pub listed: Vec<IpNet>,
}

/// A default line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawDefault {
    /// What it says.
    pub effect: Effect,
    /// The word it was written with: the action itself or `all`.
    pub written: ActionKind,
    /// Where.
    pub pos: Pos,
}

/// One file that was read.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// As the operator named it; for messages.
    pub path: String,
    /// Relative to the main file; for rule names such as `acl.conf:12`.
    pub name: String,
    /// Its lines, for messages.
    pub text: String,
}

/// A line that is no rule because of an error; `acl check --list` shows it.
#[derive(Debug, Clone)]
pub struct BrokenRule {
    /// Where it begins.
    pub pos: Pos,
    /// As written, words separated by one blank.
    pub text: String,
}

/// Everything that was read from an ACL file, its groups and includes.
#[derive(Debug, Clone, Default)]
pub struct Acl {
    /// The files; the first is the main one.
    pub files: Vec<SourceFile>,
    /// The rules in their order.
    pub rules: Vec<RawRule>,
    /// Lines that were meant as rules and have errors.
    pub broken: Vec<BrokenRule>,
    /// Groups by name, those of the configuration and the built-in ones too.
    pub groups: BTreeMap<String, Group>,
    /// `default connect`.
    pub default_connect: Option<RawDefault>,
    /// `default publish`.
    pub default_publish: Option<RawDefault>,
    /// `default subscribe`.
    pub default_subscribe: Option<RawDefault>,
    /// Errors, by place.
    pub errors: Vec<Diagnostic>,
}

impl Acl {
    /// The default of an action (`All` has none of its own).
    pub fn default_of(&self, action: ActionKind) -> Option<RawDefault> {
        match action {
            ActionKind::Connect => self.default_connect,
            ActionKind::Publish => self.default_publish,
            ActionKind::Subscribe => self.default_subscribe,
            ActionKind::All => None,
        }
    }

    /// Fills in the source line of each finding (they must be sorted by place).
    pub(crate) fn quote_sources(&self, findings: &mut [Diagnostic]) {
        for of_file in findings.chunk_by_mut(|a, b| a.pos.file == b.pos.file) {
            let file = of_file.first().and_then(|d| self.files.get(d.pos.file as usize));
            let mut lines = (1u32..).zip(file.map_or("", |f| f.text.as_str()).lines());
            let mut now = lines.next();
            for finding in of_file {
                while now.is_some_and(|(number, _)| number < finding.pos.line) {
                    now = lines.next();
                }
                now.map_or("", |(_, line)| line).clone_into(&mut finding.source);
            }
        }
    }

    /// `acl.conf:12`: the file's name relative to the main file, and the line.
    pub fn place(&self, pos: Pos) -> String {
        let name = self.files.get(pos.file as usize).map_or("?", |f| f.name.as_str());
        format!("{name}:{}", pos.line)
    }
}
