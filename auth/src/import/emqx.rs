//! EMQX's `acl.conf`: `{allow, {username, "bob"}, publish, ["a/#"]}.` and so on.

use super::erlang::{Term, sentences};
use super::{Imported, Writer, exactly, filter_words, line, quoted};
use crate::nets::{NetError, parse_net};

/// Alternatives, each a list of terms that must all hold.
type Who = Vec<Vec<String>>;

/// More alternatives than this are not written out.
const ALTERNATIVES_MAX: usize = 64;

/// Translates EMQX's `acl.conf`.
pub fn emqx(text: &str) -> Imported {
    let mut writer = Writer::default();
    writer.comment(
        "From an EMQX acl.conf. EMQX allows what no rule matches, unless authorization.no_match = deny;\n\
         here the defaults deny. If the file's last rule was {allow, all}, it stands at the end.",
    );
    writer.raw("default connect allow");
    writer.raw("default publish deny");
    writer.raw("default subscribe deny");
    for (foreign, term) in sentences(text) {
        match term.and_then(|term| rules(&term)) {
            Ok(lines) => lines.iter().for_each(|line| writer.rule(line, foreign)),
            Err(reason) => writer.left_out(foreign, reason),
        }
    }
    writer.finish()
}

fn rules(term: &Term) -> Result<Vec<String>, &'static str> {
    let Term::Tuple(parts) = term else {
        return Err("not a rule");
    };
    let (permission, subject, action, topics) = match parts.as_slice() {
        [permission, subject] => (permission, subject, None, None),
        [permission, subject, action] => (permission, subject, Some(action), None),
        [permission, subject, action, topics] => (permission, subject, Some(action), Some(topics)),
        _ => return Err("a rule has 2 to 4 parts"),
    };
    let verdict = match permission {
        Term::Atom(word) if word == "allow" || word == "deny" => word.as_str(),
        _ => return Err("neither allow nor deny"),
    };
    let who = who(subject)?;
    let filters = topics.map(filters).transpose()?.unwrap_or_default();
    let words = filter_words(&filters);
    let mut lines = Vec::new();
    for (action, options) in actions(action)? {
        for terms in &who {
            let terms: Vec<String> = terms.iter().chain(&options).cloned().collect();
            lines.push(line(verdict, action, &terms, &words));
        }
    }
    Ok(lines)
}

fn who(term: &Term) -> Result<Who, &'static str> {
    match term {
        Term::Atom(all) if all == "all" => Ok(vec![Vec::new()]),
        Term::Tuple(parts) => match parts.as_slice() {
            [Term::Atom(key), value] => match key.as_str() {
                "user" | "username" => name("user", value),
                "client" | "clientid" => name("client", value),
                "ipaddr" | "ipaddrs" => addresses(value),
                "listener" => name("listener", value),
                "and" => {
                    let mut all: Who = vec![Vec::new()];
                    for part in items(value)? {
                        let alternatives = who(part)?;
                        all = all
                            .iter()
                            .flat_map(|a| alternatives.iter().map(|b| [a.as_slice(), b].concat()))
                            .collect();
                        if all.len() > ALTERNATIVES_MAX {
                            return Err("too many alternatives");
                        }
                    }
                    Ok(all)
                }
                "or" => {
                    let mut any = Who::new();
                    for part in items(value)? {
                        any.extend(who(part)?);
                    }
                    if any.len() > ALTERNATIVES_MAX {
                        Err("too many alternatives")
                    } else {
                        Ok(any)
                    }
                }
                _ => Err("an unknown condition"),
            },
            _ => Err("an unknown condition"),
        },
        _ => Err("an unknown condition"),
    }
}

fn items(term: &Term) -> Result<&[Term], &'static str> {
    if let Term::List(items) = term {
        Ok(items)
    } else {
        Err("a list is expected")
    }
}

fn name(key: &str, value: &Term) -> Result<Who, &'static str> {
    let term = match value {
        Term::Text(text) => exactly(key, text),
        Term::Atom(text) if key == "listener" => exactly(key, text),
        Term::Tuple(parts) => match parts.as_slice() {
            [Term::Atom(re), Term::Text(regex)] if re == "re" => format!("{key}~{}", quoted(regex)),
            _ => return Err("an unknown form of name"),
        },
        Term::Atom(all) if all == "all" => return Ok(vec![Vec::new()]),
        _ => return Err("an unknown form of name"),
    };
    Ok(vec![vec![term]])
}

fn addresses(value: &Term) -> Result<Who, &'static str> {
    let texts = match value {
        Term::Text(text) => vec![text],
        Term::List(items) => items
            .iter()
            .map(Term::text)
            .collect::<Option<_>>()
            .ok_or("an address is expected")?,
        _ => return Err("an address is expected"),
    };
    let net = |text: &&String| match parse_net(text) {
        Ok(net) | Err(NetError::HostBits(net, _)) if text.contains('/') => Ok(net.to_string()),
        Ok(net) => Ok(net.addr().to_string()),
        Err(_) => Err("not an address or CIDR"),
    };
    let nets = texts.iter().map(net).collect::<Result<Vec<_>, _>>()?;
    Ok(vec![vec![format!("ip={}", nets.join(","))]])
}

/// The actions, each with its options.
fn actions(term: Option<&Term>) -> Result<Vec<(&'static str, Vec<String>)>, &'static str> {
    let (word, options) = match term {
        None => return Ok(vec![("all", Vec::new())]),
        Some(Term::Atom(word)) => (word.as_str(), None),
        Some(Term::Tuple(parts)) => match parts.as_slice() {
            [Term::Atom(word), options] => (word.as_str(), Some(items(options)?)),
            _ => return Err("an unknown action"),
        },
        _ => return Err("an unknown action"),
    };
    let mut qos = None;
    let mut retain = None;
    for option in options.unwrap_or_default() {
        let Term::Tuple(pair) = option else {
            return Err("an unknown option");
        };
        match pair.as_slice() {
            [Term::Atom(key), value] if key == "qos" => qos = levels(value)?,
            [Term::Atom(key), Term::Atom(value)] if key == "retain" => {
                retain = match value.as_str() {
                    "true" => Some("retain=yes".to_owned()),
                    "false" => Some("retain=no".to_owned()),
                    "all" => None,
                    _ => return Err("an unknown option"),
                };
            }
            _ => return Err("an unknown option"),
        }
    }
    let with = |retain: Option<String>| qos.iter().cloned().chain(retain).collect::<Vec<String>>();
    Ok(match (word, retain) {
        ("publish", retain) => vec![("publish", with(retain))],
        ("subscribe" | "pubsub", Some(_)) if word == "subscribe" => vec![("subscribe", with(None))],
        ("subscribe", None) => vec![("subscribe", with(None))],
        ("all" | "pubsub", None) => vec![("all", with(None))],
        // Here `retain=` is a matter of publishing only, so the two are said apart.
        ("all" | "pubsub", Some(retain)) => vec![("publish", with(Some(retain))), ("subscribe", with(None))],
        _ => return Err("an unknown action"),
    })
}

fn levels(value: &Term) -> Result<Option<String>, &'static str> {
    let levels = match value {
        Term::Atom(all) if all == "all" => return Ok(None),
        Term::Int(level) => vec![level],
        Term::List(items) => items
            .iter()
            .map(Term::int)
            .collect::<Option<_>>()
            .ok_or("an unknown option")?,
        _ => return Err("an unknown option"),
    };
    let levels: Vec<String> = levels.into_iter().map(ToString::to_string).collect();
    Ok(Some(format!("qos={}", levels.join(","))))
}

/// Topics, each with whether it is `{eq, ...}`.
fn filters(term: &Term) -> Result<Vec<(bool, String)>, &'static str> {
    let topics = match term {
        Term::List(items) => items.as_slice(),
        // A string alone is one topic.
        single => std::slice::from_ref(single),
    };
    let filter = |topic: &Term| match topic {
        Term::Text(text) => Ok((false, our_placeholders(text))),
        Term::Tuple(parts) => match parts.as_slice() {
            [Term::Atom(eq), Term::Text(text)] if eq == "eq" => Ok((true, our_placeholders(text))),
            _ => Err("an unknown form of topic"),
        },
        _ => Err("an unknown form of topic"),
    };
    topics.iter().map(filter).collect()
}

fn our_placeholders(topic: &str) -> String {
    topic.replace("${cert_common_name}", "${cn}")
}
