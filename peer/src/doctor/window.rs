//! Counts of the last ten minutes, in slots that fall out one by one, all of them bounded.

use super::{Event, EventResult, FindingCode};
use crate::addr::Addr;
use crate::code::{Code, Warning, Warnings};
use crate::peer::{Kind, Source};
use crate::policy::Transport;
use crate::proxy::FirstBytes;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// Slots of the window and their length: ten minutes in all.
const SLOTS: u64 = 20;
const SLOT_MS: u64 = 30_000;

/// Addresses that a slot counts apart; what comes from more of them counts in the sums only.
const ADDRS_MAX: usize = 256;

/// Different client ids and addresses are counted up to here; no condition asks for more.
const DISTINCT_MAX: usize = 10;

/// Client ids that are remembered for a day (D20).
const IDS_MAX: usize = 65_536;
const DAY_MS: u64 = 24 * 3_600_000;

/// What happened in the last ten minutes.
#[derive(Debug)]
pub(super) struct Window {
    slots: VecDeque<Slot>,
    /// Hashes client ids and addresses, so that no text is kept to count different ones.
    hasher: RandomState,
    /// Which ways a client id came, by its hash; `None` where there is only one.
    ways: Option<HashMap<u64, Ways>>,
    /// Clients that came both ways: id and proxy, with the time of the last one.
    both_ways: HashMap<String, (Addr, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ways {
    direct_ms: Option<u64>,
    /// The proxy it came through last, and when.
    through: Option<(Addr, u64)>,
}

/// Sums of a slot, or of all of them.
#[derive(Debug, Default)]
pub(super) struct Slot {
    number: u64,
    pub(super) accepted: u64,
    /// Accepted connections by the peername's address.
    pub(super) peers: HashMap<Addr, PeerStat>,
    /// Events that count for a finding.
    pub(super) tallies: HashMap<FindingCode, Tally>,
    pub(super) header_ports: PortStat,
}

/// Accepted connections of one peername's address.
#[derive(Clone, Debug)]
pub(super) struct PeerStat {
    pub(super) count: u64,
    pub(super) ids: BTreeSet<u64>,
    pub(super) all_socket: bool,
    pub(super) none_socket: bool,
    pub(super) all_client: bool,
}

/// Events that count for one finding.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) count: u64,
    /// Those for which one is enough, where others need several.
    pub(super) strong: u64,
    pub(super) addrs: HashMap<Addr, u64>,
    /// What the last event had to tell: an element, a class, a hop.
    pub(super) note: String,
    pub(super) codes: BTreeSet<&'static str>,
}

/// Ports that came from the address header's neighbour.
#[derive(Clone, Debug, Default)]
pub(super) struct PortStat {
    pub(super) count: u64,
    pub(super) ips: BTreeSet<u64>,
    pub(super) port: Option<u16>,
    pub(super) mixed: bool,
}

impl Window {
    pub(super) fn new(several_ways: bool) -> Self {
        Self {
            slots: VecDeque::new(),
            hasher: RandomState::new(),
            ways: several_ways.then(HashMap::new),
            both_ways: HashMap::new(),
        }
    }

    pub(super) fn record(&mut self, now_ms: u64, event: &Event, transport: Transport) {
        let id = event.client_id.as_deref().map(|id| self.hasher.hash_one(id));
        if let EventResult::Accepted { through, .. } = &event.result {
            self.note_way(now_ms, id, event.client_id.as_deref(), *through);
        }
        let ip = |addr: &Addr| self.hasher.hash_one(addr.host());
        let counted = Counted {
            id,
            ip: &ip,
            transport,
        };
        let number = now_ms / SLOT_MS;
        if self.slots.back().is_none_or(|slot| slot.number < number) {
            self.slots.push_back(Slot {
                number,
                ..Slot::default()
            });
        }
        self.slots.retain(|slot| slot.number + SLOTS > number);
        if let Some(slot) = self.slots.back_mut() {
            slot.record(event, &counted);
        }
    }

    /// All slots of the last ten minutes together.
    pub(super) fn sums(&mut self, now_ms: u64) -> Slot {
        let number = now_ms / SLOT_MS;
        self.slots.retain(|slot| slot.number + SLOTS > number);
        self.slots.iter().fold(Slot::default(), |mut sums, slot| {
            sums.add(slot);
            sums
        })
    }

    /// Clients that came both ways in the last 24 hours: id, proxy and when.
    pub(super) fn both_ways(&mut self, now_ms: u64) -> impl Iterator<Item = (&str, Addr)> {
        self.both_ways
            .retain(|_, (_, at)| now_ms.saturating_sub(*at) < DAY_MS);
        self.both_ways.iter().map(|(id, (addr, _))| (id.as_str(), *addr))
    }

    fn note_way(&mut self, now_ms: u64, hash: Option<u64>, id: Option<&str>, through: Option<Addr>) {
        let (Some(ways), Some(hash), Some(id)) = (&mut self.ways, hash, id) else {
            return;
        };
        let recent = |at: u64| now_ms.saturating_sub(at) < DAY_MS;
        if ways.len() >= IDS_MAX && !ways.contains_key(&hash) {
            ways.retain(|_, w| {
                w.direct_ms.is_some_and(recent) || w.through.is_some_and(|(_, at)| recent(at))
            });
            if ways.len() >= IDS_MAX {
                return;
            }
        }
        let known = ways.entry(hash).or_default();
        match through {
            None => known.direct_ms = Some(now_ms),
            Some(addr) => known.through = Some((addr, now_ms)),
        }
        let direct = known.direct_ms.is_some_and(recent);
        let Some((addr, _)) = known.through.filter(|(_, at)| direct && recent(*at)) else {
            return;
        };
        if self.both_ways.len() < ADDRS_MAX || self.both_ways.contains_key(id) {
            self.both_ways.insert(id.to_owned(), (addr, now_ms));
        }
    }
}

/// What counting needs besides the event.
struct Counted<'a> {
    id: Option<u64>,
    ip: &'a dyn Fn(&Addr) -> u64,
    transport: Transport,
}

impl Slot {
    fn record(&mut self, event: &Event, counted: &Counted<'_>) {
        let socket = event.socket.host();
        if event.same_address {
            self.tally(FindingCode::D16, socket);
        }
        if let Some(class) = event.class {
            self.class(class, socket, counted.transport);
        }
        match &event.result {
            EventResult::Accepted {
                peername,
                kind,
                source,
                warnings,
                element,
                ..
            } => {
                self.accepted += 1;
                self.peer(peername, *kind, *source, counted);
                self.warnings(event.socket, *peername, *warnings, element.as_deref());
                if *source == Source::Header && peername.port() != 0 {
                    self.header_ports.add(peername.port(), (counted.ip)(peername));
                }
            }
            EventResult::Ended {
                code,
                detail,
                hop,
                element,
            } => {
                let hop = hop.unwrap_or(event.socket).host();
                let health = event.probe || matches!(code, Code::Empty | Code::Local | Code::Probe);
                if health {
                    self.tally(FindingCode::D18, socket);
                }
                let scope = detail.is_some_and(|d| d.starts_with("scope_"));
                if scope || *code == Code::ProxyScope {
                    self.tally(FindingCode::D19, hop);
                }
                self.code(
                    *code,
                    socket,
                    hop,
                    element.as_deref(),
                    event.class.map(FirstBytes::as_str).or(*detail),
                );
            }
        }
    }

    fn class(&mut self, class: FirstBytes, socket: Addr, transport: Transport) {
        let finding = match (class, transport) {
            (FirstBytes::Tls, Transport::Tcp | Transport::Ws) => FindingCode::D06,
            (FirstBytes::Http | FirstBytes::Http2, Transport::Tcp | Transport::Tls) => FindingCode::D07,
            (FirstBytes::Mqtt, Transport::Ws | Transport::Wss | Transport::Tls) => FindingCode::D08,
            _ => return,
        };
        self.tally(finding, socket);
    }

    fn peer(&mut self, peername: &Addr, kind: Kind, source: Source, counted: &Counted<'_>) {
        let room = self.peers.len() < ADDRS_MAX;
        let known = self.peers.contains_key(&peername.host());
        if !room && !known {
            return;
        }
        let by_socket = source == Source::Socket;
        let seen = PeerStat {
            count: 1,
            ids: counted.id.into_iter().collect(),
            all_socket: by_socket,
            none_socket: !by_socket,
            all_client: kind == Kind::Client,
        };
        match self.peers.get_mut(&peername.host()) {
            Some(stat) => stat.add(&seen),
            None => drop(self.peers.insert(peername.host(), seen)),
        }
    }

    fn warnings(&mut self, socket: Addr, peername: Addr, warnings: Warnings, element: Option<&str>) {
        let has = |w| warnings.contains(w);
        if has(Warning::HeaderIgnored) {
            self.tally(FindingCode::D02, socket.host());
        }
        if has(Warning::ProxyIgnored) {
            self.tally(FindingCode::D05, socket.host());
        }
        if has(Warning::ResultIsProxy) || has(Warning::AllTrusted) {
            self.tally(FindingCode::D10, peername.host());
        }
        if has(Warning::HeaderMissing) {
            self.tally(FindingCode::D11, peername.host());
        }
        if has(Warning::Unresolvable) {
            let tally = self.tally(FindingCode::D12, peername.host());
            element.unwrap_or_default().clone_into(&mut tally.note);
        }
        if has(Warning::PortMisaligned) {
            self.tally(FindingCode::D14, socket.host());
        }
    }

    fn code(&mut self, code: Code, socket: Addr, hop: Addr, element: Option<&str>, class: Option<&str>) {
        match code {
            Code::HeaderUntrusted => drop(self.tally(FindingCode::D02, socket)),
            Code::ProxyUnexpected => drop(self.tally(FindingCode::D03, socket)),
            Code::ProxyRequired => {
                let tally = self.tally(FindingCode::D04, socket);
                class.unwrap_or("something else").clone_into(&mut tally.note);
            }
            Code::ProxyUntrusted | Code::ProxyPeer => drop(self.tally(FindingCode::D05, socket)),
            Code::HeaderMissing => self.tally(FindingCode::D11, hop).strong += 1,
            Code::HeaderUnresolvable => {
                let tally = self.tally(FindingCode::D12, hop);
                element.unwrap_or_default().clone_into(&mut tally.note);
            }
            Code::ProxyDouble | Code::ProxyInsideTls => {
                let tally = self.tally(FindingCode::D15, socket);
                tally.note = hop.host_text().to_string();
            }
            Code::Rate | Code::HalfOpen | Code::ProxyTimeout => {
                self.tally(FindingCode::D21, socket).codes.insert(code.as_str());
            }
            _ => {}
        }
    }

    fn tally(&mut self, finding: FindingCode, addr: Addr) -> &mut Tally {
        let tally = self.tallies.entry(finding).or_default();
        tally.count += 1;
        tally.count_addr(addr, 1);
        tally
    }

    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        for (addr, stat) in &other.peers {
            match self.peers.get_mut(addr) {
                Some(known) => known.add(stat),
                None => drop(self.peers.insert(*addr, stat.clone())),
            }
        }
        for (finding, tally) in &other.tallies {
            self.tallies.entry(*finding).or_default().add(tally);
        }
        self.header_ports.merge(&other.header_ports);
    }
}

impl PeerStat {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        extend_distinct(&mut self.ids, &other.ids);
        self.all_socket &= other.all_socket;
        self.none_socket &= other.none_socket;
        self.all_client &= other.all_client;
    }
}

impl Tally {
    fn count_addr(&mut self, addr: Addr, count: u64) {
        if self.addrs.len() < ADDRS_MAX || self.addrs.contains_key(&addr) {
            *self.addrs.entry(addr).or_default() += count;
        }
    }

    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.strong += other.strong;
        for (addr, count) in &other.addrs {
            self.count_addr(*addr, *count);
        }
        if !other.note.is_empty() {
            self.note.clone_from(&other.note);
        }
        self.codes.extend(&other.codes);
    }

    /// Addresses by how often they occur, the most frequent first.
    pub(super) fn by_count(&self) -> Vec<(Addr, u64)> {
        let mut addrs: Vec<_> = self.addrs.iter().map(|(addr, count)| (*addr, *count)).collect();
        addrs.sort_by_key(|(addr, count)| (std::cmp::Reverse(*count), *addr));
        addrs
    }
}

impl PortStat {
    fn add(&mut self, port: u16, ip: u64) {
        self.count += 1;
        extend_distinct(&mut self.ips, &BTreeSet::from([ip]));
        self.mixed |= self.port.is_some_and(|known| known != port);
        self.port = Some(port);
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        extend_distinct(&mut self.ips, &other.ips);
        let differ = matches!((self.port, other.port), (Some(a), Some(b)) if a != b);
        self.mixed |= other.mixed || differ;
        self.port = other.port.or(self.port);
    }
}

fn extend_distinct(known: &mut BTreeSet<u64>, more: &BTreeSet<u64>) {
    for item in more {
        if known.len() >= DISTINCT_MAX {
            return;
        }
        known.insert(*item);
    }
}
