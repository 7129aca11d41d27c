//! Who is banned: addresses and ranges, client ids, usernames; until when, by whom, why. What the broker keeps
//! in its store is a list of [`Ban`]s.
//!
//! Counting towards automatic bans is `auto_ban`'s; kicking and audit are the broker's. `now` is Unix time in
//! milliseconds, as the end of a ban outlives the process.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use peer::{Addr, Kind, Peer};

use crate::nets::{NetSet, canonical_net, parse_net};
use crate::pattern::glob_matches;
use crate::prefix_map::PrefixMap;
use crate::shown::Shown;

/// What is banned. Texts: `1.2.3.4`, `10.0.0.0/8`, `client:ID`, `user:NAME`; ids and names may have `*` and `?`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// An address or range.
    Net(IpNet),
    /// Client ids.
    Client(Box<str>),
    /// Usernames.
    User(Box<str>),
}

/// Why a text is no target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetError(String);

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TargetError {}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let named = |name: &str| match name {
            "" => Err(TargetError("the name after the colon is empty".to_owned())),
            name => Ok(name.into()),
        };
        if let Some(id) = text.strip_prefix("client:") {
            return named(id).map(Self::Client);
        }
        if let Some(name) = text.strip_prefix("user:") {
            return named(name).map(Self::User);
        }
        let hint = "write an address, a CIDR, client:ID or user:NAME";
        parse_net(text)
            .map(Self::Net)
            .map_err(|e| TargetError(format!("{}: {e}; {hint}", Shown(text))))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            Self::Net(net) => net.fmt(f),
            Self::Client(id) => Shown(&format!("client:{id}")).fmt(f),
            Self::User(name) => Shown(&format!("user:{name}")).fmt(f),
        }
    }
}

/// One ban, as it is kept and listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// What.
    pub target: Target,
    /// Why, in the words of who made it; for an automatic one the name of its rule.
    pub reason: Arc<str>,
    /// Who made it: an actor, or `auto`.
    pub by: Arc<str>,
    /// Whether a rule made it. Such a ban meets kind=client only, and nobody is kicked for it.
    pub automatic: bool,
    /// When it was made, Unix time in milliseconds.
    pub since: u64,
    /// When it ends; `None` = never.
    pub until: Option<u64>,
}

impl Ban {
    /// Whether it has ended.
    pub fn is_over(&self, now: u64) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether a live client falls under it: by peername, hop or socket, client id or username.
    pub fn meets(&self, peer: &Peer, client_id: &str, username: Option<&str>) -> bool {
        match &self.target {
            Target::Net(net) => {
                // Behind one of our proxies, socket and hop are that proxy's unless they are the peername itself.
                let own = |addr: Addr| addr.same_host(&peer.peername().addr()) && peer.kind() == Kind::Client;
                let hit = |addr: Addr| addr.ip().is_some_and(|ip| net.contains(&ip));
                [peer.peername().addr(), peer.hop(), peer.socket()]
                    .into_iter()
                    .any(|addr| hit(addr) && (!self.automatic || own(addr)))
            }
            Target::Client(id) => glob_matches(id, client_id),
            Target::User(name) => username.is_some_and(|user| glob_matches(name, user)),
        }
    }
}

/// Why a ban is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It covers one of our own proxies, and with it all who come through it.
    Proxy,
    /// It covers an address of `bans.protect`.
    Protected,
    /// There are `max_entries` already.
    Full,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proxy => "a trusted proxy",
            Self::Protected => "protected (bans.protect)",
            Self::Full => "bans.max_entries is reached",
        })
    }
}

impl std::error::Error for Refused {}

/// The keys of `[bans]` that matter here.
#[derive(Debug, Clone)]
pub struct BanLimits {
    /// Most bans at a time.
    pub max_entries: usize,
    /// `bans.protect`.
    pub protect: NetSet,
    /// All trusted proxies, without wildcards.
    pub proxies: NetSet,
}

impl Default for BanLimits {
    fn default() -> Self {
        Self {
            max_entries: 100_000,
            protect: NetSet::new(crate::nets::LOOPBACK, true),
            proxies: NetSet::default(),
        }
    }
}

type Named = HashMap<Box<str>, Ban, foldhash::fast::RandomState>;

/// All bans.
#[derive(Debug, Clone, Default)]
pub struct Bans {
    limits: BanLimits,
    /// Boxed, so that the table itself stays small with a million of them.
    nets: PrefixMap<Box<Ban>>,
    clients: Names,
    users: Names,
}

/// Bans by a name: exact ones by lookup, globs one by one.
#[derive(Debug, Clone, Default)]
struct Names {
    exact: Named,
    globs: Named,
}

impl Names {
    fn table(&mut self, name: &str) -> &mut Named {
        if name.contains(['*', '?']) {
            &mut self.globs
        } else {
            &mut self.exact
        }
    }

    fn find(&self, name: &str, now: u64) -> Option<&Ban> {
        let exact = self.exact.get(name).filter(|ban| !ban.is_over(now));
        exact.or_else(|| {
            self.globs
                .iter()
                .find(|(glob, ban)| !ban.is_over(now) && glob_matches(glob, name))
                .map(|(_, ban)| ban)
        })
    }

    fn get(&self, name: &str) -> Option<&Ban> {
        self.exact.get(name).or_else(|| self.globs.get(name))
    }

    fn iter(&self) -> impl Iterator<Item = &Ban> {
        self.exact.values().chain(self.globs.values())
    }
}

impl Bans {
    /// No bans yet.
    pub fn new(limits: BanLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// New limits, for instance after a reload; bans that exist stay.
    pub fn set_limits(&mut self, limits: BanLimits) {
        self.limits = limits;
    }

    /// Adds a ban or replaces the one on the same target; gives back the one replaced. `force` is the operator's
    /// word that a protected address is meant; automatic bans never have it.
    pub fn add(&mut self, mut ban: Ban, force: bool, now: u64) -> Result<Option<Ban>, Refused> {
        if let Target::Net(net) = &mut ban.target {
            *net = canonical_net(*net).trunc();
            let set = NetSet::new([*net], false);
            if !force && set.overlaps(&self.limits.proxies) {
                return Err(Refused::Proxy);
            }
            if !force && set.overlaps(&self.limits.protect) {
                return Err(Refused::Protected);
            }
        }
        if self.len() >= self.limits.max_entries && self.get(&ban.target).is_none() {
            self.sweep(now);
            if self.len() >= self.limits.max_entries {
                return Err(Refused::Full);
            }
        }
        Ok(self.put(ban))
    }

    /// Puts in what the store has kept, without asking limits.
    pub fn restore(&mut self, bans: impl IntoIterator<Item = Ban>) {
        for ban in bans {
            self.put(ban);
        }
    }

    fn put(&mut self, ban: Ban) -> Option<Ban> {
        match ban.target.clone() {
            Target::Net(net) => self.nets.insert(net, Box::new(ban)).map(|old| *old),
            Target::Client(id) => self.clients.table(&id).insert(id, ban),
            Target::User(name) => self.users.table(&name).insert(name, ban),
        }
    }

    /// Takes a ban out.
    pub fn remove(&mut self, target: &Target) -> Option<Ban> {
        match target {
            Target::Net(net) => self.nets.remove(*net).map(|old| *old),
            Target::Client(id) => self.clients.table(id).remove(id),
            Target::User(name) => self.users.table(name).remove(name),
        }
    }

    /// The ban on exactly this target.
    pub fn get(&self, target: &Target) -> Option<&Ban> {
        match target {
            Target::Net(net) => self.nets.get(*net).map(AsRef::as_ref),
            Target::Client(id) => self.clients.get(id),
            Target::User(name) => self.users.get(name),
        }
    }

    /// The ban that an address falls under: the socket's before anything is read, the hop's after the PROXY
    /// stage, the peername's as soon as it stands. `kind` is Proxy for an address of our own proxies (a listed
    /// socket, a hop or peername of that kind): automatic bans never meet it (peername 8).
    pub fn address(&self, addr: &Addr, kind: Kind, now: u64) -> Option<&Ban> {
        self.ip(addr.ip()?, kind, now)
    }

    fn ip(&self, ip: IpAddr, kind: Kind, now: u64) -> Option<&Ban> {
        if self.nets.is_empty() {
            return None;
        }
        self.nets
            .matches(ip)
            .map(AsRef::as_ref)
            .find(|ban| !ban.is_over(now) && (!ban.automatic || kind == Kind::Client))
    }

    /// The ban that a CONNECT falls under by its client id or username.
    pub fn identity(&self, client_id: &str, username: Option<&str>, now: u64) -> Option<&Ban> {
        self.clients
            .find(client_id, now)
            .or_else(|| self.users.find(username?, now))
    }

    /// Takes out the bans that have ended, and tells which.
    pub fn sweep(&mut self, now: u64) -> Vec<Target> {
        let over: Vec<Target> = self
            .iter()
            .filter(|ban| ban.is_over(now))
            .map(|ban| ban.target.clone())
            .collect();
        for target in &over {
            self.remove(target);
        }
        over
    }

    /// All of them, those that have ended and are not swept yet too; in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Ban> {
        self.nets
            .iter()
            .map(|(_, ban)| &**ban)
            .chain(self.clients.iter())
            .chain(self.users.iter())
    }

    /// Bans that cover one of our own proxies (BAN001).
    pub fn on_proxies(&self, now: u64) -> impl Iterator<Item = &Ban> {
        self.nets.iter().map(|(_, ban)| &**ban).filter(move |ban| {
            let Target::Net(net) = ban.target else {
                return false;
            };
            !ban.is_over(now) && self.limits.proxies.overlaps(&NetSet::new([net], false))
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        let names = |names: &Names| names.exact.len() + names.globs.len();
        self.nets.len() + names(&self.clients) + names(&self.users)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
#[path = "bans_tests.rs"]
mod tests;
