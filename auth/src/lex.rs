//! Lines and words of an ACL file: continuation lines, comments, quotes. No meaning yet: that is `parse`.

use crate::diagnostic::Pos;

/// One word as written, quotes included, with its place (from 1, columns in characters).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'t> {
    pub(crate) raw: &'t str,
    pub(crate) line: u32,
    pub(crate) col: u32,
}

impl Token<'_> {
    /// The place of the whole word in the file with this index.
    pub(crate) fn pos(&self, file: u32) -> Pos {
        Pos {
            file,
            line: self.line,
            col: self.col,
            width: self.raw.chars().count() as u32,
        }
    }
}

/// One logical line: a physical one, or several joined by `\` at the line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line<'t> {
    Blank,
    /// The text from its `#` on.
    Comment(&'t str),
    Words(Vec<Token<'t>>),
}

/// A quote without its partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenQuote {
    pub(crate) line: u32,
    pub(crate) col: u32,
}

/// Cuts the whole text. Open quotes are reported and end at the line's end.
pub(crate) fn lines(text: &str) -> (Vec<Line<'_>>, Vec<OpenQuote>) {
    let mut out = Vec::new();
    let mut open = Vec::new();
    let mut words: Vec<Token<'_>> = Vec::new();
    let mut continued = false;
    for (number, physical) in (1u32..).zip(text.strip_prefix('\u{FEFF}').unwrap_or(text).lines()) {
        let line = physical.trim_end();
        let (line, goes_on) = match line.strip_suffix('\\') {
            Some(rest) if !is_comment(line) || continued => (rest, true),
            _ => (line, false),
        };
        if !continued && is_comment(line) {
            out.push(Line::Comment(line.trim_start()));
            continue;
        }
        split_words(line, number, &mut words, &mut open);
        continued = goes_on;
        if !continued {
            out.push(if words.is_empty() {
                Line::Blank
            } else {
                Line::Words(std::mem::take(&mut words))
            });
        }
    }
    if !words.is_empty() {
        out.push(Line::Words(words));
    }
    (out, open)
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

fn split_words<'t>(line: &'t str, number: u32, words: &mut Vec<Token<'t>>, open: &mut Vec<OpenQuote>) {
    let mut start: Option<(usize, u32)> = None;
    let mut quote: Option<u32> = None;
    let mut escaped = false;
    let mut push = |from: usize, to: usize, col: u32| {
        if let Some(raw) = line.get(from..to) {
            words.push(Token {
                raw,
                line: number,
                col,
            });
        }
    };
    for (col, (at, c)) in (1u32..).zip(line.char_indices()) {
        if quote.is_some() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quote = None,
                _ => {}
            }
        } else if c == ' ' || c == '\t' {
            if let Some((from, from_col)) = start.take() {
                push(from, at, from_col);
            }
        } else {
            start = start.or(Some((at, col)));
            if c == '"' {
                quote = Some(col);
            }
        }
    }
    if let Some((from, from_col)) = start {
        push(from, line.len(), from_col);
    }
    if let Some(col) = quote {
        open.push(OpenQuote { line: number, col });
    }
}

/// One value of a comma list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Without quotes and escapes.
    pub(crate) text: String,
    /// Where it starts in the token, in characters from 0.
    pub(crate) at: u32,
    /// As written, in characters.
    pub(crate) width: u32,
    /// Whether it starts with a quote.
    pub(crate) quoted: bool,
}

/// Splits at commas outside quotes and takes the quotes off. Outside quotes a backslash is itself, inside
/// `\"` and `\\` stand for the second character.
pub(crate) fn pieces(raw: &str) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut now = Piece {
        text: String::new(),
        at: 0,
        width: 0,
        quoted: false,
    };
    let mut in_quote = false;
    let mut chars = raw.chars().peekable();
    let mut at = 0u32;
    while let Some(c) = chars.next() {
        at += 1;
        match c {
            ',' if !in_quote => {
                let next = Piece {
                    text: String::new(),
                    at,
                    width: 0,
                    quoted: false,
                };
                out.push(std::mem::replace(&mut now, next));
                continue;
            }
            '"' => {
                now.quoted |= now.width == 0;
                in_quote = !in_quote;
            }
            '\\' if in_quote && matches!(chars.peek(), Some('"' | '\\')) => {
                at += 1;
                now.width += 1;
                now.text.extend(chars.next());
            }
            c => now.text.push(c),
        }
        now.width += 1;
    }
    out.push(now);
    out
}

/// A token without its quotes; commas are ordinary here (paths, filters).
pub(crate) fn unquoted(raw: &str) -> String {
    let pieces = pieces(raw);
    let texts: Vec<&str> = pieces.iter().map(|p| p.text.as_str()).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<(u32, u32, String)> {
        let (lines, open) = lines(text);
        assert_eq!(open, []);
        let tokens = lines
            .into_iter()
            .filter_map(|l| if let Line::Words(w) = l { Some(w) } else { None });
        tokens
            .flatten()
            .map(|t| (t.line, t.col, t.raw.to_owned()))
            .collect()
    }

    #[test]
    fn words_keep_their_place() {
        assert_eq!(
            words("\u{FEFF}deny  a\r\n  b\tü c"),
            [
                (1, 1, "deny".into()),
                (1, 7, "a".into()),
                (2, 3, "b".into()),
                (2, 5, "ü".into()),
                (2, 7, "c".into()),
            ]
        );
    }

    #[test]
    fn a_backslash_at_the_end_joins_lines_but_not_comments() {
        let (got, _) = lines("a \\\n  b\n# c \\\nd\n\n");
        assert_eq!(got.len(), 4, "{got:?}");
        assert!(matches!(&got[0], Line::Words(w) if w.len() == 2 && w[1].line == 2));
        assert_eq!(got[1], Line::Comment("# c \\"));
        assert_eq!(got[3], Line::Blank);
    }

    #[test]
    fn quotes_protect_blanks_commas_and_hashes() {
        assert_eq!(words(r##"user="a b",c to "#""##).len(), 3);
        let got = pieces(r#""a,\"b\"",c\d,"x\.y""#);
        let texts: Vec<_> = got
            .iter()
            .map(|p| (p.text.as_str(), p.at, p.width, p.quoted))
            .collect();
        assert_eq!(
            texts,
            [
                (r#"a,"b""#, 0, 9, true),
                (r"c\d", 10, 3, false),
                (r"x\.y", 14, 6, true)
            ]
        );
    }

    #[test]
    fn an_open_quote_is_reported_where_it_opens() {
        let (_, open) = lines("a b=\"c\nd");
        assert_eq!(open, [OpenQuote { line: 1, col: 5 }]);
    }
}
