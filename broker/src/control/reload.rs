//! Reload: read everything, check everything, bind what is new, swap once; any error and nothing changes.
//!
//! What does not live here: what a reload would do (`config::reload`), the rules themselves (`auth`).

use std::sync::Arc;
use std::time::Instant;

use auth::Action;

use super::clients::{audit_actor, stopping};
use super::{Control, Door};
use crate::admin::problem::{Failure, FileError};
use crate::admin::views::{Actor, ReloadClients, ReloadRequest, ReloadView};
use crate::audit::{AdminCall, Event, Sanction};
use crate::authn::Sources;
use crate::config::finding::{Finding, Severity};
use crate::config::reload::{ListenerChange, Part, Plan, plan};
use crate::config::{self, Loaded};
use crate::node::Snapshot;
use crate::shard::end::Cause;
use crate::shard::permission::subject;
use crate::shard::subscribe::Wanted;
use crate::shard::{Shard, views};
use crate::{audit, doors, rules, server};

/// Everything a reload needs, read and checked, nothing of it in force yet.
struct Ready {
    plan: Plan,
    disk: Loaded,
    acl: Arc<auth::Policy>,
    sources: Sources,
    specs: Vec<listeners::ListenerSpec>,
    audit: audit::Settings,
}

impl Control {
    /// Reloads, or says what a reload would do.
    pub(super) async fn reload_config(
        &self,
        request: ReloadRequest,
        actor: Actor,
    ) -> Result<ReloadView, Failure> {
        let _one_at_a_time = self.reloading.lock().await;
        let started = Instant::now();
        let result = self.try_reload(&request, started).await;
        if !request.dry_run {
            let (success, changed, errors) = match &result {
                Ok(view) => (true, view.changed.clone(), Vec::new()),
                Err(failure) => (false, Vec::new(), vec![failure.problem().detail]),
            };
            let call = AdminCall {
                actor: audit_actor(&actor),
                call: "POST /api/v1/config/reload".into(),
                success,
                changed,
                errors,
            };
            self.node.audit.record(Event::ConfigReload(call));
        }
        result
    }

    async fn try_reload(&self, request: &ReloadRequest, started: Instant) -> Result<ReloadView, Failure> {
        let only = request
            .only
            .iter()
            .map(|name| {
                Part::from_name(name).ok_or_else(|| Failure::Usage(format!("--only {name}: unknown part")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let running = self.loaded();
        let ready = tokio::task::spawn_blocking(move || prepare(&running, &only)).await;
        let ready = ready.map_err(|error| Failure::Internal(error.to_string()))??;
        let mut view = ReloadView {
            dry_run: request.dry_run,
            generation: self.node.snapshot.load().generation,
            changed: ready.plan.changed_phrases(),
            restart: ready.plan.pending_rows(&ready.disk.values),
            ..ReloadView::default()
        };
        if !request.dry_run {
            view.clients = self.put_in_force(ready).await?;
            view.generation = self.node.snapshot.load().generation;
        }
        view.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(view)
    }

    async fn put_in_force(&self, ready: Ready) -> Result<ReloadClients, Failure> {
        let Ready {
            plan,
            acl,
            sources,
            specs,
            audit,
            ..
        } = ready;
        let bound = bind_new(&plan, &specs)?;
        let old = self.node.snapshot.load_full();
        let shards = self.node.inboxes.len();
        let snapshot = Snapshot::new(
            old.generation + 1,
            &plan.apply,
            acl,
            &self.node.metrics,
            shards,
            Some(&old),
        );
        let config = Arc::clone(&snapshot.config);
        self.node.snapshot.store(Arc::new(snapshot));
        self.node.gate.configure(&config);
        self.node.doctor.configure(&plan.apply);
        if let Err(error) = self.node.audit.reconfigure(audit) {
            // The log goes on where it was; everything else is in force.
            tracing::error!("{error}");
        }
        self.node.authenticator.replace(sources);
        if let Some(logging) = &self.logging {
            logging.reconfigure(&config.log);
        }
        self.change_doors(&plan, specs, bound);
        self.set_loaded(plan.apply);
        self.recheck(config.acl.recheck_on_reload).await
    }

    fn change_doors(
        &self,
        plan: &Plan,
        specs: Vec<listeners::ListenerSpec>,
        bound: Vec<listeners::BoundListener>,
    ) {
        let mut doors = self.doors();
        for (name, change) in &plan.listeners {
            if matches!(change, ListenerChange::Stop | ListenerChange::Rebind)
                && let Some(at) = doors.iter().position(|door| *door.listener.spec().name == **name)
            {
                doors.swap_remove(at).accepting.send_replace(false);
            }
        }
        for spec in specs {
            if let Some(door) = doors.iter().find(|door| door.listener.spec().name == spec.name) {
                door.listener.set_spec(spec);
            }
        }
        for listener in bound {
            let shard = doors.len() % self.node.inboxes.len();
            let door: Door = server::open(&self.node, listener, shard);
            doors.push(door);
        }
    }

    /// The rules and bans in force now meet the clients that are there.
    pub(super) async fn recheck(&self, rules_too: bool) -> Result<ReloadClients, Failure> {
        let mut total = ReloadClients::default();
        for inbox in &self.node.inboxes {
            let found = inbox
                .ask(move |shard| shard.recheck(rules_too))
                .await
                .ok_or_else(stopping)?;
            total.kicked += found.kicked;
            total.subscriptions_removed += found.subscriptions_removed;
            total.rules.extend(found.rules);
        }
        total.rules.sort();
        total.rules.dedup();
        Ok(total)
    }
}

impl Shard {
    /// Takes the configuration in force and looks at every client again: banned or denied to be here = kicked,
    /// subscriptions denied = removed.
    fn recheck(&mut self, rules_too: bool) -> ReloadClients {
        self.snapshot = self.node.snapshot.load_full();
        let mut done = ReloadClients::default();
        for who in self.everybody() {
            if let Some(place) = self.unwelcome(who, rules_too) {
                self.kick_by_rule(who, &place);
                done.kicked += 1;
                done.rules.push(place);
            } else if rules_too {
                done.subscriptions_removed += self.drop_denied_subscriptions(who);
            }
        }
        done
    }

    /// What says that a connected client must go.
    fn unwelcome(&mut self, who: crate::router::trie::SessionRef, rules_too: bool) -> Option<String> {
        let (node, acl, now) = (Arc::clone(&self.node), Arc::clone(&self.snapshot.acl), self.now);
        let client = self.client(who)?;
        let conn = client.conn.as_ref()?;
        let (id, username) = (&client.session.client_id, client.session.username.as_deref());
        let met = node.gate.with_bans(|bans| {
            let by_hand = |ban: &&auth::bans::Ban| !ban.automatic && !ban.is_over(now);
            bans.iter()
                .filter(by_hand)
                .find(|ban| ban.meets(&conn.peer, id, username))
                .map(|ban| ban.target.to_string())
        });
        if met.is_some() || !rules_too {
            return met;
        }
        let decision = acl.decide(&subject(client, conn), &Action::Connect);
        (!decision.is_allowed()).then(|| acl.place(decision.rule))
    }

    fn kick_by_rule(&mut self, who: crate::router::trie::SessionRef, place: &str) {
        if let Some(facts) = self.facts(who) {
            let what = facts
                .clientid
                .as_deref()
                .map_or_else(String::new, |id| format!("client:{id}"));
            let sanction = Sanction {
                what: what.into(),
                by: Some(place.into()),
                matched: Some(1),
                ..Sanction::default()
            };
            self.node.audit.record(Event::Kick(Some(facts), sanction));
        }
        self.close(who, &Cause::Kicked);
    }

    fn drop_denied_subscriptions(&mut self, who: crate::router::trie::SessionRef) -> u64 {
        let (node, acl) = (Arc::clone(&self.node), Arc::clone(&self.snapshot.acl));
        let Some(client) = self.client(who) else { return 0 };
        let Some(conn) = client.conn.as_ref() else {
            return 0;
        };
        let subject = subject(client, conn);
        let denied: Vec<String> = views::subscription_views(client, &node.router)
            .into_iter()
            .filter(|sub| {
                !acl.decide(&subject, &Action::subscribe(&sub.filter, sub.qos))
                    .is_allowed()
            })
            .map(|sub| sub.filter)
            .collect();
        for filter in &denied {
            if let Some(facts) = self.facts(who) {
                self.node
                    .audit
                    .record(Event::Unsubscribe(facts, filter.as_str().into()));
            }
            self.unsubscribe(who, &Wanted::parse(filter));
        }
        denied.len() as u64
    }
}

fn prepare(running: &Loaded, only: &[Part]) -> Result<Ready, Failure> {
    let disk = config::load(&running.sources).map_err(|refused| refuse(&refused.findings))?;
    let faults: Vec<Finding> = config::files::check(&disk)
        .into_iter()
        .filter(|f| f.severity == Severity::Error)
        .collect();
    if !faults.is_empty() {
        return Err(refuse(&faults));
    }
    let plan = plan(running, disk.clone(), only).map_err(|text| Failure::refused("CFG004", text))?;
    let config = &plan.apply.config;
    let acl = rules::load(config).map_err(|acl| Failure::refused("ACL", auth::render(&acl.errors)))?;
    let sources = Sources::read(&config.auth).map_err(|text| Failure::refused("CFG006", text))?;
    let enabled = config.listeners.iter().filter(|listener| listener.enabled);
    let specs = enabled
        .map(|listener| doors::spec(listener, config))
        .collect::<Result<Vec<_>, _>>();
    let specs = specs.map_err(|text| Failure::refused("TLS002", text))?;
    let audit = audit::Settings::from_config(&config.audit, &config.node.name);
    let audit = audit.map_err(|text| Failure::refused("CFG004", text))?;
    Ok(Ready {
        acl: Arc::new(acl),
        sources,
        specs,
        audit,
        disk,
        plan,
    })
}

/// Binds listeners that are new or have moved, before anything changes.
fn bind_new(
    plan: &Plan,
    specs: &[listeners::ListenerSpec],
) -> Result<Vec<listeners::BoundListener>, Failure> {
    let is_new = |spec: &&listeners::ListenerSpec| {
        let changed = |(name, change): &(String, ListenerChange)| {
            **name == *spec.name && matches!(change, ListenerChange::Start | ListenerChange::Rebind)
        };
        plan.listeners.iter().any(changed)
    };
    let bind = |spec: &listeners::ListenerSpec| {
        let what = |error: std::io::Error| {
            Failure::refused(
                "CFG005",
                format!("listeners.{}: cannot listen on {}: {error}", spec.name, spec.bind),
            )
        };
        listeners::bind(spec.clone()).map_err(what)
    };
    specs.iter().filter(is_new).map(bind).collect()
}

fn refuse(findings: &[Finding]) -> Failure {
    let is_error = |finding: &&Finding| finding.severity == Severity::Error;
    let errors: Vec<FileError> = findings.iter().filter(is_error).map(FileError::from).collect();
    let code = errors
        .first()
        .map_or("CFG004", |error| error.code.as_str())
        .to_owned();
    let message = format!("{} errors; nothing was changed", errors.len());
    Failure::Refused {
        code,
        message,
        errors,
    }
}
