//! Bans by hand: adding one kicks whom it meets; one that covers our own proxies is refused.

use std::time::{Duration, SystemTime};

use auth::bans::{Ban, Refused, Target};

use super::Control;
use super::clients::audit_actor;
use crate::admin::problem::Failure;
use crate::admin::views::{Actor, BanRequest, BanView, DropView, List, Page, Timestamp, parse_duration};
use crate::audit::{Event, Sanction};
use crate::shard::end::Cause;
use crate::shard::{Client, Shard};

impl Control {
    pub(super) fn ban_views(&self, page: &Page) -> List<BanView> {
        let now = self.node.clock.now();
        let mut all: Vec<BanView> = self
            .node
            .gate
            .with_bans(|bans| bans.iter().filter(|ban| !ban.is_over(now)).map(view).collect());
        all.sort_by(|a, b| a.what.cmp(&b.what));
        let total = all.len() as u64;
        List::cut(all, page, total, |ban| ban.what.clone())
    }

    /// Adds a ban and disconnects the clients it meets.
    pub(super) async fn add_ban(&self, request: BanRequest, actor: Actor) -> Result<BanView, Failure> {
        let target: Target = request
            .what
            .parse()
            .map_err(|error| Failure::Usage(format!("{error}")))?;
        let now = self.node.clock.now();
        let lasts = match &request.duration {
            Some(text) => {
                let lasts = parse_duration(text);
                Some(lasts.ok_or_else(|| Failure::Usage(format!("for: `{text}` is no duration")))?)
            }
            None => None,
        };
        let ban = Ban {
            target,
            reason: request.reason.unwrap_or_default().into(),
            by: request.by.clone().unwrap_or_else(|| name_of(&actor)).into(),
            automatic: false,
            since: now,
            until: lasts
                .map(|lasts| now.saturating_add(u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX))),
        };
        let added = self
            .node
            .gate
            .with_bans(|bans| bans.add(ban.clone(), request.force, now));
        if let Err(refused) = added {
            return Err(self.refusal(&ban.target, refused));
        }
        self.node.keep_ban(&ban);
        let kicked = self.kick_banned(&ban).await?;
        self.node.audit.record(Event::Ban(Sanction {
            actor: Some(audit_actor(&actor)),
            what: ban.target.to_string().into(),
            until: ban
                .until
                .map(|until| SystemTime::UNIX_EPOCH + Duration::from_millis(until)),
            by: request.by.map(Into::into),
            matched: Some(kicked),
        }));
        Ok(BanView { kicked, ..view(&ban) })
    }

    pub(super) fn lift_ban(
        &self,
        what: &str,
        by: Option<String>,
        actor: &Actor,
    ) -> Result<DropView, Failure> {
        let target: Target = what.parse().map_err(|error| Failure::Usage(format!("{error}")))?;
        if self.node.gate.with_bans(|bans| bans.remove(&target)).is_none() {
            return Err(Failure::NotFound(format!("ban {what}")));
        }
        self.node.forget_ban(&target);
        self.node.audit.record(Event::Unban(Sanction {
            actor: Some(audit_actor(actor)),
            what: target.to_string().into(),
            by: by.map(Into::into),
            ..Sanction::default()
        }));
        Ok(DropView { removed: 1 })
    }

    /// Disconnects the live clients that fall under a ban; how many there were.
    async fn kick_banned(&self, ban: &Ban) -> Result<u64, Failure> {
        let met = {
            let ban = ban.clone();
            move |client: &Client| {
                let conn = client.conn.as_ref()?;
                let session = &client.session;
                let meets = ban.meets(&conn.peer, &session.client_id, session.username.as_deref());
                meets.then(|| session.client_id.to_string())
            }
        };
        let mut kicked = 0;
        for id in self.gather(met).await? {
            let close = |shard: &mut Shard, id: &str| {
                let client = shard.client_by_id(id)?;
                let who = client.session.me;
                client.conn.is_some().then(|| shard.close(who, &Cause::Banned))
            };
            kicked += u64::from(self.with_client(&id, close).await?.is_some());
        }
        Ok(kicked)
    }

    fn refusal(&self, target: &Target, refused: Refused) -> Failure {
        match refused {
            Refused::Proxy => Failure::refused("BAN001", self.proxy_refusal(target)),
            Refused::Protected => {
                Failure::refused("protected", format!("{target} is {refused}; --force bans it"))
            }
            Refused::Full => Failure::refused("full", refused.to_string()),
        }
    }

    /// Which list names the proxy, and how many come through it.
    fn proxy_refusal(&self, target: &Target) -> String {
        let Target::Net(net) = target else {
            return format!("{target} is {}", Refused::Proxy);
        };
        let overlaps = |texts: &[String]| {
            let config = self.node.snapshot.load().config.clone();
            let resolve =
                |text: &String| match text.strip_prefix('@').and_then(|name| config.networks.get(name)) {
                    Some(ranges) => ranges.clone(),
                    None => vec![text.clone()],
                };
            let mut ranges = texts.iter().flat_map(resolve);
            ranges.any(|range| {
                auth::nets::parse_net(&range)
                    .is_ok_and(|listed| listed.contains(net) || net.contains(&listed))
            })
        };
        let config = self.node.snapshot.load().config.clone();
        let listed = config.listeners.iter().find_map(|listener| {
            let settings = &listener.peername;
            let header = settings.header_trusted_proxies.as_deref().unwrap_or_default();
            let key = if overlaps(&settings.trusted_proxies) {
                "trusted_proxies"
            } else {
                overlaps(header).then_some("header_trusted_proxies")?
            };
            Some(format!(" (listeners.{}.{key})", listener.name))
        });
        let inside = |socket: &str| {
            socket
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| net.contains(&ip))
        };
        let rows = self.node.doctor.proxies();
        let clients: u64 = rows
            .iter()
            .filter(|row| inside(&row.socket))
            .map(|row| row.connections)
            .sum();
        let noun = if clients == 1 {
            "client arrives"
        } else {
            "clients arrive"
        };
        format!(
            "{target} is a trusted proxy{}; {clients} {noun} through it. Ban the client address, or --force",
            listed.unwrap_or_default()
        )
    }
}

fn name_of(actor: &Actor) -> String {
    match (&actor.token, actor.uid) {
        (Some(token), _) => token.clone(),
        (None, Some(uid)) => format!("uid {uid}"),
        (None, None) => "broker".to_owned(),
    }
}

fn view(ban: &Ban) -> BanView {
    BanView {
        what: ban.target.to_string(),
        reason: Some(ban.reason.to_string()).filter(|reason| !reason.is_empty()),
        by: ban.by.to_string(),
        automatic: ban.automatic,
        created_at: Timestamp(ban.since),
        until: ban.until.map(Timestamp),
        kicked: 0,
    }
}
