//! Foreign text on its way to logs, `explain` and listings: escaped and bounded (peername 9).
//! Not here: addresses (`addr`).

use std::fmt::Write;

/// Longest foreign element that is shown, in characters of the escaped text.
pub const ELEMENT_CHARS_MAX: usize = 64;

/// Elements of one header that are shown in a log line.
pub const ELEMENTS_SHOWN_MAX: usize = 8;

/// Bytes outside 20 to 7E, `"` and `\` become `\xNN`; the result is at most [`ELEMENT_CHARS_MAX`] characters
/// long and never ends inside an escape.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().min(ELEMENT_CHARS_MAX));
    escape_into(&mut out, bytes, ELEMENT_CHARS_MAX);
    out
}

/// The field value of an address header for a log line: split at commas, each element escaped, at most
/// [`ELEMENTS_SHOWN_MAX`] of them.
pub fn escape_header(value: &[u8]) -> String {
    let elements: Vec<String> = value
        .split(|b| *b == b',')
        .take(ELEMENTS_SHOWN_MAX)
        .map(|e| escape(trim(e)))
        .collect();
    elements.join(", ")
}

/// A string that a client sent: bare if it is made of letters, digits and `._:@/+$#=-`, else as a JSON
/// string, so that nothing in it can look like a part of the line around it.
pub fn shown(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "._:@/+$#=-".contains(c);
    if !text.is_empty() && text.chars().all(bare) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `bytes` in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
            let _ = write!(out, "{b:02x}");
            out
        })
}

/// Without blanks (SP, HTAB) at both ends.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

fn escape_into(out: &mut String, bytes: &[u8], chars_max: usize) {
    let mut left = chars_max;
    for &b in bytes {
        let plain = (0x20..=0x7e).contains(&b) && b != b'"' && b != b'\\';
        let need = if plain { 1 } else { 4 };
        if need > left {
            return;
        }
        left -= need;
        if plain {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "\\x{b:02x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_escaped_and_bounded() {
        assert_eq!(escape(b"a\"b\xff\\ ~"), "a\\x22b\\xff\\x5c ~");
        assert_eq!(escape(&[b'a'; 100]).len(), 64);
        assert_eq!(escape(&[0; 100]).len(), 64);
        assert_eq!(escape(&[&[b'a'; 62][..], b"\n"].concat()).len(), 62);
        assert_eq!(escape_header(b"1, 2 ,\t3,4,5,6,7,8,9"), "1, 2, 3, 4, 5, 6, 7, 8");
    }

    #[test]
    fn client_strings_are_bare_or_json() {
        assert_eq!(shown("dev-7"), "dev-7");
        assert_eq!(shown("a b\"\n\u{85}"), "\"a b\\\"\\u000a\\u0085\"");
        assert_eq!(shown(""), "\"\"");
    }

    #[test]
    fn blanks_are_trimmed() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b" \t"), b"");
    }
}
