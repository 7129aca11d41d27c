//! Permissions that came with credentials (a claim of a token, the answer of the HTTP service). They only narrow what
//! the rules of the file allow: both must allow.
//!
//! What does not live here: the rules of the file (`auth::Policy`).

use codec::topic::{check_topic_name, covers, matches, overlaps};
use serde_json::Value;

/// A list of permissions; the first that fits decides, none that fits is a denial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    list: Vec<Permission>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Permission {
    allow: bool,
    publish: bool,
    subscribe: bool,
    /// Taken literally, as a topic or filter of exactly these characters.
    exact: bool,
    filter: String,
    /// QoS levels it is for, as bits.
    qos: u8,
    retain: Option<bool>,
}

const MAX: usize = 1000;

impl Permissions {
    /// Reads EMQX's forms: `[{"permission": "allow", "action": "publish", "topic": "a/${clientid}", "qos": [0, 1],
    /// "retain": false}]`, or `{"pub": [...], "sub": [...], "all": [...]}` of topics that are allowed. `fill` fills in
    /// placeholders.
    ///
    /// # Errors
    /// What is wrong with it; such a list allows nothing, so its bearer should not get in.
    pub fn parse(value: &Value, fill: impl Fn(&str) -> String) -> Result<Self, String> {
        let mut list = Vec::new();
        match value {
            Value::Array(rows) => {
                for row in rows {
                    let topics = row.get("topics").and_then(Value::as_array);
                    for topic in row.get("topic").into_iter().chain(topics.into_iter().flatten()) {
                        list.push(Permission::of_row(row, topic, &fill)?);
                    }
                }
            }
            Value::Object(lists) => {
                for (name, topics) in lists {
                    let (publish, subscribe) = match name.as_str() {
                        "pub" => (true, false),
                        "sub" => (false, true),
                        "all" => (true, true),
                        other => return Err(format!("`{other}` is neither pub, sub nor all")),
                    };
                    for topic in topics.as_array().ok_or_else(|| format!("`{name}` is no list"))? {
                        let (filter, exact) = pattern(topic, &fill)?;
                        list.push(Permission {
                            allow: true,
                            publish,
                            subscribe,
                            exact,
                            filter,
                            qos: 0b111,
                            retain: None,
                        });
                    }
                }
            }
            _ => return Err("permissions are neither a list nor a table".to_owned()),
        }
        if list.len() > MAX {
            return Err(format!("more than {MAX} permissions"));
        }
        Ok(Self { list })
    }

    /// Whether they allow this publication.
    pub fn allow_publish(&self, topic: &str, qos: u8, retain: bool) -> bool {
        let fits = |p: &&Permission| {
            p.publish
                && p.has_qos(qos)
                && p.retain.is_none_or(|wanted| wanted == retain)
                && if p.exact {
                    p.filter == topic
                } else {
                    matches(&p.filter, topic)
                }
        };
        self.list.iter().find(fits).is_some_and(|p| p.allow)
    }

    /// Whether they allow this filter (without `$share/GROUP/`): an allow must cover it, a deny need only overlap.
    pub fn allow_subscribe(&self, filter: &str, qos: u8) -> bool {
        let fits = |p: &&Permission| {
            p.subscribe
                && p.has_qos(qos)
                && match (p.exact, p.allow) {
                    (true, _) => p.filter == filter,
                    (false, true) => covers(&p.filter, filter),
                    (false, false) => overlaps(&p.filter, filter),
                }
        };
        self.list.iter().find(fits).is_some_and(|p| p.allow)
    }
}

impl Permission {
    fn of_row(row: &Value, topic: &Value, fill: &impl Fn(&str) -> String) -> Result<Self, String> {
        let word = |name: &str, default: &'static str| match row.get(name) {
            None => Ok(default.to_owned()),
            Some(Value::String(text)) => Ok(text.to_ascii_lowercase()),
            Some(other) => Err(format!("`{name}` is {other}")),
        };
        let allow = match word("permission", "")?.as_str() {
            "allow" => true,
            "deny" => false,
            other => return Err(format!("permission \"{other}\" is neither allow nor deny")),
        };
        let (publish, subscribe) = match word("action", "all")?.as_str() {
            "publish" | "pub" => (true, false),
            "subscribe" | "sub" => (false, true),
            "all" | "pubsub" => (true, true),
            other => {
                return Err(format!(
                    "action \"{other}\" is neither publish, subscribe nor all"
                ));
            }
        };
        let (filter, exact) = pattern(topic, fill)?;
        Ok(Self {
            allow,
            publish,
            subscribe,
            exact,
            filter,
            qos: row.get("qos").map_or(Ok(0b111), qos_bits)?,
            retain: match row.get("retain") {
                None | Some(Value::Null) => None,
                Some(Value::Bool(wanted)) => Some(*wanted),
                Some(Value::String(text)) if text == "all" => None,
                Some(other) => return Err(format!("`retain` is {other}")),
            },
        })
    }

    fn has_qos(&self, qos: u8) -> bool {
        self.qos & (1 << qos.min(7)) != 0
    }
}

/// A topic of the list, and whether it is meant literally (`eq a/#`).
fn pattern(topic: &Value, fill: &impl Fn(&str) -> String) -> Result<(String, bool), String> {
    let text = topic
        .as_str()
        .ok_or_else(|| format!("topic {topic} is no text"))?;
    let (text, exact) = text
        .strip_prefix("eq ")
        .map_or((text, false), |rest| (rest, true));
    let fill_level = |level: &str| {
        let filled = fill(level);
        // What a client chose must not become a wildcard or another level.
        let foreign = filled != level && (filled.is_empty() || filled.contains(['+', '#', '/', '\0']));
        if foreign {
            Err(format!("`{level}` of the topic {text} cannot be filled in"))
        } else {
            Ok(filled)
        }
    };
    let levels = text.split('/').map(fill_level).collect::<Result<Vec<_>, _>>()?;
    let filter = levels.join("/");
    let valid = codec::TopicFilter::parse(&filter, usize::MAX).is_ok()
        || check_topic_name(&filter, usize::MAX).is_ok();
    if valid {
        Ok((filter, exact))
    } else {
        Err(format!("{text} is no topic filter"))
    }
}

fn qos_bits(value: &Value) -> Result<u8, String> {
    let levels = match value {
        Value::Array(levels) => levels.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut bits = 0;
    for level in levels {
        let number = level.as_u64().or_else(|| level.as_str()?.parse().ok());
        match number {
            Some(qos @ 0..=2) => bits |= 1 << qos,
            _ => return Err(format!("`qos` is {value}")),
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Permissions, String> {
        let value: Value = serde_json::from_str(json).unwrap();
        Permissions::parse(&value, |text| {
            text.replace("${clientid}", "c1").replace("${username}", "a/#")
        })
    }

    #[track_caller]
    fn decides(json: &str, publish: &[(&str, bool)], subscribe: &[(&str, bool)]) {
        let permissions = parse(json).unwrap();
        for (topic, expected) in publish {
            assert_eq!(
                permissions.allow_publish(topic, 1, false),
                *expected,
                "publish {topic}"
            );
        }
        for (filter, expected) in subscribe {
            assert_eq!(
                permissions.allow_subscribe(filter, 1),
                *expected,
                "subscribe {filter}"
            );
        }
    }

    #[test]
    fn the_first_permission_that_fits_decides_and_none_is_a_denial() {
        decides(
            r#"[{"permission": "deny", "action": "subscribe", "topic": "a/secret"},
                {"permission": "allow", "topic": "a/#"},
                {"permission": "allow", "action": "publish", "topic": "dev/${clientid}/+"},
                {"permission": "allow", "action": "subscribe", "topic": "eq eq/#"}]"#,
            &[
                ("a/secret", true),
                ("dev/c1/x", true),
                ("dev/c2/x", false),
                ("b", false),
            ],
            &[
                ("a/b", true),
                ("a/#", false),
                ("a/secret", false),
                ("eq/#", true),
                ("#", false),
                ("dev/c1/x", false),
                ("b/#", false),
            ],
        );
        decides(
            r#"{"pub": ["p"], "sub": ["s/+"], "all": ["x"]}"#,
            &[("p", true), ("x", true), ("s/1", false)],
            &[("s/1", true), ("s/#", false), ("x", true), ("p", false)],
        );
        decides("[]", &[("a", false)], &[("a", false)]);
    }

    #[test]
    fn qos_and_retain_narrow_further() {
        let list =
            parse(r#"[{"permission": "allow", "topic": "t", "qos": [0, "1"], "retain": false}]"#).unwrap();
        assert!(list.allow_publish("t", 1, false));
        assert!(!list.allow_publish("t", 2, false));
        assert!(!list.allow_publish("t", 1, true));
    }

    #[test]
    fn a_list_that_cannot_be_read_is_refused() {
        for bad in [
            "1",
            r#"{"publish": []}"#,
            r#"{"pub": "a"}"#,
            r#"[{"topic": "a"}]"#,
            r#"[{"permission": "allow", "action": "read", "topic": "a"}]"#,
            r#"[{"permission": "allow", "topic": "a/#/b"}]"#,
            r#"[{"permission": "allow", "topic": "u/${username}"}]"#,
            r#"[{"permission": "allow", "topic": "a", "qos": 3}]"#,
            r#"[{"permission": "allow", "topic": "a", "retain": 1}]"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
