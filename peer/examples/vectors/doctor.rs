//! `doctor`: events to findings.

use super::run;
use peer::{
    Addr, Code, Doctor, Event, EventResult, FirstBytes, Kind, ListenerFacts, Policy, Source, Transport,
    Warning,
};
use serde_json::{Value, json};

/// Which findings the events make.
pub(crate) fn doctor(vector: &Value) -> Result<Value, String> {
    let checked = run::config(vector)?;
    let transport = vector["listener"]
        .as_str()
        .and_then(Transport::from_name)
        .ok_or("unknown listener")?;
    let policy = checked.policy.unwrap_or_else(|| Policy::defaults(transport));
    let facts = ListenerFacts {
        name: "vector".to_owned(),
        bind: "192.0.2.1:1883".to_owned(),
        port: 1883,
        local_mode: vector["local_mode"].as_bool().unwrap_or(false),
    };
    let mut doctor = Doctor::new(facts, &policy, &checked.problems);
    for template in vector["events"].as_array().into_iter().flatten() {
        for number in 0..template["n"].as_u64().unwrap_or(1) {
            doctor.record(0, &event(template, number)?);
        }
    }
    let findings: Vec<&str> = doctor.evaluate(0).iter().map(|f| f.code.as_str()).collect();
    Ok(json!({ "findings": findings }))
}

/// The copy of that number.
fn event(template: &Value, number: u64) -> Result<Event, String> {
    let result = &template["result"];
    let result = match result["outcome"].as_str() {
        Some("accept") => accepted(result, number)?,
        _ => ended(result)?,
    };
    let class = template["sniff"]
        .as_str()
        .map(|name| FirstBytes::from_name(name).ok_or("unknown class"));
    Ok(Event {
        socket: addr(&template["socket"], number)?,
        client_id: template["client_id"]
            .as_str()
            .map(|id| numbered(id, number).into()),
        class: class.transpose()?,
        probe: template["probe"].as_bool().unwrap_or(false),
        same_address: template["same_address"].as_bool().unwrap_or(false),
        result,
    })
}

fn accepted(result: &Value, number: u64) -> Result<EventResult, String> {
    let warnings = result["warnings"].as_array().into_iter().flatten();
    let warning = |name: &Value| {
        name.as_str()
            .and_then(Warning::from_name)
            .ok_or("unknown warning")
    };
    let chain = result["chain"].as_array().ok_or("no chain")?;
    Ok(EventResult::Accepted {
        peername: addr(&result["peername"], number)?,
        kind: result["kind"]
            .as_str()
            .and_then(Kind::from_name)
            .ok_or("unknown kind")?,
        source: result["source"]
            .as_str()
            .and_then(Source::from_name)
            .ok_or("unknown source")?,
        warnings: warnings.map(warning).collect::<Result<_, _>>()?,
        through: chain.first().map(|first| addr(first, number)).transpose()?,
        element: None,
    })
}

fn ended(result: &Value) -> Result<EventResult, String> {
    let name = result["code"].as_str().unwrap_or_default();
    // Details are words of the resolver; here they come from outside, once per case.
    let detail = result["detail"].as_str().map(|detail| &*detail.to_owned().leak());
    let code = Code::from_name(name).ok_or_else(|| format!("unknown code {name:?}"))?;
    Ok(EventResult::Ended {
        code,
        detail,
        hop: None,
        element: None,
    })
}

fn addr(text: &Value, number: u64) -> Result<Addr, String> {
    let text = numbered(text.as_str().unwrap_or_default(), number);
    text.parse().map_err(|_| format!("address {text:?}"))
}

/// `{i}` is the copy's number, `{40000+i}` that plus 40000.
fn numbered(text: &str, number: u64) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (sum, after) = after.split_once('}').unwrap_or((after, ""));
        let value: u64 = sum
            .split('+')
            .map(|part| {
                if part == "i" {
                    number
                } else {
                    part.parse().unwrap_or(0)
                }
            })
            .sum();
        out += before;
        out += &value.to_string();
        rest = after;
    }
    out + rest
}
