//! The shared vectors in the ordinary test run, by the same runner as the `vectors` example.
#![expect(
    clippy::unwrap_used,
    reason = "test helpers: a vector that does not parse fails the test"
)]

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

use peer::{Explanation, Outcome};
use serde_json::Value;

#[test]
fn every_vector_passes() {
    let report = run::run(include_str!("data/peername-vectors.json")).unwrap();
    let failures: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{}", failures.join(""));
    assert_eq!(report.run, 271);
}

/// Property 6 of peername 15: what `explain` finds is what the server finds.
#[test]
fn explain_agrees_on_every_vector() {
    let file: Value = serde_json::from_str(include_str!("data/peername-vectors.json")).unwrap();
    let mut agreed = 0;
    for vector in file["vectors"].as_array().unwrap() {
        // `explain` is told a whole opening; it knows no end and no segments.
        if vector["test"] == "resolve" && vector.get("end").is_none() {
            check(vector);
            agreed += 1;
        }
    }
    assert_eq!(agreed, 197);
}

#[track_caller]
fn check(vector: &Value) {
    let policy = run::config(vector).unwrap().policy.unwrap();
    let wire = run::segments(vector).unwrap().concat();
    let fields = if let Some(headers) = vector.get("headers") {
        run::fields(headers).unwrap()
    } else {
        let consumed = vector["expect"]["consumed"].as_u64().unwrap_or(0);
        head::fields(&wire[usize::try_from(consumed).unwrap()..]).unwrap_or_default()
    };
    let fields: Vec<(&[u8], &[u8])> = fields.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    let socket = vector["socket"].as_str().unwrap().parse().unwrap();
    let explanation = Explanation::resolve(&policy, "vector", socket, &wire, &fields);
    let expect = &vector["expect"];
    let id = &vector["id"];
    assert_eq!(explanation.outcome().name(), expect["outcome"], "{id}");
    let lines = explanation.lines().join("\n");
    match explanation.outcome() {
        Outcome::Accept { peer, .. } => {
            assert_eq!(peer.peername().to_string(), expect["peername"], "{id}");
            assert_eq!(peer.kind().as_str(), expect["kind"], "{id}");
            let last = format!(" = peername   {}", peer.peername());
            assert!(lines.contains(&last), "{lines}");
        }
        Outcome::Reject(reject) => {
            assert_eq!(reject.code().as_str(), expect["code"], "{id}");
            assert!(
                lines.contains(&format!(" = reject     {}", reject.code())),
                "{lines}"
            );
        }
        Outcome::Close(code) => assert_eq!(code.as_str(), expect["code"], "{id}"),
    }
    if let Some(detail) = expect.get("detail") {
        assert_eq!(explanation.outcome().code().unwrap().1.unwrap(), detail, "{id}");
    }
}
