//! The field lines of an HTTP head that stands in a vector's bytes, with the refusals of peername 6. The
//! broker's own parser is in `listeners`; the vectors need little of it.

/// A field line: name and value.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// The head is refused with 400.
#[derive(Debug)]
pub(crate) struct BadRequest;

/// The field lines after the request line, up to the empty line or the end of the bytes.
pub(crate) fn fields(bytes: &[u8]) -> Result<Vec<Field>, BadRequest> {
    let text = bytes
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    text.skip(1)
        .take_while(|line| !line.is_empty())
        .map(field)
        .collect()
}

fn field(line: &[u8]) -> Result<Field, BadRequest> {
    let colon = line.iter().position(|b| *b == b':').ok_or(BadRequest)?;
    let (name, value) = line.split_at(colon);
    let value = value.strip_prefix(b":").unwrap_or_default();
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let is_content = |b: &u8| *b == b'\t' || (*b >= 0x20 && *b != 0x7f);
    if name.is_empty() || !name.iter().all(is_token) || !value.iter().all(is_content) {
        return Err(BadRequest);
    }
    Ok((name.to_vec(), value.to_vec()))
}
