//! A broker made of tables, for the tests of the API and of `broker ctl`: the clients of operator-interface
//! 3, and enough of everything else to show each answer once.

mod tables;

use std::sync::Mutex;

use futures_util::stream::{self, StreamExt};
use ipnet::IpNet;
use serde_json::json;

use super::backend::{Backend, Items, ListenerAction, Reply};
use super::problem::{Failure, FileError};
#[allow(clippy::wildcard_imports, reason = "a mock of everything")]
use super::views::*;
pub(crate) use tables::*;

/// The mock, with what it was told.
#[derive(Debug, Default)]
pub(crate) struct Mock {
    pub(crate) calls: Mutex<Vec<String>>,
    pub(crate) healthy: bool,
}

fn ready<T: Send + 'static>(result: Result<T, Failure>) -> Reply<'static, T> {
    Box::pin(async { result })
}

fn list<T>(data: Vec<T>) -> List<T> {
    let total = data.len() as u64;
    List {
        data,
        meta: Meta { next: None, total },
    }
}

impl Mock {
    fn log(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }
}

impl Backend for Mock {
    fn network(&self, name: &str) -> Option<Vec<IpNet>> {
        (name == "lb").then(|| vec!["172.16.0.0/24".parse().unwrap()])
    }

    fn status(&self) -> Reply<'_, StatusView> {
        ready(Ok(StatusView {
            version: "0.1.0".into(),
            node: "broker-1".into(),
            started_at: Timestamp(1_795_301_701_123),
            uptime_seconds: 3720,
            generation: 8,
            ready: true,
            listeners: vec![listener("running")],
            clients: ClientCounts {
                connected: 412,
                stored: 3,
            },
            subscriptions: 1001,
            retained: 17,
            pending_restart: vec![pending()],
            worst_finding: None,
        }))
    }

    fn health(&self) -> Reply<'_, HealthView> {
        let store = if self.healthy { "ok" } else { "loading" };
        let checks = Checks {
            listeners: "ok".into(),
            store: store.into(),
            draining: "no".into(),
        };
        ready(Ok(HealthView {
            ready: self.healthy,
            checks,
        }))
    }

    fn stats(&self) -> Reply<'_, StatsView> {
        ready(Ok(StatsView {
            clients: 412,
            generation: 8,
            ..StatsView::default()
        }))
    }

    fn metrics(&self) -> Reply<'_, String> {
        ready(Ok("# HELP broker_bans Bans in force.\n# TYPE broker_bans gauge\nbroker_bans 2\n# HELP broker_connections Open connections.\n# TYPE broker_connections gauge\nbroker_connections{listener=\"tcp\"} 1\n".into()))
    }

    fn clients(&self, filter: ClientFilter, page: Page) -> Reply<'_, List<ClientView>> {
        let mut found: Vec<_> = clients()
            .into_iter()
            .filter(|client| filter.matches(client))
            .collect();
        found.sort_by_key(|client| filter.cursor(client));
        ready(Ok(List::cut(found, &page, 412, |client| filter.cursor(client))))
    }

    fn client(&self, id: String) -> Reply<'_, ClientView> {
        let found = clients().into_iter().find(|client| client.clientid == id);
        ready(found.ok_or_else(|| Failure::NotFound(format!("client {id}"))))
    }

    fn client_peername(&self, id: String) -> Reply<'_, ExplainView> {
        ready(if id == "web-42" {
            Ok(explain())
        } else {
            Err(Failure::NotFound(format!("client {id}")))
        })
    }

    fn kick(&self, request: KickRequest, actor: Actor) -> Reply<'_, KickView> {
        self.log(format!("kick {request:?} {actor:?}"));
        let ids: Vec<String> = match &request.clientid {
            Some(id) => clients()
                .iter()
                .filter(|c| c.clientid == *id)
                .map(|c| c.clientid.clone())
                .collect(),
            None => vec!["mqttx-client".into(), "web-42".into()],
        };
        let missing = request.clientid.filter(|_| ids.is_empty());
        ready(match missing {
            Some(id) => Err(Failure::NotFound(format!("client {id}"))),
            None => Ok(KickView {
                kicked: ids.len() as u64,
                clients: ids,
            }),
        })
    }

    fn sessions(&self, _: Page) -> Reply<'_, List<SessionView>> {
        ready(Ok(list(clients().iter().map(session).collect())))
    }

    fn session(&self, id: String) -> Reply<'_, SessionView> {
        let found = clients().iter().find(|client| client.clientid == id).map(session);
        let found = found.map(|session| SessionView {
            filters: vec![subscription()],
            ..session
        });
        ready(found.ok_or_else(|| Failure::NotFound(format!("session {id}"))))
    }

    fn drop_session(&self, id: String, actor: Actor) -> Reply<'_, DropView> {
        self.log(format!("drop {id} {actor:?}"));
        ready(Ok(DropView { removed: 1 }))
    }

    fn subscriptions(&self, _: SubscriptionFilter, _: Page) -> Reply<'_, List<SubscriptionView>> {
        ready(Ok(list(vec![subscription()])))
    }

    fn topics(&self, _: Page) -> Reply<'_, List<TopicView>> {
        ready(Ok(list(vec![TopicView {
            filter: "cmd/#".into(),
            subscribers: 3,
            shared: 1,
        }])))
    }

    fn retained(&self, _: Option<String>, _: Page) -> Reply<'_, List<RetainedView>> {
        ready(Ok(list(vec![retained()])))
    }

    fn retained_message(&self, topic: String) -> Reply<'_, RetainedMessageView> {
        let view = RetainedMessageView {
            message: RetainedView { topic, ..retained() },
            encoding: "text".into(),
            payload: "on".into(),
            content_type: None,
        };
        ready(Ok(view))
    }

    fn delete_retained(&self, topic: String, _: Actor) -> Reply<'_, DropView> {
        self.log(format!("delete {topic}"));
        ready(Ok(DropView { removed: 1 }))
    }

    fn listeners(&self) -> Reply<'_, Vec<ListenerView>> {
        ready(Ok(vec![listener("running")]))
    }

    fn listener(&self, name: String, action: ListenerAction, _: Actor) -> Reply<'_, ListenerView> {
        self.log(format!("listener {name} {action:?}"));
        ready(Ok(listener("stopped")))
    }

    fn store(&self) -> Reply<'_, StoreView> {
        ready(Ok(StoreView {
            engine: "file".into(),
            durability: "group".into(),
            ..StoreView::default()
        }))
    }

    fn drain(&self, _: Actor) -> Reply<'_, HealthView> {
        self.log("drain".into());
        self.health()
    }

    fn proxies(&self) -> Reply<'_, Vec<ProxyView>> {
        ready(Ok(vec![ProxyView {
            listener: "tcp_lb".into(),
            socket: "172.16.0.116".into(),
            hops: vec![],
            clients: 388,
            connections: 388,
            via: Some(Via::ProxyV1),
            entry: Some("172.16.0.0/24".into()),
            origin: Some("file conf.d/10-lb.toml:2".into()),
            last_seen: Some(Timestamp(1_795_301_701_123)),
            notes: vec!["ok".into()],
        }]))
    }

    fn explain(&self, request: ExplainRequest) -> Reply<'_, ExplainView> {
        self.log(format!("explain {request:?}"));
        ready(Ok(ExplainView {
            outcome: "reject".into(),
            ..explain()
        }))
    }

    fn doctor(&self, listener: Option<String>) -> Reply<'_, DoctorView> {
        let findings = if self.healthy { vec![] } else { findings() };
        let findings = findings
            .into_iter()
            .filter(|f| listener.is_none() || f.listener.is_none() || f.listener == listener);
        ready(Ok(DoctorView {
            findings: findings.collect(),
        }))
    }

    fn bans(&self, _: Page) -> Reply<'_, List<BanView>> {
        ready(Ok(list(vec![ban(
            "1.2.3.4/32".into(),
            "fail2ban".into(),
            Some("mqtt".into()),
        )])))
    }

    fn ban(&self, request: BanRequest, actor: Actor) -> Reply<'_, BanView> {
        self.log(format!("ban {request:?} {actor:?}"));
        if request.what == "172.16.0.116" && !request.force {
            let text = "172.16.0.116 is a trusted proxy (listeners.tcp_lb.trusted_proxies); 388 clients arrive through it. Ban the client address, or --force";
            return ready(Err(Failure::refused("BAN001", text)));
        }
        ready(Ok(ban(
            request.what,
            request.by.unwrap_or_else(|| "uid 0".into()),
            request.reason,
        )))
    }

    fn unban(&self, what: String, _: Option<String>, _: Actor) -> Reply<'_, DropView> {
        ready(if what == "1.2.3.4/32" {
            Ok(DropView { removed: 1 })
        } else {
            Err(Failure::NotFound(format!("ban {what}")))
        })
    }

    fn quota(&self, _: Page) -> Reply<'_, List<QuotaView>> {
        ready(Ok(list(vec![quota()])))
    }

    fn quota_of(&self, _: String) -> Reply<'_, QuotaView> {
        ready(Ok(quota()))
    }

    fn reset_quota(&self, _: String, _: Actor) -> Reply<'_, QuotaView> {
        ready(Ok(QuotaView {
            rejected: 0,
            ..quota()
        }))
    }

    fn acl_rules(&self) -> Reply<'_, Vec<AclRuleView>> {
        ready(Ok(vec![AclRuleView {
            number: 1,
            place: "acl.conf:8".into(),
            verdict: "deny".into(),
            action: "connect".into(),
            terms: "ip=@blocked".into(),
            filters: String::new(),
        }]))
    }

    fn acl_test(&self, request: AclTestRequest) -> Reply<'_, AclTestView> {
        self.log(format!("acl {request:?}"));
        let text =
            vec!["DENY  publish sensors/sensor-7/t  ip=1.2.3.4 kind=client user=bob client=sensor-7".into()];
        ready(Ok(AclTestView {
            verdict: "deny".into(),
            place: "acl.conf:3".into(),
            text,
        }))
    }

    fn config(&self, _: Option<String>) -> Reply<'_, Vec<ConfigRow>> {
        let row = |key: &str, value, origin: &str, hides: Option<&str>| ConfigRow {
            key: format!("listeners.tcp_lb.{key}"),
            value,
            origin: origin.into(),
            hides: hides.map(str::to_owned),
        };
        ready(Ok(vec![
            row("backlog", json!(1024), "default", None),
            row(
                "bind",
                json!("0.0.0.0:1884"),
                "env BROKER__LISTENERS__TCP_LB__BIND",
                Some("broker.toml:37 \"127.0.0.1:1884\""),
            ),
            row(
                "proxy_protocol",
                json!("required"),
                "file broker.toml:39",
                Some("default \"off\""),
            ),
            row(
                "trusted_proxies",
                json!(["172.16.0.0/24"]),
                "file conf.d/10-lb.toml:2",
                Some("broker.toml:40 [\"@lb\"]"),
            ),
        ]))
    }

    fn config_diff(&self) -> Reply<'_, Vec<ConfigDiffRow>> {
        ready(Ok(vec![ConfigDiffRow {
            key: "log.level".into(),
            running: json!("info"),
            disk: json!("debug"),
            origin: "broker.toml:150".into(),
            restart: false,
        }]))
    }

    fn reload(&self, request: ReloadRequest, _: Actor) -> Reply<'_, ReloadView> {
        if request.only == ["passwd"] {
            let error = FileError {
                file: "/etc/broker/broker.toml".into(),
                line: 26,
                col: 1,
                code: "CE12".into(),
                message: "unknown key `listeners.tcp.proxy_protocl`".into(),
                hint: Some("did you mean `proxy_protocol`?".into()),
            };
            let message = "nothing was changed".into();
            return ready(Err(Failure::Refused {
                code: "config".into(),
                message,
                errors: vec![error],
            }));
        }
        ready(Ok(ReloadView {
            dry_run: request.dry_run,
            generation: 8,
            duration_ms: 14,
            changed: vec![
                "acl.file: 24 rules, 3 groups".into(),
                "networks.office".into(),
                "log.level info -> debug".into(),
            ],
            tls: vec!["listeners.tls: CN=mqtt.example.com, valid to 2027-02-01".into()],
            clients: ReloadClients {
                kicked: 2,
                rules: vec!["acl.conf:8".into()],
                subscriptions_removed: 1,
            },
            restart: vec![pending()],
        }))
    }

    fn log_level(&self) -> Reply<'_, LogLevelView> {
        ready(Ok(LogLevelView {
            level: "info".into(),
            ..LogLevelView::default()
        }))
    }

    fn set_log_level(&self, request: LogLevelRequest, _: Actor) -> Reply<'_, LogLevelView> {
        ready(Ok(LogLevelView {
            level: request.level,
            ..LogLevelView::default()
        }))
    }

    fn trace(&self, _: TraceRequest, _: Actor) -> Reply<'_, Items> {
        let data = json!({"clientid": "web-42", "direction": "in", "packet": "PINGREQ"});
        let item = StreamItem::Record {
            event: "packet".into(),
            id: None,
            data,
        };
        ready(Ok(stream::iter([item]).boxed()))
    }

    fn events(&self, filter: EventFilter) -> Reply<'_, Items> {
        let first = filter.since.unwrap_or(10_420) + 1;
        let items: Vec<_> = (first..first + 2)
            .map(|seq| StreamItem::Record {
                event: "connect".into(),
                id: Some(seq),
                data: json!({"seq": seq, "event": "connect"}),
            })
            .chain([StreamItem::Lagged(7)])
            .collect();
        ready(Ok(stream::iter(items).boxed()))
    }

    fn audit(&self, _: AuditFilter) -> Reply<'_, Vec<serde_json::Value>> {
        ready(Ok(vec![json!({"seq": 1, "event": "start"})]))
    }

    fn audit_head(&self) -> Reply<'_, AuditHeadView> {
        ready(Ok(AuditHeadView {
            seq: 10_437,
            hash: None,
            dropped: 0,
        }))
    }

    fn record(&self, call: AdminCall) {
        self.log(format!("record {} success={}", call.call, call.success));
    }
}
