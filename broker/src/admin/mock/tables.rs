//! The tables of the mock.

use serde_json::json;

#[allow(clippy::wildcard_imports, reason = "a mock of everything")]
use super::super::views::*;

/// `mqttx-client` of the first console block.
pub(crate) fn mqttx() -> ClientView {
    ClientView {
        clientid: "mqttx-client".into(),
        username: None,
        peername: "115.236.21.86:61177".into(),
        peerhost: "115.236.21.86".into(),
        peerport: 61177,
        kind: Kind::Client,
        via: Via::ProxyV1,
        header: None,
        socket: "172.16.0.116:39826".into(),
        hop: "115.236.21.86:61177".into(),
        chain: vec!["172.16.0.116:39826".into()],
        claimed: None,
        warnings: vec![],
        listener: "tcp_lb".into(),
        proto_ver: 5,
        tls: Tls::No,
        clean_start: true,
        keepalive: 60,
        session_expiry_interval: 0,
        subscriptions: 1,
        inflight: 0,
        awaiting_rel: 0,
        delivered_msgs: 12,
        enqueued_msgs: 0,
        dropped_msgs: 0,
        connected: true,
        created_at: Timestamp(1_795_301_701_123),
        connected_at: Timestamp(1_795_301_701_123),
        disconnected_at: None,
        info: None,
    }
}

/// `web-42`, the client in JSON of operator-interface 4.
pub(crate) fn web42() -> ClientView {
    ClientView {
        clientid: "web-42".into(),
        username: Some("bob".into()),
        peername: "115.236.21.90:0".into(),
        peerhost: "115.236.21.90".into(),
        peerport: 0,
        via: Via::Header,
        header: Some(HeaderView {
            name: "X-Forwarded-For".into(),
            strategy: "rightmost_untrusted".into(),
            index: 1,
        }),
        socket: "172.16.0.225:50112".into(),
        hop: "172.16.0.225:50112".into(),
        chain: vec!["172.16.0.225:50112".into(), "172.16.0.116:0".into()],
        warnings: vec!["W_PORT_MISALIGNED".into()],
        listener: "ws".into(),
        subscriptions: 4,
        delivered_msgs: 7,
        ..mqttx()
    }
}

pub(crate) fn clients() -> Vec<ClientView> {
    let odd = ClientView {
        clientid: "a\nClient(fake, connected=true)".into(),
        username: Some("x y".into()),
        peername: "10.0.0.7:4000".into(),
        peerhost: "10.0.0.7".into(),
        peerport: 4000,
        via: Via::Socket,
        socket: "10.0.0.7:4000".into(),
        hop: "10.0.0.7:4000".into(),
        chain: vec![],
        claimed: Some("1.2.3.4:0".into()),
        connected: false,
        disconnected_at: Some(Timestamp(1_795_301_801_123)),
        listener: "tcp".into(),
        ..mqttx()
    };
    vec![odd, mqttx(), web42()]
}

pub(crate) fn session(client: &ClientView) -> SessionView {
    SessionView {
        clientid: client.clientid.clone(),
        username: client.username.clone(),
        state: if client.connected {
            "connected".into()
        } else {
            "stored".into()
        },
        proto_ver: 5,
        session_expiry_interval: 0,
        subscriptions: client.subscriptions,
        inflight: 0,
        awaiting_rel: 0,
        queued_msgs: 0,
        queued_bytes: 0,
        dropped_msgs: 0,
        created_at: client.created_at,
        disconnected_at: client.disconnected_at,
        expires_at: None,
        filters: vec![],
    }
}

pub(crate) fn subscription() -> SubscriptionView {
    SubscriptionView {
        clientid: "web-42".into(),
        filter: "cmd/web-42/#".into(),
        qos: 1,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
        subscription_id: None,
    }
}

pub(crate) fn retained() -> RetainedView {
    RetainedView {
        topic: "state/lamp".into(),
        qos: 1,
        bytes: 2,
        stored_at: None,
        expires_at: None,
    }
}

pub(crate) fn listener(state: &str) -> ListenerView {
    ListenerView {
        name: "tcp_lb".into(),
        transport: "tcp".into(),
        bind: "0.0.0.0:1884".into(),
        state: state.into(),
        connections: 388,
        accepted: 1204,
        proxy_protocol: "required".into(),
        address_header: None,
        certificate_expires_at: None,
    }
}

pub(crate) fn ban(what: String, by: String, reason: Option<String>) -> BanView {
    let until = Some(Timestamp(1_795_305_301_123));
    BanView {
        what,
        reason,
        by,
        automatic: false,
        created_at: Timestamp(1_795_301_701_123),
        until,
        kicked: 1,
    }
}

pub(crate) fn quota() -> QuotaView {
    QuotaView {
        prefix: "1.2.3.4/32".into(),
        connections: 2,
        pending: 0,
        subscriptions: 8,
        rejected: 5,
        limits: QuotaLimits {
            max_pending: Some(200),
            connect_rate: Some(100.0),
            ..QuotaLimits::default()
        },
    }
}

pub(crate) fn explain() -> ExplainView {
    let text = "\
listener ws (ws) proxy_protocol=off trusted_proxies=172.16.0.0/24 address_header=X-Forwarded-For strategy=rightmost_untrusted
 1 socket     172.16.0.225:50112       PROXY stage off
 2 header     X-Forwarded-For          3 element(s); the hop is trusted (172.16.0.0/24)
 3 walk [2]   172.16.0.116             trusted (172.16.0.0/24): continue
 4 walk [1]   115.236.21.90            not trusted: this is the client
 5 walk [<1]  1 element(s)             left of the client: not examined, could be forged
 6 port       X-Forwarded-Port         1 value(s) for 3 address(es): port unknown
 = peername   115.236.21.90:0          kind=client source=header(X-Forwarded-For, rightmost_untrusted, 1)
   chain      172.16.0.225:50112 <- 172.16.0.116:0
   warnings   W_PORT_MISALIGNED";
    let mut result = serde_json::Map::new();
    result.insert("peername".into(), json!("115.236.21.90:0"));
    ExplainView {
        outcome: "accept".into(),
        result,
        text: text.lines().map(str::to_owned).collect(),
    }
}

/// The two findings of operator-interface 3, with the first one's only snippet shown there.
pub(crate) fn findings() -> Vec<FindingView> {
    let finding = |code: &str, level, listener: Option<&str>, message: &str, snippets| FindingView {
        code: code.into(),
        level,
        listener: listener.map(str::to_owned),
        message: message.into(),
        snippets,
        docs: format!("docs/peername.md#{}", code.to_lowercase()),
        first_seen: None,
        last_seen: None,
    };
    let s1 = "S1  # nginx, TCP: adds the header\n    stream { server { listen 1883; proxy_pass 172.16.0.71:1883; proxy_protocol on; } }";
    let nat = "412 clients on tcp all come from 10.0.0.1. A firewall with source NAT or a proxy hides them. Either let the firewall keep source addresses (turn NAT off for this rule), or put a proxy there that names the client [S1] [S3] and list 10.0.0.1 in trusted_proxies.";
    let env = "listeners.tcp_lb.bind comes from env BROKER__LISTENERS__TCP_LB__BIND and hides broker.toml:37";
    vec![
        finding("D01", Level::Error, Some("tcp"), nat, vec![s1.to_owned()]),
        finding("CFG021", Level::Warn, None, env, vec![]),
    ]
}

pub(crate) fn pending() -> PendingRestart {
    PendingRestart {
        key: "metrics.bind".into(),
        running: "\"127.0.0.1:9464\"".into(),
        new: "\"0.0.0.0:9464\"".into(),
        origin: "broker.toml:156".into(),
    }
}
