//! One rule line: verdict, action, terms, options, filters.

use peer::Range;

use super::{Parser, label};
use crate::diagnostic::{Code, Pos, nearest, suggestion};
use crate::lex::{Piece, Token, pieces};
use crate::pattern::Pattern;
use crate::raw::{ActionKind, AddrKey, AddrValue, Cond, Effect, FlagKey, RawCond, RawRule, TextKey};

/// Every key of the language, as the suggestion lists them.
const KEYS: [&str; 16] = [
    "user", "client", "ip", "socket", "kind", "via", "listener", "cn", "san", "sni", "vpce", "auth", "tls",
    "qos", "retain", "shared",
];

/// The operator between key and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Is,
    IsNot,
    Fits,
    FitsNot,
}

impl Op {
    fn negated(self) -> bool {
        matches!(self, Self::IsNot | Self::FitsNot)
    }

    fn is_regex(self) -> bool {
        matches!(self, Self::Fits | Self::FitsNot)
    }
}

/// One `key OP values` word, cut but not judged.
struct Word<'t> {
    key: &'t str,
    op: Op,
    values: Vec<Piece>,
    /// Place of the whole word.
    pos: Pos,
    /// Characters before the first value.
    head: u32,
}

impl Word<'_> {
    fn key_pos(&self) -> Pos {
        Pos {
            width: self.key.chars().count() as u32,
            ..self.pos
        }
    }

    fn value_pos(&self, piece: &Piece) -> Pos {
        Pos {
            col: self.pos.col + self.head + piece.at,
            width: piece.width.max(1),
            ..self.pos
        }
    }
}

/// Cuts `key=a,b`; `None` if the word has no operator.
fn cut(pos: Pos, raw: &str) -> Option<Word<'_>> {
    let at = raw.find(['=', '~', '!', '"'])?;
    let (key, rest) = raw.split_at_checked(at)?;
    let (op, text) = [
        ("!=", Op::IsNot),
        ("!~", Op::FitsNot),
        ("=", Op::Is),
        ("~", Op::Fits),
    ]
    .into_iter()
    .find_map(|(sign, op)| Some((op, rest.strip_prefix(sign)?)))?;
    let head = (raw.chars().count() - text.chars().count()) as u32;
    Some(Word {
        key,
        op,
        values: pieces(text),
        pos,
        head,
    })
}

impl Parser<'_> {
    /// The rule, or `None` after reporting why not.
    pub(super) fn rule(&mut self, file: u32, effect: Effect, words: &[Token<'_>]) -> Option<RawRule> {
        let (verdict, rest) = words.split_first()?;
        let action = self.action(file, verdict, rest.first())?;
        let body = rest.get(1..).unwrap_or_default();
        let to = body.iter().position(|t| t.raw == "to");
        let (conds, filters) = match to {
            Some(at) => (body.get(..at)?, body.get(at + 1..)?),
            None => (body, <&[Token<'_>]>::default()),
        };
        let conds = conds.iter().filter_map(|t| self.cond(file, action, t)).collect();
        if let Some(to) = to.and_then(|at| body.get(at)) {
            let pos = to.pos(file);
            if action == ActionKind::Connect {
                self.error(
                    pos,
                    Code::Misplaced,
                    "`connect` has no topic filters",
                    label("remove this and what follows"),
                );
            } else if filters.is_empty() {
                self.error(
                    pos,
                    Code::Syntax,
                    "`to` without a topic filter",
                    label("a filter must follow"),
                );
            }
        }
        let filters = self.filters(file, filters);
        let rest: Vec<&str> = body.iter().map(|t| t.raw).collect();
        Some(RawRule {
            pos: verdict.pos(file),
            effect,
            action,
            conds,
            filters,
            rest: rest.join(" ").into(),
        })
    }

    fn cond(&mut self, file: u32, action: ActionKind, token: &Token<'_>) -> Option<RawCond> {
        let pos = token.pos(file);
        let Some(word) = cut(pos, token.raw) else {
            let hint = match nearest(token.raw, KEYS) {
                Some(key) => format!("did you mean `{key}=...`?"),
                None => "terms are key=value; topic filters follow after `to`".to_owned(),
            };
            self.error(
                pos,
                Code::Syntax,
                format!("`{}` is not a term", token.raw),
                label(hint),
            );
            return None;
        };
        if let Some(empty) = word.values.iter().find(|v| v.text.is_empty()) {
            let at = word.value_pos(empty);
            self.error(
                at,
                Code::BadValue,
                format!("`{}` has an empty value", word.key),
                label("a value is missing"),
            );
            return None;
        }
        let cond = match word.key {
            "user" => self.text_cond(&word, TextKey::User),
            "client" => self.text_cond(&word, TextKey::Client),
            "listener" => self.text_cond(&word, TextKey::Listener),
            "cn" => self.text_cond(&word, TextKey::Cn),
            "san" => self.text_cond(&word, TextKey::San),
            "sni" => self.text_cond(&word, TextKey::Sni),
            "vpce" => self.text_cond(&word, TextKey::Vpce),
            "ip" => self.addr_cond(&word, AddrKey::Ip),
            "socket" => self.addr_cond(&word, AddrKey::Socket),
            "kind" => self.flag_cond(&word, FlagKey::Kind),
            "via" => self.flag_cond(&word, FlagKey::Via),
            "auth" => self.flag_cond(&word, FlagKey::Auth),
            "tls" => self.flag_cond(&word, FlagKey::Tls),
            "qos" | "retain" | "shared" => self.option(&word, action),
            other => {
                let hint = label(suggestion(other, &KEYS));
                self.error(
                    word.key_pos(),
                    Code::UnknownTerm,
                    format!("unknown term `{other}`"),
                    hint,
                );
                None
            }
        };
        Some(RawCond {
            pos,
            cond: cond?,
            text: token.raw.into(),
        })
    }

    fn text_cond(&mut self, word: &Word<'_>, key: TextKey) -> Option<Cond> {
        let mut patterns = Vec::with_capacity(word.values.len());
        for value in &word.values {
            if word.op.is_regex() {
                match Pattern::regex(&value.text) {
                    Ok(pattern) => patterns.push(pattern),
                    Err(error) => {
                        let at = word.value_pos(value);
                        let reason = error.to_string();
                        let reason = reason.lines().last().unwrap_or_default().trim().to_owned();
                        let message = format!("`{}` is not a regular expression", value.text);
                        self.error(at, Code::BadRegex, message, label(reason));
                    }
                }
            } else {
                patterns.push(Pattern::glob(&value.text));
            }
        }
        (patterns.len() == word.values.len()).then_some(Cond::Text {
            key,
            negated: word.op.negated(),
            patterns,
        })
    }

    /// Reports `~` on a term that has no text.
    fn refuse_regex(&mut self, word: &Word<'_>) -> bool {
        if word.op.is_regex() {
            let message = format!("`{}` takes no regular expression", word.key);
            self.error(word.pos, Code::BadValue, message, label("use `=` or `!=`"));
        }
        word.op.is_regex()
    }

    fn addr_cond(&mut self, word: &Word<'_>, key: AddrKey) -> Option<Cond> {
        if self.refuse_regex(word) {
            return None;
        }
        let mut values = Vec::with_capacity(word.values.len());
        for value in &word.values {
            let at = word.value_pos(value);
            if let Some(name) = value.text.strip_prefix('@') {
                self.group_uses.push((at, name.to_owned()));
                values.push(AddrValue::Group(name.into()));
            } else if value.text == "unix" {
                values.push(AddrValue::Range(Range::Unix));
            } else if value.text.contains('*') {
                let message = format!("`{}` takes addresses, CIDRs and @groups, no `*`", word.key);
                self.error(at, Code::BadAddress, message, label("write 10.0.0.0/8"));
            } else if let Some(net) = self.net(at, &value.text) {
                values.push(AddrValue::Range(Range::Net(net)));
            }
        }
        (values.len() == word.values.len()).then_some(Cond::Addr {
            key,
            negated: word.op.negated(),
            values,
        })
    }

    /// The bits of the listed words.
    fn mask(&mut self, word: &Word<'_>, known: &[&str]) -> Option<u8> {
        let mut mask = 0;
        let mut all = true;
        for value in &word.values {
            if let Some(bit) = known.iter().position(|k| *k == value.text) {
                mask |= 1u8 << bit;
            } else {
                all = false;
                let at = word.value_pos(value);
                let message = format!("`{}` does not take `{}`", word.key, value.text);
                self.error(at, Code::BadValue, message, label(suggestion(&value.text, known)));
            }
        }
        all.then_some(mask)
    }

    fn flag_cond(&mut self, word: &Word<'_>, key: FlagKey) -> Option<Cond> {
        if self.refuse_regex(word) {
            return None;
        }
        Some(Cond::Flag {
            key,
            negated: word.op.negated(),
            mask: self.mask(word, key.words())?,
        })
    }

    fn option(&mut self, word: &Word<'_>, action: ActionKind) -> Option<Cond> {
        let (place, fits) = match word.key {
            "qos" => ("publish, subscribe and all", action != ActionKind::Connect),
            "retain" => ("publish", action == ActionKind::Publish),
            _ => ("subscribe", action == ActionKind::Subscribe),
        };
        if !fits {
            let message = format!("`{}=` does not fit `{}`", word.key, action.as_str());
            self.error(
                word.pos,
                Code::Misplaced,
                message,
                label(format!("it belongs to {place}")),
            );
            return None;
        }
        if word.op != Op::Is {
            let message = format!("`{}` takes only `=`", word.key);
            self.error(word.pos, Code::BadValue, message, label("list the values wanted"));
            return None;
        }
        if word.key == "qos" {
            return self.mask(word, &["0", "1", "2"]).map(Cond::Qos);
        }
        let yes = match self.mask(word, &["no", "yes"])? {
            1 => false,
            2 => true,
            _ => {
                let message = format!("`{}=` takes yes or no, not both", word.key);
                self.error(
                    word.pos,
                    Code::BadValue,
                    message,
                    label("leave it out to mean both"),
                );
                return None;
            }
        };
        Some(if word.key == "retain" {
            Cond::Retain(yes)
        } else {
            Cond::Shared(yes)
        })
    }
}
