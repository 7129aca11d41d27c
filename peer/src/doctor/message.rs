//! The texts of the findings and their snippets, filled in (peername 11.2, 11.3).

use super::{Doctor, FindingCode};
use crate::policy::Transport;

/// What a text is filled in with besides the listener.
#[derive(Default)]
pub(super) struct Fill<'a> {
    pub(super) ip: &'a str,
    /// The element, the class or the hop, by the finding.
    pub(super) note: &'a str,
    pub(super) range: &'a str,
    pub(super) client_port: &'a str,
    pub(super) id: &'a str,
    pub(super) codes: &'a str,
}

/// Text and snippets.
pub(super) fn message(
    code: FindingCode,
    doctor: &Doctor,
    count: u64,
    fill: &Fill<'_>,
) -> (String, Vec<String>) {
    let facts = &doctor.facts;
    let expected = if doctor.transport == Transport::Ws {
        "HTTP"
    } else {
        "TLS"
    };
    let (count, port) = (count.to_string(), facts.port.to_string());
    let template = text(code);
    // In a text `{port}` is the clients'; in a snippet it is the listener's.
    let shared = [
        ("{l}", facts.name.as_str()),
        ("{bind}", &facts.bind),
        ("{ip}", fill.ip),
        ("{n}", &count),
        ("{address_header}", &doctor.address_header),
        ("{port_header}", &doctor.port_header),
        ("{range}", fill.range),
        ("{id}", fill.id),
        ("{codes}", fill.codes),
        ("{class}", fill.note),
        ("{element}", fill.note),
        ("{hop}", fill.note),
        ("{ws: HTTP, tls: TLS}", expected),
        ("{port}", fill.client_port),
    ];
    let outer = if code == FindingCode::D15 {
        fill.note
    } else {
        fill.ip
    };
    let own = [
        ("{port}", port.as_str()),
        ("{bind}", &facts.bind),
        ("{outer}", outer),
    ];
    let snippets = SNIPPETS
        .iter()
        .filter(|(name, _)| template.contains(name))
        .map(|(_, s)| filled(s, &own));
    (filled(template, &shared), snippets.collect())
}

/// Replaces each name once read; what is filled in is not read again, so that foreign text cannot name
/// anything.
fn filled(template: &str, names: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some((before, from)) = rest.find('{').and_then(|at| rest.split_at_checked(at)) {
        out.push_str(before);
        let (value, after) = names
            .iter()
            .find_map(|(name, value)| from.strip_prefix(name).map(|after| (*value, after)))
            .unwrap_or(("{", from.get(1..).unwrap_or_default()));
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    out
}

fn text(code: FindingCode) -> &'static str {
    TEXTS
        .iter()
        .find(|(of, _)| *of == code)
        .map_or("", |(_, text)| text)
}

const TEXTS: [(FindingCode, &str); 21] = [
    (
        FindingCode::D01,
        "{n} clients on {l} all come from {ip}. A firewall with source NAT or a proxy hides them. \
             Either let the firewall keep source addresses (turn NAT off for this rule), or put a proxy \
             there that names the client [S1] [S3] and list {ip} in trusted_proxies.",
    ),
    (
        FindingCode::D02,
        "{ip} sends {address_header} to {l} but is not listed, so the header is ignored. If {ip} is \
             your proxy add header_trusted_proxies=[\"{ip}\"]. If it is not, somebody tries to forge \
             addresses; nothing was believed.",
    ),
    (
        FindingCode::D03,
        "{ip} sends a PROXY header to {l}, where proxy_protocol is off. Set \
             proxy_protocol=\"required\", trusted_proxies=[\"{ip}\"], or remove send-proxy / proxy_protocol \
             on from the proxy.",
    ),
    (
        FindingCode::D04,
        "{ip} is listed as a proxy of {l} but sent {class} without a PROXY header. Add it there [S1] \
             [S5], or give direct clients a listener of their own.",
    ),
    (
        FindingCode::D05,
        "{ip} tries to use PROXY on {l} and is not in trusted_proxies. Add it if it is yours.",
    ),
    (
        FindingCode::D06,
        "TLS clients reach the plain listener {l} ({bind}). Point them to a tls/wss listener, or end \
             TLS at the proxy.",
    ),
    (
        FindingCode::D07,
        "HTTP requests reach the MQTT listener {l} ({bind}): a WebSocket client or a health check on \
             the wrong port. Use a ws listener; make the check TCP or \"check-send-proxy\".",
    ),
    (
        FindingCode::D08,
        "Plain MQTT reaches {l} ({bind}), which expects {ws: HTTP, tls: TLS}. Use a tcp listener.",
    ),
    (
        FindingCode::D09,
        "{l} trusts {range}. Anyone in it can claim any address. List the proxies themselves.",
    ),
    (
        FindingCode::D10,
        "{n} clients on {l} resolve to {ip}, which is one of your proxies: a hop is missing in the \
             chain. The proxy behind it must accept and pass on what the outer one sends [S2] [S4]. Until \
             then these clients match no IP allow rule.",
    ),
    (
        FindingCode::D11,
        "{ip} is trusted on {l} but sends no {address_header} ({n}). Add it [S3]. Until then its \
             clients are shown as {ip} and match no IP allow rule. If only some requests lack it, look \
             for a \"Connection: {address_header}\" trick against the proxy and update the proxy.",
    ),
    (
        FindingCode::D12,
        "{n} connections on {l} were refused: {address_header} from {ip} has \"{element}\" where an \
             address must be. The proxy forwards what clients send instead of appending the address it \
             sees [S3] [S4].",
    ),
    (
        FindingCode::D13,
        "Every client on {l} has port {port}: {port_header} carries the server's port. Send \
             $remote_port / %[src_port] under another name [S3] [S6], or unset port_header.",
    ),
    (
        FindingCode::D14,
        "{port_header} and {address_header} on {l} have different lengths, ports are shown as 0. \
             Append to both in every proxy, or to neither [S4].",
    ),
    (
        FindingCode::D15,
        "Connections on {l} carry two PROXY headers (inner one: {hop}). Only the outermost proxy may \
             add one to raw bytes; the next must not send it, or must parse it too [S2].",
    ),
    (
        FindingCode::D16,
        "{ip} sends a PROXY header about itself: the load balancer keeps client addresses and adds \
             PROXY as well. Turn one of them off (AWS: client IP preservation off), then list the \
             balancer's own addresses.",
    ),
    (
        FindingCode::D17,
        "{n} clients on {l} all have the address {ip} although a proxy names them: there is another \
             NAT or proxy in front of it. Make that one pass the address on.",
    ),
    (
        FindingCode::D18,
        "{n} health checks in 10 minutes on {l}; they are not counted as clients. Nothing to do.",
    ),
    (
        FindingCode::D19,
        "{ip} claimed a loopback or private address for a client on {l}; refused. Either the proxy \
             passes on forged headers [S3], or it really serves private clients: scope_check=false.",
    ),
    (
        FindingCode::D20,
        "Client {id} comes directly and through {ip} by turns. Look for a left-over configuration on \
             the device or an old proxy address in DNS.",
    ),
    (
        FindingCode::D21,
        "{n} connections on {l} were cut off before login ({codes}), most from {ip}. Raise the limits \
             only if these are your devices behind one NAT.",
    ),
];

/// By the mark that a text names them with.
const SNIPPETS: [(&str, &str); 6] = [
    (
        "[S1]",
        r"S1  # nginx, TCP: adds the header
    stream { server { listen {port}; proxy_pass {bind}; proxy_protocol on; } }",
    ),
    (
        "[S2]",
        r"S2  # nginx, TCP, second balancer: reads and replaces it
    stream { server { listen {port} proxy_protocol; set_real_ip_from {outer};
                      proxy_pass {bind}; proxy_protocol on; } }",
    ),
    (
        "[S3]",
        r#"S3  # nginx, WebSocket, outermost proxy: overwrites
    location /mqtt { proxy_pass http://{bind}; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "Upgrade";
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Port $remote_port; }"#,
    ),
    (
        "[S4]",
        r#"S4  # nginx, WebSocket, inner proxy: appends both, even after realip
    map $http_x_forwarded_for  $xff { "" $realip_remote_addr; default "$http_x_forwarded_for, $realip_remote_addr"; }
    map $http_x_forwarded_port $xfp { "" $realip_remote_port; default "$http_x_forwarded_port, $realip_remote_port"; }
      proxy_set_header X-Forwarded-For $xff; proxy_set_header X-Forwarded-Port $xfp;"#,
    ),
    (
        "[S5]",
        r"S5  # HAProxy, TCP
    backend mqtt
      mode tcp
      server b1 {bind} send-proxy-v2 proxy-v2-options crc32c,unique-id check check-send-proxy
      # TLS with client certificates ended here: send-proxy-v2-ssl-cn",
    ),
    (
        "[S6]",
        r"S6  # HAProxy, WebSocket
    backend mqttws
      mode http
      http-request set-header X-Forwarded-For %[src]
      http-request set-header X-Forwarded-Port %[src_port]
      server b1 {bind}",
    ),
];
