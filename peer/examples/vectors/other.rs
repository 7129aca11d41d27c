//! The kinds of test that are one call each: `lint`, `explain`, `sniff`, `bucket`, `rate_key`.

use super::run;
use peer::{Addr, Bucket, Explanation, Rate, RateKey};
use serde_json::{Value, json};

/// Which codes the configuration gets.
pub(crate) fn lint(vector: &Value) -> Result<Value, String> {
    let codes: Vec<&str> = run::config(vector)?
        .problems
        .iter()
        .map(|p| p.code.as_str())
        .collect();
    Ok(json!({ "codes": codes }))
}

/// The text of an explanation.
pub(crate) fn explain(vector: &Value) -> Result<Value, String> {
    let policy = run::config(vector)?.policy.ok_or("config refused")?;
    let name = vector["name"].as_str().unwrap_or_default();
    let socket: Addr = vector["socket"]
        .as_str()
        .unwrap_or_default()
        .parse()
        .map_err(|_| "no socket address")?;
    let wire = run::segments(vector)?.concat();
    let fields = run::fields(&vector["headers"])?;
    let fields: Vec<(&[u8], &[u8])> = fields.iter().map(|(n, v)| (n.as_slice(), v.as_slice())).collect();
    let explanation = Explanation::resolve(&policy, name, socket, &wire, &fields);
    Ok(json!({ "lines": explanation.lines() }))
}

/// The class of the first bytes.
pub(crate) fn sniff(vector: &Value) -> Result<Value, String> {
    Ok(json!({ "class": peer::sniff(&run::segments(vector)?.concat()) }))
}

/// Which arrivals a bucket allows.
pub(crate) fn bucket(vector: &Value) -> Result<Value, String> {
    let burst = vector["burst"]
        .as_u64()
        .and_then(|n| u32::try_from(n).ok())
        .ok_or("no burst")?;
    // Rates below one a second are given as fractions; per hour they are whole numbers.
    let per_hour = vector["rate"].as_f64().ok_or("no rate")? * 3600.0;
    let rate = Rate::per_hour(per_hour.round() as u32, burst);
    let arrivals = vector["arrivals_ms"].as_array().ok_or("no arrivals_ms")?;
    let mut bucket = Bucket::full(rate);
    let allowed: Vec<bool> = arrivals
        .iter()
        .filter_map(Value::as_u64)
        .map(|now| bucket.take(rate, now))
        .collect();
    Ok(json!({ "allowed": allowed }))
}

/// The key of a peer.
pub(crate) fn rate_key(vector: &Value) -> Result<Value, String> {
    let peer: Addr = vector["peer"]
        .as_str()
        .unwrap_or_default()
        .parse()
        .map_err(|_| "no peer address")?;
    Ok(json!({ "key": RateKey::of(&peer).to_string() }))
}
