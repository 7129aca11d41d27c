//! The packet tables of `tests/data` and a random number generator, for all test modules.

use codec::Version;

/// The packet limit that the tables assume, in bytes.
pub(crate) const MAX_PACKET_SIZE: u32 = 1 << 20;

pub(crate) const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// The vectors that role or policy decides, and which of them we accept.
const ACCEPTED_BY_POLICY: &[&str] = &["PUBLISH fmt=1 non-utf8 payload"];

/// A line of `vectors.txt`.
pub(crate) struct Vector {
    pub(crate) version: Version,
    /// `A`, `R` or `?`.
    pub(crate) want: char,
    pub(crate) bytes: Vec<u8>,
    pub(crate) case: &'static str,
}

impl Vector {
    pub(crate) fn accepted(&self) -> bool {
        match self.want {
            'A' => true,
            'R' => false,
            _ => ACCEPTED_BY_POLICY.contains(&self.case),
        }
    }
}

pub(crate) fn vectors() -> Vec<Vector> {
    lines(include_str!("../data/vectors.txt"))
        .map(|line| {
            let [version, want, bytes, case] = columns(line);
            let want = want.chars().next().expect("a letter");
            Vector {
                version: version_of(version),
                want,
                bytes: hex(bytes),
                case,
            }
        })
        .collect()
}

/// A line of `malformed.txt`.
pub(crate) struct Malformed {
    pub(crate) version: Version,
    pub(crate) reason: u8,
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) case: &'static str,
}

pub(crate) fn malformed() -> Vec<Malformed> {
    lines(include_str!("../data/malformed.txt"))
        .map(|line| {
            let [version, reason, name, bytes, case] = columns(line);
            let reason = u8::from_str_radix(reason, 16).expect("hex");
            Malformed {
                version: version_of(version),
                reason,
                name,
                bytes: hex(bytes),
                case,
            }
        })
        .collect()
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

fn columns<const N: usize>(line: &'static str) -> [&'static str; N] {
    let columns: Vec<&str> = line.splitn(N, ' ').collect();
    columns
        .try_into()
        .unwrap_or_else(|_| panic!("{N} columns: {line}"))
}

fn version_of(column: &str) -> Version {
    match column {
        "3" => Version::V31,
        "4" => Version::V311,
        "5" => Version::V5,
        other => panic!("version {other}"),
    }
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(digits).collect()
}

/// SplitMix64: small, seeded, good enough to choose mutations.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
