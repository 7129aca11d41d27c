//! How a string that a client sent is printed: bare when it is plain, else as a JSON string, so that it can
//! start no new line, no new key and no terminal sequence (operator-interface 0).

use std::fmt;

/// Prints the string bare if it matches `[A-Za-z0-9._:@/+$#=-]+`, otherwise as a JSON string.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(pub &'a str);

/// Short form of [`Shown`] into a `String`.
pub fn shown(text: &str) -> String {
    Shown(text).to_string()
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._:@/+$#=-".contains(c)
}

/// Characters that a terminal may act on or that hide what they stand for: controls, line and paragraph
/// separators, direction and zero-width marks.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() && self.0.chars().all(is_plain) {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                // All of these are in the basic plane, so four digits are enough.
                c if is_hidden(c) => write!(f, "\\u{:04x}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

/// A piece of the operator's own file for a message: hidden characters become blanks.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_bare_and_the_rest_is_json() {
        for plain in ["bob", "sensors/a+b/#", "$SYS/x", "a:b@c=d-e.f_g"] {
            assert_eq!(shown(plain), plain);
        }
        assert_eq!(shown(""), "\"\"");
        assert_eq!(shown("a b"), "\"a b\"");
        assert_eq!(shown("a%b"), "\"a%b\"");
        assert_eq!(shown("a\n\u{1b}[31m\"\\"), "\"a\\n\\u001b[31m\\\"\\\\\"");
        assert_eq!(shown("\u{202e}x\u{9b}"), "\"\\u202ex\\u009b\"");
        assert_eq!(shown("Zürich"), "\"Zürich\"");
    }
}
