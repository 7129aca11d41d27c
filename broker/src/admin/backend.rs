//! The one boundary between the admin API and the running broker.
//!
//! The API knows nothing of shards, sessions or stores: it asks a [`Backend`] and gets copies. The broker
//! implements it over its shards; tests implement it over tables.

use std::future::Future;
use std::pin::Pin;

use futures_util::Stream;
use ipnet::IpNet;

use super::problem::Failure;
use super::views::{
    AclRuleView, AclTestRequest, AclTestView, Actor, AdminCall, AuditFilter, AuditHeadView, BanRequest,
    BanView, ClientFilter, ClientView, ConfigDiffRow, ConfigRow, DoctorView, DropView, EventFilter,
    ExplainRequest, ExplainView, HealthView, KickRequest, KickView, List, ListenerView, LogLevelRequest,
    LogLevelView, Page, ProxyView, QuotaView, ReloadRequest, ReloadView, RetainedMessageView, RetainedView,
    SessionView, StatsView, StatusView, StoreView, StreamItem, SubscriptionFilter, SubscriptionView,
    TopicView, TraceRequest,
};

/// An answer that is on its way.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// Things that go on arriving until the reader goes away.
pub type Items = Pin<Box<dyn Stream<Item = StreamItem> + Send>>;

/// What to do with a listener (`POST /listeners/{name}/{start,stop,drain}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerAction {
    /// Bind it and accept.
    Start,
    /// Stop accepting; its clients stay.
    Stop,
    /// Stop accepting and take leave of its clients.
    Drain,
}

/// What the admin API asks of the broker. Every method answers with copies; those that change something
/// get the [`Actor`] for the audit log.
///
/// Contract for lists: filter, then order (by the natural key unless a filter says otherwise), then cut by
/// the page; `meta.total` counts all there are before the filter ("2 of 412 clients").
pub trait Backend: Send + Sync + 'static {
    /// The ranges of `@name` (`[networks]` and the built-in groups), given without the `@`.
    fn network(&self, name: &str) -> Option<Vec<IpNet>>;
    /// Version, listeners, counts, what waits for a restart.
    fn status(&self) -> Reply<'_, StatusView>;
    /// Alive and ready; must answer within a second if the shards turn.
    fn health(&self) -> Reply<'_, HealthView>;
    /// The few numbers of the page's overview; asked every two seconds, must be cheap.
    fn stats(&self) -> Reply<'_, StatsView>;
    /// The metrics text in the Prometheus format (the same that `metrics.bind` serves).
    fn metrics(&self) -> Reply<'_, String>;

    /// Clients, connected or with a stored session.
    fn clients(&self, filter: ClientFilter, page: Page) -> Reply<'_, List<ClientView>>;
    /// One client.
    fn client(&self, id: String) -> Reply<'_, ClientView>;
    /// The steps kept from that client's own resolution (peername 10).
    fn client_peername(&self, id: String) -> Reply<'_, ExplainView>;
    /// Disconnects with 0x98; the session stays.
    fn kick(&self, request: KickRequest, actor: Actor) -> Reply<'_, KickView>;

    /// Sessions, live and stored.
    fn sessions(&self, page: Page) -> Reply<'_, List<SessionView>>;
    /// One session with its subscriptions.
    fn session(&self, id: String) -> Reply<'_, SessionView>;
    /// Ends a session, connected or not.
    fn drop_session(&self, id: String, actor: Actor) -> Reply<'_, DropView>;
    /// Subscriptions, ordered by client and filter.
    fn subscriptions(&self, filter: SubscriptionFilter, page: Page) -> Reply<'_, List<SubscriptionView>>;
    /// Topic filters somebody subscribed to, each once.
    fn topics(&self, page: Page) -> Reply<'_, List<TopicView>>;
    /// Retained messages whose topic matches the filter (all without one).
    fn retained(&self, filter: Option<String>, page: Page) -> Reply<'_, List<RetainedView>>;
    /// One retained message with its payload.
    fn retained_message(&self, topic: String) -> Reply<'_, RetainedMessageView>;
    /// Deletes a retained message.
    fn delete_retained(&self, topic: String, actor: Actor) -> Reply<'_, DropView>;

    /// The listeners, by name.
    fn listeners(&self) -> Reply<'_, Vec<ListenerView>>;
    /// Starts, stops or drains one.
    fn listener(&self, name: String, action: ListenerAction, actor: Actor) -> Reply<'_, ListenerView>;
    /// The store's sizes and ages.
    fn store(&self) -> Reply<'_, StoreView>;
    /// readyz 503 and no new connections from now on.
    fn drain(&self, actor: Actor) -> Reply<'_, HealthView>;

    /// Which proxies stand before which listener, and what they named.
    fn proxies(&self) -> Reply<'_, Vec<ProxyView>>;
    /// What the running configuration would make of these bytes and fields (peername 10).
    fn explain(&self, request: ExplainRequest) -> Reply<'_, ExplainView>;
    /// Findings, worst first; of one listener if named.
    fn doctor(&self, listener: Option<String>) -> Reply<'_, DoctorView>;

    /// Bans that stand.
    fn bans(&self, page: Page) -> Reply<'_, List<BanView>>;
    /// Bans and kicks live matches; refuses a trusted proxy without `force`.
    fn ban(&self, request: BanRequest, actor: Actor) -> Reply<'_, BanView>;
    /// Lifts a ban; `by` says who, if not the actor.
    fn unban(&self, what: String, by: Option<String>, actor: Actor) -> Reply<'_, DropView>;
    /// Prefixes by use of their quota, the busiest first.
    fn quota(&self, page: Page) -> Reply<'_, List<QuotaView>>;
    /// The prefix that an address falls into.
    fn quota_of(&self, address: String) -> Reply<'_, QuotaView>;
    /// Fills its buckets again.
    fn reset_quota(&self, address: String, actor: Actor) -> Reply<'_, QuotaView>;

    /// The ACL rules in force, in order.
    fn acl_rules(&self) -> Reply<'_, Vec<AclRuleView>>;
    /// What the rules in force say to a request, with the facts given or those of a live client.
    fn acl_test(&self, request: AclTestRequest) -> Reply<'_, AclTestView>;

    /// The configuration in force, with origins; secrets are shown as paths.
    fn config(&self, prefix: Option<String>) -> Reply<'_, Vec<ConfigRow>>;
    /// Where the files on disk differ from what runs.
    fn config_diff(&self) -> Reply<'_, Vec<ConfigDiffRow>>;
    /// Reads all files, checks all, swaps all or nothing.
    fn reload(&self, request: ReloadRequest, actor: Actor) -> Reply<'_, ReloadView>;
    /// The log level and the levels by module.
    fn log_level(&self) -> Reply<'_, LogLevelView>;
    /// Sets one, for a time if given.
    fn set_log_level(&self, request: LogLevelRequest, actor: Actor) -> Reply<'_, LogLevelView>;

    /// Live packets of the clients that match; ends by itself after `for`.
    fn trace(&self, request: TraceRequest, actor: Actor) -> Reply<'_, Items>;
    /// Audit events from memory after `since`, then live; a reader too far behind gets a
    /// [`StreamItem::Lagged`] and goes on from now.
    fn events(&self, filter: EventFilter) -> Reply<'_, Items>;
    /// The newest audit records in memory, oldest first (at most 10,000).
    fn audit(&self, filter: AuditFilter) -> Reply<'_, Vec<serde_json::Value>>;
    /// The sequence number and hash of the newest record.
    fn audit_head(&self) -> Reply<'_, AuditHeadView>;
    /// Writes an `admin` record: a change made (or tried) through the API. `kick`, `ban`, `unban` and
    /// reloads are recorded by the broker itself, with the actor it was given.
    fn record(&self, call: AdminCall);
}
