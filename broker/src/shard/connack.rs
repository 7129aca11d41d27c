//! CONNACK: what a client is told of the session and of the limits that hold for it.

use codec::{ConnAck, PropertiesBuf, Property, ReasonCode, Version};

use super::attach::Login;

/// Encodes the CONNACK of an accepted login.
pub fn accept(login: &Login, session_present: bool, out: &mut Vec<u8>) {
    let mut properties = PropertiesBuf::new();
    if login.version == Version::V5 {
        describe(login, &mut properties);
    }
    let mut packet = ConnAck::new(ReasonCode::Success);
    packet.session_present = session_present && login.version != Version::V31;
    packet.properties = properties.as_properties();
    packet.encode(login.version, out);
}

/// From this size on CONNACK is not measured: it is never larger, but for an assigned client id, Response Information or
/// authentication data.
const MEASURED_BELOW: u32 = 4096;

/// True if the client takes no packet of its CONNACK's size ([MQTT-3.1.2-24]).
pub fn is_too_large(login: &Login) -> bool {
    if login.max_packet_size >= MEASURED_BELOW {
        return false;
    }
    let mut packet = Vec::new();
    accept(login, false, &mut packet);
    packet.len() > login.max_packet_size as usize
}

/// Encodes a refusal.
pub fn refuse(version: Version, reason: ReasonCode, out: &mut Vec<u8>) {
    ConnAck::new(reason).encode(version, out);
}

fn describe(login: &Login, properties: &mut PropertiesBuf) {
    let mqtt = &login.listener.mqtt.settings;
    let mut tell = |property| {
        // Each stands once and its value is in range: an error cannot be.
        let done = properties.push(property);
        debug_assert!(done.is_ok(), "{done:?}");
    };
    if login.expiry != login.asked_expiry {
        tell(Property::SessionExpiryInterval(login.expiry)); // 3.2.2.3.2
    }
    tell(Property::ReceiveMaximum(mqtt.receive_maximum));
    if mqtt.max_qos < 2 {
        tell(Property::MaximumQos(
            codec::QoS::from_u8(mqtt.max_qos).unwrap_or_default(),
        ));
    }
    if !mqtt.retain {
        tell(Property::RetainAvailable(false));
    }
    tell(Property::MaximumPacketSize(login.listener.max_packet_size));
    if login.assigned {
        tell(Property::AssignedClientIdentifier(&login.client_id)); // [MQTT-3.2.2-16]
    }
    if mqtt.max_topic_alias > 0 {
        tell(Property::TopicAliasMaximum(mqtt.max_topic_alias));
    }
    if !mqtt.wildcard_subscription {
        tell(Property::WildcardSubscriptionAvailable(false));
    }
    if !mqtt.shared_subscription {
        tell(Property::SharedSubscriptionAvailable(false));
    }
    if login.keepalive != login.asked_keepalive {
        tell(Property::ServerKeepAlive(login.keepalive)); // [MQTT-3.2.2-21]
    }
    if let Some(method) = &login.auth_method {
        tell(Property::AuthenticationMethod(method));
        if let Some(data) = &login.auth_data {
            tell(Property::AuthenticationData(data));
        }
    }
}
