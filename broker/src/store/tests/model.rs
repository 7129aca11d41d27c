//! The store against a map: random work, power losses, damage of what was not synced; every seed is
//! printed by the assertion that fails.

use super::*;

/// Records of one step for one log.
type Step = (Log, Vec<Rec<'static>>);

const TOPICS: [&str; 6] = ["a", "a/b", "sensors/1", "sensors/2", "x/y/z", "$SYS/no"];
const PAYLOADS: [&[u8]; 4] = [b"", b"1", b"a somewhat longer payload", &[7; 300]];

/// What should be there.
#[derive(Clone, Debug, Default)]
struct Model {
    state: BTreeMap<String, Rec<'static>>,
    messages: BTreeMap<u64, Rec<'static>>,
    in2: std::collections::BTreeSet<(u64, u16)>,
}

impl Model {
    fn apply(&mut self, rec: &Rec<'static>, log: Log) {
        match rec {
            Rec::SessionDel { sid } if log == Log::Queue => self.keep(|s| s != *sid),
            Rec::SessionDel { sid } => {
                let sid = *sid;
                self.state.retain(|_, r| match r {
                    Rec::SessionPut(s) => s.sid != sid,
                    Rec::SubPut { sid: s, .. } | Rec::WillPut { sid: s, .. } => *s != sid,
                    _ => true,
                });
            }
            Rec::SubDel { sid, filter } => _ = self.state.remove(&format!("sub {sid} {filter}")),
            Rec::WillDel { sid } => _ = self.state.remove(&format!("will {sid}")),
            Rec::RetainDel { topic } => _ = self.state.remove(&format!("retained {topic}")),
            Rec::BanDel { key } => _ = self.state.remove(&format!("ban {key}")),
            Rec::MsgEnq { mid, .. } => _ = self.messages.insert(*mid, rec.clone()),
            Rec::Ack { sid, mid } => self.target(*mid, *sid, None),
            Rec::Out {
                sid,
                mid,
                pid,
                released,
            } => {
                let stage = if *released {
                    Stage::Released(*pid)
                } else {
                    Stage::Published(*pid)
                };
                self.target(*mid, *sid, Some(stage));
            }
            Rec::In2 { sid, pid } => _ = self.in2.insert((*sid, *pid)),
            Rec::In2Del { sid, pid } => _ = self.in2.remove(&(*sid, *pid)),
            put => _ = self.state.insert(key(put), put.clone()),
        }
    }

    fn target(&mut self, mid: u64, sid: u64, stage: Option<Stage>) {
        let Some(Rec::MsgEnq { targets, .. }) = self.messages.get_mut(&mid) else {
            return;
        };
        match stage {
            None => targets.retain(|t| t.sid != sid),
            Some(stage) => targets
                .iter_mut()
                .filter(|t| t.sid == sid)
                .for_each(|t| t.stage = stage),
        }
    }

    /// Keeps in the Queue log only what belongs to these sessions.
    fn keep(&mut self, alive: impl Fn(u64) -> bool) {
        for rec in self.messages.values_mut() {
            if let Rec::MsgEnq { targets, .. } = rec {
                targets.retain(|t| alive(t.sid));
            }
        }
        self.in2.retain(|(sid, _)| alive(*sid));
    }

    fn sessions(&self) -> Vec<u64> {
        let sid = |r: &Rec<'_>| {
            if let Rec::SessionPut(s) = r {
                Some(s.sid)
            } else {
                None
            }
        };
        self.state.values().filter_map(sid).collect()
    }

    fn state_dump(&self) -> Dump {
        self.state.iter().map(|(k, r)| (k.clone(), value(r))).collect()
    }

    /// What of the Queue log belongs to these sessions.
    fn queue_dump(&self, sessions: &[u64]) -> Dump {
        let alive = |sid: &u64| sessions.contains(sid);
        let mut dump = Dump::new();
        for rec in self.messages.values() {
            let Rec::MsgEnq { mid, body, targets } = rec else {
                continue;
            };
            let targets: Vec<_> = targets.iter().filter(|t| alive(&t.sid)).cloned().collect();
            if !targets.is_empty() {
                let rec = Rec::MsgEnq {
                    mid: *mid,
                    body: *body,
                    targets,
                };
                dump.insert(key(&rec), value(&rec));
            }
        }
        for (sid, pid) in self.in2.iter().filter(|(sid, _)| alive(sid)) {
            let rec = Rec::In2 { sid: *sid, pid: *pid };
            dump.insert(key(&rec), value(&rec));
        }
        dump
    }
}

/// Random work that keeps the protocol.
struct Driver {
    rng: Rng,
    model: Model,
    sid: u64,
    mid: u64,
}

impl Driver {
    fn some_session(&mut self) -> Option<u64> {
        let all = self.model.sessions();
        (!all.is_empty()).then(|| all[self.rng.below(all.len())])
    }

    fn body(&mut self) -> Body<'static> {
        Body {
            topic: TOPICS[self.rng.below(TOPICS.len())],
            properties: b"\x01\x02",
            payload: PAYLOADS[self.rng.below(PAYLOADS.len())],
            qos: 1 + self.rng.below(2) as u8,
            retain: self.rng.below(2) == 0,
            expires_at: if self.rng.below(2) == 0 {
                u64::MAX
            } else {
                1_795_301_701_123
            },
        }
    }

    fn step(&mut self) -> Vec<Step> {
        let kind = self.rng.below(20);
        let Some(sid) = self.some_session().filter(|_| kind > 1) else {
            self.sid += 1;
            return vec![(Log::State, vec![session(self.sid)])];
        };
        if kind == 2 && self.model.sessions().len() > 3 {
            let gone = || vec![Rec::SessionDel { sid }];
            return vec![(Log::State, gone()), (Log::Queue, gone())];
        }
        if kind < 13 {
            return vec![(Log::State, vec![self.state_record(kind, sid)])];
        }
        let pid = self.rng.below(5) as u16;
        let recs = match kind {
            13 => vec![Rec::In2 { sid, pid }],
            14 => vec![Rec::In2Del { sid, pid }],
            15 | 16 => self.progress(),
            _ => vec![self.publish()],
        };
        vec![(Log::Queue, recs)]
    }

    fn state_record(&mut self, kind: usize, sid: u64) -> Rec<'static> {
        let body = self.body();
        let Body {
            topic,
            properties,
            payload,
            qos,
            retain,
            ..
        } = body;
        match kind {
            2 | 3 => {
                let disconnected_at = 9 + self.sid;
                Rec::SessionPut(SessionRec {
                    sid,
                    client_id: "dev",
                    disconnected_at,
                    ..SessionRec::default()
                })
            }
            4 | 5 => Rec::SubPut {
                sid,
                filter: topic,
                options: self.rng.below(3) as u8,
                identifier: 5,
            },
            6 => Rec::SubDel { sid, filter: topic },
            7 => {
                let will = WillRec {
                    topic,
                    properties,
                    payload,
                    qos,
                    retain,
                    delay: 3,
                    expiry: Some(9),
                    due_at: 0,
                };
                Rec::WillPut { sid, will }
            }
            8 => Rec::WillDel { sid },
            9 | 10 => Rec::RetainPut(body),
            11 => Rec::RetainDel { topic },
            _ => Rec::BanPut {
                key: topic,
                value: b"{}",
            },
        }
    }

    /// A message for some sessions.
    fn publish(&mut self) -> Rec<'static> {
        self.mid += 1;
        let mut sids: Vec<u64> = (0..=self.rng.below(3))
            .filter_map(|_| self.some_session())
            .collect();
        sids.sort_unstable();
        sids.dedup();
        let identifiers = [7, 70_000];
        let target = |sid| Target {
            sid,
            qos: 2,
            retain: true,
            identifiers: identifiers[..].into(),
            ..Target::default()
        };
        Rec::MsgEnq {
            mid: self.mid,
            body: self.body(),
            targets: sids.into_iter().map(target).collect(),
        }
    }

    /// Some messages are sent or acknowledged.
    fn progress(&mut self) -> Vec<Rec<'static>> {
        let mut recs = Vec::new();
        for rec in self.model.messages.values() {
            let Rec::MsgEnq { mid, targets, .. } = rec else {
                continue;
            };
            for t in targets {
                let (sid, mid, pid) = (t.sid, *mid, mid.to_le_bytes()[0].into());
                match self.rng.below(6) {
                    0 => recs.push(Rec::Out {
                        sid,
                        mid,
                        pid,
                        released: false,
                    }),
                    1 => recs.push(Rec::Out {
                        sid,
                        mid,
                        pid,
                        released: true,
                    }),
                    2 | 3 => recs.push(Rec::Ack { sid, mid }),
                    _ => {}
                }
            }
        }
        recs.truncate(12);
        recs
    }
}

/// A record in a few words, for the history of a failing seed.
fn brief(rec: &Rec<'_>) -> String {
    match rec {
        Rec::MsgEnq { targets, .. } => format!(
            "{} for {:?}",
            key(rec),
            targets.iter().map(|t| t.sid).collect::<Vec<_>>()
        ),
        Rec::RetainPut(_)
        | Rec::BanPut { .. }
        | Rec::SessionPut(_)
        | Rec::SubPut { .. }
        | Rec::WillPut { .. } => key(rec),
        other => format!("{other:?}"),
    }
}

/// What was appended in one life, by log, with its tickets.
type Work = [Vec<(Vec<Rec<'static>>, Ticket)>; 2];

/// One life after the other: work, sometimes a clean stop, sometimes a power loss. After each, what comes
/// back must be what some prefix of each log says, and that prefix must hold every completed ticket.
fn run(seed: u64) {
    let mut driver = Driver {
        rng: Rng::new(seed),
        model: Model::default(),
        sid: 0,
        mid: 0,
    };
    let mut disks = Disks::default();
    let small = settings(2048);
    let mut history = Vec::new();
    for life in 0..8 {
        let (store, dump, _) = disks.open_as(&small).unwrap();
        let sessions = driver.model.sessions();
        let differ = difference(&driver.model, &sessions, &dump);
        assert!(
            differ.is_empty(),
            "seed {seed} life {life}: {differ:#?} {history:#?}"
        );
        // A restart hands out no number twice that anything left refers to.
        (driver.sid, driver.mid) = (store.next_sid(), store.next_mid());
        assert!(
            sessions.iter().all(|sid| *sid < driver.sid),
            "seed {seed} life {life}"
        );
        driver.model.keep(|sid| sessions.contains(&sid));
        driver
            .model
            .messages
            .retain(|_, r| matches!(r, Rec::MsgEnq { targets, .. } if !targets.is_empty()));
        let fresh = driver.model.messages.keys().all(|mid| *mid < driver.mid);
        assert!(fresh, "seed {seed} life {life}");
        let before = driver.model.clone();
        let work = live(&mut driver, &store, &mut history);
        if driver.rng.below(3) == 0 {
            history.push("clean stop".to_owned());
            continue;
        }
        // The plug is pulled: what is done must be there, what is not may be.
        let done = Log::ALL.map(|log| store.completed(log));
        let torn = driver.rng.below(2) == 0;
        history.push(format!("power loss, torn {torn}, done {done:?}"));
        disks = disks.after_power_loss(torn.then_some(&mut driver.rng));
        drop(store);
        let opened = disks.open_as(&small);
        let (store, dump, _) = opened.unwrap_or_else(|e| panic!("seed {seed} life {life}: {e}"));
        drop(store);
        let found = matching(&before, &work, done, &dump);
        driver.model = found.unwrap_or_else(|| {
            let differ = difference(&driver.model, &driver.model.sessions(), &dump);
            panic!("seed {seed} life {life}: no prefix fits; from all of it: {differ:#?} {history:#?}")
        });
    }
}

/// Some random work.
fn live(driver: &mut Driver, store: &StoreHandle, history: &mut Vec<String>) -> Work {
    let mut work = Work::default();
    for _ in 0..driver.rng.below(60) {
        for (log, recs) in driver.step() {
            for r in &recs {
                driver.model.apply(r, log);
            }
            history.push(format!(
                "{log:?} {:?}",
                recs.iter().map(brief).collect::<Vec<_>>()
            ));
            let ticket = store.append(log, &recs);
            work[log as usize].push((recs, ticket));
        }
        if driver.rng.below(12) == 0 {
            assert!(store.flush());
        }
    }
    work
}

/// What is not as the model says.
fn difference(model: &Model, sessions: &[u64], dump: &Dump) -> Vec<String> {
    let mut expected = model.state_dump();
    expected.extend(model.queue_dump(sessions));
    let lost = expected
        .iter()
        .filter(|(k, v)| dump.get(*k) != Some(v))
        .map(|e| format!("lost {e:?}"));
    let extra = dump
        .iter()
        .filter(|(k, v)| expected.get(*k) != Some(v))
        .map(|e| format!("found {e:?}"));
    lost.chain(extra).collect()
}

/// The model after the shortest prefixes of both logs that give this dump and hold all that was done.
fn matching(before: &Model, work: &Work, done: [Ticket; 2], dump: &Dump) -> Option<Model> {
    let is_queue = |k: &String| k.starts_with("msg") || k.starts_with("in2");
    let (queue, state): (Dump, Dump) = dump.clone().into_iter().partition(|(k, _)| is_queue(k));
    let prefixes = |log: Log, from: &Model| {
        let mut model = from.clone();
        let mut all = vec![(Ticket::DONE, model.clone())];
        for (recs, ticket) in &work[log as usize] {
            for r in recs {
                model.apply(r, log);
            }
            all.push((*ticket, model.clone()));
        }
        all.into_iter()
            .filter(move |(t, _)| *t >= done[log as usize])
            .map(|(_, m)| m)
    };
    let after_state = prefixes(Log::State, before).find(|m| m.state_dump() == state)?;
    let sessions = after_state.sessions();
    prefixes(Log::Queue, &after_state).find(|m| m.queue_dump(&sessions) == queue)
}

#[test]
fn whatever_happens_all_that_was_acknowledged_comes_back() {
    let seeds = std::env::var("STORE_SEEDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(150);
    for seed in 1..=seeds {
        run(seed);
    }
}
