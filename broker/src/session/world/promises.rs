//! What MQTT promises, and nothing else: at most once, at least once, exactly once, and order; kept by message.
//!
//! It knows no windows, queues or packet identifiers. A device's memory of a session has a number (`epoch`): with a
//! new session nothing of the old one may arrive any more, and nothing of it is owed.

use std::collections::{BTreeMap, BTreeSet};

/// A message as its publisher made it.
#[derive(Debug)]
struct Fact {
    by: usize,
    topic: &'static str,
    qos: u8,
    expiry: Option<u32>,
    expires_at: Option<u64>,
    /// How often the broker took it over.
    routed: usize,
    /// Whom it was routed to, with the epoch of that day and the QoS of the delivery.
    plain: Vec<(usize, u32, u8)>,
    /// The members of the group when it was routed to the group, with their epochs.
    group: Vec<(usize, u32)>,
    /// Whether a member of its group has lost its session since: then nobody need get it.
    group_lost: bool,
    /// How often it arrived at a device's application in a session at a QoS: in all, and not marked as sent before.
    arrived: BTreeMap<(usize, u32, u8), (usize, usize)>,
}

/// Everything that was promised and what became of it.
#[derive(Debug)]
pub(super) struct Promises {
    facts: Vec<Fact>,
    epochs: Vec<u32>,
    /// Highest message of a publisher and topic that arrived at a device at a QoS, by epoch of the device.
    latest: BTreeMap<(usize, u32, usize, &'static str, u8), usize>,
    /// Publishers whose session was lost: what they were sending may be gone.
    may_miss: BTreeSet<usize>,
    /// Queues are small: messages may be lost to that limit.
    pub(super) lossy: bool,
    /// Messages may expire.
    pub(super) expiring: bool,
    trace: bool,
}

impl Promises {
    pub(super) fn new(devices: usize, lossy: bool, expiring: bool, trace: bool) -> Self {
        Self {
            facts: Vec::new(),
            epochs: vec![0; devices],
            latest: BTreeMap::new(),
            may_miss: BTreeSet::new(),
            lossy,
            expiring,
            trace,
        }
    }

    #[expect(clippy::print_stderr, reason = "the story of a failing seed")]
    pub(super) fn note(&self, text: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{}", text());
        }
    }

    /// A device publishes: the message's number, which is its payload.
    pub(super) fn published(
        &mut self,
        by: usize,
        topic: &'static str,
        qos: u8,
        expiry: Option<u32>,
    ) -> usize {
        let number = self.facts.len();
        self.note(|| format!("{by} publishes {number} to {topic} at QoS {qos}, expiry {expiry:?}"));
        self.facts.push(Fact {
            by,
            topic,
            qos,
            expiry,
            expires_at: None,
            routed: 0,
            plain: Vec::new(),
            group: Vec::new(),
            group_lost: false,
            arrived: BTreeMap::new(),
        });
        number
    }

    /// The broker has taken it over and owes it to these devices (with the QoS granted), and to one of the group.
    pub(super) fn routed(&mut self, number: usize, to: &[(usize, u8)], group: &[usize], now: u64) {
        self.note(|| format!("{number} is routed to {to:?}, group {group:?}"));
        let epochs = &self.epochs;
        let fact = &mut self.facts[number];
        fact.routed += 1;
        assert!(
            fact.qos == 1 || fact.routed == 1,
            "{number} of QoS {} was taken over twice",
            fact.qos
        );
        // The clock of a message begins when it is received.
        fact.expires_at = fact.expiry.map(|seconds| now + u64::from(seconds) * 1000);
        fact.plain.extend(
            to.iter()
                .map(|&(d, granted)| (d, epochs[d], granted.min(fact.qos))),
        );
        fact.group.extend(group.iter().map(|&d| (d, epochs[d])));
    }

    /// A device's session is gone: nothing of it is owed or may come.
    pub(super) fn forgotten(&mut self, d: usize) {
        self.note(|| format!("the session of {d} is gone"));
        let epoch = self.epochs[d];
        for fact in &mut self.facts {
            fact.group_lost |= fact.group.contains(&(d, epoch));
        }
        self.epochs[d] += 1;
    }

    /// The publisher gives up what it was sending: whether it was taken over is not known to it.
    pub(super) fn given_up(&mut self, number: usize) {
        self.may_miss.insert(number);
    }

    /// A message that has expired is not sent any more, unless it was before ([MQTT-3.3.2-5]).
    pub(super) fn not_expired(&self, number: usize, now: u64) {
        let over = self.facts[number].expires_at.is_some_and(|at| at <= now);
        assert!(!over, "{number} was sent though it has expired");
    }

    /// A message came with this topic.
    pub(super) fn has_topic(&self, number: usize, topic: &str) {
        assert_eq!(
            self.facts[number].topic, topic,
            "{number} came with another topic"
        );
    }

    /// A message arrived at a device's application. `dup`: it was marked as sent before.
    pub(super) fn arrived(&mut self, d: usize, number: usize, qos: u8, dup: bool) {
        self.note(|| format!("{number} arrives at {d} with QoS {qos}, dup {dup}"));
        let epoch = self.epochs[d];
        let fact = &mut self.facts[number];
        let plain = fact
            .plain
            .iter()
            .filter(|&&(to, e, q)| (to, e, q) == (d, epoch, qos))
            .count();
        // All of the group subscribe at QoS 2, so the message keeps its own.
        let member = |&&m: &&(usize, u32)| m == (d, epoch) && qos == fact.qos;
        let shared = fact.group.iter().filter(member).count();
        assert!(
            plain + shared > 0,
            "{number} was not meant for {d} at QoS {qos} in this session"
        );
        let (times, unmarked) = fact.arrived.entry((d, epoch, qos)).or_default();
        *times += 1;
        *unmarked += usize::from(!dup);
        let (times, unmarked) = (*times, *unmarked);
        // Whoever gets it again without being told so must have been sent it as another message.
        let allowed = plain + shared;
        assert!(
            unmarked <= allowed,
            "{number} arrived at {d} {unmarked} times, not marked as sent before"
        );
        assert!(
            qos == 1 || times <= allowed,
            "{number} arrived at {d} {times} times"
        );
        if qos == fact.qos && qos != 1 {
            let same = |&(_, _, q): &(usize, u32, u8)| q == qos;
            let in_all: usize = fact
                .arrived
                .iter()
                .filter(|(to, _)| same(to))
                .map(|(_, (times, _))| times)
                .sum();
            let plain = fact.plain.iter().filter(|to| same(to)).count();
            let owed = plain + usize::from(!fact.group.is_empty());
            assert!(in_all <= owed, "{number} arrived at two members of the group");
        }
        // What its publisher sent twice may come late: the copy in its turn can have been before the subscription, or
        // lost to a limit.
        if times > 1 || fact.routed > 1 {
            return;
        }
        let latest = self
            .latest
            .entry((d, epoch, fact.by, fact.topic, qos))
            .or_insert(number);
        assert!(*latest <= number, "{number} arrived at {d} after {latest}");
        *latest = number;
    }

    /// At the end, with everybody there and nothing under way: everything owed has arrived.
    pub(super) fn check_all(&self) {
        for (number, fact) in self.facts.iter().enumerate() {
            if fact.qos > 0 && !self.may_miss.contains(&number) {
                assert!(
                    fact.routed > 0,
                    "{number} of QoS {} was never taken over",
                    fact.qos
                );
            }
            if self.lossy || fact.expiry.is_some() {
                continue;
            }
            for &(d, epoch, qos) in &fact.plain {
                let due = qos > 0 && epoch == self.epochs[d];
                assert!(
                    !due || fact.arrived.contains_key(&(d, epoch, qos)),
                    "{number} never arrived at {d}"
                );
            }
            if !fact.group.is_empty() && fact.qos > 0 && !fact.group_lost {
                let somebody = fact
                    .group
                    .iter()
                    .any(|&(d, epoch)| fact.arrived.contains_key(&(d, epoch, fact.qos)));
                assert!(somebody, "{number} arrived at nobody of the group");
            }
        }
    }
}
