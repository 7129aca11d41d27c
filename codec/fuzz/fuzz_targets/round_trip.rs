//! A packet drawn from the bytes is written, read back and compared.
#![no_main]

#[path = "../../tests/it/generate.rs"]
mod generate;
#[path = "../../tests/it/round_trip.rs"]
mod round_trip;

libfuzzer_sys::fuzz_target!(|data: &[u8]| round_trip::check(data));
