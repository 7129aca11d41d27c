//! The session against small tables; the whole of it against promises is in `world`.

use std::sync::Arc;

use codec::Packet;
use listeners::OutBuf;

use super::Session;
use super::message::Publication;
use super::publish_out::{Delivered, Delivery};
use super::queue::{QueueFull, QueueLimits};
use crate::metrics::DropReason;
use crate::router::route::Target;
use crate::router::trie::{SessionRef, Subscription};

const LIMITS: QueueLimits = QueueLimits {
    messages: 10,
    bytes: 1 << 20,
    full: QueueFull::DropOldest,
};

const ME: SessionRef = SessionRef {
    shard: 0,
    slot: 0,
    serial: 1,
};

fn session(window: u16) -> Session {
    let mut session = Session::restored("c".into(), ME, 1, 0);
    session.link.window = window;
    session
}

/// Delivers one message with this text.
fn deliver(session: &mut Session, text: &str, qos: u8, out: Option<&mut OutBuf>) -> Delivered {
    let mut publication = Publication::new("t", &[], text.as_bytes());
    publication.qos = qos;
    let cx = Delivery {
        now: 0,
        limits: &LIMITS,
        queue_qos0: true,
        buffer_max: 1 << 20,
        stored: 0,
        held: false,
    };
    let target = Target::of(&Subscription {
        session: ME,
        id: 0,
        options: 2,
    });
    session.deliver(&mut publication, &target, &cx, None, out, &mut Vec::new())
}

fn pump(session: &mut Session, out: &mut OutBuf) -> Vec<DropReason> {
    let mut gone = Vec::new();
    session.pump(0, out, &mut OutBuf::new(), 1 << 20, &mut gone);
    gone.into_iter().map(|(_, reason)| reason).collect()
}

/// What stands in the buffer, one word a packet: `p3:a` (PUBLISH 3 of "a"), `d3:a` with DUP, `0:a` at QoS 0, `r3` (PUBREL).
fn written(session: &Session, out: &mut OutBuf) -> Vec<String> {
    let bytes = std::mem::take(out.buffer_mut());
    *out = OutBuf::new();
    let mut rest = &bytes[..];
    let mut words = Vec::new();
    while let Ok(codec::Frame::Complete { len }) = codec::frame::check(rest, u32::MAX) {
        let packet = codec::decode_from_server(&rest[..len], session.link.version).expect("a packet");
        words.push(match packet {
            Packet::Publish(p) => {
                let text = String::from_utf8_lossy(p.payload);
                match (p.qos.level(), p.dup) {
                    (0, _) => format!("0:{text}"),
                    (_, false) => format!("p{}:{text}", p.packet_id),
                    (_, true) => format!("d{}:{text}", p.packet_id),
                }
            }
            Packet::PubRel(ack) => format!("r{}", ack.packet_id),
            other => panic!("{other:?}"),
        });
        rest = &rest[len..];
    }
    words
}

#[test]
fn after_a_reconnect_no_more_is_resent_than_the_new_window_allows() {
    let mut session = session(4);
    let mut out = OutBuf::new();
    for text in ["a", "b", "c", "d", "e"] {
        deliver(&mut session, text, 2, Some(&mut out));
    }
    assert_eq!(written(&session, &mut out), ["p1:a", "p2:b", "p3:c", "p4:d"]);
    session.received(1, false);
    session.link.window = 2;
    session.resend(&mut out, &mut OutBuf::new());
    assert!(pump(&mut session, &mut out).is_empty());
    assert_eq!(written(&session, &mut out), ["r1", "d2:b"]);
    assert_eq!(deliver(&mut session, "f", 1, Some(&mut out)), Delivered::Queued);
    session.completed(1);
    pump(&mut session, &mut out);
    assert_eq!(written(&session, &mut out), ["d3:c"]);
    // What was not sent again may be acknowledged all the same.
    session.received(4, false);
    session.completed(4);
    session.received(2, false);
    session.completed(2);
    pump(&mut session, &mut out);
    assert_eq!(written(&session, &mut out), ["p5:e"]);
}

#[test]
fn what_the_new_connection_cannot_take_is_dropped_and_counted() {
    let mut session = session(4);
    let mut out = OutBuf::new();
    deliver(&mut session, "a", 1, Some(&mut out));
    deliver(&mut session, &"b".repeat(100), 1, Some(&mut out));
    deliver(&mut session, "c", 1, Some(&mut out));
    written(&session, &mut out);
    session.link.max_packet_size = 50;
    session.resend(&mut out, &mut OutBuf::new());
    assert_eq!(pump(&mut session, &mut out), [DropReason::TooLarge]);
    assert_eq!(written(&session, &mut out), ["d1:a", "d3:c"]);
    assert_eq!(session.statistics.dropped, 1);
}

#[test]
fn qos_0_does_not_overtake_what_waited_for_the_client() {
    let mut session = session(1);
    let mut out = OutBuf::new();
    deliver(&mut session, "a", 1, None);
    deliver(&mut session, "b", 1, None);
    deliver(&mut session, "c", 0, None);
    pump(&mut session, &mut out);
    assert_eq!(deliver(&mut session, "d", 0, Some(&mut out)), Delivered::Queued);
    session.acknowledged(1);
    pump(&mut session, &mut out);
    assert_eq!(written(&session, &mut out), ["p1:a", "p2:b", "0:c", "0:d"]);
}

#[test]
fn a_client_that_is_away_gets_what_waited_in_order() {
    let mut session = session(10);
    for text in ["a", "b", "c"] {
        assert_eq!(deliver(&mut session, text, 1, None), Delivered::Queued);
    }
    let mut out = OutBuf::new();
    pump(&mut session, &mut out);
    assert_eq!(written(&session, &mut out), ["p1:a", "p2:b", "p3:c"]);
    for id in 1..=3 {
        assert!(session.acknowledged(id).is_some());
    }
    assert!(session.acknowledged(3).is_none(), "acknowledged once");
    pump(&mut session, &mut out);
    session.rest();
    assert!(session.outbound.is_none(), "an idle session is small");
}

#[test]
fn identifiers_of_earlier_connections_do_not_count_against_the_receive_maximum() {
    let offer = super::publish_in::Offer {
        max_qos: 2,
        retain: true,
        max_topic_levels: 8,
    };
    let mut session = session(1);
    session.link.version = codec::Version::V5;
    session.link.receive_maximum = 2;
    let send = |session: &mut Session, id: u16| {
        let mut bytes = Vec::new();
        let packet = codec::PublishOut {
            version: codec::Version::V5,
            dup: false,
            qos: codec::QoS::ExactlyOnce,
            retain: false,
            topic: "t",
            packet_id: id,
            topic_alias: None,
            message_expiry: None,
            subscription_ids: &[],
            properties: &[],
            payload: b"",
        };
        packet.encode(&mut bytes).expect("small");
        let Ok(Packet::Publish(publish)) = codec::decode(&bytes, codec::Version::V5) else {
            panic!("a PUBLISH");
        };
        let taken = session.publish_in(&publish, &offer);
        if taken.is_ok() {
            session.received_qos2(id);
        }
        taken.is_ok()
    };
    assert!(send(&mut session, 1) && send(&mut session, 2));
    assert!(!send(&mut session, 3), "the third is one too many");
    session.link.inherited_rel = 2;
    assert!(send(&mut session, 3) && send(&mut session, 4));
    assert!(!send(&mut session, 5));
    assert!(session.released(1) && !session.released(1));
    assert!(
        !send(&mut session, 5),
        "1 did not count, so its end frees nothing"
    );
    assert!(session.released(3));
    assert!(send(&mut session, 5));
}

#[test]
fn a_full_queue_names_what_it_loses() {
    let mut session = session(1);
    let one = Arc::new(QueueLimits {
        messages: 1,
        ..LIMITS
    });
    let target = Target::of(&Subscription {
        session: ME,
        id: 0,
        options: 1,
    });
    let mut cx = Delivery {
        now: 0,
        limits: &one,
        queue_qos0: false,
        buffer_max: 0,
        stored: 0,
        held: false,
    };
    let mut gone = Vec::new();
    let mut push = |cx: &Delivery<'_>, text: &str, gone: &mut Vec<_>| {
        let mut publication = Publication::new("t", &[], text.as_bytes());
        publication.qos = 1;
        session.deliver(&mut publication, &target, cx, None, None, gone)
    };
    assert_eq!(push(&cx, "a", &mut gone), Delivered::Queued);
    assert_eq!(push(&cx, "b", &mut gone), Delivered::Queued);
    assert_eq!(
        gone.pop().map(|q| q.message.payload().to_vec()),
        Some(b"a".to_vec())
    );
    let newest = QueueLimits {
        full: QueueFull::DropNewest,
        ..*one
    };
    cx.limits = &newest;
    assert_eq!(
        push(&cx, "c", &mut gone),
        Delivered::Dropped(DropReason::QueueFull)
    );
    assert_eq!(
        gone.pop().map(|q| q.message.payload().to_vec()),
        Some(b"c".to_vec())
    );
}

#[test]
fn nothing_new_is_sent_before_what_is_to_be_sent_again() {
    let mut session = session(4);
    let mut out = OutBuf::new();
    deliver(&mut session, "a", 1, Some(&mut out));
    deliver(&mut session, "b", 1, Some(&mut out));
    out = OutBuf::new();
    session.resend(&mut out, &mut OutBuf::new());
    // The socket takes one packet only.
    session.pump(0, &mut out, &mut OutBuf::new(), 0, &mut Vec::new());
    assert_eq!(written(&session, &mut out), ["d1:a"]);
    assert_eq!(deliver(&mut session, "c", 1, Some(&mut out)), Delivered::Queued);
    pump(&mut session, &mut out);
    assert_eq!(written(&session, &mut out), ["d2:b", "p3:c"]);
}
