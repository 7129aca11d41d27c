//! `broker acl test --cases FILE`: a policy's tests, to be kept beside it.

use std::path::Path;

use auth::Policy;
use serde::Deserialize;
use serde_json::json;

use super::{Done, count};
use crate::admin::views::AclTestRequest;
use crate::cli::{Exit, print};
use crate::config::finding;
use crate::rules::question::Question;

/// The file: `[[case]]`, `[[case]]`...
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    #[serde(default)]
    case: Vec<toml::Spanned<Case>>,
}

/// One case: the flags of `acl test`, and what is expected.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: Option<String>,
    ip: Option<String>,
    socket: Option<String>,
    kind: Option<String>,
    via: Option<String>,
    listener: Option<String>,
    user: Option<String>,
    client: Option<String>,
    cn: Option<String>,
    san: Option<String>,
    sni: Option<String>,
    vpce: Option<String>,
    auth: Option<YesNo>,
    tls: Option<String>,
    qos: Option<u8>,
    retain: Option<YesNo>,
    shared: Option<YesNo>,
    #[serde(default)]
    connect: bool,
    publish: Option<String>,
    subscribe: Option<String>,
    expect: Verdict,
    line: Option<String>,
}

/// `"yes"` or `true`, `"no"` or `false`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
struct YesNo(bool);

impl TryFrom<toml::Value> for YesNo {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::Boolean(yes) => Ok(Self(yes)),
            toml::Value::String(text) if text == "yes" => Ok(Self(true)),
            toml::Value::String(text) if text == "no" => Ok(Self(false)),
            other => Err(format!("expected \"yes\" or \"no\", found {other}")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Allow,
    Deny,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl Case {
    fn request(self) -> AclTestRequest {
        let yes = |value: Option<YesNo>| value.map(|YesNo(yes)| yes);
        AclTestRequest {
            live: None,
            ip: self.ip,
            socket: self.socket,
            kind: self.kind,
            via: self.via,
            listener: self.listener,
            user: self.user,
            client: self.client,
            cn: self.cn,
            san: self.san,
            sni: self.sni,
            vpce: self.vpce,
            auth: self
                .auth
                .map(|YesNo(yes)| if yes { "yes" } else { "no" }.to_owned()),
            tls: self.tls,
            qos: self.qos,
            retain: yes(self.retain),
            shared: yes(self.shared),
            connect: self.connect,
            publish: self.publish,
            subscribe: self.subscribe,
            all: false,
        }
    }
}

/// What came of a case.
struct Outcome {
    line: usize,
    name: String,
    /// `-deny acl.conf:3 +allow acl.conf:13`, or why it could not be asked.
    difference: Option<String>,
}

pub(super) fn run(policy: &Policy, file: &Path, as_json: bool) -> Done {
    let broken = |reason: &str| {
        eprintln!("error: {}: {}", file.display(), reason.trim_end());
        Exit::No
    };
    let text = std::fs::read_to_string(file).map_err(|error| broken(&finding::io_reason(&error)))?;
    let cases: Cases = toml::from_str(&text).map_err(|error| broken(&error.to_string()))?;
    let outcomes: Vec<Outcome> = cases
        .case
        .into_iter()
        .map(|case| {
            let line = 1 + text
                .get(..case.span().start)
                .unwrap_or_default()
                .matches('\n')
                .count();
            outcome(policy, line, case.into_inner())
        })
        .collect();
    let failed: Vec<&Outcome> = outcomes.iter().filter(|o| o.difference.is_some()).collect();
    if as_json {
        let rows: Vec<_> = outcomes
            .iter()
            .map(|o| json!({ "line": o.line, "name": o.name, "ok": o.difference.is_none(), "difference": o.difference }))
            .collect();
        let whole = json!({ "cases": outcomes.len(), "failed": failed.len(), "results": rows });
        print(&format!("{whole}\n"));
    } else {
        for o in &failed {
            let difference = o.difference.as_deref().unwrap_or_default();
            let name = auth::shown(&o.name);
            print(&format!("{}:{} {name}: {difference}\n", file.display(), o.line));
        }
        print(&format!(
            "{}, {} failed\n",
            count(outcomes.len(), "case"),
            failed.len()
        ));
    }
    Ok(if failed.is_empty() { Exit::Done } else { Exit::No })
}

fn outcome(policy: &Policy, line: usize, case: Case) -> Outcome {
    let name = case.name.clone().unwrap_or_else(|| "case".to_owned());
    let (expect, place) = (case.expect, case.line.clone());
    let difference = match Question::new(case.request()) {
        Err(reason) => Some(reason),
        Ok(question) => {
            let explanation = question.explain(policy);
            let verdict = explanation.decision.effect.as_str();
            let same = verdict == expect.as_str() && place.as_ref().is_none_or(|p| *p == explanation.place);
            (!same).then(|| {
                let wanted = place.map(|p| format!(" {p}")).unwrap_or_default();
                let rule = policy.line(explanation.decision.rule);
                format!(
                    "-{}{wanted} +{verdict} {}  {rule}",
                    expect.as_str(),
                    explanation.place
                )
            })
        }
    };
    Outcome {
        line,
        name,
        difference,
    }
}
