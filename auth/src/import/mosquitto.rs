//! Mosquitto's `acl_file` and VerneMQ's `vmq.acl`: `user`, `topic`, `pattern` lines.

use super::{Imported, Writer, exactly, filter_words, line};

/// What the two formats do not share.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Topics before any user are for clients without a name; denies win; `%c`, `%u` in patterns.
    Mosquitto,
    /// Topics before any user are for everybody; no denies; `%m` too.
    Vernemq,
}

/// Translates Mosquitto's `acl_file`. Its denies win whatever their order, so they come first here.
pub fn mosquitto(text: &str) -> Imported {
    translate(text, Dialect::Mosquitto)
}

/// Translates VerneMQ's `vmq.acl`.
pub fn vernemq(text: &str) -> Imported {
    translate(text, Dialect::Vernemq)
}

/// One foreign line that gives or takes a permission.
struct Grant<'t> {
    foreign: &'t str,
    verdict: &'static str,
    action: &'static str,
    terms: Vec<String>,
    topic: &'t str,
    pattern: bool,
}

fn translate(text: &str, dialect: Dialect) -> Imported {
    let mut writer = Writer::default();
    writer.comment(match dialect {
        Dialect::Mosquitto => {
            "From a Mosquitto acl_file. Mosquitto lets anybody subscribe and checks each delivery; here the\n\
             subscription itself must be covered by an allow."
        }
        Dialect::Vernemq => "From a VerneMQ vmq.acl.",
    });
    writer.raw("default connect allow");
    writer.raw("default publish deny");
    writer.raw("default subscribe deny");
    let mut grants = Vec::new();
    let mut user: Option<&str> = None;
    for foreign in text.lines().map(str::trim) {
        let (keyword, rest) = foreign.split_once([' ', '\t']).unwrap_or((foreign, ""));
        let rest = rest.trim();
        match keyword {
            "" => {}
            _ if keyword.starts_with('#') => {}
            "user" if !rest.is_empty() => user = Some(rest),
            "topic" | "pattern" if !rest.is_empty() => {
                grants.push(grant(foreign, keyword == "pattern", rest, user, dialect));
            }
            _ => writer.left_out(foreign, "not a line of this format"),
        }
    }
    for wanted in ["deny", "allow"] {
        grants
            .iter()
            .filter(|g| g.verdict == wanted)
            .for_each(|g| write(&mut writer, g));
    }
    writer.finish()
}

fn grant<'t>(
    foreign: &'t str,
    pattern: bool,
    rest: &'t str,
    user: Option<&str>,
    dialect: Dialect,
) -> Grant<'t> {
    let (word, after) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let access = match (word, dialect) {
        _ if after.trim().is_empty() => None,
        ("read", _) => Some(("allow", "subscribe")),
        ("write", _) => Some(("allow", "publish")),
        ("readwrite", Dialect::Mosquitto) => Some(("allow", "all")),
        ("deny", Dialect::Mosquitto) => Some(("deny", "all")),
        _ => None,
    };
    let (verdict, action) = access.unwrap_or(("allow", "all"));
    let topic = if access.is_some() { after.trim() } else { rest };
    let terms = match (pattern, user, dialect) {
        (false, Some(user), _) => vec![exactly("user", user)],
        (false, None, Dialect::Mosquitto) => vec!["auth=no".to_owned()],
        _ => Vec::new(),
    };
    Grant {
        foreign,
        verdict,
        action,
        terms,
        topic,
        pattern,
    }
}

fn write(writer: &mut Writer, grant: &Grant<'_>) {
    let Grant {
        foreign,
        verdict,
        action,
        terms,
        topic,
        pattern,
    } = grant;
    if topic.split('/').any(|level| level == "%m") {
        return writer.left_out(foreign, "there are no mount points");
    }
    if !pattern && topic.split('/').any(|level| matches!(level, "%c" | "%u" | "%a")) {
        return writer.left_out(foreign, "here this would be a placeholder");
    }
    if *verdict == "allow" && *action == "publish" && topic.starts_with("$SYS/") {
        return writer.left_out(foreign, "nobody publishes below $SYS");
    }
    let filters = filter_words(&[(false, (*topic).to_owned())]);
    writer.rule(&line(verdict, action, terms, &filters), foreign);
}
