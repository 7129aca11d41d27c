//! `resolve`: both stages, as a listener drives them, three times over differently cut bytes.

use super::{head, run};
use peer::{Addr, End, Explanation, Outcome, Policy, ProxyStage, Verdict, resolve_headers};
use serde_json::{Value, json};

/// The results with segments as given, in one piece, and byte by byte.
pub(crate) fn three_ways(vector: &Value) -> Result<Vec<(&'static str, Value)>, String> {
    let case = Case::of(vector)?;
    let given = run::segments(vector)?;
    let whole: Vec<u8> = given.concat();
    let bytes = whole.iter().map(|b| vec![*b]).collect();
    let ways = [
        ("as given", given),
        ("whole", vec![whole.clone()]),
        ("byte by byte", bytes),
    ];
    Ok(ways
        .into_iter()
        .map(|(way, segments)| (way, case.run(&segments, &whole)))
        .collect())
}

struct Case {
    policy: Policy,
    socket: Addr,
    end: Option<End>,
    /// `None`: taken from an HTTP head in the bytes.
    headers: Option<Vec<head::Field>>,
}

impl Case {
    fn of(vector: &Value) -> Result<Self, String> {
        let checked = run::config(vector)?;
        let policy = checked
            .policy
            .ok_or_else(|| format!("config refused: {:?}", checked.problems))?;
        let socket = vector["socket"]
            .as_str()
            .unwrap_or_default()
            .parse()
            .map_err(|_| "no socket address")?;
        let end = match vector["end"].as_str().unwrap_or("open") {
            "open" => None,
            "eof" => Some(End::Eof),
            "timeout" => Some(End::Timeout),
            unknown => return Err(format!("unknown end {unknown:?}")),
        };
        let headers = vector.get("headers").map(run::fields).transpose()?;
        Ok(Self {
            policy,
            socket,
            end,
            headers,
        })
    }

    fn run(&self, segments: &[Vec<u8>], whole: &[u8]) -> Value {
        let mut stage = match ProxyStage::new(&self.policy, self.socket) {
            Ok(stage) => stage,
            Err(reject) => return self.json(Outcome::Reject(Box::new(reject)), &[]),
        };
        let mut verdict = stage.push(&[]);
        let mut taken = 0;
        for segment in segments {
            if !matches!(verdict, Verdict::Undecided) {
                break;
            }
            verdict = stage.push(segment);
            taken += segment.len();
        }
        if matches!(verdict, Verdict::Undecided) {
            verdict = match self.end {
                Some(end) => stage.finish(end),
                None => still_open(&mut stage),
            };
        }
        let (hop, consumed) = match verdict {
            Verdict::Accept { hop, consumed } => (hop, consumed),
            Verdict::Reject(reject) => return self.json(Outcome::Reject(Box::new(reject)), &[]),
            Verdict::Close(code) => return self.json(Outcome::Close(code), &[]),
            Verdict::Undecided => return json!({ "outcome": "undecided" }),
        };
        let rest = [&stage.into_rest(), whole.get(taken..).unwrap_or_default()].concat();
        let from_head = || head::fields(&rest);
        let fields = match self.headers.clone().map_or_else(from_head, Ok) {
            Ok(fields) => fields,
            Err(head::BadRequest) if self.policy.header_stage() => {
                return json!({ "outcome": "reject", "code": "E_HTTP_BAD_REQUEST", "http_status": 400 });
            }
            Err(head::BadRequest) => Vec::new(),
        };
        let fields = fields
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()));
        let outcome = match resolve_headers(&self.policy, &hop, fields) {
            Ok(peer) => Outcome::Accept {
                peer: Box::new(peer),
                consumed,
            },
            Err(reject) => Outcome::Reject(Box::new(reject)),
        };
        self.json(outcome, &rest)
    }

    fn json(&self, outcome: Outcome, rest: &[u8]) -> Value {
        let explanation = Explanation::of_outcome(&self.policy, "vector", self.socket, outcome);
        let mut value = serde_json::to_value(&explanation).unwrap_or_default();
        value["rest"] = run::to_hex(rest).into();
        value
    }
}

/// A connection that stays open after the last byte of the vector: a header and nothing after it goes
/// on; one without any byte is one that will not send a header.
fn still_open(stage: &mut ProxyStage<'_>) -> Verdict {
    if stage.received().is_empty() {
        return stage.without_header();
    }
    match stage.finish(End::Timeout) {
        accept @ Verdict::Accept { .. } => accept,
        _ => Verdict::Undecided,
    }
}
