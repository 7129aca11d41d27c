//! The six properties of peername 15 over generated input that is close to real input. What must hold stands
//! in `fuzz/checks.rs`; here are the generators.

#[path = "../fuzz/checks.rs"]
mod checks;

use peer::{Addr, Code, Kind, Source};
use proptest::prelude::*;
use proptest::sample::select;

const ADDRS: [&str; 16] = [
    "203.0.113.7",
    "10.0.0.9",
    "127.0.0.1",
    "192.168.7.7",
    "198.51.100.50",
    "2001:db8::7",
    "::1",
    "::ffff:10.0.0.9",
    "fe80::1",
    "0.0.0.0",
    "255.255.255.255",
    "1.2.3.256",
    "01.2.3.4",
    "1:2:3:4:5:6:7::",
    "::",
    "",
];

const ELEMENTS: [&str; 14] = [
    "203.0.113.7",
    "203.0.113.7:51234",
    "10.0.0.9",
    "10.0.0.8:40",
    "[2001:db8::7]:443",
    "2001:db8::7",
    "fe80::1%eth0",
    "127.0.0.1",
    "192.168.7.7",
    "unknown",
    "_hidden",
    "garbage",
    "",
    "10.0.0.300",
];

const PAIRS: [&str; 12] = [
    "for=203.0.113.7",
    "for=10.0.0.9",
    "For=\"[2001:db8::7]:47011\"",
    "for=\"10.0.0.9:80\"",
    "proto=https",
    "by=\"a,b;c\"",
    "for=_x",
    "for=unknown",
    "for=\"1.2.3\\.4\"",
    "x=\"",
    " ",
    "for=1.2.3.4:80",
];

fn v1_line() -> impl Strategy<Value = Vec<u8>> {
    let proto = select(&["TCP4", "TCP6", "UNKNOWN", "TCP", "tcp4"][..]);
    let port = select(&["0", "1", "65535", "65536", "051", "+1", ""][..]);
    let end = select(&["\r\n", "\n", "\r", " \r\n", "", "\r\nPROXY ", "\r\n\x10\x0c\0"][..]);
    (
        proto,
        select(&ADDRS[..]),
        select(&ADDRS[..]),
        port.clone(),
        port,
        end,
    )
        .prop_map(|(p, s, d, sp, dp, end)| format!("PROXY {p} {s} {d} {sp} {dp}{end}").into_bytes())
}

/// A TLV whose length field is right in most cases.
fn tlv(types: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..12),
        select(vec![
            &b"mqtt.example.com"[..],
            b"\x01vpce-1",
            b"\x01\x78\x56\x34\x12",
            b"12345678"
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    (select(types), value, prop_oneof![9 => Just(0), 1 => Just(1)]).prop_map(|(kind, value, wrong)| {
        let len = (value.len() as u16 + wrong).to_be_bytes();
        [&[kind, len[0], len[1]][..], &value].concat()
    })
}

fn ssl_tlv() -> impl Strategy<Value = Vec<u8>> {
    let subs = proptest::collection::vec(tlv(vec![0x20, 0x21, 0x22, 0x23, 0x28, 0x99]), 0..4);
    (any::<u8>(), prop_oneof![Just(0), Just(1)], subs).prop_map(|(client, verify, subs)| {
        let value = [&[client, 0, 0, 0, verify][..], &subs.concat()].concat();
        let len = (value.len() as u16).to_be_bytes();
        [&[0x20, len[0], len[1]][..], &value].concat()
    })
}

fn v2_header() -> impl Strategy<Value = Vec<u8>> {
    let types = vec![1, 2, 3, 4, 5, 0x30, 0xe0, 0xea, 0xee, 0xe5, 0x99];
    let tlvs = proptest::collection::vec(prop_oneof![4 => tlv(types), 1 => ssl_tlv()], 0..5);
    let command = prop_oneof![8 => Just(0x21u8), 1 => Just(0x20), 1 => any::<u8>()];
    let family = prop_oneof![8 => select(vec![0x11u8, 0x12, 0x21, 0x31, 0x00, 0x10]), 1 => any::<u8>()];
    let addresses = proptest::collection::vec(any::<u8>(), 216);
    let wrong = prop_oneof![9 => Just(0u16), 1 => 0..40u16];
    let after = select(vec![&b""[..], b"\x10\x0c\0\x04MQTT", b"PROXY ", b"\r\n\r\n"]);
    (command, family, addresses, tlvs, wrong, after).prop_map(
        |(command, family, addresses, tlvs, wrong, after)| {
            let len = match family >> 4 {
                1 => 12,
                2 => 36,
                3 => 216,
                _ => 0,
            };
            let block = [&addresses[..len], &tlvs.concat()].concat();
            let len = (block.len() as u16 + wrong).to_be_bytes();
            let mut header = [
                &b"\r\n\r\n\0\r\nQUIT\n"[..],
                &[command, family, len[0], len[1]],
                &block,
            ]
            .concat();
            header.extend_from_slice(after);
            header
        },
    )
}

fn list_line() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let names = select(vec![
        "X-Forwarded-For",
        "x-forwarded-for",
        "X-Real-IP",
        "X_Forwarded_For",
    ]);
    (names, proptest::collection::vec(select(&ELEMENTS[..]), 0..6))
        .prop_map(|(name, elements)| (name.as_bytes().to_vec(), elements.join(", ").into_bytes()))
}

fn port_line() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let ports = proptest::collection::vec(select(vec!["", "80", "61813", "x", "0"]), 0..5);
    ports.prop_map(|ports| (b"X-Forwarded-Port".to_vec(), ports.join(",").into_bytes()))
}

fn forwarded_line() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let element = proptest::collection::vec(select(&PAIRS[..]), 0..3).prop_map(|pairs| pairs.join(";"));
    proptest::collection::vec(element, 0..4)
        .prop_map(|elements| (b"Forwarded".to_vec(), elements.join(",").into_bytes()))
}

fn fields() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    proptest::collection::vec(
        prop_oneof![4 => list_line(), 2 => port_line(), 2 => forwarded_line()],
        0..4,
    )
}

fn socket() -> impl Strategy<Value = Addr> {
    let texts = vec![
        "10.0.0.5:40000",
        "198.51.100.9:50000",
        "198.51.100.50:1",
        "[::1]:7",
        "unix",
        "127.0.0.1:1",
    ];
    select(texts).prop_map(|text| text.parse().unwrap_or(Addr::UNIX))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_of_v1_gives_the_same(line in v1_line(), socket in socket()) {
        for policy in checks::policies() {
            checks::wire(policy, socket, &line);
        }
    }

    #[test]
    fn any_cut_of_v2_gives_the_same(header in v2_header(), socket in socket()) {
        for policy in checks::policies() {
            checks::wire(policy, socket, &header);
        }
    }

    #[test]
    fn forged_elements_and_unlisted_senders_change_nothing(
        bytes in prop_oneof![Just(Vec::new()), v1_line(), v2_header()],
        fields in fields(),
        socket in socket(),
    ) {
        let fields: Vec<checks::Field<'_>> = fields.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        for policy in checks::policies() {
            checks::both_stages(policy, socket, &bytes, &fields);
        }
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        checks::proxy_v1(&data);
        checks::proxy_v2(&data);
        checks::forwarded(&data);
        checks::resolve(&data);
    }

    /// The standard library's parser stands behind the grammar of peername 2; this is the grammar by itself.
    #[test]
    fn ipv6_text_is_that_of_the_grammar(text in "[0-9a-fA-F:.]{0,24}|([0-9a-f]{0,4}:){0,8}[0-9a-f]{0,4}|::ffff:[0-9.]{7,12}") {
        let addr = format!("[{text}]:1");
        prop_assert_eq!(addr.parse::<Addr>().is_ok(), is_ipv6(&text), "{}", text);
    }

    #[test]
    fn ipv4_text_is_that_of_the_grammar(text in "([0-9]{0,3}[.]){2,4}[0-9a-fx+ ]{0,3}|[0-9.]{7,15}") {
        let parsed = format!("{text}:1").parse::<Addr>();
        prop_assert_eq!(parsed.is_ok(), is_ipv4(&text), "{}", text);
        if let Ok(addr) = parsed {
            prop_assert_eq!(addr.to_string(), format!("{text}:1"));
        }
    }
}

fn is_ipv6(text: &str) -> bool {
    let (head, tail) = match text.split_once("::") {
        Some((head, tail)) => (head, Some(tail)),
        None => (text, None),
    };
    let groups = |part: &str, last: bool| -> Option<usize> {
        if part.is_empty() {
            return Some(0);
        }
        let items: Vec<&str> = part.split(':').collect();
        items.iter().enumerate().try_fold(0, |sum, (i, item)| {
            let hex = (1..=4).contains(&item.len()) && item.bytes().all(|b| b.is_ascii_hexdigit());
            let tail = last && i + 1 == items.len() && is_ipv4(item);
            if hex {
                Some(sum + 1)
            } else if tail {
                Some(sum + 2)
            } else {
                None
            }
        })
    };
    match tail {
        None => groups(head, true) == Some(8),
        Some(tail) => groups(head, false)
            .zip(groups(tail, true))
            .is_some_and(|(h, t)| h + t <= 7),
    }
}

fn is_ipv4(text: &str) -> bool {
    let part = |p: &str| {
        let plain = p == "0" || (!p.starts_with('0') && p.len() <= 3 && !p.is_empty());
        plain && p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok_and(|n| n <= 255)
    };
    text.split('.').count() == 4 && text.split('.').all(part)
}

/// Property 3 by hand, where the generators might stop reaching it: an unlisted host changes nothing with
/// either claim, and is told so.
#[test]
fn an_unlisted_host_is_not_believed() {
    let mut refused = 0;
    for policy in checks::policies() {
        let socket: Addr = "203.0.113.200:5".parse().unwrap_or(Addr::UNIX);
        let fields: [checks::Field<'_>; 2] =
            [(b"X-Forwarded-For", b"1.1.1.1"), (b"Forwarded", b"for=1.1.1.1")];
        match checks::resolve_fields(policy, socket, &fields) {
            Some(Ok(peer)) => {
                assert_eq!(
                    (peer.peername().addr(), peer.kind(), peer.source()),
                    (socket, Kind::Client, Source::Socket)
                );
            }
            Some(Err(reject)) => assert_eq!(reject.code(), Code::HeaderUntrusted),
            None => refused += 1,
        }
    }
    assert_eq!(refused, 5, "the policies with `required`");
}
