//! `acl rules|test`: the rules in force in the running broker. Files are checked by `broker acl`.

use clap::{ArgGroup, Args, Subcommand};

use super::super::client::Query;
use super::super::text::{Table, line};
use super::super::{Ctl, Done};
use crate::admin::views::{AclRuleView, AclTestRequest, AclTestView};
use crate::cli::Exit;
use crate::cli::facts::FactArgs;

/// What to do with the ACL.
#[derive(Debug, Subcommand)]
pub enum Acl {
    /// The rules in force, in order
    Rules,
    /// Which rule decides, and why not each before it
    Test(Box<TestArgs>),
}

/// Facts and request; `--client` alone takes the facts of that live client.
#[derive(Debug, Default, Args)]
#[command(group(ArgGroup::new("request").required(true).args(["connect", "publish", "subscribe"])))]
pub struct TestArgs {
    #[command(flatten)]
    facts: FactArgs,
    /// Exit 0 if this is the verdict, 1 if not
    #[arg(long, value_parser = ["allow", "deny"])]
    expect: Option<String>,
}

impl TestArgs {
    /// The request to the running broker.
    fn request(self) -> AclTestRequest {
        let live = !self.facts.has_other_facts();
        let mut request = self.facts.request();
        if live {
            request.live = request.client.take();
        }
        request
    }
}

pub(super) async fn run(command: Acl, ctl: &mut Ctl<'_>) -> Done {
    match command {
        Acl::Rules => {
            let answer = ctl.client.get("/acl/rules", Query::default()).await?;
            ctl.print(answer, |ctl, rules: &Vec<AclRuleView>| {
                let mut table = Table::new(&["RULE", "PLACE", "VERDICT", "ACTION", "TERMS", "FILTERS"]);
                for rule in rules {
                    table.row([
                        rule.number.to_string(),
                        line(&rule.place),
                        rule.verdict.clone(),
                        rule.action.clone(),
                        line(&rule.terms),
                        line(&rule.filters),
                    ]);
                }
                table.write(ctl.out)
            })?;
            Ok(Exit::Done)
        }
        Acl::Test(args) => {
            let expect = args.expect.clone().unwrap_or_else(|| "allow".to_owned());
            let answer = ctl.client.post("/acl/test", &args.request()).await?;
            let view = ctl.print(answer, |ctl, view: &AclTestView| {
                view.text
                    .iter()
                    .try_for_each(|text| writeln!(ctl.out, "{}", line(text)))
            })?;
            Ok(if view.verdict == expect {
                Exit::Done
            } else {
                Exit::No
            })
        }
    }
}
