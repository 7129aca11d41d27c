//! Frames against a plain encoder, cut everywhere.

use super::*;
use proptest::prelude::*;

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0xA1, 0x02, 0x53, 0xFE];
    let mut bytes = Vec::new();
    put_header(&mut bytes, 0, payload.len());
    bytes[0] = first;
    bytes[1] |= MASKED;
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    bytes
}

/// What comes out when `bytes` arrive in pieces of `step`.
fn unframe(bytes: &[u8], step: usize) -> Result<(Vec<u8>, Vec<Control>, bool), WsFault> {
    let (mut unframer, mut controls, mut payload) = (Unframer::default(), Vec::new(), Vec::new());
    for piece in bytes.chunks(step) {
        let mut buf = b"before".to_vec();
        buf.extend_from_slice(piece);
        unframer.unframe(&mut buf, 6, &mut |c| controls.push(c))?;
        payload.extend_from_slice(buf.strip_prefix(b"before").expect("what stood there stays"));
    }
    Ok((payload, controls, unframer.is_closed()))
}

#[track_caller]
fn check(bytes: &[u8], payload: &[u8], controls: &[Control], closed: bool) {
    for step in [1, 2, 3, 5, 7, 8, 64, 1000, usize::MAX] {
        let (got, said, is_closed) = unframe(bytes, step).expect("good frames");
        assert_eq!(got, payload, "step {step}");
        assert_eq!(said, controls, "step {step}");
        assert_eq!(is_closed, closed, "step {step}");
    }
}

#[track_caller]
fn check_fault(bytes: &[u8], fault: WsFault) {
    for step in [1, 2, 5, usize::MAX] {
        assert_eq!(unframe(bytes, step).err(), Some(fault), "step {step}");
    }
}

fn counted(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

#[test]
fn payloads_of_every_length_form() {
    for n in [0, 1, 4, 7, 8, 9, 125, 126, 127, 1000, 65_535, 65_536, 70_001] {
        let payload = counted(n);
        check(&frame(0x82, &payload), &payload, &[], false);
    }
}

#[test]
fn fragments_with_a_ping_between_them() {
    let bytes = [
        frame(0x02, b"ab"),
        frame(0x89, b"are you there"),
        frame(0x00, b"cde"),
        frame(0x8A, b"an answer nobody asked for"),
        frame(0x80, b"f"),
        frame(0x82, b"g"),
    ]
    .concat();
    check(
        &bytes,
        b"abcdefg",
        &[Control::Ping(b"are you there".to_vec())],
        false,
    );
}

#[test]
fn an_empty_ping_is_answered() {
    check(
        &[frame(0x89, b""), frame(0x82, b"x")].concat(),
        b"x",
        &[Control::Ping(Vec::new())],
        false,
    );
}

#[test]
fn nothing_counts_after_a_close() {
    let bytes = [
        frame(0x82, b"x"),
        frame(0x88, b"\x03\xe8bye"),
        frame(0x81, b"text"),
    ]
    .concat();
    check(&bytes, b"x", &[Control::Close(vec![3, 0xE8])], true);
    check(&frame(0x88, b""), b"", &[Control::Close(Vec::new())], true);
    check(
        &frame(0x88, &1005_u16.to_be_bytes()),
        b"",
        &[Control::Close(vec![3, 0xEA])],
        true,
    );
}

#[test]
fn what_the_protocol_forbids() {
    check_fault(&frame(0x81, b"text"), WsFault::Text);
    check_fault(&[0x82, 0x01, b'x'], WsFault::Protocol("unmasked frame"));
    check_fault(&frame(0xC2, b"x"), WsFault::Protocol("reserved bit set"));
    check_fault(&frame(0x83, b"x"), WsFault::Protocol("unknown opcode"));
    check_fault(&frame(0x80, b"x"), WsFault::Protocol("continuation of nothing"));
    let twice = [frame(0x02, b"x"), frame(0x82, b"y")].concat();
    check_fault(&twice, WsFault::Protocol("new message inside a fragmented one"));
    check_fault(&frame(0x09, b"x"), WsFault::Protocol("fragmented control frame"));
    check_fault(
        &frame(0x89, &[0; 126]),
        WsFault::Protocol("control frame over 125 bytes"),
    );
    check_fault(
        &frame(0x88, b"x"),
        WsFault::Protocol("close frame with half a status code"),
    );
    let huge = [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
    check_fault(&huge, WsFault::Protocol("length with the top bit set"));
}

/// Everything a framer writes for `chunks` of payload with at most `step` bytes a write.
fn written(chunks: &[usize], step: usize, mut between: impl FnMut(&mut Framer, usize)) -> Vec<u8> {
    let (mut framer, mut wire) = (Framer::default(), Vec::new());
    for (i, n) in chunks.iter().enumerate() {
        between(&mut framer, i);
        let mut waiting = counted(*n);
        while framer.prepare(waiting.len()) {
            let head = framer.head().to_vec();
            let theirs = waiting.len().min(framer.payload_left());
            let offer = [&head[..], &waiting[..theirs]].concat();
            let n = offer.len().min(step);
            wire.extend_from_slice(&offer[..n]);
            waiting.drain(..framer.written(n));
        }
    }
    wire
}

#[test]
fn frames_are_the_same_whatever_the_writes_take() {
    let chunks = [5, 0, 125, 126, 65_535, 65_536];
    let whole = written(&chunks, usize::MAX, |_, _| {});
    let mut expected = Vec::new();
    for n in chunks.into_iter().filter(|n| *n > 0) {
        put_header(&mut expected, BINARY, n);
        expected.extend(counted(n));
    }
    assert!(whole == expected);
    for step in [1, 2, 3, 11, 4096] {
        assert!(written(&chunks, step, |_, _| {}) == expected, "step {step}");
    }
}

#[test]
fn control_frames_stand_between_frames_and_nothing_after_a_close() {
    let say = |framer: &mut Framer, i: usize| match i {
        1 => framer.pong(b"here"),
        2 => framer.close(&[3, 0xE8]),
        _ => {}
    };
    let expected = b"\x82\x03\0\x01\x02\x8a\x04here\x82\x01\0\x88\x02\x03\xe8";
    for step in [1, 2, usize::MAX] {
        assert_eq!(written(&[3, 1, 2], step, say), expected, "step {step}");
    }
}

#[test]
fn pongs_wait_for_the_end_of_a_frame_and_do_not_pile_up() {
    let mut framer = Framer::default();
    assert!(framer.prepare(10));
    assert_eq!(framer.written(2 + 4), 4, "header and four bytes");
    for _ in 0..1000 {
        framer.pong(&[7; 100]);
    }
    assert!(framer.control.len() <= CONTROL_QUEUE_MAX + 102);
    assert!(!framer.wants_write() && framer.prepare(6));
    assert_eq!(framer.head(), b"");
    assert_eq!(framer.written(6), 6);
    assert!(framer.wants_write() && framer.prepare(0));
    assert!(framer.head().starts_with(&[0x8A, 100]));
}

/// Bytes that are often frames.
fn nearly_frames() -> impl Strategy<Value = Vec<u8>> {
    let good = (
        prop::sample::select(vec![0x82, 0x02, 0x00, 0x80, 0x89, 0x8A, 0x88]),
        0_usize..300,
    )
        .prop_map(|(first, n)| frame(first, &counted(n)));
    let junk = prop::collection::vec(any::<u8>(), 0..20);
    prop::collection::vec(prop_oneof![9 => good, 1 => junk], 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn cuts_change_nothing(bytes in nearly_frames(), step in 1_usize..40) {
        let (whole, cut) = (unframe(&bytes, usize::MAX), unframe(&bytes, step));
        prop_assert_eq!(&whole, &cut);
        if let Ok((payload, ..)) = whole {
            prop_assert!(payload.len() <= bytes.len());
        }
    }
}
