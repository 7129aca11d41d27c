//! Well-formed values drawn from a string of bytes: the same generator serves seeded tests and libFuzzer.

use codec::{PropertiesBuf, Property, QoS, RetainHandling, SubscribeOptions, Version};

/// Bytes that decide; zeros for ever once they are used up.
pub(crate) struct Source<'a>(pub(crate) &'a [u8]);

impl Source<'_> {
    pub(crate) fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    pub(crate) fn bool(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.u16()) % bound
    }

    pub(crate) fn packet_id(&mut self) -> u16 {
        self.u16().max(1)
    }

    pub(crate) fn version(&mut self) -> Version {
        [Version::V31, Version::V311, Version::V5][self.below(3)]
    }

    pub(crate) fn qos(&mut self) -> QoS {
        [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][self.below(3)]
    }

    pub(crate) fn options(&mut self, version: Version) -> SubscribeOptions {
        let qos = self.qos();
        if version != Version::V5 {
            return SubscribeOptions {
                qos,
                ..SubscribeOptions::default()
            };
        }
        let handling = [
            RetainHandling::Send,
            RetainHandling::SendIfNew,
            RetainHandling::DoNotSend,
        ];
        SubscribeOptions {
            qos,
            no_local: self.bool(),
            retain_as_published: self.bool(),
            retain_handling: handling[self.below(3)],
        }
    }

    /// Mostly short, at times across the widths of a variable byte integer.
    fn length(&mut self) -> usize {
        match self.u8() {
            0..=200 => self.below(20),
            201..=250 => self.below(300),
            _ => usize::from(self.u16()),
        }
    }

    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        let len = self.length();
        (0..len).map(|_| self.u8()).collect()
    }

    /// Any text without U+0000, of at most 65,535 bytes.
    pub(crate) fn text(&mut self) -> String {
        const PALETTE: [char; 16] = [
            'a', 'b', '/', 'é', '日', '😀', '+', '#', '$', ' ', '\u{1}', '\u{feff}', '\u{ffff}', 'z', '0',
            '.',
        ];
        let len = self.length().min(16_000);
        (0..len)
            .map(|_| PALETTE[usize::from(self.u8()) % PALETTE.len()])
            .collect()
    }

    /// A topic name.
    pub(crate) fn topic(&mut self) -> String {
        let mut topic = self.text().replace(['+', '#'], "x");
        if topic.is_empty() {
            topic.push('t');
        }
        topic
    }

    /// A topic filter, shared at times.
    pub(crate) fn filter(&mut self) -> String {
        let mut levels: Vec<&str> = Vec::new();
        if self.u8() > 200 {
            levels.extend(["$share", "g"]);
        }
        for _ in 0..=self.below(5) {
            levels.push(["a", "é", "+", "b", "$x"][self.below(5)]);
        }
        if self.bool() {
            levels.push("#");
        }
        levels.join("/")
    }

    /// A property area with some of the properties `ids`, each once, in any order, with user properties among them if
    /// they are allowed.
    pub(crate) fn properties(&mut self, ids: &[u8]) -> PropertiesBuf {
        const USER: u8 = 0x26;
        let mut area = PropertiesBuf::new();
        let mut left: Vec<u8> = ids.iter().copied().filter(|&id| id != USER).collect();
        for _ in 0..self.below(ids.len().max(1) + 3) {
            if ids.contains(&USER) && self.below(4) == 0 {
                let (name, value) = (self.text(), self.text());
                area.push(Property::UserProperty(&name, &value)).expect("short");
            } else if !left.is_empty() {
                let at = self.below(left.len());
                self.property(left.swap_remove(at), &mut area);
            }
        }
        area
    }

    fn property(&mut self, id: u8, area: &mut PropertiesBuf) {
        use Property as P;
        let (text, topic, data) = (self.text(), self.topic(), self.bytes());
        let (flag, short, long) = (self.bool(), self.u16(), self.u32());
        let property = match id {
            0x01 => P::PayloadFormatIndicator(flag),
            0x02 => P::MessageExpiryInterval(long),
            0x03 => P::ContentType(&text),
            0x08 => P::ResponseTopic(&topic),
            0x09 => P::CorrelationData(&data),
            0x0b => P::SubscriptionIdentifier(long % 0x0fff_ffff + 1),
            0x11 => P::SessionExpiryInterval(long),
            0x12 => P::AssignedClientIdentifier(&text),
            0x13 => P::ServerKeepAlive(short),
            0x15 => P::AuthenticationMethod(&text),
            0x16 => P::AuthenticationData(&data),
            0x17 => P::RequestProblemInformation(flag),
            0x18 => P::WillDelayInterval(long),
            0x19 => P::RequestResponseInformation(flag),
            0x1a => P::ResponseInformation(&text),
            0x1c => P::ServerReference(&text),
            0x1f => P::ReasonString(&text),
            0x21 => P::ReceiveMaximum(short.max(1)),
            0x22 => P::TopicAliasMaximum(short),
            0x23 => P::TopicAlias(short.max(1)),
            0x24 => P::MaximumQos(if flag { QoS::AtLeastOnce } else { QoS::AtMostOnce }),
            0x25 => P::RetainAvailable(flag),
            0x27 => P::MaximumPacketSize(long.max(1)),
            0x28 => P::WildcardSubscriptionAvailable(flag),
            0x29 => P::SubscriptionIdentifierAvailable(flag),
            0x2a => P::SharedSubscriptionAvailable(flag),
            other => panic!("property {other}"),
        };
        area.push(property).expect("short");
    }
}
