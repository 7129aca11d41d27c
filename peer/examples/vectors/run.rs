//! One file of vectors: reading it, running each case, comparing.
//! Not here: what a kind of test does (`resolve`, `doctor`, `other`).

use super::{doctor, head, other, resolve};
use peer::{Checked, RawPolicy, Transport, Value as Setting};
use serde_json::{Map, Value};
use std::fmt;

/// How many cases ran, and those that failed.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) run: usize,
    pub(crate) failures: Vec<Failure>,
}

/// A case that failed.
pub(crate) struct Failure {
    id: String,
    title: String,
    differences: Vec<String>,
}

/// Runs a file: an object with `vectors`, or a bare list of them.
pub(crate) fn run(text: &str) -> Result<Report, String> {
    let file: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let vectors = file
        .get("vectors")
        .unwrap_or(&file)
        .as_array()
        .ok_or("no list of vectors")?;
    let mut report = Report {
        run: vectors.len(),
        failures: Vec::new(),
    };
    for vector in vectors {
        let differences = run_one(vector).unwrap_or_else(|error| vec![error]);
        if !differences.is_empty() {
            let text = |key: &str| vector[key].as_str().unwrap_or_default().to_owned();
            report.failures.push(Failure {
                id: text("id"),
                title: text("title"),
                differences,
            });
        }
    }
    Ok(report)
}

/// The differences, or why the case cannot be run.
fn run_one(vector: &Value) -> Result<Vec<String>, String> {
    let expect = vector["expect"].as_object().ok_or("no expect")?;
    let single = |got: Value| compare("", expect, &got);
    match vector["test"].as_str().unwrap_or_default() {
        "resolve" => {
            let mut differences = Vec::new();
            for (way, got) in resolve::three_ways(vector)? {
                differences.extend(compare(&format!("{way}: "), expect, &got));
            }
            Ok(differences)
        }
        "lint" => other::lint(vector).map(single),
        "explain" => other::explain(vector).map(single),

        "doctor" => doctor::doctor(vector).map(single),
        "sniff" => other::sniff(vector).map(single),
        "bucket" => other::bucket(vector).map(single),
        "rate_key" => other::rate_key(vector).map(single),
        unknown => Err(format!("unknown test {unknown:?}")),
    }
}

/// Every key of `expect` must be equal; the lists under these keys are sets.
fn compare(way: &str, expect: &Map<String, Value>, got: &Value) -> Vec<String> {
    const SETS: [&str; 3] = ["warnings", "codes", "findings"];
    let mut differences = Vec::new();
    for (key, expected) in expect {
        let got = got.get(key).unwrap_or(&Value::Null);
        let equal = if SETS.contains(&key.as_str()) {
            sorted(expected) == sorted(got)
        } else {
            expected == got
        };
        if !equal {
            differences.push(format!("{way}{key}: expected {expected}, got {got}"));
        }
    }
    differences
}

fn sorted(list: &Value) -> Vec<String> {
    let mut items: Vec<String> = list
        .as_array()
        .into_iter()
        .flatten()
        .map(Value::to_string)
        .collect();
    items.sort();
    items.dedup();
    items
}

/// The listener's configuration of a vector, checked.
pub(crate) fn config(vector: &Value) -> Result<Checked, String> {
    let transport = vector["listener"]
        .as_str()
        .and_then(Transport::from_name)
        .ok_or("unknown listener")?;
    let mut raw = RawPolicy::default();
    for (key, value) in vector["config"].as_object().into_iter().flatten() {
        // Durations are given in milliseconds under a key of their own.
        match (key.strip_suffix("_ms"), value.as_i64()) {
            (Some(key), Some(ms)) => raw.set(key, format!("{ms}ms")),
            _ => raw.set(key.as_str(), setting(value)?),
        };
    }
    let networks = vector["networks"].as_object().cloned().unwrap_or_default();
    let lookup = |name: &str| {
        let ranges = networks.get(name)?.as_array()?;
        Some(
            ranges
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        )
    };
    Ok(raw.check(transport, &lookup))
}

fn setting(value: &Value) -> Result<Setting, String> {
    match value {
        Value::Bool(value) => Ok(Setting::Bool(*value)),
        Value::Number(number) => number
            .as_i64()
            .map(Setting::Int)
            .ok_or_else(|| format!("number {number}")),
        Value::String(text) => Ok(Setting::Str(text.clone())),
        Value::Array(items) => items
            .iter()
            .map(setting)
            .collect::<Result<_, _>>()
            .map(Setting::List),
        Value::Null | Value::Object(_) => Err(format!("setting {value}")),
    }
}

/// The TCP segments of a vector.
pub(crate) fn segments(vector: &Value) -> Result<Vec<Vec<u8>>, String> {
    vector["wire"]
        .as_array()
        .into_iter()
        .flatten()
        .map(segment)
        .collect()
}

fn segment(segment: &Value) -> Result<Vec<u8>, String> {
    let times = segment["times"]
        .as_u64()
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(1);
    let bytes = match (segment["hex"].as_str(), segment["text"].as_str()) {
        (Some(hex), _) => from_hex(hex)?,
        (None, Some(text)) => latin1(text)?,
        (None, None) => return Err("a segment without hex or text".to_owned()),
    };
    Ok(bytes.repeat(times))
}

pub(crate) fn from_hex(hex: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok().filter(|t| t.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    };
    digits
        .chunks(2)
        .map(byte)
        .collect::<Option<_>>()
        .ok_or_else(|| format!("hex {hex:?}"))
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |hex, b| hex + &format!("{b:02x}"))
}

pub(crate) fn latin1(text: &str) -> Result<Vec<u8>, String> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).map_err(|_| format!("{c:?} is not latin-1")))
        .collect()
}

/// Field lines: name, value, and how often the value is repeated in its line.
pub(crate) fn fields(list: &Value) -> Result<Vec<head::Field>, String> {
    let field = |line: &Value| {
        let name = latin1(line[0].as_str().ok_or("a field without a name")?)?;
        let value = latin1(line[1].as_str().ok_or("a field without a value")?)?;
        let times = line[2]
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(1);
        Ok((name, value.repeat(times)))
    };
    list.as_array().into_iter().flatten().map(field).collect()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "FAIL {} {}", self.id, self.title)?;
        self.differences.iter().try_for_each(|d| writeln!(f, "    {d}"))
    }
}
