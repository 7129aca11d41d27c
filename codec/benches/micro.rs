//! Decoding and encoding of PUBLISH, next to mqttbytes: nanoseconds per packet.
//!
//! `cargo bench -p codec`. All jobs run interleaved, round after round, so that the load of the machine falls on all alike;
//! printed are the median and the minimum of the rounds. Without `--bench` (as `cargo test` runs it) there is one round, to see
//! that it works. docs/decisions/001-codec.md quotes the result.
#![expect(
    clippy::disallowed_methods,
    reason = "the ban on clocks is for the crate, not for timing it"
)]
#![expect(clippy::unwrap_used, reason = "a bench may fail loudly")]

use std::hint::black_box;
use std::time::Instant;

use bytes::BytesMut;
use codec::frame::{self, Frame};
use codec::{
    Properties, PropertiesBuf, Property, PublishOut, QoS, Version, copy_patched, decode, publish_first_byte,
};
use mqttbytes::{v4, v5};

const PACKETS: usize = 64;
const TOPIC: &str = "sensors/building-7/floor-3/t/x";
const MAX: u32 = 1 << 20;

/// One line of the table: does its work once on all [`PACKETS`].
struct Job {
    name: &'static str,
    work: Box<dyn FnMut()>,
    /// Nanoseconds per packet of each round.
    rounds: Vec<f64>,
}

fn job(name: &'static str, work: impl FnMut() + 'static) -> Job {
    Job {
        name,
        work: Box::new(work),
        rounds: Vec::new(),
    }
}

fn main() {
    let timed = std::env::args().any(|argument| argument == "--bench");
    let (rounds, repeats) = if timed { (151, 40) } else { (1, 1) };
    for version in [Version::V311, Version::V5] {
        for size in [16, 256, 4096] {
            let mut jobs = decoding(version, size);
            jobs.extend(encoding(version, size));
            measure(&mut jobs, rounds, repeats);
            print(&format!("PUBLISH {version:?}, payload {size} B"), &jobs);
        }
    }
    let mut jobs = properties();
    measure(&mut jobs, rounds, repeats);
    print(
        "PUBLISH V5, payload 256 B, content type, response topic, correlation data, 2 user properties",
        &jobs,
    );
    let mut jobs = topics();
    measure(&mut jobs, rounds, repeats);
    print("matching a topic", &jobs);
}

fn measure(jobs: &mut [Job], rounds: usize, repeats: usize) {
    for _ in 0..rounds {
        for job in jobs.iter_mut() {
            let start = Instant::now();
            for _ in 0..repeats {
                (job.work)();
            }
            let nanos = start.elapsed().as_nanos() as f64;
            job.rounds.push(nanos / (repeats * PACKETS) as f64);
        }
    }
}

fn print(title: &str, jobs: &[Job]) {
    println!("\n{title}: ns per packet, median (minimum)");
    for job in jobs {
        let mut rounds = job.rounds.clone();
        rounds.sort_by(f64::total_cmp);
        println!(
            "  {:<44} {:>7.1} ({:.1})",
            job.name,
            rounds[rounds.len() / 2],
            rounds[0]
        );
    }
}

fn publish(version: Version, qos: QoS, payload: &[u8]) -> PublishOut<'_> {
    PublishOut {
        version,
        dup: false,
        qos,
        retain: false,
        topic: TOPIC,
        packet_id: 1,
        topic_alias: None,
        message_expiry: None,
        subscription_ids: &[],
        properties: &[],
        payload,
    }
}

/// [`PACKETS`] alike in one buffer.
fn stream(publish: &PublishOut<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..PACKETS {
        publish.encode(&mut stream).unwrap();
    }
    stream
}

/// Decodes a buffer to its end.
fn decode_all(buffer: &[u8], version: Version) {
    let mut rest = buffer;
    while let Ok(Frame::Complete { len }) = frame::check(rest, MAX) {
        let (packet, after) = rest.split_at(len);
        black_box(decode(packet, version).unwrap());
        rest = after;
    }
}

fn decoding(version: Version, size: usize) -> Vec<Job> {
    let payload = vec![b'x'; size];
    let stream = stream(&publish(version, QoS::AtMostOnce, &payload));
    decoding_of(version, stream)
}

fn decoding_of(version: Version, stream: Vec<u8>) -> Vec<Job> {
    let len = stream.len() / PACKETS;
    let mut refilled = BytesMut::new();
    let mut theirs = BytesMut::new();
    let mut ours = Vec::new();
    let (one, two, three) = (stream.clone(), stream.clone(), stream.clone());
    vec![
        job("refill only (BytesMut, split)", move || {
            refilled.clear();
            refilled.extend_from_slice(&one);
            while !refilled.is_empty() {
                black_box(refilled.split_to(len).freeze());
            }
        }),
        job("mqttbytes read, refilled", move || {
            theirs.clear();
            theirs.extend_from_slice(&two);
            for _ in 0..PACKETS {
                match version {
                    Version::V5 => drop(black_box(v5::read(&mut theirs, MAX as usize).unwrap())),
                    _ => drop(black_box(v4::read(&mut theirs, MAX as usize).unwrap())),
                }
            }
        }),
        job("ours check + decode, refilled", move || {
            ours.clear();
            ours.extend_from_slice(&three);
            decode_all(black_box(&ours), version);
        }),
        job("ours check + decode, in place", move || {
            decode_all(black_box(&stream), version);
        }),
    ]
}

fn encoding(version: Version, size: usize) -> Vec<Job> {
    let payload = vec![b'x'; size];
    let mut ready = Vec::new();
    publish(version, QoS::AtLeastOnce, &payload)
        .encode(&mut ready)
        .unwrap();
    let mut head = Vec::new();
    publish(version, QoS::AtLeastOnce, &payload)
        .encode_head(&mut head)
        .unwrap();
    let offset = publish(version, QoS::AtLeastOnce, &payload)
        .packet_id_offset()
        .unwrap();
    let (mut theirs, mut parts) = (BytesMut::new(), Vec::new());
    let (mut copies, mut heads) = (Vec::new(), Vec::new());
    let mut v4_publish = v4::Publish::new(TOPIC, mqttbytes::QoS::AtLeastOnce, payload.clone());
    let mut v5_publish = v5::Publish::new(TOPIC, mqttbytes::QoS::AtLeastOnce, payload.clone());
    vec![
        job("mqttbytes write, struct ready", move || {
            theirs.clear();
            for id in 1..=PACKETS as u16 {
                v4_publish.pkid = id;
                v5_publish.pkid = id;
                match version {
                    Version::V5 => black_box(v5_publish.write(&mut theirs)).unwrap(),
                    _ => black_box(v4_publish.write(&mut theirs)).unwrap(),
                };
            }
        }),
        job("ours encode from parts", move || {
            parts.clear();
            for packet_id in 1..=PACKETS as u16 {
                let publish = PublishOut {
                    packet_id,
                    ..publish(version, QoS::AtLeastOnce, &payload)
                };
                black_box(&publish).encode(&mut parts).unwrap();
            }
        }),
        job("ours ready frame, copied and patched", move || {
            copies.clear();
            copy_all(black_box(&ready), offset, &mut copies);
        }),
        job("ours ready head, copied and patched", move || {
            heads.clear();
            copy_all(black_box(&head), offset, &mut heads);
        }),
    ]
}

fn copy_all(frame: &[u8], offset: usize, out: &mut Vec<u8>) {
    let first = publish_first_byte(false, QoS::AtLeastOnce, false);
    for packet_id in 1..=PACKETS as u16 {
        copy_patched(frame, first, Some((offset, packet_id)), out);
    }
}

fn properties() -> Vec<Job> {
    let mut area = PropertiesBuf::new();
    for property in [
        Property::ContentType("application/json"),
        Property::ResponseTopic("replies/building-7"),
        Property::CorrelationData(&[7; 16]),
        Property::UserProperty("trace", "00-4bf92f3577b34da6a3ce929d0e0e4736"),
        Property::UserProperty("unit", "celsius"),
    ] {
        area.push(property).unwrap();
    }
    let properties: Properties<'_> = area.as_properties();
    let payload = [b'x'; 256];
    let out = PublishOut {
        properties: properties.raw(),
        ..publish(Version::V5, QoS::AtMostOnce, &payload)
    };
    decoding_of(Version::V5, stream(&out))
}

fn topics() -> Vec<Job> {
    let filters = [
        TOPIC,
        "sensors/+/floor-3/t/x",
        "sensors/#",
        "sensors/building-8/#",
    ];
    let all = move |matches: fn(&str, &str) -> bool| {
        for at in 0..PACKETS {
            black_box(matches(black_box(filters[at % 4]), black_box(TOPIC)));
        }
    };
    vec![
        job("mqttbytes matches", move || {
            all(|filter, topic| mqttbytes::matches(topic, filter));
        }),
        job("ours matches", move || {
            all(codec::topic::matches);
        }),
    ]
}
