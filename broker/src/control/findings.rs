//! What the doctor is told besides connections: the state of the audit log and of the certificates.

use std::sync::PoisonError;
use std::time::Duration;

use super::Control;
use crate::doctor::{Own, Topic, own};
use crate::node::Snapshot;
use crate::rules;

/// Findings are looked for, and written to the log, this often.
const EVERY: Duration = Duration::from_secs(60);

impl Control {
    /// Looks after the doctor until the future is dropped.
    pub async fn watch_findings(&self) {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            ticks.tick().await;
            self.node.sweep_bans();
            self.look().await;
            self.node.doctor.tick();
        }
    }

    /// Looks at what only this side knows; also before findings are shown, so that they are fresh.
    pub(super) async fn look(&self) {
        let audit = self.node.audit.stats();
        let dropped = audit.dropped > 0 || audit.failing;
        let told = dropped.then(|| own::audit_dropped(audit.dropped, audit.failing));
        self.node.doctor.set(Topic::Audit, told.into_iter().collect());
        self.node.doctor.set(Topic::Tls, self.certificates());
        let (now, nanos) = (self.node.clock.now(), self.node.clock.nanos());
        let covered = |bans: &mut auth::bans::Bans| -> Vec<Own> {
            bans.on_proxies(now)
                .map(|ban| own::ban_covers_proxy(&ban.target.to_string()))
                .collect()
        };
        self.node
            .doctor
            .set(Topic::Bans, self.node.gate.with_bans(covered));
        let spared: Vec<Own> = self.node.gate.with_quota(|quota| {
            let spared = quota
                .prefixes(nanos)
                .into_iter()
                .filter(|(_, reading)| reading.spared > 0);
            spared
                .map(|(prefix, reading)| own::quota_on_proxy(&prefix.to_string(), reading.spared))
                .collect()
        });
        self.node.doctor.set(Topic::Quota, spared);
        self.node.doctor.set(Topic::Pending, self.differing_files().await);
        let snapshot = self.node.snapshot.load_full();
        if self.node.doctor.wants_rules(snapshot.generation) {
            // Rules are compared in pairs, which may take a while.
            let looked = tokio::task::spawn_blocking(move || rule_warnings(&snapshot)).await;
            self.node.doctor.set(Topic::Acl, looked.unwrap_or_default());
        }
    }

    /// Files that are not what runs. A file with errors is told of by the reload that meets it.
    async fn differing_files(&self) -> Vec<Own> {
        let rows = self.diff_rows().await.unwrap_or_default();
        let (restart, other): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.restart);
        let waiting = restart
            .iter()
            .map(|row| own::pending_restart(&row.key, &row.origin));
        let differs = (!other.is_empty()).then(|| own::disk_differs(other.len()));
        waiting.chain(differs).collect()
    }

    fn certificates(&self) -> Vec<Own> {
        let now = i64::try_from(self.node.clock.now() / 1000).unwrap_or(i64::MAX);
        let ends = |door: &super::Door| {
            let spec = door.listener.spec();
            let summary = spec.tls.as_ref()?.summary();
            own::certificate_ends(&spec.name, &summary.subject, summary.not_after, now)
        };
        let mut found: Vec<Own> = self.doors().iter().filter_map(ends).collect();
        let refused = self
            .refused_certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        found.extend(
            refused
                .iter()
                .map(|(listener, why)| own::certificate_refused(listener, why)),
        );
        found
    }
}

/// A2xx: what `broker acl check` would warn of.
fn rule_warnings(snapshot: &Snapshot) -> Vec<Own> {
    let acl = snapshot.acl.acl();
    let warnings = auth::check::warnings(acl, &rules::environment(&snapshot.config));
    let told = warnings
        .iter()
        .map(|warning| own::acl_warning(warning.code.as_str(), &acl.place(warning.pos), &warning.message));
    told.collect()
}
