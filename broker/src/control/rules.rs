//! Rules and addresses: the ACL in force, and how an address was or would be found.

use peer::{Addr, Explanation, Peer};

use super::Control;
use crate::admin::problem::Failure;
use crate::admin::views::{AclRuleView, ExplainRequest, ExplainView};
use crate::doors;

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
        view(&Explanation::of_peer(&policy, listener, peer))
    }

    /// What the running configuration would make of these bytes and fields.
    pub(super) fn explain_request(&self, request: &ExplainRequest) -> Result<ExplainView, Failure> {
        let snapshot = self.node.snapshot.load_full();
        let runtime = snapshot.listeners.get(request.listener.as_str());
        let runtime = runtime.ok_or_else(|| Failure::NotFound(format!("listener {}", request.listener)))?;
        let policy = doors::policy(&runtime.config, &snapshot.config).map_err(Failure::Internal)?;
        let socket: Addr = request
            .socket
            .parse()
            .map_err(|_| Failure::Usage(format!("`{}` is no address", request.socket)))?;
        let bytes = match &request.proxy_hex {
            Some(text) => unhex(text).ok_or_else(|| Failure::Usage("proxy_hex is no hex".to_owned()))?,
            None => Vec::new(),
        };
        let fields: Vec<(&[u8], &[u8])> = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        view(&Explanation::resolve(
            &policy,
            &request.listener,
            socket,
            &bytes,
            &fields,
        ))
    }
}

/// An explanation as the API has it.
fn view(explanation: &Explanation<'_>) -> Result<ExplainView, Failure> {
    let json = serde_json::to_value(explanation).map_err(|error| Failure::Internal(error.to_string()))?;
    let serde_json::Value::Object(mut result) = json else {
        return Err(Failure::Internal("an explanation is no object".to_owned()));
    };
    result.remove("outcome");
    Ok(ExplainView {
        outcome: explanation.outcome().name().to_owned(),
        result,
        text: explanation.lines(),
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
