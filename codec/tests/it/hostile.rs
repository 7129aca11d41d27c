//! Mutated packets from a fixed seed, and the corpus of `codec/fuzz`: none may break the invariants.

use codec::Version;

use crate::support::{MAX_PACKET_SIZE, Random, VERSIONS, malformed, vectors};
use crate::{invariants, round_trip};

/// All packets of the tables.
fn seeds() -> Vec<Vec<u8>> {
    vectors()
        .into_iter()
        .map(|vector| vector.bytes)
        .chain(malformed().into_iter().map(|row| row.bytes))
        .collect()
}

/// Changes a packet here and there; nine times of ten the remaining length is made right again.
pub(crate) fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        match random.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.next() as u8,
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.insert(at, random.next() as u8),
            4 => bytes.insert(
                at,
                [0, 1, 2, 0x7f, 0x80, 0xff, b'#', b'+', b'/', 0x26, 0x0b][random.below(11)],
            ),
            5 => bytes.truncate(at),
            6 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                let to = from + random.below(other.len() - from) + 1;
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let end = (at + random.below(8)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    if random.below(10) > 0 {
        with_length(&bytes)
    } else {
        bytes
    }
}

/// The same body behind a right remaining length; the old length is taken to be one byte.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    let Some((first, rest)) = bytes.split_first() else {
        return Vec::new();
    };
    let body = rest.get(1..).unwrap_or_default();
    let mut out = vec![*first];
    let mut left = body.len();
    while left >= 0x80 {
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
    out.extend_from_slice(body);
    out
}

#[test]
fn mutated_packets_break_nothing() {
    let mut seeds = seeds();
    let mut random = Random(2026);
    for _ in 0..150_000 {
        let bytes = mutate(&mut random, &seeds);
        for version in VERSIONS {
            invariants::check(&bytes, version, MAX_PACKET_SIZE);
        }
        // What is accepted breeds, so that the search goes deeper.
        let whole =
            codec::decode(&bytes, Version::V5).is_ok() || codec::decode(&bytes, Version::V311).is_ok();
        if whole && bytes.len() < 200 && seeds.len() < 5_000 {
            seeds.push(bytes);
        }
    }
}

/// Truncation at each byte of each packet, and each bit of it flipped.
#[test]
fn every_cut_and_every_bit_flip() {
    for seed in seeds() {
        for at in 0..seed.len() {
            for version in VERSIONS {
                invariants::check(&with_length(&seed[..at]), version, MAX_PACKET_SIZE);
                for bit in 0..8 {
                    let mut bytes = seed.clone();
                    bytes[at] ^= 1 << bit;
                    invariants::check(&bytes, version, MAX_PACKET_SIZE);
                }
            }
        }
    }
}

#[test]
fn the_fuzz_corpus_breaks_nothing() {
    for (target, run) in [
        (
            "v4",
            (|data| invariants::check(data, Version::V311, MAX_PACKET_SIZE)) as fn(&[u8]),
        ),
        ("v5", |data| invariants::check(data, Version::V5, MAX_PACKET_SIZE)),
        ("round_trip", round_trip::check),
    ] {
        let files = corpus(target);
        assert!(files.len() >= 20, "{target}: {} files", files.len());
        for data in files {
            run(&data);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the ban is for the crate; its test data are files"
)]
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    entries
        .map(|entry| std::fs::read(entry.expect("entry").path()).expect("file"))
        .collect()
}
