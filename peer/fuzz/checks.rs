//! What must hold for any input (peername 15, properties 1 to 6): used by the fuzz targets, by the property
//! tests, and by the test that replays the corpus.

use peer::{
    Addr, End, Explanation, Kind, Outcome, Policy, ProxyStage, RawPolicy, Reject, Source, Transport, Verdict,
    resolve_headers,
};
use std::sync::OnceLock;

/// A PROXY v1 line: everything after its signature.
#[allow(dead_code, reason = "each fuzz target uses its own")]
pub(crate) fn proxy_v1(data: &[u8]) {
    let mut input = Input { data };
    let (policy, socket) = input.situation();
    wire(policy, socket, &[b"PROXY ", input.data].concat());
}

/// A PROXY v2 header: everything after its signature. An input that asks for it gets a right checksum.
#[allow(dead_code, reason = "each fuzz target uses its own")]
pub(crate) fn proxy_v2(data: &[u8]) {
    let mut input = Input { data };
    let (policy, socket) = input.situation();
    wire(policy, socket, &[b"\r\n\r\n\0\r\nQUIT\n", input.data].concat());
}

/// Lines of a `Forwarded` header.
#[allow(dead_code, reason = "each fuzz target uses its own")]
pub(crate) fn forwarded(data: &[u8]) {
    let policy = &policies()[FORWARDED];
    let lines: Vec<Field<'_>> = data
        .split(|b| *b == b'\n')
        .map(|line| (&b"Forwarded"[..], line))
        .collect();
    for socket in sockets() {
        both_stages(policy, *socket, b"", &lines);
    }
}

/// Both stages: bytes before the empty line are the socket's, the lines after it are header fields.
#[allow(dead_code, reason = "each fuzz target uses its own")]
pub(crate) fn resolve(data: &[u8]) {
    let mut input = Input { data };
    let (policy, socket) = input.situation();
    let data = input.data;
    let end = data.windows(2).position(|two| two == b"\n\n");
    let (bytes, lines) = end.map_or((data, &b""[..]), |at| (&data[..at], &data[at + 2..]));
    let fields: Vec<Field<'_>> = if lines.is_empty() {
        Vec::new()
    } else {
        lines.split(|b| *b == b'\n').map(field).collect()
    };
    wire(policy, socket, bytes);
    both_stages(policy, socket, bytes, &fields);
}

/// A field line: name and value.
pub(crate) type Field<'a> = (&'a [u8], &'a [u8]);

/// `1` and `2` stand for the configured names, so that most lines matter.
fn field(line: &[u8]) -> Field<'_> {
    match line {
        [b'1', value @ ..] => (b"x-forwarded-for", value),
        [b'2', value @ ..] => (b"X-Forwarded-Port", value),
        [b'3', value @ ..] => (b"X-Real-IP", value),
        _ => (b"forwarded", line),
    }
}

struct Input<'a> {
    data: &'a [u8],
}

impl Input<'_> {
    fn byte(&mut self) -> usize {
        let (first, rest) = self.data.split_first().unwrap_or((&0, &[]));
        self.data = rest;
        usize::from(*first)
    }

    fn situation(&mut self) -> (&'static Policy, Addr) {
        let (policy, socket) = (self.byte(), self.byte());
        (
            &policies()[policy % policies().len()],
            sockets()[socket % sockets().len()],
        )
    }
}

/// Index of the policy with a `Forwarded` header.
const FORWARDED: usize = 0;

/// Settings that together reach every rule: the transport, then keys. All trust 10.0.0.0/24.
const SETTINGS: [&str; 16] = [
    "ws address_header=Forwarded",
    "tcp",
    "tcp proxy_protocol=required",
    "tcp proxy_protocol=required proxy_header_max=65551",
    "tcp proxy_protocol=required proxy_local=close proxy_unknown=reject",
    "tls proxy_protocol=required proxy_versions=v2 pp2_require_tls=true pp2_cn_as_username=true",
    "tcp proxy_protocol=optional",
    "ws proxy_protocol=optional untrusted_proxy_header=ignore address_header=X-Forwarded-For \
     port_header=X-Forwarded-Port",
    "ws address_header=X-Forwarded-For port_header=X-Forwarded-Port",
    "ws address_header=X-Forwarded-For port_header=X-Forwarded-Port on_unresolvable=last_trusted",
    "ws address_header=X-Forwarded-For port_header=X-Forwarded-Port strategy=trusted_hops hops=2",
    "ws address_header=X-Forwarded-For port_header=X-Forwarded-Port strategy=leftmost",
    "ws address_header=X-Forwarded-For port_header=X-Forwarded-Port strategy=leftmost edge_overwrites=true",
    "wss address_header=X-Forwarded-For port_header=X-Forwarded-Port strategy=leftmost_public",
    "wss address_header=X-Real-IP port_header=X-Forwarded-Port",
    "ws proxy_protocol=required address_header=X-Forwarded-For missing_header=reject \
     header_trusted_proxies=198.51.100.0/24",
];

/// The policies of [`SETTINGS`].
pub(crate) fn policies() -> &'static [Policy] {
    static POLICIES: OnceLock<Vec<Policy>> = OnceLock::new();
    POLICIES.get_or_init(|| SETTINGS.iter().map(|settings| policy(settings)).collect())
}

fn policy(settings: &str) -> Policy {
    let mut raw = RawPolicy::default();
    raw.set("trusted_proxies", "10.0.0.0/24")
        .set("pp2_expose_tlvs", [0xe5, 3]);
    let mut words = settings.split_whitespace();
    let transport = words
        .next()
        .and_then(Transport::from_name)
        .unwrap_or(Transport::Tcp);
    for (key, text) in words.filter_map(|word| word.split_once('=')) {
        match (text, text.parse::<i64>()) {
            ("true", _) => raw.set(key, true),
            (_, Ok(number)) => raw.set(key, number),
            _ => raw.set(key, text),
        };
    }
    let checked = raw.check(transport, &|_| None).into_result();
    checked
        .unwrap_or_else(|problems| panic!("{settings}: {problems:?}"))
        .0
}

fn sockets() -> &'static [Addr] {
    static SOCKETS: OnceLock<Vec<Addr>> = OnceLock::new();
    let texts = [
        "10.0.0.5:40000",
        "198.51.100.9:50000",
        "[2001:db8::9]:1",
        "unix",
        "127.0.0.1:9",
    ];
    SOCKETS.get_or_init(|| texts.iter().map(|t| t.parse().unwrap_or(Addr::UNIX)).collect())
}

/// Properties 1, 2, 3 and 5 on the PROXY stage.
pub(crate) fn wire(policy: &Policy, socket: Addr, bytes: &[u8]) {
    let whole = run(policy, socket, &[bytes]);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(whole, run(policy, socket, &single), "cut into bytes");
    let (left, right) = bytes.split_at(bytes.len() / 2);
    assert_eq!(
        whole,
        run(policy, socket, &[left, b"", right]),
        "cut in the middle"
    );
    let more = [bytes, b"\r\n"].concat();
    if !whole.open.starts_with("Undecided") {
        assert_eq!(whole.open, run(policy, socket, &[&more]).open, "more bytes");
    }
}

/// What a run showed: after the bytes, and at both ends.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    open: String,
    eof: String,
    timeout: String,
}

fn run(policy: &Policy, socket: Addr, segments: &[&[u8]]) -> Run {
    let total = segments.concat();
    let mut stage = match ProxyStage::new(policy, socket) {
        Ok(stage) => stage,
        Err(reject) => {
            let text = describe_reject(&reject);
            return Run {
                open: text.clone(),
                eof: text.clone(),
                timeout: text,
            };
        }
    };
    let mut verdict = stage.push(b"");
    let mut taken = 0;
    for segment in segments {
        if matches!(verdict, Verdict::Undecided) {
            verdict = stage.push(segment);
            taken += segment.len();
        }
    }
    let open = describe(policy, socket, &verdict);
    let decided = !matches!(verdict, Verdict::Undecided);
    let ends = [End::Eof, End::Timeout].map(|end| {
        if decided {
            return open.clone();
        }
        let verdict = stage.finish(end);
        assert!(!matches!(verdict, Verdict::Undecided), "the end decides");
        describe(policy, socket, &verdict)
    });
    if let Verdict::Accept { consumed, .. } = verdict {
        let rest = [&stage.into_rest()[..], &total[taken..]].concat();
        assert_eq!(rest, total[consumed..], "consumed and rest are the input");
    }
    let [eof, timeout] = ends;
    Run { open, eof, timeout }
}

fn describe(policy: &Policy, socket: Addr, verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accept { hop, consumed } => {
            assert_eq!(hop.socket(), socket);
            if policy.trusted_proxies().gate(&socket).is_none() {
                assert_eq!(hop.addr(), socket, "nobody is believed who is not listed");
                assert_eq!(hop.kind(), Kind::Client);
                assert!(hop.info().is_none());
            }
            format!("Accept {consumed} {hop:?}")
        }
        Verdict::Reject(reject) => describe_reject(reject),
        // The class of the first bytes depends on how they were cut.
        other => format!("{other:?}"),
    }
}

fn describe_reject(reject: &Reject) -> String {
    let detail = if reject.code() == peer::Code::ProxyRequired {
        None
    } else {
        reject.detail()
    };
    format!("Reject {} {detail:?}", reject.code())
}

/// Properties 3, 4 and 6 on both stages together.
pub(crate) fn both_stages(policy: &Policy, socket: Addr, bytes: &[u8], fields: &[Field<'_>]) {
    let explanation = Explanation::resolve(policy, "fuzz", socket, bytes, fields);
    for line in explanation.lines() {
        assert!(
            line.bytes().all(|b| (0x20..=0x7e).contains(&b)),
            "foreign text is escaped: {line:?}"
        );
    }
    let Outcome::Accept { peer, .. } = explanation.outcome() else {
        return;
    };
    let header_listed = |addr: &Addr| {
        policy
            .header_trusted_proxies()
            .is_some_and(|set| set.gate(addr).is_some())
    };
    if policy.trusted_proxies().gate(&socket).is_none() && !header_listed(&socket) {
        assert_eq!(peer.peername().addr(), socket);
        assert_eq!(peer.kind(), Kind::Client);
    }
    if peer.peername().addr() != socket {
        assert!(!peer.chain().is_empty(), "who vouched is named");
    }
    forged_on_the_left(policy, socket, bytes, fields, peer);
}

/// Elements prepended on the left never change the address of a client.
fn forged_on_the_left(policy: &Policy, socket: Addr, bytes: &[u8], fields: &[Field<'_>], peer: &peer::Peer) {
    use peer::Strategy::{RightmostUntrusted, TrustedHops};
    let Some(header) = peer.header() else { return };
    let walked = matches!(header.strategy, RightmostUntrusted | TrustedHops);
    let single = header.name.eq_ignore_ascii_case("X-Real-IP");
    if peer.kind() != Kind::Client || peer.source() != Source::Header || !walked || single {
        return;
    }
    for forged in [
        &b"for=6.6.6.6, for=10.0.0.9"[..],
        b"6.6.6.6, 10.0.0.9",
        b"junk",
        b"\"",
        b"unknown,,",
    ] {
        let mut longer: Vec<Field<'_>> = vec![(header.name.as_bytes(), forged)];
        longer.extend_from_slice(fields);
        match Explanation::resolve(policy, "fuzz", socket, bytes, &longer).outcome() {
            Outcome::Accept { peer: other, .. } => {
                assert!(
                    other.peername().addr().same_host(&peer.peername().addr()),
                    "{forged:?}"
                );
                assert_eq!(other.kind(), Kind::Client);
            }
            Outcome::Reject(reject) => {
                let limits = [peer::Code::HeaderTooLarge, peer::Code::HeaderElements];
                assert!(limits.contains(&reject.code()), "{reject:?}");
            }
            Outcome::Close(code) => panic!("{code}"),
        }
    }
}

/// The hop of a socket that sent no header, and the result for these fields: what a listener calls.
#[allow(dead_code, reason = "each user has its own part")]
pub(crate) fn resolve_fields(
    policy: &Policy,
    socket: Addr,
    fields: &[Field<'_>],
) -> Option<Result<peer::Peer, Reject>> {
    let mut stage = ProxyStage::new(policy, socket).ok()?;
    match stage.push(b"G") {
        Verdict::Accept { hop, .. } => Some(resolve_headers(policy, &hop, fields.iter().copied())),
        _ => None,
    }
}
