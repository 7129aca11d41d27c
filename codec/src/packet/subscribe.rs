//! SUBSCRIBE (MQTT 5 section 3.8).

use crate::error::{DecodeError, EncodeError};
use crate::frame::MAX_REMAINING_LENGTH;
use crate::primitive::{Reader, check_field, field_len, put_field, put_fixed_header};
use crate::properties::{Properties, Property, Scanner, id};
use crate::topic::TopicFilter;
use crate::{MAX_FILTERS, QoS, Version};

/// A SUBSCRIBE, borrowing from its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Never 0.
    pub packet_id: u16,
    /// Subscription identifier, 1 to 268,435,455.
    pub subscription_id: Option<u32>,
    /// Subscription identifier and user properties; empty before MQTT 5.
    pub properties: Properties<'a>,
    /// At least one, at most [`MAX_FILTERS`].
    pub filters: Filters<'a>,
}

/// The filters of a SUBSCRIBE: validated, not materialised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filters<'a> {
    raw: &'a [u8],
    count: usize,
    version: Version,
}

impl<'a> Filters<'a> {
    /// How many there are, 1 to [`MAX_FILTERS`].
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// The filters with their options, in order.
    pub const fn iter(&self) -> FilterIter<'a> {
        FilterIter {
            reader: Reader::new(self.raw),
            version: self.version,
        }
    }
}

impl<'a> IntoIterator for &Filters<'a> {
    type Item = SubscribeFilter<'a>;
    type IntoIter = FilterIter<'a>;

    fn into_iter(self) -> FilterIter<'a> {
        self.iter()
    }
}

/// Walks the filters of a SUBSCRIBE.
#[derive(Debug, Clone)]
pub struct FilterIter<'a> {
    reader: Reader<'a>,
    version: Version,
}

impl<'a> Iterator for FilterIter<'a> {
    type Item = SubscribeFilter<'a>;

    fn next(&mut self) -> Option<SubscribeFilter<'a>> {
        if self.reader.is_empty() {
            return None;
        }
        SubscribeFilter::read(&mut self.reader, self.version).ok()
    }
}

/// One filter of a SUBSCRIBE, as written, and what is asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscribeFilter<'a> {
    /// Valid syntax, `$share/NAME/` included.
    pub filter: &'a str,
    /// The options.
    pub options: SubscribeOptions,
}

/// Subscription options (MQTT 5 section 3.8.3.1); before MQTT 5 only `qos`, the rest false and 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SubscribeOptions {
    /// Maximum quality of service.
    pub qos: QoS,
    /// The client's own messages do not come back to it.
    pub no_local: bool,
    /// The RETAIN flag is forwarded as the publisher set it.
    pub retain_as_published: bool,
    /// Whether retained messages are sent for this subscription.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum RetainHandling {
    /// 0: at each SUBSCRIBE.
    #[default]
    Send = 0,
    /// 1: only if the subscription is new.
    SendIfNew = 1,
    /// 2: never.
    DoNotSend = 2,
}

impl SubscribeOptions {
    /// The options byte.
    pub const fn to_byte(self) -> u8 {
        self.qos.level()
            | ((self.no_local as u8) << 2)
            | ((self.retain_as_published as u8) << 3)
            | ((self.retain_handling as u8) << 4)
    }

    /// Reads the options byte.
    ///
    /// Errors: reserved bits, `QoS` 3, retain handling 3; before MQTT 5 anything above 2 [MQTT-3.8.3-4].
    pub fn from_byte(byte: u8, version: Version) -> Result<Self, DecodeError> {
        let qos = QoS::from_u8(byte & 3);
        if version != Version::V5 {
            let qos = qos.filter(|_| byte < 3).ok_or(DecodeError::SubscriptionOptions)?;
            return Ok(Self {
                qos,
                ..Self::default()
            });
        }
        if byte & 0xc0 != 0 {
            return Err(DecodeError::SubscriptionOptions); // [MQTT-3.8.3-5]
        }
        Ok(Self {
            qos: qos.ok_or(DecodeError::SubscriptionQos3)?,
            no_local: byte & 0x04 != 0,
            retain_as_published: byte & 0x08 != 0,
            retain_handling: match (byte >> 4) & 3 {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return Err(DecodeError::RetainHandling3),
            },
        })
    }
}

impl<'a> SubscribeFilter<'a> {
    fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let filter = reader.string()?;
        Ok(Self {
            filter,
            options: SubscribeOptions::from_byte(reader.u8()?, version)?,
        })
    }
}

const ALLOWED: u64 = id::set(&[id::SUBSCRIPTION_ID, id::USER_PROPERTY]);

pub(crate) fn decode(body: &[u8], version: Version) -> Result<Subscribe<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    let mut subscription_id = None;
    let mut properties = Properties::EMPTY;
    if version == Version::V5 {
        let raw = reader.property_area()?;
        let mut scanner = Scanner::new(raw, ALLOWED);
        while let Some(property) = scanner.next()? {
            if let Property::SubscriptionIdentifier(id) = property {
                subscription_id = Some(id);
            }
        }
        properties = Properties::validated(raw);
    }
    let raw = reader.rest();
    let mut count = 0_usize;
    while !reader.is_empty() {
        let SubscribeFilter { filter, options } = SubscribeFilter::read(&mut reader, version)?;
        let shared = TopicFilter::parse(filter, usize::MAX)?.share().is_some();
        if shared && options.no_local {
            return Err(DecodeError::NoLocalShared); // [MQTT-3.8.3-4]
        }
        count = count.saturating_add(1);
        if count > MAX_FILTERS {
            return Err(DecodeError::TooManyFilters);
        }
    }
    if count == 0 {
        return Err(DecodeError::NoFilters); // [MQTT-3.8.3-2]
    }
    Ok(Subscribe {
        packet_id,
        subscription_id,
        properties,
        filters: Filters { raw, count, version },
    })
}

/// Appends a SUBSCRIBE; for clients. The filters are not checked, so that tests can send wrong ones.
///
/// Errors, with nothing appended: a filter over 65,535 bytes, a packet over 268,435,455.
pub fn encode_subscribe(
    version: Version,
    packet_id: u16,
    properties: Properties<'_>,
    filters: &[SubscribeFilter<'_>],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let v5 = version == Version::V5;
    let mut remaining = if v5 {
        properties.encoded_len().saturating_add(2)
    } else {
        2
    };
    for SubscribeFilter { filter, .. } in filters {
        check_field(filter.as_bytes())?;
        remaining = remaining
            .saturating_add(field_len(filter.as_bytes()))
            .saturating_add(1);
    }
    if remaining > MAX_REMAINING_LENGTH {
        return Err(EncodeError::PacketTooLong);
    }
    put_fixed_header(out, 0x82, remaining);
    out.extend_from_slice(&packet_id.to_be_bytes());
    if v5 {
        properties.put(out);
    }
    for SubscribeFilter { filter, options } in filters {
        put_field(out, filter.as_bytes());
        out.push(options.to_byte());
    }
    Ok(())
}
