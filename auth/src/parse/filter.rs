//! Topic filters of a rule: quotes, `=`, placeholders, and the rule about a bare `#` (A107).

use codec::topic::TopicFilter;

use super::{Parser, label, note};
use crate::diagnostic::{Code, Pos, nearest};
use crate::lex::{Token, unquoted};
use crate::raw::{Level, Placeholder, RawFilter};

/// Placeholders as written.
const HOLES: [(&str, Placeholder); 8] = [
    ("${clientid}", Placeholder::ClientId),
    ("%c", Placeholder::ClientId),
    ("${username}", Placeholder::Username),
    ("%u", Placeholder::Username),
    ("${peerhost}", Placeholder::PeerHost),
    ("%a", Placeholder::PeerHost),
    ("${cn}", Placeholder::Cn),
    ("${listener}", Placeholder::Listener),
];

impl Parser<'_> {
    pub(super) fn filters(&mut self, file: u32, tokens: &[Token<'_>]) -> Vec<RawFilter> {
        let mut filters = Vec::with_capacity(tokens.len());
        for token in tokens {
            let pos = token.pos(file);
            if token.raw == "#" && tokens.len() > 1 {
                let hint = note("write \"#\" if it means every topic; a comment needs a line of its own");
                self.error(pos, Code::BareHash, "a bare `#` beside other filters", hint);
                // What follows may be prose: one finding is enough.
                return filters;
            }
            filters.extend(self.filter(pos, token.raw));
        }
        filters
    }

    fn filter(&mut self, pos: Pos, raw: &str) -> Option<RawFilter> {
        let (exact, written) = match raw.strip_prefix('=') {
            Some(rest) => (true, rest),
            None => (false, raw),
        };
        let text = unquoted(written);
        let mut levels = Vec::new();
        let mut plain = String::with_capacity(text.len());
        for (number, level) in text.split('/').enumerate() {
            if number > 0 {
                plain.push('/');
            }
            if let Some((_, hole)) = HOLES.iter().find(|(name, _)| *name == level) {
                plain.push('x');
                levels.push(Level::Hole(*hole));
            } else if let Some(hint) = misused_placeholder(level) {
                let message = format!("`{level}` is no topic level");
                self.error(pos, Code::BadFilter, message, label(hint));
                return None;
            } else {
                plain.push_str(level);
                levels.push(Level::Text(level.into()));
            }
        }
        if text.starts_with("$share/") {
            let hint = label("name the inner filter, and shared=yes if only shared ones are meant");
            self.error(
                pos,
                Code::BadFilter,
                "shared subscriptions are judged by their inner filter",
                hint,
            );
            return None;
        }
        if let Err(error) = TopicFilter::parse(&plain, usize::MAX) {
            self.error(
                pos,
                Code::BadFilter,
                format!("`{text}` is no topic filter"),
                label(error.to_string()),
            );
            return None;
        }
        Some(RawFilter {
            pos,
            text: text.into(),
            exact,
            levels: levels.into(),
        })
    }
}

/// Why a level that looks like a placeholder is none.
fn misused_placeholder(level: &str) -> Option<String> {
    if let Some((name, _)) = HOLES.iter().find(|(name, _)| level.contains(name)) {
        return Some(format!("`{name}` stands for one whole level"));
    }
    if level.contains("${") {
        let names = HOLES.iter().map(|(name, _)| *name);
        return Some(match nearest(level, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "placeholders are ${clientid} ${username} ${peerhost} ${cn} ${listener}".to_owned(),
        });
    }
    None
}
