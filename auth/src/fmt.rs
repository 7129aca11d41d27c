//! `broker acl fmt`: verdicts and actions in columns, one blank between words; comments, blank lines and line
//! breaks stay. The meaning stays too: only blanks outside words change.

use crate::lex::{Line, Token, lines};

/// The text in columns. For a text with errors it is of no use: check first.
pub fn format(text: &str) -> String {
    let (lines, _) = lines(text);
    let mut out = String::with_capacity(text.len());
    for line in &lines {
        match line {
            Line::Blank => {}
            Line::Comment(text) => out.push_str(text.trim_end()),
            Line::Words(words) => statement(words, &mut out),
        }
        out.push('\n');
    }
    out
}

fn statement(words: &[Token<'_>], out: &mut String) {
    let Some((first, rest)) = words.split_first() else {
        return;
    };
    let in_columns = matches!(first.raw, "allow" | "deny");
    out.push_str(first.raw);
    let mut line = first.line;
    for (number, word) in rest.iter().enumerate() {
        if word.line == line {
            let column = match (in_columns, number) {
                (true, 0) => 6usize.saturating_sub(first.raw.len()),
                (true, 1) => 10usize.saturating_sub(rest.first().map_or(0, |action| action.raw.len())),
                _ => 1,
            };
            out.extend(std::iter::repeat_n(' ', column.max(1)));
        } else {
            out.push_str(" \\\n                ");
            line = word.line;
        }
        out.push_str(word.raw);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(format(text), want);
        assert_eq!(format(want), want, "a second time changes nothing");
    }

    #[test]
    fn columns() {
        check("allow   connect", "allow connect\n");
        check(
            "  # note  \ndefault  connect allow\n\ndeny all\nallow publish user=\"a  b\"   to  x \"#\"\ndeny subscribe to =#",
            "# note\ndefault connect allow\n\ndeny  all\nallow publish   user=\"a  b\" to x \"#\"\ndeny  subscribe to =#\n",
        );
        check(
            "group g = 10.0.0.0/8 \\\n11.0.0.0/8\nallow \\\nconnect\\\n ip=@g",
            "group g = 10.0.0.0/8 \\\n                11.0.0.0/8\nallow \\\n                connect \\\n                ip=@g\n",
        );
        check("", "");
    }
}
