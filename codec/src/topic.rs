//! Topic names and filters (MQTT 5 section 4.7), shared subscriptions (4.8.2): validity, matching, and how two
//! filters relate. Who subscribes to what is the router's.

use std::fmt;

use crate::error::DecodeError;

/// Why a topic name or filter is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicError {
    /// No characters [MQTT-4.7.3-1].
    Empty,
    /// More than 65,535 bytes [MQTT-4.7.3-3].
    TooLong,
    /// U+0000 [MQTT-4.7.3-2].
    NullCharacter,
    /// `+` or `#` in a topic name [MQTT-4.7.0-1].
    Wildcard,
    /// `#` that is not the whole last level [MQTT-4.7.1-1].
    Hash,
    /// `+` that is not a whole level [MQTT-4.7.1-2].
    Plus,
    /// Not `$share/NAME/FILTER` [MQTT-4.8.2-1], [MQTT-4.8.2-2].
    Share,
    /// More levels than the limit.
    TooManyLevels,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "[MQTT-4.7.3-1] it has no characters",
            Self::TooLong => "[MQTT-4.7.3-3] it is longer than 65,535 bytes",
            Self::NullCharacter => "[MQTT-4.7.3-2] it contains U+0000",
            Self::Wildcard => "[MQTT-4.7.0-1] a topic name contains a wildcard",
            Self::Hash => "[MQTT-4.7.1-1] # must be the whole last level",
            Self::Plus => "[MQTT-4.7.1-2] + must be a whole level",
            Self::Share => "[MQTT-4.8.2-2] a shared filter is $share/NAME/FILTER",
            Self::TooManyLevels => "it has too many levels",
        })
    }
}

impl std::error::Error for TopicError {}

impl From<TopicError> for DecodeError {
    /// The error of a packet that carries such a filter.
    fn from(error: TopicError) -> Self {
        match error {
            TopicError::Empty => Self::FilterEmpty,
            TopicError::NullCharacter => Self::NullCharacter,
            TopicError::Wildcard => Self::TopicWildcard,
            TopicError::Hash => Self::FilterHash,
            TopicError::Plus => Self::FilterPlus,
            TopicError::Share => Self::ShareName,
            TopicError::TooLong | TopicError::TooManyLevels => Self::Truncated,
        }
    }
}

/// Whether `name` is a topic name: 1 to 65,535 bytes without U+0000, `+` and `#`.
pub fn valid_topic_name(name: &str) -> bool {
    check_topic_name(name, usize::MAX).is_ok()
}

/// Checks a topic name, and that it has at most `max_levels` levels.
pub fn check_topic_name(name: &str, max_levels: usize) -> Result<(), TopicError> {
    check_text(name)?;
    if name.bytes().any(|byte| byte == b'+' || byte == b'#') {
        return Err(TopicError::Wildcard);
    }
    check_levels(name, max_levels)
}

/// How many levels a topic name or filter has: one more than it has slashes.
pub fn levels(text: &str) -> usize {
    memchr::memchr_iter(b'/', text.as_bytes())
        .count()
        .saturating_add(1)
}

/// A valid topic filter, and what `$share/NAME/` says before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopicFilter<'a> {
    whole: &'a str,
    share: Option<&'a str>,
    filter: &'a str,
}

impl<'a> TopicFilter<'a> {
    /// Parses a filter as a client writes it; the part that selects topics has at most `max_levels` levels.
    ///
    /// `$share/` is a shared subscription in every version, as this broker offers it in every version.
    pub fn parse(whole: &'a str, max_levels: usize) -> Result<Self, TopicError> {
        check_text(whole)?;
        let (share, filter) = match whole.strip_prefix("$share/") {
            None if whole == "$share" => return Err(TopicError::Share),
            None => (None, whole),
            Some(rest) => {
                let (name, filter) = rest.split_once('/').ok_or(TopicError::Share)?;
                if name.is_empty() || name.contains(['+', '#']) || filter.is_empty() {
                    return Err(TopicError::Share);
                }
                (Some(name), filter)
            }
        };
        check_wildcards(filter)?;
        check_levels(filter, max_levels)?;
        Ok(Self { whole, share, filter })
    }

    /// The filter as written.
    pub const fn as_str(&self) -> &'a str {
        self.whole
    }

    /// The name of the shared subscription, if it is one.
    pub const fn share(&self) -> Option<&'a str> {
        self.share
    }

    /// What selects topics: the filter without `$share/NAME/`.
    pub const fn filter(&self) -> &'a str {
        self.filter
    }

    /// The levels of [`filter`](Self::filter) in order.
    pub fn levels(&self) -> std::str::Split<'a, char> {
        self.filter.split('/')
    }

    /// Whether [`filter`](Self::filter) has a wildcard.
    pub fn has_wildcard(&self) -> bool {
        self.filter.bytes().any(|byte| byte == b'+' || byte == b'#')
    }

    /// Whether a topic name matches [`filter`](Self::filter).
    pub fn matches(&self, topic: &str) -> bool {
        matches(self.filter, topic)
    }
}

fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        Err(TopicError::Empty)
    } else if text.len() > usize::from(u16::MAX) {
        Err(TopicError::TooLong)
    } else if memchr::memchr(0, text.as_bytes()).is_some() {
        Err(TopicError::NullCharacter)
    } else {
        Ok(())
    }
}

fn check_levels(text: &str, max_levels: usize) -> Result<(), TopicError> {
    // A text of n bytes has at most n + 1 levels.
    if max_levels <= text.len() && levels(text) > max_levels {
        Err(TopicError::TooManyLevels)
    } else {
        Ok(())
    }
}

fn check_wildcards(filter: &str) -> Result<(), TopicError> {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err(TopicError::Hash);
        }
        if level.contains('+') && level != "+" {
            return Err(TopicError::Plus);
        }
    }
    Ok(())
}

/// Whether a valid topic name matches a valid filter without `$share`.
///
/// `a/#` matches `a` as well. A wildcard on the first level does not match a topic that begins with `$`
/// [MQTT-4.7.2-1].
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut filter, mut topic) = (filter.as_bytes(), topic.as_bytes());
    loop {
        // In a valid filter a wildcard stands for a whole level, and `#` for the last one.
        match (filter, topic) {
            ([] | [b'/', b'#'], []) | ([b'#', ..], _) => return true,
            ([b'+', rest @ ..], _) => {
                filter = rest;
                let level = memchr::memchr(b'/', topic).unwrap_or(topic.len());
                topic = topic.get(level..).unwrap_or_default();
            }
            ([one, rest @ ..], [other, others @ ..]) if one == other => (filter, topic) = (rest, others),
            _ => return false,
        }
    }
}

/// The same filter in the form that compares level by level. No topic is empty: so `#` and `+/#` match the same, and
/// `/#`, whose parent would be the empty topic, the same as `/+/#`.
fn plain(filter: &str) -> &str {
    match filter {
        "+/#" => "#",
        "/#" => "/+/#",
        other => other,
    }
}

/// Whether every topic that matches `inner` matches `outer` too. Both are valid filters without `$share`.
pub fn covers(outer: &str, inner: &str) -> bool {
    if outer.starts_with(['+', '#']) && inner.starts_with('$') {
        return false;
    }
    let (outer, inner) = (plain(outer), plain(inner));
    let mut inners = inner.split('/');
    for level in outer.split('/') {
        if level == "#" {
            return true;
        }
        match inners.next() {
            Some("#") | None => return false,
            Some(name) if level == "+" || level == name => {}
            Some(_) => return false,
        }
    }
    inners.next().is_none()
}

/// Whether some topic matches both. Both are valid filters without `$share`.
pub fn overlaps(a: &str, b: &str) -> bool {
    let wild = |filter: &str| filter.starts_with(['+', '#']);
    if (wild(a) && b.starts_with('$')) || (wild(b) && a.starts_with('$')) {
        return false;
    }
    let (mut ours, mut theirs) = (plain(a).split('/'), plain(b).split('/'));
    loop {
        match (ours.next(), theirs.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(one), Some(other)) if one == "+" || other == "+" || one == other => {}
            _ => return false,
        }
    }
}
