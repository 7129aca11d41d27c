//! AUTH (MQTT 5 section 3.15): enhanced authentication.

use super::{Sender, reason_of};
use crate::error::DecodeError;
use crate::primitive::{Reader, packet_len, put_fixed_header};
use crate::properties::{Properties, Property, Scanner, id};
use crate::reason::ReasonCode;

/// An AUTH packet. Writing takes method and data from `properties`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    /// From a client: continue or re-authenticate; from a server: success or continue.
    pub reason: ReasonCode,
    /// Authentication method; empty only in a server's success without properties.
    pub method: &'a str,
    /// Authentication data; absent and empty are different things.
    pub data: Option<&'a [u8]>,
    /// All properties.
    pub properties: Properties<'a>,
}

impl<'a> Auth<'a> {
    /// Reads method and data from `properties`.
    ///
    /// Errors: a property that AUTH may not carry, or no authentication method.
    pub fn new(reason: ReasonCode, properties: Properties<'a>) -> Result<Self, DecodeError> {
        let mut auth = Self {
            reason,
            method: "",
            data: None,
            properties,
        };
        let mut method = None;
        let mut scanner = Scanner::new(properties.raw(), ALLOWED);
        while let Some(property) = scanner.next()? {
            match property {
                Property::AuthenticationMethod(name) => method = Some(name),
                Property::AuthenticationData(data) => auth.data = Some(data),
                _ => {}
            }
        }
        auth.method = method.ok_or(DecodeError::AuthMethodMissing)?;
        Ok(auth)
    }

    /// Size of the whole packet in bytes.
    pub const fn encoded_len(&self) -> usize {
        packet_len(self.remaining_len())
    }

    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let remaining = self.remaining_len();
        put_fixed_header(out, 0xf0, remaining);
        if remaining > 0 {
            out.push(self.reason.code());
            self.properties.put(out);
        }
    }

    const fn remaining_len(&self) -> usize {
        match (self.properties.is_empty(), self.reason) {
            (true, ReasonCode::Success) => 0,
            _ => self.properties.encoded_len().saturating_add(1),
        }
    }
}

const ALLOWED: u64 = id::set(&[
    id::AUTH_METHOD,
    id::AUTH_DATA,
    id::REASON_STRING,
    id::USER_PROPERTY,
]);

pub(crate) fn decode(body: &[u8], sender: Sender) -> Result<Auth<'_>, DecodeError> {
    // Section 3.15.2.1: an empty AUTH is success without properties. Only a server reports success.
    if body.is_empty() && sender == Sender::Server {
        return Ok(Auth {
            reason: ReasonCode::Success,
            method: "",
            data: None,
            properties: Properties::EMPTY,
        });
    }
    let mut reader = Reader::new(body);
    let allowed: &[ReasonCode] = match sender {
        Sender::Client => &[ReasonCode::ContinueAuthentication, ReasonCode::ReAuthenticate],
        Sender::Server => &[ReasonCode::Success, ReasonCode::ContinueAuthentication],
    };
    // [MQTT-3.15.2-1]; an empty body stands for success.
    let code = if reader.is_empty() {
        ReasonCode::Success.code()
    } else {
        reader.u8()?
    };
    let reason = reason_of(code, allowed)?;
    let raw = reader.property_area()?;
    reader.end()?;
    Auth::new(reason, Properties::validated(raw))
}
