//! SUBSCRIBE and UNSUBSCRIBE: permission, limits, the router, retained messages.

use codec::{ReasonCode, RetainHandling, Subscribe, Unsubscribe, Version};

use super::Shard;
use super::end::Cause;
use crate::router::trie::{SessionRef, Subscription};
use crate::session::subscribe::Entry;

/// A filter as a client wrote it, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Share name of `$share/NAME/FILTER`.
    pub share: Option<&'a str>,
    /// The filter itself.
    pub filter: &'a str,
}

impl<'a> Wanted<'a> {
    /// Splits `$share/NAME/FILTER`; the codec has checked its form.
    pub fn parse(text: &'a str) -> Self {
        let shared = text.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
        match shared {
            Some((name, filter)) => Self {
                share: Some(name),
                filter,
            },
            None => Self {
                share: None,
                filter: text,
            },
        }
    }

    /// As the client wrote it.
    pub fn text(&self) -> String {
        match self.share {
            Some(name) => format!("$share/{name}/{}", self.filter),
            None => self.filter.to_owned(),
        }
    }
}

impl Shard {
    pub(super) fn on_subscribe(&mut self, who: SessionRef, packet: &Subscribe<'_>) -> Result<(), Cause> {
        let Some(client) = self.client(who) else {
            return Ok(());
        };
        let version = client.session.link.version;
        let id = packet.subscription_id.unwrap_or(0);
        let mut codes = Vec::with_capacity(packet.filters.len());
        let mut retained = Vec::new();
        let mut refused = None;
        for wish in &packet.filters {
            let (wanted, options) = (Wanted::parse(wish.filter), wish.options);
            if wanted.share.is_some() && options.no_local {
                // [MQTT-3.8.3-4]
                return Err(Cause::Protocol(
                    ReasonCode::ProtocolError,
                    "No Local on a shared subscription",
                ));
            }
            match self.subscribe(who, &wanted, options.to_byte(), id) {
                Ok((qos, new)) => {
                    codes.push(qos);
                    let send = match options.retain_handling {
                        RetainHandling::Send => true,
                        RetainHandling::SendIfNew => new,
                        RetainHandling::DoNotSend => false,
                    };
                    if send && wanted.share.is_none() {
                        retained.push((wanted.filter, options.to_byte()));
                    }
                }
                Err(reason) => {
                    // MQTT 3.1 has no code for a refusal: it is answered as if all were well (3.1, section 3.9).
                    let none = version == Version::V31;
                    codes.push(if none { options.qos.level() } else { reason.code() });
                    refused = refused.or(Some(reason));
                }
            }
        }
        self.send_suback(who, packet.packet_id, &codes, refused)?;
        for (filter, options) in retained {
            self.send_retained(who, filter, options, id);
        }
        Ok(())
    }

    /// One subscription: the granted QoS and whether it is new, or the reason against it.
    fn subscribe(
        &mut self,
        who: SessionRef,
        wanted: &Wanted<'_>,
        options: u8,
        id: u32,
    ) -> Result<(u8, bool), ReasonCode> {
        let known = self.node.router.find(wanted.filter);
        let Some(client) = self.client(who) else {
            return Err(ReasonCode::UnspecifiedError);
        };
        let Some(conn) = client.conn.as_ref() else {
            return Err(ReasonCode::UnspecifiedError);
        };
        let mqtt = &conn.listener.mqtt;
        if !mqtt.wildcard_subscription && wanted.filter.contains(['+', '#']) {
            return Err(ReasonCode::WildcardSubscriptionsNotSupported);
        }
        if !mqtt.shared_subscription && wanted.share.is_some() {
            return Err(ReasonCode::SharedSubscriptionsNotSupported);
        }
        if wanted.filter.split('/').count() > mqtt.offer.max_topic_levels {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        let has = known.is_some_and(|f| client.session.subscriptions.contains(f, wanted.share));
        if !has && client.session.subscriptions.len() as u64 >= mqtt.max_subscriptions {
            return Err(ReasonCode::QuotaExceeded);
        }
        let qos = (options & 0b11).min(mqtt.offer.max_qos);
        self.may_subscribe(who, wanted, qos)?;
        if !has {
            self.room_for_subscription(who, wanted)?;
        }
        let options = options & !0b11 | qos;
        Ok((qos, self.add_subscription(who, wanted, options, id)))
    }

    /// Enters a subscription that is permitted; true if it is new.
    pub(super) fn add_subscription(
        &mut self,
        who: SessionRef,
        wanted: &Wanted<'_>,
        options: u8,
        id: u32,
    ) -> bool {
        let sub = Subscription {
            session: who,
            id,
            options,
        };
        let (filter, new) = match wanted.share {
            Some(name) => self.node.router.join(name, wanted.filter, sub),
            None => self.node.router.subscribe(wanted.filter, sub),
        };
        if let Some(client) = self.client(who) {
            let share = wanted.share.map(Into::into);
            client.session.subscriptions.insert(Entry {
                filter,
                share,
                options,
                id,
            });
        }
        self.remember_subscription(who, wanted, options, id);
        new
    }

    pub(super) fn on_unsubscribe(&mut self, who: SessionRef, packet: &Unsubscribe<'_>) -> Result<(), Cause> {
        let mut codes = Vec::with_capacity(packet.filters.len());
        for text in &packet.filters {
            let gone = self.unsubscribe(who, &Wanted::parse(text));
            let reason = if gone {
                ReasonCode::Success
            } else {
                ReasonCode::NoSubscriptionExisted
            };
            codes.push(reason.code());
        }
        self.send_unsuback(who, packet.packet_id, &codes)
    }

    /// Takes one subscription away; false if there was none.
    pub fn unsubscribe(&mut self, who: SessionRef, wanted: &Wanted<'_>) -> bool {
        let Some(filter) = self.node.router.find(wanted.filter) else {
            return false;
        };
        let Some(client) = self.client(who) else {
            return false;
        };
        let Some(entry) = client.session.subscriptions.remove(filter, wanted.share) else {
            return false;
        };
        if let Some(conn) = self.client(who).and_then(|c| c.conn.as_mut()) {
            conn.seat.unsubscribe();
        }
        self.leave(who, &entry);
        self.forget_subscription(who, wanted);
        true
    }

    pub(super) fn leave(&mut self, who: SessionRef, entry: &Entry) {
        match &entry.share {
            Some(name) => self.node.router.leave(name, entry.filter, who),
            None => self.node.router.unsubscribe(entry.filter, who),
        };
    }

    /// Tells the groups this session is a member of whether its client is there.
    pub(super) fn announce(&mut self, who: SessionRef, online: bool) {
        let Some(client) = self.client(who) else { return };
        let shared: Vec<_> = client.session.subscriptions.shared();
        for (filter, name) in shared {
            self.node.router.set_online(&name, filter, who, online);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_filter_is_taken_apart() {
        let wanted = Wanted::parse("$share/g/a/+/b");
        assert_eq!(
            wanted,
            Wanted {
                share: Some("g"),
                filter: "a/+/b"
            }
        );
        assert_eq!(wanted.text(), "$share/g/a/+/b");
        assert_eq!(
            Wanted::parse("a/b"),
            Wanted {
                share: None,
                filter: "a/b"
            }
        );
    }
}
