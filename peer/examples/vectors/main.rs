//! Runs files of peername vectors: `cargo run -p peer --example vectors -- FILE...`
//!
//! Every kind of `test` is known; `resolve` runs three ways. Each failing case is printed with the keys that
//! differ, then a count. Exit status 1 if anything failed, 2 if a file cannot be read.

mod doctor;
mod head;
mod other;
mod resolve;
mod run;

use std::process::ExitCode;

#[expect(
    clippy::disallowed_methods,
    reason = "the files to run are given on the command line"
)]
fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: vectors FILE...");
        return ExitCode::from(2);
    }
    let mut total = run::Report::default();
    for file in &files {
        match std::fs::read_to_string(file)
            .map_err(|e| e.to_string())
            .and_then(|text| run::run(&text))
        {
            Ok(report) => {
                total.run += report.run;
                total.failures.extend(report.failures);
            }
            Err(error) => {
                eprintln!("{file}: {error}");
                return ExitCode::from(2);
            }
        }
    }
    for failure in &total.failures {
        println!("{failure}");
    }
    println!("{} vectors, {} failed", total.run, total.failures.len());
    if total.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
