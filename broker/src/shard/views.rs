//! Copies of what a shard owns, for the administration: made on the shard's thread, read elsewhere.
//!
//! What does not live here: filters, pages and formats (`admin`).

use peer::{Kind, Peer, Source};

use super::{Client, Shard};
use crate::admin::views::{self, ClientView, HeaderView, SessionView, SubscriptionView, Timestamp, Tls};
use crate::router::Router;
use crate::session::{LastSeen, Session};

fn via(source: Source) -> views::Via {
    match source {
        Source::Socket => views::Via::Socket,
        Source::ProxyV1 => views::Via::ProxyV1,
        Source::ProxyV2 => views::Via::ProxyV2,
        Source::Header => views::Via::Header,
    }
}

fn protocol_level(session: &Session) -> u8 {
    session.link.version.level()
}

/// Who ended the client's TLS.
pub fn tls_of(peer: &Peer, ours: bool) -> Tls {
    let by_proxy = peer
        .info()
        .and_then(|info| info.ssl.as_ref())
        .is_some_and(|ssl| ssl.client_tls);
    match (ours, by_proxy) {
        (true, _) => Tls::Yes,
        (false, true) => Tls::Proxy,
        (false, false) => Tls::No,
    }
}

/// One client as `clients show` has it; `None` if nothing is known of where it came from.
pub fn client_view(client: &Client) -> Option<ClientView> {
    let session = &client.session;
    let (peer, listener, tls) = match (&client.conn, &session.last_seen) {
        (Some(conn), _) => (
            &conn.peer,
            &conn.listener.name,
            tls_of(&conn.peer, conn.tls().is_some()),
        ),
        (None, Some(last)) => (&last.peer, &last.listener, last.tls),
        (None, None) => return None,
    };
    let peername = peer.peername();
    Some(ClientView {
        clientid: session.client_id.to_string(),
        username: session.username.as_deref().map(str::to_owned),
        peername: peername.addr().to_string(),
        peerhost: peername.addr().host_text().to_string(),
        peerport: peername.port(),
        kind: if peer.kind() == Kind::Client {
            views::Kind::Client
        } else {
            views::Kind::Proxy
        },
        via: via(peer.source()),
        header: peer.header().map(|used| HeaderView {
            name: used.name.to_string(),
            strategy: used.strategy.to_string(),
            index: used.index.into(),
        }),
        socket: peer.socket().to_string(),
        hop: peer.hop().to_string(),
        chain: peer.chain().iter().map(ToString::to_string).collect(),
        claimed: peer.claimed().map(|claimed| claimed.to_string()),
        warnings: peer
            .warnings()
            .iter()
            .map(|warning| warning.as_str().to_owned())
            .collect(),
        listener: listener.to_string(),
        proto_ver: protocol_level(session),
        tls,
        clean_start: session.clean_start,
        keepalive: session.keepalive,
        session_expiry_interval: session.expiry,
        subscriptions: session.subscriptions.len() as u64,
        inflight: session.inflight() as u64,
        awaiting_rel: session.awaiting_rel.len() as u64,
        delivered_msgs: session.statistics.delivered,
        enqueued_msgs: session.statistics.enqueued,
        dropped_msgs: session.statistics.dropped,
        connected: client.conn.is_some(),
        created_at: Timestamp(session.created_at),
        connected_at: Timestamp(session.connected_at),
        disconnected_at: (session.disconnected_at > 0).then_some(Timestamp(session.disconnected_at)),
        info: peer
            .info()
            .filter(|i| !i.is_empty())
            .and_then(|info| serde_json::to_value(info).ok()),
    })
}

/// One session, with its subscriptions if `router` is given to name them.
pub fn session_view(client: &Client, router: Option<&Router>) -> SessionView {
    let session = &client.session;
    let offline = client.conn.is_none();
    SessionView {
        clientid: session.client_id.to_string(),
        username: session.username.as_deref().map(str::to_owned),
        state: if offline { "disconnected" } else { "connected" }.to_owned(),
        proto_ver: protocol_level(session),
        session_expiry_interval: session.expiry,
        subscriptions: session.subscriptions.len() as u64,
        inflight: session.inflight() as u64,
        awaiting_rel: session.awaiting_rel.len() as u64,
        queued_msgs: session.queued() as u64,
        queued_bytes: session
            .outbound
            .as_ref()
            .map_or(0, |outbound| outbound.queue.bytes()),
        dropped_msgs: session.statistics.dropped,
        created_at: Timestamp(session.created_at),
        disconnected_at: offline.then_some(Timestamp(session.disconnected_at)),
        expires_at: session.expires_at().filter(|_| offline).map(Timestamp),
        filters: router
            .map(|router| subscription_views(client, router))
            .unwrap_or_default(),
    }
}

/// The subscriptions of a client.
pub fn subscription_views(client: &Client, router: &Router) -> Vec<SubscriptionView> {
    let view = |entry: crate::session::subscribe::Entry| {
        let filter = router.text(entry.filter);
        SubscriptionView {
            clientid: client.session.client_id.to_string(),
            filter: match &entry.share {
                Some(name) => format!("$share/{name}/{filter}"),
                None => filter,
            },
            qos: entry.options & 0b11,
            no_local: entry.options & 0b100 != 0,
            retain_as_published: entry.options & 0b1000 != 0,
            retain_handling: entry.options >> 4 & 0b11,
            subscription_id: (entry.id > 0).then_some(entry.id),
        }
    };
    client
        .session
        .subscriptions
        .entries()
        .into_iter()
        .map(view)
        .collect()
}

impl LastSeen {
    /// Of a connection that ends.
    pub fn of(conn: &super::conn::Conn) -> Self {
        Self {
            peer: std::sync::Arc::clone(&conn.peer),
            listener: std::sync::Arc::clone(&conn.listener.name),
            tls: tls_of(&conn.peer, conn.tls().is_some()),
        }
    }
}

impl Shard {
    /// The clients in `slots` for which `view` has one; and whether there are slots beyond.
    pub fn portion<T>(
        &self,
        slots: std::ops::Range<usize>,
        mut view: impl FnMut(&Client) -> Option<T>,
    ) -> (Vec<T>, bool) {
        let more = slots.end < self.clients.len();
        let clients = self.clients.iter().skip(slots.start).take(slots.len()).flatten();
        (clients.filter_map(&mut view).collect(), more)
    }
}
