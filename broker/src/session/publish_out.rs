//! PUBLISH to the client: its window, its queue, and the bytes of each packet.
//!
//! What does not live here: writing the bytes to a socket (`listeners`), choosing the receivers (`router`).

use codec::{Ack, AckKind, PublishOut, QoS, ReasonCode, Version, copy_patched, publish_first_byte};
use listeners::{OutBuf, SHARE_MIN};

use super::alias::Alias;
use super::inflight::Stage;
use super::message::Publication;
use super::queue::{QueueLimits, Queued};
use super::{Link, Outbound, Session};
use crate::metrics::DropReason;
use crate::router::route::{Identifiers, NO_LOCAL, RETAIN_AS_PUBLISHED, Target};

/// What became of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// Its bytes are in the connection's buffer.
    Sent,
    /// It waits in the session's queue.
    Queued,
    /// It is not meant for this client (No Local).
    NotForIt,
    /// It is lost, and counted.
    Dropped(DropReason),
}

/// Circumstances of a delivery.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// ms since 1970.
    pub now: u64,
    /// Bounds of the queue.
    pub limits: &'a QueueLimits,
    /// Whether QoS 0 messages wait for an absent client.
    pub queue_qos0: bool,
    /// Bytes a connection may have waiting before QoS 0 messages to it are dropped.
    pub buffer_max: usize,
    /// Where the store has the message for this session; 0 = nowhere.
    pub stored: u64,
    /// Whether the packet is written at some later time, after others.
    pub held: bool,
}

/// Ready frames of one publication, by protocol version and by QoS 0 or not: made once, copied to each
/// subscriber with its own first byte and packet identifier.
#[derive(Debug, Default)]
pub struct Frames {
    shapes: [Frame; 4],
}

#[derive(Debug, Default)]
struct Frame {
    made: bool,
    bytes: Vec<u8>,
    id_at: Option<usize>,
}

impl Frames {
    /// Forgets the frames of the publication before; keeps their memory.
    pub fn clear(&mut self) {
        for frame in &mut self.shapes {
            frame.made = false;
            frame.bytes.clear();
            frame.bytes.shrink_to(64 * 1024);
        }
    }

    /// Copies the packet's ready frame to `to`; false if it cannot be encoded.
    fn append(&mut self, packet: &PublishOut<'_>, with_payload: bool, to: &mut Vec<u8>) -> bool {
        let shape =
            usize::from(packet.version == Version::V5) * 2 + usize::from(packet.qos != QoS::AtMostOnce);
        let frame = &mut self.shapes[shape];
        if !frame.made {
            if packet.encode_head(&mut frame.bytes).is_err() {
                return false;
            }
            if with_payload {
                frame.bytes.extend_from_slice(packet.payload);
            }
            frame.id_at = packet.packet_id_offset();
            frame.made = true;
        }
        let first = publish_first_byte(packet.dup, packet.qos, packet.retain);
        copy_patched(
            &frame.bytes,
            first,
            frame.id_at.map(|at| (at, packet.packet_id)),
            to,
        );
        true
    }
}

/// The parts of one delivery that differ between receivers.
struct Copy<'a> {
    qos: u8,
    retain: bool,
    dup: bool,
    packet_id: u16,
    identifiers: &'a Identifiers,
    /// Others may be sent before it, so it must not set or use an alias.
    held: bool,
}

/// Encodes one PUBLISH; false if the client would not take a packet of that size, or none can be that large.
fn write(
    link: &mut Link,
    publication: &mut Publication<'_>,
    copy: &Copy<'_>,
    now: u64,
    frames: Option<&mut Frames>,
    out: &mut OutBuf,
) -> bool {
    let mut packet = PublishOut {
        version: link.version,
        dup: copy.dup,
        qos: QoS::from_u8(copy.qos).unwrap_or(QoS::AtMostOnce),
        retain: copy.retain,
        topic: publication.topic,
        packet_id: copy.packet_id,
        topic_alias: None,
        message_expiry: publication.expiry_left(now),
        subscription_ids: copy.identifiers.as_slice(),
        properties: publication.properties,
        payload: publication.payload,
    };
    let alias = match &mut link.aliases_out {
        Some(aliases) if !copy.held => aliases.choose(publication.topic),
        _ => Alias::None,
    };
    match alias {
        Alias::None => {}
        Alias::Set(alias) => packet.topic_alias = Some(alias),
        Alias::Use(alias) => {
            packet.topic = "";
            packet.topic_alias = Some(alias);
        }
    }
    if link.max_packet_size != u32::MAX && packet.encoded_len() > link.max_packet_size as usize {
        if let (Alias::Set(_), Some(aliases)) = (alias, &mut link.aliases_out) {
            aliases.undo(publication.topic);
        }
        return false;
    }
    let share = packet.payload.len() >= SHARE_MIN && frames.is_some();
    let encoded = match frames {
        Some(frames) if alias == Alias::None && packet.subscription_ids.is_empty() => {
            frames.append(&packet, !share, out.buffer_mut())
        }
        _ if share => packet.encode_head(out.buffer_mut()).is_ok(),
        _ => packet.encode(out.buffer_mut()).is_ok(),
    };
    if encoded && share {
        let message = publication.share();
        out.push(&message.shared_payload());
    }
    encoded
}

impl Session {
    /// Delivers a publication: into `out` if the client is connected and its window is open, else into the queue.
    /// Messages that had to leave the queue for it are returned in `gone`.
    pub fn deliver(
        &mut self,
        publication: &mut Publication<'_>,
        target: &Target,
        cx: &Delivery<'_>,
        frames: Option<&mut Frames>,
        out: Option<&mut OutBuf>,
        gone: &mut Vec<Queued>,
    ) -> Delivered {
        if target.options & NO_LOCAL != 0 && publication.publisher == Some(self.me) {
            return Delivered::NotForIt; // [MQTT-3.8.3-3]
        }
        let qos = publication.qos.min(target.qos());
        let retain = publication.retain && target.options & RETAIN_AS_PUBLISHED != 0; // [MQTT-3.3.1-12], [MQTT-3.3.1-13]
        self.deliver_as(
            publication,
            qos,
            retain,
            &target.identifiers,
            cx,
            frames,
            out,
            gone,
        )
    }

    /// The same with QoS and retain flag settled, for retained messages too.
    #[expect(
        clippy::too_many_arguments,
        reason = "the one place where all circumstances of a delivery meet"
    )]
    pub fn deliver_as(
        &mut self,
        publication: &mut Publication<'_>,
        qos: u8,
        retain: bool,
        identifiers: &Identifiers,
        cx: &Delivery<'_>,
        frames: Option<&mut Frames>,
        out: Option<&mut OutBuf>,
        gone: &mut Vec<Queued>,
    ) -> Delivered {
        let Some(out) = out else {
            if qos == 0 && !cx.queue_qos0 {
                return Delivered::Dropped(DropReason::Offline);
            }
            return self.enqueue(publication, qos, retain, identifiers, cx, gone);
        };
        if qos == 0 {
            if self.outbound.as_ref().is_some_and(|o| o.queue.has_qos0()) {
                // What waited for the client comes first ([MQTT-4.6.0-5]).
                return self.enqueue(publication, qos, retain, identifiers, cx, gone);
            }
            if out.len() > cx.buffer_max {
                self.statistics.dropped += 1;
                return Delivered::Dropped(DropReason::QueueFull);
            }
            let copy = Copy {
                qos,
                retain,
                dup: false,
                packet_id: 0,
                identifiers,
                held: false,
            };
            let fits = write(&mut self.link, publication, &copy, cx.now, frames, out);
            return self.sent(fits);
        }
        let outbound = self.outbound.get_or_insert_default();
        if !outbound.queue.is_empty()
            || outbound.window.unsent() > 0
            || outbound.window.len() >= usize::from(self.link.window)
        {
            return self.enqueue(publication, qos, retain, identifiers, cx, gone);
        }
        let Some(packet_id) = outbound.ids.next(&outbound.window) else {
            return self.enqueue(publication, qos, retain, identifiers, cx, gone);
        };
        let copy = Copy {
            qos,
            retain,
            dup: false,
            packet_id,
            identifiers,
            held: cx.held,
        };
        if write(&mut self.link, publication, &copy, cx.now, frames, out) {
            let message = publication.share();
            let item = Queued {
                message,
                qos,
                retain,
                identifiers: identifiers.clone(),
                stored: cx.stored,
            };
            outbound.window.open(packet_id, item);
            if cx.stored > 0 {
                outbound.sent.push((cx.stored, packet_id));
            }
            return self.sent(true);
        }
        self.sent(false)
    }

    fn sent(&mut self, fits: bool) -> Delivered {
        if fits {
            self.statistics.delivered += 1;
            Delivered::Sent
        } else {
            self.statistics.dropped += 1;
            Delivered::Dropped(DropReason::TooLarge)
        }
    }

    fn enqueue(
        &mut self,
        publication: &mut Publication<'_>,
        qos: u8,
        retain: bool,
        identifiers: &Identifiers,
        cx: &Delivery<'_>,
        gone: &mut Vec<Queued>,
    ) -> Delivered {
        let message = publication.share();
        let item = Queued {
            message,
            qos,
            retain,
            identifiers: identifiers.clone(),
            stored: cx.stored,
        };
        let outbound = self.outbound.get_or_insert_default();
        let already_gone = gone.len();
        let kept = outbound.queue.push(item, cx.limits, gone);
        self.statistics.dropped += (gone.len() - already_gone) as u64;
        if !kept {
            return Delivered::Dropped(DropReason::QueueFull);
        }
        self.statistics.enqueued += 1;
        Delivered::Queued
    }

    /// Sends what waits, as far as the window allows: into `held` what must not be sent before the store has its
    /// packet identifier; how many went, by QoS. What was dropped because it had expired or was too large is in `gone`.
    pub fn pump(
        &mut self,
        now: u64,
        out: &mut OutBuf,
        held: &mut OutBuf,
        buffer_max: usize,
        gone: &mut Vec<(Queued, DropReason)>,
    ) -> [u64; 3] {
        let mut went = [0; 3];
        if !self.pump_unsent(now, out, held, buffer_max, gone) {
            return went;
        }
        let Self {
            outbound: Some(outbound),
            link,
            statistics,
            ..
        } = self
        else {
            return went;
        };
        let Outbound {
            window,
            queue,
            ids,
            sent,
        } = &mut **outbound;
        while out.len() + held.len() <= buffer_max {
            let Some(next) = queue.pop() else { break };
            if next.message.is_expired(now) {
                statistics.dropped += 1;
                gone.push((next, DropReason::Expired));
                continue;
            }
            let mut packet_id = 0;
            if next.qos > 0 {
                let free = window.len() < usize::from(link.window);
                let Some(id) = free.then(|| ids.next(window)).flatten() else {
                    queue.push_front(next);
                    break;
                };
                packet_id = id;
            }
            let mut publication = Publication::of(&next.message);
            let copy = Copy {
                qos: next.qos,
                retain: next.retain,
                dup: false,
                packet_id,
                identifiers: &next.identifiers,
                held: next.is_held(),
            };
            let to = if copy.held { &mut *held } else { &mut *out };
            if !write(link, &mut publication, &copy, now, None, to) {
                statistics.dropped += 1;
                gone.push((next, DropReason::TooLarge));
                continue;
            }
            statistics.delivered += 1;
            went[usize::from(next.qos.min(2))] += 1;
            if packet_id > 0 {
                if next.stored > 0 {
                    sent.push((next.stored, packet_id));
                }
                window.open(packet_id, next);
            }
        }
        went
    }

    /// After a reconnect: everything in flight is to be sent again ([MQTT-4.4.0-1]). PUBRELs go at once; messages go
    /// with [`Session::pump`], as many as the new connection's window allows ([MQTT-3.3.4-9]). Into `held` goes what must
    /// not be sent before the store has that PUBREC came.
    pub fn resend(&mut self, out: &mut OutBuf, held: &mut OutBuf) {
        let Some(outbound) = &mut self.outbound else {
            return;
        };
        outbound.window.start_over();
        while let Some(exchange) = outbound.window.next_unsent(Stage::Released) {
            let to = if exchange.stored > 0 {
                &mut *held
            } else {
                &mut *out
            };
            Ack::new(exchange.packet_id, ReasonCode::Success).encode(
                AckKind::PubRel,
                self.link.version,
                to.buffer_mut(),
            );
        }
    }

    /// Sends messages again that were sent on an earlier connection, in order; true if none is left.
    fn pump_unsent(
        &mut self,
        now: u64,
        out: &mut OutBuf,
        held: &mut OutBuf,
        buffer_max: usize,
        gone: &mut Vec<(Queued, DropReason)>,
    ) -> bool {
        let Some(outbound) = &mut self.outbound else {
            return true;
        };
        let window = &mut outbound.window;
        while window.unsent() > 0 {
            let open = window.len() - window.unsent();
            if out.len() + held.len() > buffer_max || open >= usize::from(self.link.window) {
                return false;
            }
            let Some(exchange) = window.next_unsent(Stage::Published) else {
                return true;
            };
            let packet_id = exchange.packet_id;
            let Some(item) = &exchange.message else { continue };
            let mut publication = Publication::of(&item.message);
            let copy = Copy {
                qos: item.qos,
                retain: item.retain,
                dup: true, // [MQTT-3.3.1-1]
                packet_id,
                identifiers: &item.identifiers,
                held: item.is_held(),
            };
            let to = if copy.held { &mut *held } else { &mut *out };
            if !write(&mut self.link, &mut publication, &copy, now, None, to)
                && let Some(item) = window.close(packet_id).and_then(|x| x.message)
            {
                // The new connection takes smaller packets only ([MQTT-3.1.2-25]).
                self.statistics.dropped += 1;
                gone.push((item, DropReason::TooLarge));
            }
        }
        true
    }

    /// PUBACK: ends a QoS 1 exchange; the message, if there was one.
    pub fn acknowledged(&mut self, packet_id: u16) -> Option<Queued> {
        let outbound = self.outbound.as_mut()?;
        if outbound.window.get(packet_id)?.message.as_ref()?.qos != 1 {
            return None;
        }
        outbound.window.close(packet_id)?.message
    }

    /// PUBREC: moves a QoS 2 exchange on; false if it is not known. The message is returned once.
    pub fn received(&mut self, packet_id: u16, refused: bool) -> (bool, Option<Queued>) {
        let Some(outbound) = &mut self.outbound else {
            return (false, None);
        };
        let Some(exchange) = outbound.window.get(packet_id) else {
            return (false, None);
        };
        if exchange.message.as_ref().is_some_and(|m| m.qos != 2) {
            return (false, None);
        }
        if refused {
            return (true, outbound.window.close(packet_id).and_then(|x| x.message));
        }
        (true, outbound.window.release(packet_id))
    }

    /// PUBCOMP: ends a QoS 2 exchange; false if it is not known.
    pub fn completed(&mut self, packet_id: u16) -> bool {
        let Some(outbound) = &mut self.outbound else {
            return false;
        };
        match outbound.window.get(packet_id) {
            Some(exchange) if exchange.stage == Stage::Released => outbound.window.close(packet_id).is_some(),
            _ => false,
        }
    }
}
