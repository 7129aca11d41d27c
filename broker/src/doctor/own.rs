//! Findings that are not about addresses: configuration, certificates, bans, quotas, audit, ACL
//! (operator-interface 3). Each text has its numbers and what to do.

use crate::admin::views::{FindingView, Level, Timestamp};
use crate::config::finding::Finding;

/// Who sets a group of own findings; setting replaces the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// CFG02x.
    Config,
    /// CFG030, CFG031.
    Pending,
    /// TLS001, TLS002.
    Tls,
    /// BAN001.
    Bans,
    /// QUO001.
    Quota,
    /// AUD001.
    Audit,
    /// A2xx.
    Acl,
}

/// One own finding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Own {
    /// `TLS001`…
    pub code: &'static str,
    /// How bad.
    pub level: Level,
    /// The listener it is about.
    pub listener: Option<String>,
    /// The text.
    pub message: String,
}

impl Own {
    fn warn(code: &'static str, listener: Option<&str>, message: String) -> Self {
        Self {
            code,
            level: Level::Warn,
            listener: listener.map(str::to_owned),
            message,
        }
    }

    /// As the API shows it.
    pub(super) fn view(&self, since: Timestamp) -> FindingView {
        FindingView {
            code: self.code.to_owned(),
            level: self.level,
            listener: self.listener.clone(),
            message: self.message.clone(),
            snippets: Vec::new(),
            docs: format!("docs/operations.md#{}", self.code.to_lowercase()),
            first_seen: Some(since),
            last_seen: None,
        }
    }
}

/// Warnings of the configuration: CFG020, CFG021… Of a listener's settings (CW) D09 tells the dangerous ones, and D13 or
/// D20 when another one does harm; that they may is for `config check` to say.
pub fn of_config(warnings: &[Finding]) -> Vec<Own> {
    let rest = warnings.iter().filter(|warning| !warning.code.starts_with("CW"));
    rest.map(|warning| {
        let hint = warning
            .hint
            .as_deref()
            .map(|hint| format!(": {hint}"))
            .unwrap_or_default();
        Own::warn(warning.code, None, format!("{}{hint}", warning.message))
    })
    .collect()
}

/// CFG030: a key waits for a restart.
pub fn pending_restart(key: &str, origin: &str) -> Own {
    Own::warn(
        "CFG030",
        None,
        format!("{key} has a new value ({origin}) that needs a restart"),
    )
}

/// CFG031: the files on disk are not what runs.
pub fn disk_differs(keys: usize) -> Own {
    let (noun, verb) = if keys == 1 {
        ("key", "differs")
    } else {
        ("keys", "differ")
    };
    let text = format!(
        "{keys} {noun} on disk {verb} from what runs; see broker ctl config diff, then broker ctl reload"
    );
    Own::warn("CFG031", None, text)
}

/// A certificate is told of so many days before its end.
const TLS_DAYS: i64 = 14;

/// TLS001: a certificate ends soon or has ended. Times in seconds since 1970.
pub fn certificate_ends(listener: &str, subject: &str, not_after: i64, now: i64) -> Option<Own> {
    let left = not_after - now;
    if left >= TLS_DAYS * 86_400 {
        return None;
    }
    let end = Timestamp(u64::try_from(not_after).unwrap_or(0).saturating_mul(1000)).to_string();
    let day = end.get(..10).unwrap_or_default();
    if left < 0 {
        let text = format!(
            "the certificate of {listener} ({subject}) ended on {day}; clients that check it cannot connect. Replace the file; it loads by itself"
        );
        return Some(Own {
            level: Level::Error,
            ..Own::warn("TLS001", Some(listener), text)
        });
    }
    let days = left / 86_400;
    let noun = if days == 1 { "day" } else { "days" };
    let text = format!(
        "the certificate of {listener} ({subject}) ends on {day}, in {days} {noun}. Replace the file; it loads by itself"
    );
    Some(Own::warn("TLS001", Some(listener), text))
}

/// TLS002: new certificate files were refused and the old ones stay in use.
pub fn certificate_refused(listener: &str, why: &str) -> Own {
    let text = format!("the new certificate of {listener} was refused and the old one stays in use: {why}");
    Own::warn("TLS002", Some(listener), text)
}

/// BAN001: a ban covers one of our proxies.
pub fn ban_covers_proxy(what: &str) -> Own {
    let text = format!(
        "the ban of {what} covers a trusted proxy: everybody behind it is refused. broker ctl ban del {what}"
    );
    Own::warn("BAN001", None, text)
}

/// QUO001: a proxy's own address would have met a quota, had it not been exempt.
pub fn quota_on_proxy(address: &str, times: u64) -> Own {
    let text = format!(
        "{address} is a proxy and went over a limit of [quota] {times} times; it is exempt, what comes through it is \
         counted by its clients. Nothing to do, unless it is no proxy of yours"
    );
    Own {
        level: Level::Info,
        ..Own::warn("QUO001", None, text)
    }
}

/// AUD001: audit records were dropped.
pub fn audit_dropped(dropped: u64, failing: bool) -> Own {
    let (noun, was) = if dropped == 1 {
        ("record", "was")
    } else {
        ("records", "were")
    };
    let why = if failing {
        "the file cannot be written now"
    } else {
        "the queue or the disk was full"
    };
    let text = format!(
        "{dropped} audit {noun} {was} dropped since the start; {why}. An audit_gap record stands in their place"
    );
    Own {
        level: if failing { Level::Error } else { Level::Warn },
        ..Own::warn("AUD001", None, text)
    }
}

/// A2xx: a warning of the ACL file, `place` as `acl.conf:8`.
pub fn acl_warning(code: &'static str, place: &str, message: &str) -> Own {
    Own::warn(code, None, format!("{place}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_told_of_in_their_last_two_weeks() {
        const DAY: i64 = 86_400;
        let at = |left: i64| certificate_ends("tls", "CN=x", 1_801_440_000, 1_801_440_000 - left);
        assert_eq!(at(14 * DAY), None);
        let soon = at(14 * DAY - 1).unwrap();
        assert_eq!((soon.code, soon.level), ("TLS001", Level::Warn));
        assert!(
            soon.message.contains("ends on 2027-02-01, in 13 days"),
            "{}",
            soon.message
        );
        assert_eq!(at(-1).unwrap().level, Level::Error);
    }
}
