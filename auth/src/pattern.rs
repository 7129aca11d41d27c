//! Values of text terms: an exact string, a glob with `*` and `?`, or a regular expression.

use regex::{Regex, RegexBuilder};

/// One value of a term on a text.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// This very string.
    Exact(Box<str>),
    /// A glob whose only star is its end: the text before it.
    Prefix(Box<str>),
    /// `*` stands for any characters or none, `?` for one.
    Glob(Box<str>),
    /// Unanchored, as the `regex` crate has it (linear time).
    Regex(Regex),
}

impl Pattern {
    /// A value of `=`: exact unless it has `*` or `?`.
    pub fn glob(text: &str) -> Self {
        match text.strip_suffix('*') {
            _ if !text.contains(['*', '?']) => Self::Exact(text.into()),
            Some(prefix) if !prefix.contains(['*', '?']) => Self::Prefix(prefix.into()),
            _ => Self::Glob(text.into()),
        }
    }

    /// A value of `~`; its compiled size is bounded.
    pub fn regex(text: &str) -> Result<Self, regex::Error> {
        RegexBuilder::new(text)
            .size_limit(1 << 20)
            .dfa_size_limit(1 << 20)
            .build()
            .map(Self::Regex)
    }

    /// Whether the text fits.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *text,
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Glob(glob) => glob_matches(glob, text),
            Self::Regex(regex) => regex.is_match(text),
        }
    }

    /// The string if it is an exact one.
    pub fn exact(&self) -> Option<&str> {
        if let Self::Exact(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// Whether every text that fits `other` certainly fits this one. May say no where it is so.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exact(text)) => self.matches(text),
            (Self::Prefix(prefix), _) if prefix.is_empty() => true,
            (Self::Prefix(a), Self::Prefix(b)) => b.starts_with(&**a),
            (Self::Glob(a), Self::Glob(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

/// `*` any characters or none, `?` exactly one; a back-track goes to the last star only, so the cost is at most
/// the product of the lengths.
pub(crate) fn glob_matches(glob: &str, text: &str) -> bool {
    let mut pattern = glob.chars();
    let mut rest = text.chars();
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        match (pattern.next(), rest.clone().next()) {
            (Some('*'), _) => retry = Some((pattern.clone(), rest.clone())),
            (Some('?'), Some(_)) => drop(rest.next()),
            (Some(p), Some(c)) if p == c => drop(rest.next()),
            (None, None) => return true,
            (_, _) => {
                // Let the last star take one character more.
                let Some((after_star, mut from)) = retry.take() else {
                    return false;
                };
                if from.next().is_none() {
                    return false;
                }
                pattern = after_star.clone();
                rest = from.clone();
                retry = Some((after_star, from));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(glob: &str, yes: &[&str], no: &[&str]) {
        for text in yes {
            assert!(Pattern::glob(glob).matches(text), "{glob} should match {text:?}");
        }
        for text in no {
            assert!(
                !Pattern::glob(glob).matches(text),
                "{glob} should not match {text:?}"
            );
        }
    }

    #[test]
    fn globs() {
        check("bob", &["bob"], &["bobby", "Bob", ""]);
        check("sensor-*", &["sensor-", "sensor-7"], &["sensor", "xsensor-7"]);
        check("*", &["", "anything"], &[]);
        check("?", &["a", "ü"], &["", "ab"]);
        check("a*b*c", &["abc", "aXbYc", "abcbc"], &["ab", "acb"]);
        check(
            "*.example.com",
            &["x.example.com"],
            &["example.com", "x.example.com.evil"],
        );
        check("?*?", &["ab", "abc"], &["a"]);
    }

    #[test]
    fn a_hostile_text_costs_little() {
        let glob = "*a".repeat(50) + "b";
        assert!(!glob_matches(&glob, &"a".repeat(60_000)));
    }

    #[test]
    fn regexes_are_unanchored_and_bounded() {
        assert!(Pattern::regex("^ops-").unwrap().matches("ops-1"));
        assert!(Pattern::regex("ps").unwrap().matches("ops-1"));
        assert!(Pattern::regex("(").is_err());
        assert!(Pattern::regex(r"\w{1000}{1000}").is_err());
    }
}
