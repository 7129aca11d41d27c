//! Clients: listing them over all shards, one of them, and closing their connections.

use std::sync::Arc;

use ipnet::IpNet;

use super::Control;
use crate::admin::problem::Failure;
use crate::admin::views::{
    Actor, BanRequest, ClientFilter, ClientView, ExplainView, KickRequest, KickView, List, Page,
};
use crate::audit::{self, Event, Sanction};
use crate::rules;
use crate::shard::end::Cause;
use crate::shard::{Client, Shard, views};

/// Slots of a shard looked at in one go; its clients have their turn in between.
const PORTION: usize = 2000;

impl Control {
    /// What `view` makes of every client, shard by shard, in portions.
    pub(super) async fn gather<T: Send + 'static>(
        &self,
        view: impl Fn(&Client) -> Option<T> + Clone + Send + 'static,
    ) -> Result<Vec<T>, Failure> {
        let mut all = Vec::new();
        for inbox in &self.node.inboxes {
            let mut from = 0;
            loop {
                let (slots, view) = (from..from + PORTION, view.clone());
                let answer = inbox
                    .ask(move |shard: &mut Shard| shard.portion(slots, view))
                    .await;
                let (found, more) = answer.ok_or_else(stopping)?;
                all.extend(found);
                if !more {
                    break;
                }
                from += PORTION;
            }
        }
        Ok(all)
    }

    /// Does something with one client on its own shard; `None` if there is no such client.
    pub(super) async fn with_client<T: Send + 'static>(
        &self,
        id: &str,
        work: impl FnOnce(&mut Shard, &str) -> Option<T> + Send + 'static,
    ) -> Result<Option<T>, Failure> {
        let Some(home) = self.node.registry.home(id) else {
            return Ok(None);
        };
        let id = id.to_owned();
        let answer = self.node.inboxes[usize::from(home)]
            .ask(move |shard| work(shard, &id))
            .await;
        answer.ok_or_else(stopping)
    }

    pub(super) async fn list_clients(
        &self,
        filter: ClientFilter,
        page: Page,
    ) -> Result<List<ClientView>, Failure> {
        let filter = Arc::new(filter);
        let wanted = Arc::clone(&filter);
        let view = move |client: &Client| views::client_view(client).filter(|view| wanted.matches(view));
        let mut found = self.gather(view).await?;
        found.sort_by_cached_key(|client| filter.cursor(client));
        let total = self.node.registry.len() as u64;
        Ok(List::cut(found, &page, total, |client| filter.cursor(client)))
    }

    pub(super) async fn show_client(&self, id: String) -> Result<ClientView, Failure> {
        let view = |shard: &mut Shard, id: &str| {
            shard
                .client_by_id(id)
                .and_then(|client| views::client_view(client))
        };
        self.with_client(&id, view)
            .await?
            .ok_or_else(|| Failure::NotFound(format!("client {id}")))
    }

    pub(super) async fn explain_client(&self, id: String) -> Result<ExplainView, Failure> {
        let peer = |shard: &mut Shard, id: &str| {
            let client = shard.client_by_id(id)?;
            match (&client.conn, &client.session.last_seen) {
                (Some(conn), _) => Some((Arc::clone(&conn.peer), Arc::clone(&conn.listener.name))),
                (None, Some(last)) => Some((Arc::clone(&last.peer), Arc::clone(&last.listener))),
                (None, None) => None,
            }
        };
        let found = self.with_client(&id, peer).await?;
        let (peer, listener) = found.ok_or_else(|| Failure::NotFound(format!("client {id}")))?;
        self.explain_peer(&peer, &listener)
    }

    /// The ranges of `@name`: those of `[networks]`, and the groups that rules know too.
    pub(super) fn named_network(&self, name: &str) -> Option<Vec<IpNet>> {
        let config = Arc::clone(&self.node.snapshot.load().config);
        let net = |range: &peer::Range| match range {
            peer::Range::Net(net) => Some(*net),
            peer::Range::Unix => None,
        };
        match name {
            "loopback" => Some(auth::nets::LOOPBACK.to_vec()),
            "private" => Some([&auth::nets::LOOPBACK[..], &auth::nets::LOCAL[..]].concat()),
            "proxies" => Some(
                rules::environment(&config)
                    .proxies
                    .iter()
                    .filter_map(net)
                    .collect(),
            ),
            name => {
                let texts = config.networks.get(name)?;
                Some(texts.iter().filter_map(|text| network(text).ok()).collect())
            }
        }
    }

    /// An address, a network or `@name` of an operator's request.
    pub(super) fn ranges(&self, text: &str) -> Result<Vec<IpNet>, Failure> {
        match text.strip_prefix('@') {
            Some(name) => self
                .named_network(name)
                .ok_or_else(|| Failure::Usage(format!("there is no network {text}"))),
            None => Ok(vec![network(text)?]),
        }
    }

    pub(super) async fn kick_clients(&self, request: KickRequest, actor: Actor) -> Result<KickView, Failure> {
        let filter = ClientFilter {
            ip: match &request.ip {
                Some(text) => self.ranges(text)?,
                None => Vec::new(),
            },
            user: request.user.clone(),
            ..ClientFilter::default()
        };
        let mut clients = if let Some(id) = &request.clientid {
            let view = self.show_client(id.clone()).await?;
            if !view.connected {
                return Err(Failure::NotFound(format!("connection of client {id}")));
            }
            vec![view.clientid]
        } else {
            if request.ip.is_none() && request.user.is_none() {
                return Err(Failure::Usage("say whom: a client id, --ip or --user".to_owned()));
            }
            let view = move |client: &Client| {
                let view = views::client_view(client)?;
                (view.connected && filter.matches(&view)).then_some(view.clientid)
            };
            self.gather(view).await?
        };
        clients.sort();
        if !request.dry_run {
            self.ban_too(&request, &actor).await?;
            for id in &clients {
                self.kick_one(id, &actor).await?;
            }
        }
        Ok(KickView {
            kicked: clients.len() as u64,
            clients,
        })
    }

    /// `kick --ban`: what was named is banned too, first, so that nobody is back at once.
    async fn ban_too(&self, request: &KickRequest, actor: &Actor) -> Result<(), Failure> {
        let Some(duration) = request.ban.clone() else {
            return Ok(());
        };
        let what = match (&request.clientid, &request.ip, &request.user) {
            (Some(id), ..) => format!("client:{id}"),
            (None, Some(ip), _) => ip.clone(),
            (None, None, Some(user)) => format!("user:{user}"),
            (None, None, None) => return Ok(()),
        };
        let ban = BanRequest {
            what,
            duration: Some(duration),
            reason: request.reason.clone(),
            ..BanRequest::default()
        };
        self.add_ban(ban, actor.clone()).await.map(|_| ())
    }

    async fn kick_one(&self, id: &str, actor: &Actor) -> Result<(), Failure> {
        let actor = audit_actor(actor);
        let kick = move |shard: &mut Shard, id: &str| {
            let who = shard.client_by_id(id)?.session.me;
            let facts = shard.facts(who)?;
            let what = format!("client:{id}").into();
            let sanction = Sanction {
                actor: Some(actor),
                what,
                matched: Some(1),
                ..Sanction::default()
            };
            shard.node.audit.record(Event::Kick(Some(facts), sanction));
            shard.close(who, &Cause::Kicked);
            Some(())
        };
        // Whoever has left meanwhile is gone as well.
        self.with_client(id, kick).await.map(|_| ())
    }
}

/// The actor as the audit log has it.
pub(super) fn audit_actor(actor: &Actor) -> audit::Actor {
    match (&actor.token, actor.uid) {
        (Some(name), _) => audit::Actor::Token {
            name: name.clone(),
            peer_ip: actor
                .peer_ip
                .parse()
                .unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()),
        },
        (None, Some(uid)) => audit::Actor::Uid(uid),
        (None, None) => audit::Actor::Signal("HUP"),
    }
}

/// An address or network of an operator's request.
pub(super) fn network(text: &str) -> Result<ipnet::IpNet, Failure> {
    let single = || text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from);
    text.parse::<ipnet::IpNet>()
        .or_else(|_| single())
        .map_err(|_| Failure::Usage(format!("`{text}` is no address and no network")))
}

pub(super) fn stopping() -> Failure {
    Failure::Unavailable("the broker is stopping".to_owned())
}
