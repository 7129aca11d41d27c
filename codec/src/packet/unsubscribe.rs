//! UNSUBSCRIBE (MQTT 5 section 3.10).

use crate::error::{DecodeError, EncodeError};
use crate::frame::MAX_REMAINING_LENGTH;
use crate::primitive::{Reader, check_field, field_len, put_field, put_fixed_header};
use crate::properties::{Properties, id};
use crate::topic::TopicFilter;
use crate::{MAX_FILTERS, Version};

/// An UNSUBSCRIBE, borrowing from its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Never 0.
    pub packet_id: u16,
    /// User properties; empty before MQTT 5.
    pub properties: Properties<'a>,
    /// At least one, at most [`MAX_FILTERS`].
    pub filters: TopicFilters<'a>,
}

/// The filters of an UNSUBSCRIBE: validated, not materialised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicFilters<'a> {
    raw: &'a [u8],
    count: usize,
}

impl<'a> TopicFilters<'a> {
    /// How many there are, 1 to [`MAX_FILTERS`].
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// The filters as written, `$share/NAME/` included, in order.
    pub const fn iter(&self) -> TopicFiltersIter<'a> {
        TopicFiltersIter {
            reader: Reader::new(self.raw),
        }
    }
}

impl<'a> IntoIterator for &TopicFilters<'a> {
    type Item = &'a str;
    type IntoIter = TopicFiltersIter<'a>;

    fn into_iter(self) -> TopicFiltersIter<'a> {
        self.iter()
    }
}

/// Walks the filters of an UNSUBSCRIBE.
#[derive(Debug, Clone)]
pub struct TopicFiltersIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for TopicFiltersIter<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.reader.string().ok()
    }
}

pub(crate) fn decode(body: &[u8], version: Version) -> Result<Unsubscribe<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    let properties = match version {
        Version::V5 => Properties::read(&mut reader, id::set(&[id::USER_PROPERTY]))?,
        _ => Properties::EMPTY,
    };
    let raw = reader.rest();
    let mut count = 0_usize;
    while !reader.is_empty() {
        TopicFilter::parse(reader.string()?, usize::MAX)?;
        count = count.saturating_add(1);
        if count > MAX_FILTERS {
            return Err(DecodeError::TooManyFilters);
        }
    }
    if count == 0 {
        return Err(DecodeError::NoUnsubscribeFilters); // [MQTT-3.10.3-2]
    }
    Ok(Unsubscribe {
        packet_id,
        properties,
        filters: TopicFilters { raw, count },
    })
}

/// Appends an UNSUBSCRIBE; for clients. The filters are not checked.
///
/// Errors, with nothing appended: a filter over 65,535 bytes, a packet over 268,435,455.
pub fn encode_unsubscribe(
    version: Version,
    packet_id: u16,
    properties: Properties<'_>,
    filters: &[&str],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let v5 = version == Version::V5;
    let mut remaining = if v5 {
        properties.encoded_len().saturating_add(2)
    } else {
        2
    };
    for filter in filters {
        check_field(filter.as_bytes())?;
        remaining = remaining.saturating_add(field_len(filter.as_bytes()));
    }
    if remaining > MAX_REMAINING_LENGTH {
        return Err(EncodeError::PacketTooLong);
    }
    put_fixed_header(out, 0xa2, remaining);
    out.extend_from_slice(&packet_id.to_be_bytes());
    if v5 {
        properties.put(out);
    }
    for filter in filters {
        put_field(out, filter.as_bytes());
    }
    Ok(())
}
