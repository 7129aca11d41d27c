//! The facts and the action of a question to the rules, as flags: `broker acl test` and `broker ctl acl test`.

use clap::Args;

use crate::admin::views::AclTestRequest;

/// Facts and action. What is not given is unknown.
#[derive(Clone, Debug, Default, Args)]
pub struct FactArgs {
    /// Peername's address
    #[arg(long, value_name = "ADDR")]
    pub ip: Option<String>,
    /// Socket's address
    #[arg(long, value_name = "ADDR")]
    pub socket: Option<String>,
    /// client (if not given) or proxy
    #[arg(long, value_parser = ["client", "proxy"])]
    pub kind: Option<String>,
    /// Where the address came from
    #[arg(long, value_parser = ["socket", "proxy_v1", "proxy_v2", "header"])]
    pub via: Option<String>,
    /// Listener
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,
    /// Username
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Client id
    #[arg(long, value_name = "ID")]
    pub client: Option<String>,
    /// Certificate's common name
    #[arg(long, value_name = "NAME")]
    pub cn: Option<String>,
    /// Certificate's alternative names, comma-separated
    #[arg(long, value_name = "NAMES")]
    pub san: Option<String>,
    /// TLS server name
    #[arg(long, value_name = "NAME")]
    pub sni: Option<String>,
    /// Cloud endpoint id
    #[arg(long, value_name = "ID")]
    pub vpce: Option<String>,
    /// Authenticated or not
    #[arg(long, value_parser = ["yes", "no"])]
    pub auth: Option<String>,
    /// Who ended TLS: we, a proxy, nobody
    #[arg(long, value_parser = ["yes", "proxy", "no"])]
    pub tls: Option<String>,
    /// QoS
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub qos: Option<u8>,
    /// Retained publish
    #[arg(long, value_parser = ["yes", "no"])]
    pub retain: Option<String>,
    /// Shared subscription
    #[arg(long, value_parser = ["yes", "no"])]
    pub shared: Option<String>,
    /// Test the connect
    #[arg(long)]
    pub connect: bool,
    /// Test a publish to this topic
    #[arg(long, value_name = "TOPIC")]
    pub publish: Option<String>,
    /// Test a subscribe to this filter
    #[arg(long, value_name = "FILTER")]
    pub subscribe: Option<String>,
    /// Show rules of other actions too
    #[arg(long)]
    pub all: bool,
}

impl FactArgs {
    /// Whether any fact but the client id is given.
    pub fn has_other_facts(&self) -> bool {
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

    /// As the API takes it; no live client is meant.
    pub fn request(self) -> AclTestRequest {
        let yes = |text: Option<String>| text.map(|text| text == "yes");
        AclTestRequest {
            live: None,
            client: self.client,
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
