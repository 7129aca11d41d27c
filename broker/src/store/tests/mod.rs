//! Tests of the store. Here: opening on simulated disks and looking at what comes back.

mod damage;
mod faults;
mod kill;
mod life;
mod model;
mod offline;
mod sim;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::disk::Disk;
use super::*;
use sim::{Rng, SimDisk};

/// What a store hands out, by key, as text.
pub(super) type Dump = BTreeMap<String, String>;

pub(super) fn key(rec: &Rec<'_>) -> String {
    match rec {
        Rec::SessionPut(s) => format!("session {}", s.sid),
        Rec::SubPut { sid, filter, .. } => format!("sub {sid} {filter}"),
        Rec::WillPut { sid, .. } => format!("will {sid}"),
        Rec::RetainPut(b) => format!("retained {}", b.topic),
        Rec::BanPut { key, .. } => format!("ban {key}"),
        Rec::MsgEnq { mid, .. } => format!("msg {mid:06}"),
        Rec::In2 { sid, pid } => format!("in2 {sid} {pid}"),
        other => panic!("handed out: {other:?}"),
    }
}

pub(super) fn value(rec: &Rec<'_>) -> String {
    match rec {
        Rec::MsgEnq { body, targets, .. } => {
            let mut targets = targets.clone();
            targets.sort_by_key(|t| t.sid);
            format!(
                "{} {} bytes, {} {targets:?}",
                body.topic,
                body.payload.len(),
                body.expires_at
            )
        }
        Rec::RetainPut(b) => format!("{} {} {} bytes", b.qos, b.retain, b.payload.len()),
        Rec::WillPut { will, .. } => format!("{} {} bytes", will.topic, will.payload.len()),
        other => format!("{other:?}"),
    }
}

fn settings(segment_bytes: u64) -> Settings {
    Settings {
        segment_bytes,
        ..Settings::new("simulated".into())
    }
}

/// Two simulated disks.
#[derive(Clone, Debug, Default)]
struct Disks {
    state: SimDisk,
    queue: SimDisk,
}

impl Disks {
    fn after_power_loss(&self, mut rng: Option<&mut Rng>) -> Self {
        Self {
            state: self.state.after_power_loss(rng.as_deref_mut()),
            queue: self.queue.after_power_loss(rng),
        }
    }

    fn open_as(&self, settings: &Settings) -> Result<(StoreHandle, Dump, Recovered), OpenError> {
        let disks: [Arc<dyn Disk>; 2] = [Arc::new(self.state.clone()), Arc::new(self.queue.clone())];
        let mut dump = Dump::new();
        let mut order = Vec::new();
        let visit = &mut |rec: Rec<'_>| {
            order.push(match rec {
                Rec::SessionPut(_) | Rec::RetainPut(_) | Rec::BanPut { .. } => 0,
                Rec::SubPut { .. } | Rec::WillPut { .. } => 1,
                Rec::MsgEnq { mid, .. } => 2 + mid,
                _ => u64::MAX,
            });
            assert_eq!(dump.insert(key(&rec), value(&rec)), None, "{rec:?} comes twice");
        };
        let (store, recovered) = FileStore::on(disks, settings, visit, &mut |_| {})?;
        assert!(order.is_sorted(), "{order:?}");
        Ok((StoreHandle::File(Arc::new(store)), dump, recovered))
    }

    fn open(&self) -> (StoreHandle, Dump, Recovered) {
        self.open_as(&settings(64 << 20)).unwrap()
    }
}

fn session(sid: u64) -> Rec<'static> {
    Rec::SessionPut(SessionRec {
        sid,
        client_id: "dev",
        peername: "203.0.113.7:5",
        version: 5,
        ..SessionRec::default()
    })
}

fn message(mid: u64, sids: &[u64], payload: &'static [u8]) -> Rec<'static> {
    let body = Body {
        topic: "a/b",
        properties: b"",
        payload,
        qos: 1,
        retain: false,
        expires_at: u64::MAX,
    };
    let targets = sids
        .iter()
        .map(|sid| Target {
            sid: *sid,
            qos: 1,
            ..Target::default()
        })
        .collect();
    Rec::MsgEnq { mid, body, targets }
}
