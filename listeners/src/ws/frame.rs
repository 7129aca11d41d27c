//! WebSocket frames (RFC 6455 section 5), the server's side: the client's frames are unmasked in
//! the buffer they were read into, ours get a header. No sockets, no buffer of its own.

use std::fmt;

/// Continuation of a fragmented message.
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Longest payload of a control frame (RFC 6455 5.5).
const CONTROL_MAX: u64 = 125;
/// Header with a 64-bit length and a mask.
const HEADER_MAX: usize = 14;
/// Pongs that wait to be written; beyond that, older pings go unanswered, as RFC 6455 5.5.3 allows.
const CONTROL_QUEUE_MAX: usize = 1024;

/// Why a WebSocket is closed by us: the status code sent to the client (RFC 6455 7.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WsFault {
    /// 1002: a frame that the protocol does not allow.
    Protocol(&'static str),
    /// 1003: a text frame; MQTT is binary only [MQTT-6.0.0-1].
    Text,
}

impl WsFault {
    /// The status code of the close frame.
    pub fn code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::Text => 1003,
        }
    }
}

impl fmt::Display for WsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(what) => write!(f, "websocket: {what}"),
            Self::Text => f.write_str("websocket: text frame [MQTT-6.0.0-1]"),
        }
    }
}

impl std::error::Error for WsFault {}

/// The reading half's place in the frame stream.
#[derive(Debug, Default)]
pub(crate) struct Unframer {
    /// Bytes of the next header that have arrived.
    header: [u8; HEADER_MAX],
    header_len: u8,
    opcode: u8,
    mask: [u8; 4],
    /// Payload bytes of the current frame still to come.
    left: u64,
    /// A fragmented message is open: only continuations (and control frames) may follow.
    fragmented: bool,
    /// A close frame has come: what follows is ignored.
    closed: bool,
    /// Payload of a control frame that has not come whole.
    control: Vec<u8>,
}

/// What a control frame asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Ping(Vec<u8>),
    /// The client closes; the payload to echo (its status code, if it sent one).
    Close(Vec<u8>),
}

impl Unframer {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Turns the raw bytes `buf[start..]` into payload bytes, in place. Control frames go to
    /// `control`. The result is the same however the frames were cut into reads.
    pub(crate) fn unframe(
        &mut self,
        buf: &mut Vec<u8>,
        start: usize,
        control: &mut impl FnMut(Control),
    ) -> Result<(), WsFault> {
        let (mut from, mut to) = (start, start);
        let end = buf.len();
        let verdict = loop {
            if self.closed || from == end {
                break Ok(());
            }
            if self.left == 0 && !self.control_open() {
                match self.read_header(&buf[from..end]) {
                    Ok(used) => from += used,
                    Err(fault) => break Err(fault),
                }
                if self.left == 0 && self.control_open() {
                    self.end_of_control(control);
                }
                continue;
            }
            let take = usize::try_from(self.left).map_or(end - from, |left| left.min(end - from));
            let payload = &mut buf[from..from + take];
            unmask(payload, &mut self.mask);
            self.left -= take as u64;
            if self.control_open() {
                self.control.extend_from_slice(payload);
                if self.left == 0 {
                    self.end_of_control(control);
                }
            } else {
                if from != to {
                    buf.copy_within(from..from + take, to);
                }
                to += take;
            }
            from += take;
        };
        buf.truncate(to);
        verdict
    }

    /// A control frame is being read (its header is complete).
    fn control_open(&self) -> bool {
        self.opcode >= CLOSE
    }

    fn end_of_control(&mut self, control: &mut impl FnMut(Control)) {
        let payload = std::mem::take(&mut self.control);
        match self.opcode {
            PING => control(Control::Ping(payload)),
            CLOSE => {
                self.closed = true;
                control(Control::Close(close_echo(&payload)));
            }
            _ => {}
        }
        self.opcode = CONTINUATION;
    }

    /// Takes header bytes; returns how many. When the header is complete `left`, `opcode` and `mask`
    /// are those of the frame.
    fn read_header(&mut self, bytes: &[u8]) -> Result<usize, WsFault> {
        let mut used = 0;
        while used < bytes.len() {
            let have = usize::from(self.header_len);
            if have >= 2 && have == header_size(self.header[1]) {
                break;
            }
            self.header[have] = bytes[used];
            self.header_len += 1;
            used += 1;
            if have < 2 {
                self.check_header(have)?;
            }
        }
        let have = usize::from(self.header_len);
        if have < 2 || have < header_size(self.header[1]) {
            return Ok(used);
        }
        self.take_header(have)?;
        Ok(used)
    }

    /// Checks byte 0 or 1 of a header as soon as it is there.
    fn check_header(&self, at: usize) -> Result<(), WsFault> {
        let [first, second, ..] = self.header;
        let opcode = first & 0x0F;
        if at == 0 {
            if first & 0x70 != 0 {
                return Err(WsFault::Protocol("reserved bit set"));
            }
            return match opcode {
                TEXT => Err(WsFault::Text),
                BINARY if self.fragmented => Err(WsFault::Protocol("new message inside a fragmented one")),
                CONTINUATION if !self.fragmented => Err(WsFault::Protocol("continuation of nothing")),
                CLOSE | PING | PONG if first & FIN == 0 => Err(WsFault::Protocol("fragmented control frame")),
                CONTINUATION | BINARY | CLOSE | PING | PONG => Ok(()),
                _ => Err(WsFault::Protocol("unknown opcode")),
            };
        }
        if second & MASKED == 0 {
            return Err(WsFault::Protocol("unmasked frame"));
        }
        if opcode >= CLOSE && u64::from(second & 0x7F) > CONTROL_MAX {
            return Err(WsFault::Protocol("control frame over 125 bytes"));
        }
        Ok(())
    }

    fn take_header(&mut self, size: usize) -> Result<(), WsFault> {
        let h = &self.header;
        self.left = match h[1] & 0x7F {
            126 => u64::from(u16::from_be_bytes([h[2], h[3]])),
            127 => u64::from_be_bytes([h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9]]),
            short => u64::from(short),
        };
        if self.left >> 63 != 0 {
            return Err(WsFault::Protocol("length with the top bit set"));
        }
        self.mask.copy_from_slice(&h[size - 4..size]);
        self.opcode = h[0] & 0x0F;
        if self.opcode < CLOSE {
            self.fragmented = h[0] & FIN == 0;
        } else if self.opcode == CLOSE && self.left == 1 {
            return Err(WsFault::Protocol("close frame with half a status code"));
        }
        self.header_len = 0;
        Ok(())
    }
}

/// Size of a client's header by its second byte.
fn header_size(second: u8) -> usize {
    match second & 0x7F {
        126 => 8,
        127 => HEADER_MAX,
        _ => 6,
    }
}

/// What our close frame answers: the client's code if it may be sent, else 1002 (RFC 6455 7.4).
fn close_echo(payload: &[u8]) -> Vec<u8> {
    let Some(code) = payload.first_chunk::<2>().map(|c| u16::from_be_bytes(*c)) else {
        return Vec::new();
    };
    let sendable = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    let answer = if sendable { code } else { 1002 };
    answer.to_be_bytes().to_vec()
}

/// XORs `payload` with the mask and turns the mask so that it fits the byte after it.
fn unmask(payload: &mut [u8], mask: &mut [u8; 4]) {
    let wide = {
        let [a, b, c, d] = *mask;
        u64::from_ne_bytes([a, b, c, d, a, b, c, d])
    };
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Some(word) = chunk.first_chunk_mut::<8>() {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
    }
    let rest = chunks.into_remainder();
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    let turn = rest.len() % 4;
    mask.rotate_left(turn);
}

/// Appends our unmasked header of one whole frame.
fn put_header(out: &mut Vec<u8>, opcode: u8, len: usize) {
    out.push(FIN | opcode);
    match len {
        0..=125 => out.push(len as u8),
        126..=0xFFFF => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// The writing half's place: which bytes of ours have to go out before the caller's.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    /// Control frames and the header of the current frame, of which `head_sent` are written.
    head: Vec<u8>,
    head_sent: usize,
    /// Payload bytes of the current frame that still have to be taken from the caller's queue.
    left: usize,
    /// Control frames that wait for the current frame to end.
    control: Vec<u8>,
    /// Our close frame is queued or written: no data follows.
    closing: bool,
}

impl Framer {
    /// Queues a pong (unless too many wait).
    pub(crate) fn pong(&mut self, payload: &[u8]) {
        if !self.closing && self.control.len() < CONTROL_QUEUE_MAX {
            put_header(&mut self.control, PONG, payload.len());
            self.control.extend_from_slice(payload);
        }
    }

    /// Queues the one close frame; later calls do nothing.
    pub(crate) fn close(&mut self, payload: &[u8]) {
        if !self.closing {
            put_header(&mut self.control, CLOSE, payload.len());
            self.control.extend_from_slice(payload);
            self.closing = true;
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Prepares the next piece when `waiting` payload bytes stand in the caller's queue. Returns
    /// false when there is nothing at all to write.
    pub(crate) fn prepare(&mut self, waiting: usize) -> bool {
        if self.left == 0 {
            if !self.control.is_empty() {
                let control = std::mem::take(&mut self.control);
                self.head.extend_from_slice(&control);
            }
            if waiting > 0 && !self.closing {
                put_header(&mut self.head, BINARY, waiting);
                self.left = waiting;
            }
        }
        self.has_head() || self.left > 0
    }

    /// Bytes of ours that go before the payload.
    pub(crate) fn head(&self) -> &[u8] {
        self.head.get(self.head_sent..).unwrap_or_default()
    }

    fn has_head(&self) -> bool {
        self.head_sent < self.head.len()
    }

    /// How many bytes of the caller's queue belong to the current frame.
    pub(crate) fn payload_left(&self) -> usize {
        self.left
    }

    /// Counts `n` written bytes; returns how many of them were the caller's.
    pub(crate) fn written(&mut self, n: usize) -> usize {
        let ours = n.min(self.head.len() - self.head_sent);
        self.head_sent += ours;
        if !self.has_head() {
            self.head_sent = 0;
            // Header and capacity go: an idle connection holds nothing here.
            self.head = Vec::new();
        }
        let payload = n - ours;
        self.left -= payload.min(self.left);
        payload
    }

    /// True when something of ours can be written without any payload: a control frame between
    /// frames, or the rest of a header.
    pub(crate) fn wants_write(&self) -> bool {
        self.has_head() || (self.left == 0 && !self.control.is_empty())
    }
}

#[cfg(test)]
mod tests;
