//! The shared vectors in the ordinary test run, by the same runner as the `vectors` example.

#[path = "../examples/vectors/doctor.rs"]
mod doctor;
#[path = "../examples/vectors/head.rs"]
mod head;
#[path = "../examples/vectors/other.rs"]
mod other;
#[path = "../examples/vectors/resolve.rs"]
mod resolve;
#[path = "../examples/vectors/run.rs"]
mod run;

#[test]
fn every_vector_passes() {
    let report = run::run(include_str!("data/peername-vectors.json")).unwrap();
    let failures: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{}", failures.join(""));
    assert_eq!(report.run, 271);
}
