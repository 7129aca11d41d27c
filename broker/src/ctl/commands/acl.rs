//! `acl rules|test`: the rules in force in the running broker. Files are checked by `broker acl`.

use clap::{ArgGroup, Args, Subcommand};

use super::super::client::Query;
use super::super::text::{Table, line};
use super::super::{Ctl, Done};
use crate::admin::views::{AclRuleView, AclTestRequest, AclTestView};
use crate::cli::Exit;

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
    /// Peername's address
    #[arg(long)]
    pub(crate) ip: Option<String>,
    /// Socket's address
    #[arg(long)]
    pub(crate) socket: Option<String>,
    /// client or proxy
    #[arg(long, value_parser = ["client", "proxy"])]
    pub(crate) kind: Option<String>,
    /// Where the address came from
    #[arg(long, value_parser = ["socket", "proxy_v1", "proxy_v2", "header"])]
    pub(crate) via: Option<String>,
    /// Listener
    #[arg(long)]
    pub(crate) listener: Option<String>,
    /// Username
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Client id
    #[arg(long)]
    pub(crate) client: Option<String>,
    /// Certificate's CN
    #[arg(long)]
    pub(crate) cn: Option<String>,
    /// Certificate's SAN
    #[arg(long)]
    pub(crate) san: Option<String>,
    /// TLS server name
    #[arg(long)]
    pub(crate) sni: Option<String>,
    /// Cloud endpoint id
    #[arg(long)]
    pub(crate) vpce: Option<String>,
    /// Authenticated or not
    #[arg(long, value_parser = ["yes", "no"])]
    pub(crate) auth: Option<String>,
    /// Who ended TLS
    #[arg(long, value_parser = ["yes", "proxy", "no"])]
    pub(crate) tls: Option<String>,
    /// QoS
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: Option<u8>,
    /// Retained publish
    #[arg(long, value_parser = ["yes", "no"])]
    pub(crate) retain: Option<String>,
    /// Shared subscription
    #[arg(long, value_parser = ["yes", "no"])]
    pub(crate) shared: Option<String>,
    /// Test the connect
    #[arg(long)]
    pub(crate) connect: bool,
    /// Test a publish to this topic
    #[arg(long, value_name = "TOPIC")]
    pub(crate) publish: Option<String>,
    /// Test a subscribe to this filter
    #[arg(long, value_name = "FILTER")]
    pub(crate) subscribe: Option<String>,
    /// Show rules of other actions too
    #[arg(long)]
    pub(crate) all: bool,
    /// Exit 0 if this is the verdict, 1 if not
    #[arg(long, value_parser = ["allow", "deny"])]
    pub(crate) expect: Option<String>,
}

impl TestArgs {
    fn has_other_facts(&self) -> bool {
        let facts = [
            &self.ip,
            &self.socket,
            &self.kind,
            &self.via,
            &self.listener,
            &self.user,
            &self.cn,
            &self.san,
            &self.sni,
            &self.vpce,
            &self.auth,
            &self.tls,
        ];
        facts.into_iter().any(Option::is_some)
    }

    /// The request to the running broker.
    fn request(self) -> AclTestRequest {
        let yes = |text: Option<String>| text.map(|text| text == "yes");
        let live = !self.has_other_facts();
        AclTestRequest {
            live: self.client.clone().filter(|_| live),
            client: self.client.filter(|_| !live),
            ip: self.ip,
            socket: self.socket,
            kind: self.kind,
            via: self.via,
            listener: self.listener,
            user: self.user,
            cn: self.cn,
            san: self.san,
            sni: self.sni,
            vpce: self.vpce,
            auth: self.auth,
            tls: self.tls,
            qos: self.qos,
            retain: yes(self.retain),
            shared: yes(self.shared),
            connect: self.connect,
            publish: self.publish,
            subscribe: self.subscribe,
            all: self.all,
        }
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
