//! Rules and addresses: the ACL in force, and how an address was or would be found.

use peer::{Explanation, Peer};

use super::Control;
use crate::admin::explain;
use crate::admin::problem::Failure;
use crate::admin::views::{AclRuleView, AclTestRequest, AclTestView, ExplainRequest, ExplainView};
use crate::doors;
use crate::rules::question::{self, Question};
use crate::shard::{Shard, permission};

impl Control {
    pub(super) fn rule_views(&self) -> Vec<AclRuleView> {
        let snapshot = self.node.snapshot.load_full();
        let acl = snapshot.acl.acl();
        let view = |(number, rule): (usize, &auth::raw::RawRule)| AclRuleView {
            number: number as u64 + 1,
            place: acl.place(rule.pos),
            verdict: rule.effect.as_str().to_owned(),
            action: rule.action.as_str().to_owned(),
            terms: rule.line(),
            filters: rule
                .filters
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
        };
        acl.rules.iter().enumerate().map(view).collect()
    }

    /// How a client's address was found, by the steps kept with it.
    pub(super) fn explain_peer(&self, peer: &Peer, listener: &str) -> Result<ExplainView, Failure> {
        let snapshot = self.node.snapshot.load_full();
        let runtime = snapshot.listeners.get(listener);
        let runtime = runtime.ok_or_else(|| Failure::NotFound(format!("listener {listener}")))?;
        let policy = doors::policy(&runtime.config, &snapshot.config).map_err(Failure::Internal)?;
        explain::view(&Explanation::of_peer(&policy, listener, peer))
    }

    /// What the running configuration would make of these bytes and fields.
    pub(super) fn explain_request(&self, request: &ExplainRequest) -> Result<ExplainView, Failure> {
        let snapshot = self.node.snapshot.load_full();
        let runtime = snapshot.listeners.get(request.listener.as_str());
        let runtime = runtime.ok_or_else(|| Failure::NotFound(format!("listener {}", request.listener)))?;
        let policy = doors::policy(&runtime.config, &snapshot.config).map_err(Failure::Internal)?;
        explain::answer(&policy, request)
    }

    /// What the rules in force say, and which one decides: to supposed facts, or to those of a live client.
    pub(super) async fn test_rules(&self, request: AclTestRequest) -> Result<AclTestView, Failure> {
        let snapshot = self.node.snapshot.load_full();
        let live = request.live.clone();
        let question = Question::new(request).map_err(Failure::Usage)?;
        let Some(id) = live else {
            return Ok(question::view(&question.explain(&snapshot.acl)));
        };
        let ask = move |shard: &mut Shard, id: &str| {
            let client = shard.client_by_id(id)?;
            let conn = client.conn.as_ref()?;
            let subject = permission::subject(client, conn);
            Some(question.explain_for(&snapshot.acl, subject.facts()))
        };
        let explanation = self.with_client(&id, ask).await?;
        let explanation =
            explanation.ok_or_else(|| Failure::NotFound(format!("connection of client {id}")))?;
        Ok(question::view(&explanation))
    }
}
