//! Who stands before a listener: the sockets that spoke for clients, the hops behind them, and how many
//! client addresses they named; and the trust entries through which nobody came.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};

use peer::{Addr, Kind, Link, Peer, Source, Step, TrustSet, Warning};

use crate::admin::views::{ProxyView, Timestamp, Via};
use crate::config::ListenerConfig;
use crate::config::load::Values;
use crate::metrics::ListenerLevels;

/// Rows kept; the one not seen for longest goes first.
const ROWS_MAX: usize = 1024;
/// Client addresses counted for a row, and hops shown.
const CLIENTS_MAX: usize = 10_000;
const HOPS_MAX: usize = 8;
/// An entry is `unused` if nobody came through it for so long.
const UNUSED_MS: u64 = 7 * 86_400_000;

/// What is known of one listener.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    rows: HashMap<Addr, Row>,
    entries: Vec<Entry>,
    /// Open connections of clients that came straight in, by prefix, and of all others by prefix of the
    /// peername and by socket: hashes, for counting only.
    direct: Open,
    named: Open,
    sockets: Open,
    hasher: RandomState,
}

/// How many connections are open under each hash.
#[derive(Debug, Default)]
struct Open(HashMap<u64, u32>);

#[derive(Debug, Default)]
struct Row {
    clients: BTreeSet<u64>,
    hops: BTreeSet<Addr>,
    open: u64,
    via: Option<Via>,
    seen: Option<Timestamp>,
    header_unread: bool,
    values_left: bool,
    unexpected: bool,
}

/// One range of trusted_proxies or header_trusted_proxies, as its place in the list and where that stands.
#[derive(Debug)]
struct Entry {
    /// `@lb`, `#2`.
    label: String,
    /// As written, `@name` resolved.
    set: TrustSet,
    written: String,
    origin: String,
    since: Option<Timestamp>,
}

impl Open {
    fn add(&mut self, hash: u64) {
        *self.0.entry(hash).or_default() += 1;
    }

    fn remove(&mut self, hash: u64) {
        if let Some(n) = self.0.get_mut(&hash) {
            *n -= 1;
            if *n == 0 {
                self.0.remove(&hash);
            }
        }
    }
}

impl Proxies {
    /// Takes the trust lists of the configuration and where they stand.
    pub(super) fn trust(&mut self, config: &ListenerConfig, values: &Values) {
        let before = std::mem::take(&mut self.entries);
        let empty = Vec::new();
        let lists = [
            ("trusted_proxies", &config.peername.trusted_proxies),
            (
                "header_trusted_proxies",
                config.peername.header_trusted_proxies.as_ref().unwrap_or(&empty),
            ),
        ];
        for (key, items) in lists {
            let path = ["listeners", config.name.as_str(), key].map(str::to_owned);
            let origin = values.origins.of(&path).describe();
            for (i, item) in items.iter().enumerate() {
                let label = if item.starts_with('@') {
                    item.clone()
                } else {
                    format!("#{}", i + 1)
                };
                for written in ranges(item, values) {
                    let Ok(set) = TrustSet::parse([&written]) else {
                        continue;
                    };
                    let known = before.iter().find(|old| old.written == written);
                    let since = known.and_then(|old| old.since);
                    self.entries.push(Entry {
                        label: label.clone(),
                        set,
                        written,
                        origin: origin.clone(),
                        since,
                    });
                }
            }
        }
    }

    fn entry(&self, addr: &Addr) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.set.gate(addr).is_some())
    }

    fn hash(&self, addr: &Addr) -> u64 {
        self.hasher.hash_one(addr.host())
    }

    fn prefix(&self, addr: &Addr) -> u64 {
        self.hasher.hash_one(peer::RateKey::of(addr))
    }

    /// A connection stands.
    pub(super) fn opened(&mut self, peer: &Peer, now: Timestamp) {
        let name = peer.peername().addr();
        let prefix = self.prefix(&name);
        if peer.source() == Source::Socket && peer.kind() == Kind::Client {
            self.direct.add(prefix);
            if peer.warnings().contains(Warning::HeaderIgnored) {
                self.row(peer.socket(), now).header_unread = true;
            }
            return;
        }
        self.named.add(prefix);
        let socket = self.hash(&peer.socket());
        self.sockets.add(socket);
        let client = self.hash(&name);
        let row = self.row(peer.socket(), now);
        row.open += 1;
        row.via = Some(via(peer.source()));
        if peer.kind() == Kind::Client && row.clients.len() < CLIENTS_MAX {
            row.clients.insert(client);
        }
        for link in peer.chain() {
            match link {
                Link::Addr(hop) if hop.host() != peer.socket().host() && row.hops.len() < HOPS_MAX => {
                    row.hops.insert(hop.host());
                }
                _ => {}
            }
        }
        row.values_left |= peer
            .steps()
            .iter()
            .any(|step| matches!(step, Step::LeftOfClient(_)));
    }

    /// It ended.
    pub(super) fn closed(&mut self, peer: &Peer) {
        let name = self.prefix(&peer.peername().addr());
        if peer.source() == Source::Socket && peer.kind() == Kind::Client {
            self.direct.remove(name);
            return;
        }
        self.named.remove(name);
        let socket = self.hash(&peer.socket());
        self.sockets.remove(socket);
        if let Some(row) = self.rows.get_mut(&peer.socket().host()) {
            row.open = row.open.saturating_sub(1);
        }
    }

    /// Somebody who is not listed sent a header.
    pub(super) fn unexpected(&mut self, socket: Addr, now: Timestamp) {
        self.row(socket, now).unexpected = true;
    }

    fn row(&mut self, socket: Addr, now: Timestamp) -> &mut Row {
        let host = socket.host();
        if self.rows.len() >= ROWS_MAX && !self.rows.contains_key(&host) {
            let oldest = self
                .rows
                .iter()
                .filter(|(_, row)| row.open == 0)
                .min_by_key(|(_, row)| row.seen);
            if let Some(host) = oldest.map(|(host, _)| *host) {
                self.rows.remove(&host);
            }
        }
        let row = self.rows.entry(host).or_default();
        row.seen = Some(now);
        row
    }

    /// The rows, by socket, then the entries through which nobody came.
    pub(super) fn rows(&mut self, listener: &str, now: Timestamp) -> Vec<ProxyView> {
        let mut views: Vec<(Addr, ProxyView)> = self
            .rows
            .iter()
            .map(|(host, row)| (*host, self.view(listener, *host, row)))
            .collect();
        views.sort_by_key(|(host, _)| *host);
        let mut views: Vec<ProxyView> = views.into_iter().map(|(_, view)| view).collect();
        let mut unused = Vec::new();
        for entry in &mut self.entries {
            let since = *entry.since.get_or_insert(now);
            let newest = self
                .rows
                .iter()
                .filter(|(host, _)| entry.set.gate(host).is_some())
                .filter_map(|(_, row)| row.seen)
                .max();
            if now.0.saturating_sub(newest.unwrap_or(since).0) >= UNUSED_MS {
                unused.push(ProxyView {
                    listener: listener.to_owned(),
                    socket: entry.written.clone(),
                    hops: Vec::new(),
                    clients: 0,
                    connections: 0,
                    via: None,
                    entry: Some(entry.written.clone()),
                    origin: Some(entry.origin.clone()),
                    last_seen: newest,
                    notes: vec!["unused".to_owned()],
                });
            }
        }
        views.append(&mut unused);
        views
    }

    fn view(&self, listener: &str, host: Addr, row: &Row) -> ProxyView {
        let entry = self.entry(&host);
        let noted = [
            (entry.is_none() || row.unexpected, "unexpected"),
            (row.header_unread, "header_unread"),
            (row.values_left, "values_left"),
        ];
        let mut notes: Vec<String> = noted
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, note)| (*note).to_owned())
            .collect();
        if notes.is_empty() {
            notes.push("ok".to_owned());
        }
        ProxyView {
            listener: listener.to_owned(),
            socket: host.host_text().to_string(),
            hops: row.hops.iter().map(|hop| hop.host_text().to_string()).collect(),
            clients: row.clients.len() as u64,
            connections: row.open,
            via: row.via,
            entry: entry.map(|entry| entry.written.clone()),
            origin: entry.map(|entry| entry.origin.clone()),
            last_seen: row.seen,
            notes,
        }
    }

    /// For the metrics. A client that came straight in counts once as prefix and once as socket.
    pub(super) fn levels(&self) -> ListenerLevels {
        let mut levels = ListenerLevels {
            peer_prefixes: (self.direct.0.len() + self.named.0.len()) as u64,
            socket_addresses: (self.direct.0.len() + self.sockets.0.len()) as u64,
            ..ListenerLevels::default()
        };
        for (host, row) in &self.rows {
            let label = self.entry(host).map_or("other", |entry| &entry.label);
            *levels.proxies.entry(label.to_owned()).or_default() += row.open;
        }
        levels
    }
}

/// The ranges of one item of a trust list.
fn ranges(item: &str, values: &Values) -> Vec<String> {
    let Some(name) = item.strip_prefix('@') else {
        return vec![item.to_owned()];
    };
    let network = values
        .filled
        .get("networks")
        .and_then(|networks| networks.get(name)?.as_array());
    network
        .into_iter()
        .flatten()
        .filter_map(|range| range.as_str().map(str::to_owned))
        .collect()
}

/// The API's word for the crate's.
pub(crate) fn via(source: Source) -> Via {
    match source {
        Source::Socket => Via::Socket,
        Source::ProxyV1 => Via::ProxyV1,
        Source::ProxyV2 => Via::ProxyV2,
        Source::Header => Via::Header,
    }
}
