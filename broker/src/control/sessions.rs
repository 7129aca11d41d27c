//! Sessions, subscriptions, topics and retained messages.

use base64::Engine;

use super::Control;
use crate::admin::problem::Failure;
use crate::admin::views::{
    DropView, List, Page, RetainedMessageView, RetainedView, SessionView, SubscriptionFilter,
    SubscriptionView, Timestamp, TopicView,
};
use crate::session::message::{Message, NEVER};
use crate::shard::end::{Cause, Ended};
use crate::shard::{Client, Shard, views};

impl Control {
    pub(super) async fn list_sessions(&self, page: Page) -> Result<List<SessionView>, Failure> {
        let mut found = self
            .gather(|client: &Client| Some(views::session_view(client, None)))
            .await?;
        found.sort_by(|a, b| a.clientid.cmp(&b.clientid));
        let total = found.len() as u64;
        Ok(List::cut(found, &page, total, |session| session.clientid.clone()))
    }

    pub(super) async fn show_session(&self, id: String) -> Result<SessionView, Failure> {
        let view = |shard: &mut Shard, id: &str| {
            let node = std::sync::Arc::clone(&shard.node);
            shard
                .client_by_id(id)
                .map(|client| views::session_view(client, Some(&node.router)))
        };
        self.with_client(&id, view)
            .await?
            .ok_or_else(|| Failure::NotFound(format!("session {id}")))
    }

    pub(super) async fn end_session(&self, id: String) -> Result<DropView, Failure> {
        let end = |shard: &mut Shard, id: &str| {
            let who = shard.client_by_id(id)?.session.me;
            shard.close(who, &Cause::Kicked);
            shard.end_session(who, Ended::Dropped);
            Some(())
        };
        let ended = self.with_client(&id, end).await?;
        ended.ok_or_else(|| Failure::NotFound(format!("session {id}")))?;
        Ok(DropView { removed: 1 })
    }

    pub(super) async fn list_subscriptions(
        &self,
        filter: SubscriptionFilter,
        page: Page,
    ) -> Result<List<SubscriptionView>, Failure> {
        let node = std::sync::Arc::clone(&self.node);
        let view = move |client: &Client| {
            let wanted = filter
                .client
                .as_ref()
                .is_none_or(|id| *id == *client.session.client_id);
            let mut found = if wanted {
                views::subscription_views(client, &node.router)
            } else {
                Vec::new()
            };
            if let Some(topic) = &filter.topic {
                found.retain(|sub| codec::topic::overlaps(&sub.filter, topic) || sub.filter == *topic);
            }
            Some(found)
        };
        let mut found: Vec<_> = self.gather(view).await?.into_iter().flatten().collect();
        let cursor = |sub: &SubscriptionView| format!("{}\u{0}{}", sub.clientid, sub.filter);
        found.sort_by_cached_key(cursor);
        let (plain, shared) = self.node.router.totals();
        Ok(List::cut(found, &page, plain + shared, cursor))
    }

    pub(super) fn list_topics(&self, page: &Page) -> List<TopicView> {
        let view = |(filter, plain, shared): (String, usize, usize)| TopicView {
            filter,
            subscribers: (plain + shared) as u64,
            shared: shared as u64,
        };
        let mut found: Vec<_> = self.node.router.filters().into_iter().map(view).collect();
        found.sort_by(|a, b| a.filter.cmp(&b.filter));
        let total = found.len() as u64;
        List::cut(found, page, total, |topic| topic.filter.clone())
    }

    pub(super) fn list_retained(&self, filter: Option<&str>, page: &Page) -> List<RetainedView> {
        let (now, mut after, mut data) = (self.node.clock.now(), page.after.clone(), Vec::new());
        let limit = page.limit.clamp(1, crate::admin::views::PAGE_MAX);
        let more = loop {
            let portion = self.scan(filter, after.as_deref(), limit + 1 - data.len(), now);
            data.extend(portion.messages.iter().map(|message| retained_view(message)));
            if data.len() > limit {
                break true;
            }
            match portion.after {
                Some(next) => after = Some(next),
                None => break false,
            }
        };
        data.truncate(limit);
        let next = if more {
            data.last().map(|m: &RetainedView| m.topic.clone())
        } else {
            None
        };
        let total = self.node.retained.totals().0;
        List {
            data,
            meta: crate::admin::views::Meta { next, total },
        }
    }

    fn scan(
        &self,
        filter: Option<&str>,
        after: Option<&str>,
        limit: usize,
        now: u64,
    ) -> crate::router::retained::Portion {
        match filter {
            Some(filter) => self.node.retained.scan(filter, after, limit, now),
            None => self.node.retained.scan_all(after, limit),
        }
    }

    pub(super) fn show_retained(&self, topic: &str) -> Result<RetainedMessageView, Failure> {
        let message = self.node.retained.get(topic, self.node.clock.now());
        let message = message.ok_or_else(|| Failure::NotFound(format!("retained message {topic}")))?;
        let (encoding, payload) = match std::str::from_utf8(message.payload()) {
            Ok(text) => ("text", text.to_owned()),
            Err(_) => (
                "base64",
                base64::engine::general_purpose::STANDARD.encode(message.payload()),
            ),
        };
        Ok(RetainedMessageView {
            message: retained_view(&message),
            encoding: encoding.to_owned(),
            payload,
            content_type: None,
        })
    }

    pub(super) fn delete_retained_message(&self, topic: &str) -> Result<DropView, Failure> {
        if !self.node.retained.delete(topic) {
            return Err(Failure::NotFound(format!("retained message {topic}")));
        }
        if let Some(inbox) = self.node.inboxes.first() {
            let topic = topic.to_owned();
            inbox.run(move |shard| shard.forget_retained(&topic));
        }
        Ok(DropView { removed: 1 })
    }
}

fn retained_view(message: &Message) -> RetainedView {
    RetainedView {
        topic: message.topic().to_owned(),
        qos: message.qos,
        bytes: message.payload().len() as u64,
        stored_at: None,
        expires_at: (message.expires_at != NEVER).then_some(Timestamp(message.expires_at)),
    }
}
