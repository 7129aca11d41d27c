//! Erlang terms as far as EMQX's `acl.conf` uses them: tuples, lists, strings, binaries, atoms, integers, comments.

/// A term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Term {
    Tuple(Vec<Term>),
    List(Vec<Term>),
    /// A string or binary.
    Text(String),
    /// An atom, quoted or not.
    Atom(String),
    Int(i64),
}

impl Term {
    /// The string, if it is one.
    pub(super) fn text(&self) -> Option<&String> {
        if let Self::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// The integer, if it is one.
    pub(super) fn int(&self) -> Option<&i64> {
        if let Self::Int(n) = self { Some(n) } else { None }
    }
}

/// One `term.` with its text, or the text that is none.
pub(super) type Sentence<'t> = (&'t str, Result<Term, &'static str>);

/// How deep tuples and lists may be nested.
const DEPTH_MAX: usize = 32;

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

/// All sentences of a file. After one that cannot be read, reading goes on behind the next `.` at a line's end.
pub(super) fn sentences(text: &str) -> Vec<Sentence<'_>> {
    let mut reader = Reader { text, at: 0 };
    let mut out = Vec::new();
    loop {
        reader.blanks();
        let start = reader.at;
        if reader.rest().is_empty() {
            return out;
        }
        let term = reader.term(0).and_then(|term| {
            reader.blanks();
            if reader.eat('.') {
                Ok(term)
            } else {
                Err("a `.` must end the rule")
            }
        });
        if term.is_err() {
            reader.at = start;
            reader.skip_sentence();
        }
        out.push((text.get(start..reader.at).unwrap_or_default().trim_end(), term));
    }
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let taken = rest
            .get(..rest.find(|c| !fits(c)).unwrap_or(rest.len()))
            .unwrap_or_default();
        self.at += taken.len();
        taken
    }

    /// White space and `%` comments.
    fn blanks(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if self.peek() != Some('%') {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    fn skip_sentence(&mut self) {
        let rest = self.rest();
        let end = rest.find(".\n").map_or(rest.len(), |at| at + 1);
        self.at += end;
    }

    fn term(&mut self, depth: usize) -> Result<Term, &'static str> {
        if depth > DEPTH_MAX {
            return Err("nested too deep");
        }
        self.blanks();
        match self.peek() {
            Some('{') => self.sequence('}', depth).map(Term::Tuple),
            Some('[') => self.sequence(']', depth).map(Term::List),
            Some('"') => self.quoted('"').map(Term::Text),
            Some('\'') => self.quoted('\'').map(Term::Atom),
            Some('<') => self.binary(),
            Some(c) if c.is_ascii_digit() || c == '-' => {
                let digits = self.take_while(|c| c.is_ascii_digit() || c == '-');
                digits.parse().map(Term::Int).map_err(|_| "not a number")
            }
            Some(c) if c.is_ascii_lowercase() => {
                let name = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '@'));
                Ok(Term::Atom(name.to_owned()))
            }
            _ => Err("not an Erlang term"),
        }
    }

    fn sequence(&mut self, close: char, depth: usize) -> Result<Vec<Term>, &'static str> {
        self.next();
        let mut items = Vec::new();
        self.blanks();
        if self.eat(close) {
            return Ok(items);
        }
        loop {
            items.push(self.term(depth + 1)?);
            self.blanks();
            if self.eat(close) {
                return Ok(items);
            }
            if !self.eat(',') {
                return Err("a `,` or a closing bracket is missing");
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, &'static str> {
        self.next();
        let mut out = String::new();
        loop {
            match self.next() {
                None => return Err("a quote is not closed"),
                Some(c) if c == quote => return Ok(out),
                Some('\\') => match self.next() {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('s') => out.push(' '),
                    Some(c @ ('\\' | '"' | '\'')) => out.push(c),
                    // Other escapes (numbers, control characters) have no place in names and topics; of a regex
                    // the backslash was written twice.
                    _ => return Err("an escape that is not supported"),
                },
                Some(c) => out.push(c),
            }
        }
    }

    fn binary(&mut self) -> Result<Term, &'static str> {
        if !(self.eat('<') && self.eat('<') && self.peek() == Some('"')) {
            return Err("not a binary string");
        }
        let text = self.quoted('"')?;
        if self.eat('/') {
            self.take_while(|c| c.is_ascii_alphanumeric());
        }
        if self.eat('>') && self.eat('>') {
            Ok(Term::Text(text))
        } else {
            Err("`>>` is missing")
        }
    }
}
