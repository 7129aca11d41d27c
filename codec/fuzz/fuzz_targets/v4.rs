//! Any bytes as MQTT 3.1.1 packets, from either side.
#![no_main]

#[path = "../../tests/it/invariants.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariants::check(data, codec::Version::V311, 1 << 20));
