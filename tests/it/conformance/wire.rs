//! A client that sends exactly the packets it is given and shows what comes as one line of text each, so that a test
//! reads like the exchange it is about.
//!
//! `CONNACK 0 success ReceiveMaximum(32)`, `PUBLISH t q1 #3 dup retain TopicAlias(1) : payload`, `PUBACK 3 success`,
//! `SUBACK 5 [1, 135]`, `DISCONNECT protocol_error ReasonString("..")`, `closed`.

use codec::{
    Ack, AckKind, Auth, ConnectProperties, Packet, Properties, PropertiesBuf, Property, PublishOut, QoS,
    ReasonCode, SubscribeFilter, SubscribeOptions, Version, WillProperties,
};
use std::fmt::Write as _;
use tests::broker::Broker;
use tests::link::{Dial, Link};

/// A broker with a tcp listener and these keys of `[mqtt]`.
#[track_caller]
pub(super) fn broker(mqtt: &str) -> Broker {
    Broker::start(&config(mqtt))
}

pub(super) fn config(mqtt: &str) -> String {
    format!("[listeners.tcp]\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n[mqtt]\n{mqtt}\n")
}

/// A Will.
#[derive(Clone, Copy)]
pub(super) struct Will<'a> {
    pub(super) topic: &'a str,
    pub(super) payload: &'a str,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) properties: &'a [Property<'a>],
}

/// A CONNECT.
#[derive(Clone, Copy)]
pub(super) struct Hello<'a> {
    pub(super) version: Version,
    pub(super) id: &'a str,
    pub(super) clean: bool,
    pub(super) keep_alive: u16,
    pub(super) username: Option<&'a str>,
    pub(super) password: Option<&'a str>,
    pub(super) will: Option<Will<'a>>,
    pub(super) properties: &'a [Property<'a>],
}

/// MQTT 5, clean start.
pub(super) const V5: Hello<'static> = Hello {
    version: Version::V5,
    id: "c",
    clean: true,
    keep_alive: 600,
    username: None,
    password: None,
    will: None,
    properties: &[],
};
/// MQTT 3.1.1, clean session.
pub(super) const V311: Hello<'static> = Hello {
    version: Version::V311,
    ..V5
};
/// MQTT 3.1, clean session.
pub(super) const V31: Hello<'static> = Hello {
    version: Version::V31,
    ..V5
};

/// A session that lasts, in its version's way.
pub(super) fn lasting(id: &str, version: Version) -> Hello<'_> {
    Hello {
        version,
        id,
        clean: false,
        properties: if version == Version::V5 {
            &[Property::SessionExpiryInterval(1000)]
        } else {
            &[]
        },
        ..V5
    }
}

pub(super) fn area(properties: &[Property<'_>]) -> PropertiesBuf {
    let mut buffer = PropertiesBuf::new();
    for property in properties {
        buffer.push(*property).expect("a small property");
    }
    buffer
}

impl Hello<'_> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let properties = area(self.properties);
        let will_properties = area(self.will.map_or(&[], |will| will.properties));
        let mut connect = codec::Connect::new(self.version, self.id);
        connect.clean_start = self.clean;
        connect.keep_alive = self.keep_alive;
        connect.username = self.username;
        connect.password = self.password.map(str::as_bytes);
        connect.properties =
            ConnectProperties::parse(properties.as_properties()).expect("properties of CONNECT");
        connect.will = self.will.map(|will| codec::Will {
            topic: will.topic,
            payload: will.payload.as_bytes(),
            qos: QoS::from_u8(will.qos).expect("a QoS"),
            retain: will.retain,
            properties: WillProperties::parse(will_properties.as_properties()).expect("properties of a Will"),
        });
        let mut bytes = Vec::new();
        connect.encode(&mut bytes).expect("a small packet");
        bytes
    }
}

/// A PUBLISH to be sent.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) topic: &'a str,
    pub(super) payload: &'a str,
    pub(super) qos: u8,
    pub(super) id: u16,
    pub(super) retain: bool,
    pub(super) dup: bool,
    pub(super) alias: Option<u16>,
    pub(super) expiry: Option<u32>,
    /// Properties that are forwarded.
    pub(super) properties: &'a [Property<'a>],
}

/// QoS 0 to `t`.
pub(super) const MESSAGE: Message<'static> = Message {
    topic: "t",
    payload: "",
    qos: 0,
    id: 0,
    retain: false,
    dup: false,
    alias: None,
    expiry: None,
    properties: &[],
};

/// A message at this QoS, with a packet identifier unless that is 0.
pub(super) fn message<'a>(topic: &'a str, payload: &'a str, qos: u8, id: u16) -> Message<'a> {
    Message {
        topic,
        payload,
        qos,
        id,
        ..MESSAGE
    }
}

/// One connection.
pub(super) struct Wire {
    link: Link,
    version: Version,
}

impl Wire {
    /// A connection on which nothing was said.
    #[track_caller]
    pub(super) fn open(dial: &Dial, version: Version) -> Self {
        let link = dial.open().expect("a connection");
        Self { link, version }
    }

    /// Says CONNECT.
    #[track_caller]
    pub(super) fn hello(broker: &Broker, hello: &Hello<'_>) -> Self {
        let mut wire = Self::open(&broker.dial("tcp"), hello.version);
        wire.send(&hello.encode());
        wire
    }

    /// Connects, and takes the CONNACK.
    #[track_caller]
    pub(super) fn connect(broker: &Broker, hello: &Hello<'_>) -> Self {
        let mut wire = Self::hello(broker, hello);
        let answer = wire.next();
        assert!(answer.contains(" success"), "{}: {answer}", hello.id);
        wire
    }

    /// MQTT 5 with this client id and a clean start.
    #[track_caller]
    pub(super) fn v5(broker: &Broker, id: &str) -> Self {
        Self::connect(broker, &Hello { id, ..V5 })
    }

    #[track_caller]
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.link.send(bytes).expect("an open connection");
    }

    /// The next packet as text, or `closed`.
    #[track_caller]
    pub(super) fn next(&mut self) -> String {
        loop {
            let received = self.link.received();
            if let codec::Frame::Complete { len } = codec::frame::check(received, u32::MAX).expect("MQTT") {
                let rest = received.split_off(len);
                let frame = std::mem::replace(received, rest);
                return text(&codec::decode_from_server(&frame, self.version).expect("MQTT"));
            }
            match self.link.receive() {
                Ok(true) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing came"),
                Ok(false) | Err(_) => return "closed".to_owned(),
            }
        }
    }

    #[track_caller]
    pub(super) fn expect(&mut self, wanted: &str) {
        assert_eq!(self.next(), wanted);
    }

    /// The next packet begins so.
    #[track_caller]
    pub(super) fn starts(&mut self, wanted: &str) -> String {
        let next = self.next();
        assert!(next.starts_with(wanted), "{next}, not {wanted}");
        next
    }

    /// The next packet is this message, at QoS 1 or 2; its packet identifier. What follows the identifier is `rest`.
    #[track_caller]
    pub(super) fn arrives(&mut self, topic: &str, qos: u8, rest: &str) -> u16 {
        let line = self.starts(&format!("PUBLISH {topic} q{qos} #"));
        let (id, found) = line
            .split_once('#')
            .and_then(|(_, tail)| tail.split_once(' '))
            .expect("an id");
        assert_eq!(found, rest, "{line}");
        id.parse().expect("an id")
    }

    /// Refused for a reason: DISCONNECT in MQTT 5, and closed in every version.
    #[track_caller]
    pub(super) fn ends(&mut self, reason: ReasonCode) {
        if self.version == Version::V5 {
            self.starts(&format!("DISCONNECT {}", reason.name()));
        }
        self.expect("closed");
    }

    #[track_caller]
    pub(super) fn publish(&mut self, message: &Message<'_>) {
        let properties = area(message.properties);
        let mut bytes = Vec::new();
        let packet = PublishOut {
            version: self.version,
            dup: message.dup,
            qos: QoS::from_u8(message.qos).expect("a QoS"),
            retain: message.retain,
            topic: message.topic,
            packet_id: message.id,
            topic_alias: message.alias,
            message_expiry: message.expiry,
            subscription_ids: &[],
            properties: properties.as_properties().raw(),
            payload: message.payload.as_bytes(),
        };
        packet.encode(&mut bytes).expect("a small packet");
        self.send(&bytes);
    }

    /// Publishes and takes part in the exchange of its QoS to the end.
    #[track_caller]
    pub(super) fn deliver(&mut self, message: &Message<'_>) {
        self.publish(message);
        let id = message.id;
        match message.qos {
            0 => {}
            1 => {
                self.starts(&format!("PUBACK {id} "));
            }
            _ => {
                self.starts(&format!("PUBREC {id} "));
                self.ack(AckKind::PubRel, id);
                self.expect(&format!("PUBCOMP {id} success"));
            }
        }
    }

    #[track_caller]
    pub(super) fn ack(&mut self, kind: AckKind, id: u16) {
        self.ack_with(kind, id, ReasonCode::Success);
    }

    #[track_caller]
    pub(super) fn ack_with(&mut self, kind: AckKind, id: u16, reason: ReasonCode) {
        let mut bytes = Vec::new();
        Ack::new(id, reason).encode(kind, self.version, &mut bytes);
        self.send(&bytes);
    }

    /// Sends a SUBSCRIBE with these filters and option bytes.
    #[track_caller]
    pub(super) fn send_subscribe(&mut self, id: u16, properties: &[Property<'_>], filters: &[(&str, u8)]) {
        let filters: Vec<_> = filters
            .iter()
            .map(|&(filter, options)| SubscribeFilter {
                filter,
                options: SubscribeOptions::from_byte(options, self.version).expect("options"),
            })
            .collect();
        let mut bytes = Vec::new();
        codec::encode_subscribe(
            self.version,
            id,
            area(properties).as_properties(),
            &filters,
            &mut bytes,
        )
        .expect("a small packet");
        self.send(&bytes);
    }

    /// Subscribes to one filter and takes its SUBACK, which must grant the QoS asked for.
    #[track_caller]
    pub(super) fn subscribe(&mut self, filter: &str, options: u8) {
        self.send_subscribe(7, &[], &[(filter, options)]);
        self.expect(&format!("SUBACK 7 [{}]", options & 3));
    }

    #[track_caller]
    pub(super) fn unsubscribe(&mut self, id: u16, filters: &[&str]) {
        let mut bytes = Vec::new();
        codec::encode_unsubscribe(self.version, id, Properties::EMPTY, filters, &mut bytes)
            .expect("a small packet");
        self.send(&bytes);
    }

    #[track_caller]
    pub(super) fn disconnect(&mut self, reason: ReasonCode, properties: &[Property<'_>]) {
        let mut bytes = Vec::new();
        let properties = area(properties);
        codec::Disconnect::with_properties(reason, properties.as_properties())
            .encode(self.version, &mut bytes);
        self.send(&bytes);
    }

    #[track_caller]
    pub(super) fn auth(&mut self, reason: ReasonCode, method: &str, data: Option<&[u8]>) {
        let mut properties = area(&[Property::AuthenticationMethod(method)]);
        if let Some(data) = data {
            properties
                .push(Property::AuthenticationData(data))
                .expect("small");
        }
        let mut bytes = Vec::new();
        Auth::new(reason, properties.as_properties())
            .expect("an AUTH")
            .encode(&mut bytes);
        self.send(&bytes);
    }

    /// PINGREQ, and its answer as the next packet: nothing else was on its way.
    #[track_caller]
    pub(super) fn ping(&mut self) {
        let mut bytes = Vec::new();
        codec::encode_pingreq(&mut bytes);
        self.send(&bytes);
        self.expect("PINGRESP");
    }

    /// Leaves and waits until the broker has closed too.
    #[track_caller]
    pub(super) fn leave(mut self) {
        self.disconnect(ReasonCode::Success, &[]);
        self.expect("closed");
    }

    /// Breaks the connection off and waits until the broker knows.
    pub(super) fn lose(mut self) {
        self.link.half_close();
        self.link.receive_all();
    }
}

fn with(mut text: String, properties: Properties<'_>) -> String {
    for property in &properties {
        let _ = write!(text, " {property:?}");
    }
    text
}

fn text(packet: &Packet<'_>) -> String {
    let ack =
        |name: &str, ack: &Ack<'_>| with(format!("{name} {} {}", ack.packet_id, ack.reason), ack.properties);
    match packet {
        Packet::ConnAck(p) => with(
            format!("CONNACK {} {}", u8::from(p.session_present), p.reason),
            p.properties,
        ),
        Packet::Publish(p) => {
            let mut line = format!("PUBLISH {} q{}", p.topic, p.qos.level());
            if p.packet_id > 0 {
                let _ = write!(line, " #{}", p.packet_id);
            }
            for (on, word) in [(p.dup, " dup"), (p.retain, " retain")] {
                if on {
                    line.push_str(word);
                }
            }
            format!(
                "{} : {}",
                with(line, p.properties.all()),
                String::from_utf8_lossy(p.payload)
            )
        }
        Packet::PubAck(p) => ack("PUBACK", p),
        Packet::PubRec(p) => ack("PUBREC", p),
        Packet::PubRel(p) => ack("PUBREL", p),
        Packet::PubComp(p) => ack("PUBCOMP", p),
        Packet::SubAck(p) => with(format!("SUBACK {} {:?}", p.packet_id, p.codes), p.properties),
        Packet::UnsubAck(p) => with(format!("UNSUBACK {} {:?}", p.packet_id, p.codes), p.properties),
        Packet::PingResp => "PINGRESP".to_owned(),
        Packet::Disconnect(p) => with(format!("DISCONNECT {}", p.reason), p.properties),
        Packet::Auth(p) => with(format!("AUTH {}", p.reason), p.properties),
        Packet::Connect(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_) | Packet::PingReq => {
            unreachable!("the codec refuses a client's packet from a server")
        }
    }
}
