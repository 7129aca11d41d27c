//! What is wrong in an ACL file: one finding with its code, place and hint, and how a list of them is printed.
//!
//! The findings themselves are made by `parse` (A1xx) and `check` (A2xx).

use std::fmt;

use crate::shown::printable;

/// What a finding is about. The number is the contract, the name is for readers of this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Code {
    /// A101: not a rule or directive of the language.
    Syntax,
    /// A102: a term or option that does not exist.
    UnknownTerm,
    /// A103: a value that the term does not take.
    BadValue,
    /// A104: not an address or CIDR.
    BadAddress,
    /// A105: a CIDR with host bits.
    HostBits,
    /// A106: a bad topic filter or placeholder.
    BadFilter,
    /// A107: a bare `#` beside other filters.
    BareHash,
    /// A108: a group nobody defined.
    UnknownGroup,
    /// A109: a group defined twice.
    GroupTwice,
    /// A110: a group file or include that cannot be read, a cycle, too deep.
    Include,
    /// A111: a default line that comes too late or twice.
    Default,
    /// A112: a regular expression that does not compile.
    BadRegex,
    /// A113: a quote that is not closed.
    Quote,
    /// A114: a part that this action does not have.
    Misplaced,
    /// A201: a rule that is never reached.
    NeverReached,
    /// A202: a deny that overlaps a later allow.
    DenyOverlaps,
    /// A203: an `allow connect` that restricts nothing.
    RestrictsNothing,
    /// A204: an empty group.
    EmptyGroup,
    /// A205: `ip=` inside the trusted proxies.
    IpIsProxy,
    /// A206: `user=` in an allow while names are unverified.
    UnverifiedUser,
}

impl Code {
    /// The printed code, as `A105`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "A101",
            Self::UnknownTerm => "A102",
            Self::BadValue => "A103",
            Self::BadAddress => "A104",
            Self::HostBits => "A105",
            Self::BadFilter => "A106",
            Self::BareHash => "A107",
            Self::UnknownGroup => "A108",
            Self::GroupTwice => "A109",
            Self::Include => "A110",
            Self::Default => "A111",
            Self::BadRegex => "A112",
            Self::Quote => "A113",
            Self::Misplaced => "A114",
            Self::NeverReached => "A201",
            Self::DenyOverlaps => "A202",
            Self::RestrictsNothing => "A203",
            Self::EmptyGroup => "A204",
            Self::IpIsProxy => "A205",
            Self::UnverifiedUser => "A206",
        }
    }

    /// Whether the file may not be used with it.
    pub fn is_error(self) -> bool {
        self < Self::NeverReached
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place in one of the files of a policy; lines and columns from 1, columns and width in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Pos {
    /// Index of the file in the order of reading; 0 is the main file.
    pub file: u32,
    /// Line.
    pub line: u32,
    /// First column.
    pub col: u32,
    /// How many characters are meant.
    pub width: u32,
}

/// What to do about a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Shown under the marked source text.
    Label(String),
    /// Shown instead of the source text.
    Note(String),
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What it is about.
    pub code: Code,
    /// One line.
    pub message: String,
    /// The file as the operator named it (an included one: joined to that).
    pub file: String,
    /// Where.
    pub pos: Pos,
    /// The whole source line.
    pub source: String,
    /// What to do.
    pub hint: Hint,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.code.is_error() { "error" } else { "warning" };
        writeln!(f, "{kind}[{}]: {}", self.code, printable(&self.message))?;
        let line = self.pos.line.to_string();
        let gutter = line.len().max(2);
        let Pos { col, width, .. } = self.pos;
        writeln!(f, "{:gutter$}--> {}:{line}:{col}", "", self.file)?;
        match &self.hint {
            Hint::Note(note) => writeln!(f, "{:gutter$} = {}", "", printable(note)),
            Hint::Label(label) => {
                writeln!(f, "{:gutter$} |", "")?;
                writeln!(f, "{line:>gutter$} | {}", printable(&self.source))?;
                let before = (col as usize).saturating_sub(1);
                let marks = "^".repeat(width.max(1) as usize);
                let text = format!("{:gutter$} | {:before$}{marks} {}", "", "", printable(label));
                writeln!(f, "{}", text.trim_end())
            }
        }
    }
}

/// All findings one after the other and the line that counts them, as `broker acl check` prints them.
pub fn render(findings: &[Diagnostic]) -> String {
    use fmt::Write as _;
    let mut out = String::new();
    for finding in findings {
        // Writing to a String cannot fail.
        let _ = write!(out, "{finding}");
    }
    let errors = findings.iter().filter(|d| d.code.is_error()).count();
    let _ = writeln!(
        out,
        "{}, {}",
        count(errors, "error"),
        count(findings.len() - errors, "warning")
    );
    out
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// The candidate nearest to what was written, within two edits (Damerau-Levenshtein).
pub(crate) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&lower, c), c))
        .filter(|(distance, c)| *distance <= 2 && *distance < c.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// The label that names the nearest candidate, or all of them.
pub(crate) fn suggestion(written: &str, candidates: &[&str]) -> String {
    match nearest(written, candidates.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("one of {}", candidates.join(", ")),
    }
}
