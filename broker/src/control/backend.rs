//! The calls of the admin API, each led to where it is answered.

use super::Control;
use super::clients::audit_actor;
use crate::admin::backend::{Backend, Items, ListenerAction, Reply};
use crate::admin::problem::Failure;
#[allow(clippy::wildcard_imports, reason = "every view crosses here")]
use crate::admin::views::*;
use crate::audit::{self, Event};

fn ready<T: Send + 'static>(result: Result<T, Failure>) -> Reply<'static, T> {
    Box::pin(std::future::ready(result))
}

impl Backend for Control {
    fn network(&self, name: &str) -> Option<Vec<ipnet::IpNet>> {
        self.named_network(name)
    }

    fn status(&self) -> Reply<'_, StatusView> {
        Box::pin(self.status_view())
    }

    fn health(&self) -> Reply<'_, HealthView> {
        Box::pin(async { Ok(self.health_view().await) })
    }

    fn stats(&self) -> Reply<'_, StatsView> {
        ready(Ok(self.stats_view()))
    }

    fn metrics(&self) -> Reply<'_, String> {
        Box::pin(self.metrics_text())
    }

    fn clients(&self, filter: ClientFilter, page: Page) -> Reply<'_, List<ClientView>> {
        Box::pin(self.list_clients(filter, page))
    }

    fn client(&self, id: String) -> Reply<'_, ClientView> {
        Box::pin(self.show_client(id))
    }

    fn client_peername(&self, id: String) -> Reply<'_, ExplainView> {
        Box::pin(self.explain_client(id))
    }

    fn kick(&self, request: KickRequest, actor: Actor) -> Reply<'_, KickView> {
        Box::pin(self.kick_clients(request, actor))
    }

    fn sessions(&self, page: Page) -> Reply<'_, List<SessionView>> {
        Box::pin(self.list_sessions(page))
    }

    fn session(&self, id: String) -> Reply<'_, SessionView> {
        Box::pin(self.show_session(id))
    }

    fn drop_session(&self, id: String, _actor: Actor) -> Reply<'_, DropView> {
        Box::pin(self.end_session(id))
    }

    fn subscriptions(&self, filter: SubscriptionFilter, page: Page) -> Reply<'_, List<SubscriptionView>> {
        Box::pin(self.list_subscriptions(filter, page))
    }

    fn topics(&self, page: Page) -> Reply<'_, List<TopicView>> {
        ready(Ok(self.list_topics(&page)))
    }

    fn retained(&self, filter: Option<String>, page: Page) -> Reply<'_, List<RetainedView>> {
        ready(Ok(self.list_retained(filter.as_deref(), &page)))
    }

    fn retained_message(&self, topic: String) -> Reply<'_, RetainedMessageView> {
        ready(self.show_retained(&topic))
    }

    fn delete_retained(&self, topic: String, _actor: Actor) -> Reply<'_, DropView> {
        ready(self.delete_retained_message(&topic))
    }

    fn listeners(&self) -> Reply<'_, Vec<ListenerView>> {
        ready(Ok(self.listener_views()))
    }

    fn listener(&self, name: String, action: ListenerAction, _actor: Actor) -> Reply<'_, ListenerView> {
        Box::pin(async move { self.listener_action(&name, action).await })
    }

    fn store(&self) -> Reply<'_, StoreView> {
        Box::pin(self.store_view())
    }

    fn drain(&self, _actor: Actor) -> Reply<'_, HealthView> {
        self.node
            .draining
            .store(true, std::sync::atomic::Ordering::Relaxed);
        self.health()
    }

    fn proxies(&self) -> Reply<'_, Vec<ProxyView>> {
        ready(Ok(self.node.doctor.proxies()))
    }

    fn explain(&self, request: ExplainRequest) -> Reply<'_, ExplainView> {
        ready(self.explain_request(&request))
    }

    fn doctor(&self, listener: Option<String>) -> Reply<'_, DoctorView> {
        Box::pin(async move {
            self.look().await;
            Ok(self.node.doctor.findings(listener.as_deref()))
        })
    }

    fn bans(&self, page: Page) -> Reply<'_, List<BanView>> {
        ready(Ok(self.ban_views(&page)))
    }

    fn ban(&self, request: BanRequest, actor: Actor) -> Reply<'_, BanView> {
        Box::pin(self.add_ban(request, actor))
    }

    fn unban(&self, what: String, by: Option<String>, actor: Actor) -> Reply<'_, DropView> {
        ready(self.lift_ban(&what, by, &actor))
    }

    fn quota(&self, page: Page) -> Reply<'_, List<QuotaView>> {
        ready(self.quota_views(&page))
    }

    fn quota_of(&self, address: String) -> Reply<'_, QuotaView> {
        ready(self.quota_view(&address))
    }

    fn reset_quota(&self, address: String, _actor: Actor) -> Reply<'_, QuotaView> {
        ready(self.reset_quota_of(&address))
    }

    fn acl_rules(&self) -> Reply<'_, Vec<AclRuleView>> {
        ready(Ok(self.rule_views()))
    }

    fn acl_test(&self, request: AclTestRequest) -> Reply<'_, AclTestView> {
        Box::pin(self.test_rules(request))
    }

    fn config(&self, prefix: Option<String>) -> Reply<'_, Vec<ConfigRow>> {
        ready(Ok(self.config_rows(prefix.as_deref())))
    }

    fn config_diff(&self) -> Reply<'_, Vec<ConfigDiffRow>> {
        Box::pin(self.diff_rows())
    }

    fn reload(&self, request: ReloadRequest, actor: Actor) -> Reply<'_, ReloadView> {
        Box::pin(self.reload_config(request, actor))
    }

    fn log_level(&self) -> Reply<'_, LogLevelView> {
        ready(self.levels_view())
    }

    fn set_log_level(&self, request: LogLevelRequest, _actor: Actor) -> Reply<'_, LogLevelView> {
        ready(self.set_level(&request))
    }

    fn trace(&self, request: TraceRequest, actor: Actor) -> Reply<'_, Items> {
        ready(self.begin_trace(&request, &actor))
    }

    fn events(&self, filter: EventFilter) -> Reply<'_, Items> {
        ready(Ok(self.event_items(filter)))
    }

    fn audit(&self, filter: AuditFilter) -> Reply<'_, Vec<serde_json::Value>> {
        ready(Ok(self.audit_records(&filter)))
    }

    fn audit_head(&self) -> Reply<'_, AuditHeadView> {
        ready(Ok(self.audit_head_view()))
    }

    fn record(&self, call: AdminCall) {
        self.node.audit.record(Event::Admin(audit::AdminCall {
            actor: audit_actor(&call.actor),
            call: call.call.into(),
            success: call.success,
            changed: Vec::new(),
            errors: call.error.into_iter().collect(),
        }));
    }
}
