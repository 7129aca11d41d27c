//! Which field lines matter, and how they are cut into elements (peername 6.2).
//! Not here: what an element means (`element`).

use super::{count, forwarded};
use crate::policy::{HeaderKind, HeaderPolicy};
use crate::text::trim;

/// The lines of the address header and of the port header, values trimmed.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) address: Vec<&'a [u8]>,
    pub(super) port: Vec<&'a [u8]>,
    /// Whether there is any line of the two, even an empty one.
    pub(super) present: bool,
    /// Sum of the trimmed values of both.
    pub(super) bytes: usize,
}

/// What the address header holds.
pub(super) enum Collected<'a> {
    /// No line with anything but blanks and commas.
    Missing,
    /// The elements from the left; at least one.
    Elements(Vec<&'a [u8]>),
    /// More than one value where there may be one only.
    NotSingle { elements: u16, detail: &'static str },
}

impl<'a> Fields<'a> {
    pub(super) fn of(header: &HeaderPolicy, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut found = Self::default();
        for (name, value) in fields {
            let lines = if name.eq_ignore_ascii_case(header.name.as_bytes()) {
                &mut found.address
            } else if header
                .port_name
                .as_ref()
                .is_some_and(|p| name.eq_ignore_ascii_case(p.as_bytes()))
            {
                &mut found.port
            } else {
                continue;
            };
            let value = trim(value);
            lines.push(value);
            found.present = true;
            found.bytes += value.len();
        }
        found
    }
}

/// Cuts the address lines into elements.
pub(super) fn elements<'a>(kind: HeaderKind, lines: &[&'a [u8]]) -> Collected<'a> {
    if lines
        .iter()
        .all(|line| line.iter().all(|b| matches!(b, b' ' | b'\t' | b',')))
    {
        return Collected::Missing;
    }
    match kind {
        HeaderKind::List => Collected::Elements(values(lines).filter(|e| !e.is_empty()).collect()),
        HeaderKind::Single => single(lines),
        HeaderKind::Forwarded => {
            let elements = lines.iter().flat_map(|line| forwarded::elements(line));
            Collected::Elements(elements.map(trim).filter(|e| !e.is_empty()).collect())
        }
    }
}

/// The values of a comma-separated header over all its lines, trimmed, empty ones too.
pub(super) fn values<'a>(lines: &[&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    lines.iter().flat_map(|line| line.split(|b| *b == b',')).map(trim)
}

fn single<'a>(lines: &[&'a [u8]]) -> Collected<'a> {
    let mut filled = lines.iter().filter(|line| !line.is_empty());
    let (first, more) = (filled.next().copied().unwrap_or_default(), filled.count());
    if more > 0 {
        return Collected::NotSingle {
            elements: count(more + 1),
            detail: "multiple_lines",
        };
    }
    match values(&[first]).filter(|e| !e.is_empty()).count() {
        _ if !first.contains(&b',') => Collected::Elements(vec![first]),
        elements => Collected::NotSingle {
            elements: count(elements),
            detail: "multiple_values",
        },
    }
}
