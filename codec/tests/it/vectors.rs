//! The golden vectors of `data/vectors.txt`: what a strict broker accepts and refuses. Also: every strict prefix of a
//! packet asks for more, and however the bytes are cut the result is the same.

use codec::frame::{self, Frame};
use codec::{DecodeError, Packet, Version, decode};

use crate::support::{MAX_PACKET_SIZE, Vector, vectors};

/// Framing and decoding of a buffer that should hold one packet; `None` asks for more.
fn whole(bytes: &[u8], version: Version) -> Result<Option<Packet<'_>>, DecodeError> {
    match frame::check(bytes, MAX_PACKET_SIZE)? {
        Frame::Incomplete { need } => {
            assert!(need > bytes.len(), "need {need} of {}", bytes.len());
            Ok(None)
        }
        Frame::Complete { len } => {
            assert_eq!(len, bytes.len(), "one packet");
            decode(bytes, version).map(Some)
        }
    }
}

#[test]
fn every_vector_is_decided_as_wanted() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 152);
    let wrong: Vec<String> = vectors
        .iter()
        .filter_map(|vector| {
            let result = whole(&vector.bytes, vector.version);
            let right = match &result {
                Ok(Some(_)) => vector.accepted(),
                Ok(None) => false,
                Err(_) => !vector.accepted(),
            };
            (!right).then(|| format!("{:?} {}: {result:?}", vector.version, vector.case))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_strict_prefix_asks_for_more() {
    for vector in vectors().iter().filter(|vector| vector.accepted()) {
        for len in 0..vector.bytes.len() {
            let result = whole(&vector.bytes[..len], vector.version);
            assert_eq!(result, Ok(None), "{} cut to {len}", vector.case);
        }
    }
}

/// All accepted packets of a version one after another, given in chunks of every size: the same packets come out.
#[test]
fn any_cut_gives_the_same_packets() {
    for version in [Version::V31, Version::V311, Version::V5] {
        let all = vectors();
        let accepted: Vec<&Vector> = all
            .iter()
            .filter(|v| v.version == version && v.accepted())
            .collect();
        let stream: Vec<u8> = accepted.iter().flat_map(|vector| vector.bytes.clone()).collect();
        for chunk in 1..=stream.len() {
            let mut buffer: Vec<u8> = Vec::new();
            let mut frames: Vec<Vec<u8>> = Vec::new();
            for piece in stream.chunks(chunk) {
                buffer.extend_from_slice(piece);
                while let Frame::Complete { len } = frame::check(&buffer, MAX_PACKET_SIZE).unwrap() {
                    let rest = buffer.split_off(len);
                    decode(&buffer, version).unwrap();
                    frames.push(std::mem::replace(&mut buffer, rest));
                }
            }
            assert!(buffer.is_empty());
            assert!(
                frames.iter().eq(accepted.iter().map(|vector| &vector.bytes)),
                "chunks of {chunk}"
            );
        }
    }
}

/// A strict prefix is never accepted by `decode` itself either: the caller's mistake is refused, not read past.
#[test]
fn decode_takes_exactly_one_packet() {
    for vector in vectors().iter().filter(|vector| vector.accepted()) {
        for len in 0..vector.bytes.len() {
            let result = decode(&vector.bytes[..len], vector.version);
            assert_eq!(
                result,
                Err(DecodeError::NotOneFrame),
                "{} cut to {len}",
                vector.case
            );
        }
        let mut longer = vector.bytes.clone();
        longer.push(0);
        assert_eq!(
            decode(&longer, vector.version),
            Err(DecodeError::NotOneFrame),
            "{}",
            vector.case
        );
    }
}
