//! `broker proxyconf`: the configuration of the proxy in front, from the listener's own settings, and the trust
//! entries it takes on our side. One file per proxy; `plan` is what they all are told.

mod envoy;
mod haproxy;
mod nginx;
mod plan;
#[cfg(test)]
mod tests;
mod traefik;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::Exit;
use super::config::ConfigArgs;
use plan::Plan;

/// `broker proxyconf ...`
#[derive(Debug, Args)]
pub(super) struct Command {
    /// The proxy
    proxy: Proxy,
    /// The listener it stands in front of
    #[arg(long, value_name = "NAME")]
    listener: String,
    /// Where the proxy listens; all addresses and the protocol's port without it
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where the proxy reaches the broker; the listener's own address without it
    #[arg(long, value_name = "ADDR")]
    backend: Option<SocketAddr>,
    #[command(flatten)]
    from: ConfigArgs,
}

/// The proxies we know.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Proxy {
    Nginx,
    Haproxy,
    Envoy,
    Traefik,
}

impl Command {
    /// Prints it.
    pub(super) fn run(self) -> ExitCode {
        let text = self.from.load().and_then(|loaded| {
            let plan = Plan::new(&loaded.config, &self.listener, self.listen, self.backend);
            plan.and_then(|plan| text(self.proxy, &plan)).map_err(|text| {
                eprintln!("error: {text}");
                Exit::No
            })
        });
        match text {
            Ok(text) => {
                print!("{text}");
                Exit::Done.into()
            }
            Err(exit) => exit.into(),
        }
    }
}

/// The configuration, with what the broker has to know about the proxy; or why this proxy cannot do it.
fn text(proxy: Proxy, plan: &Plan) -> Result<String, String> {
    let body = match proxy {
        Proxy::Nginx => nginx::text(plan)?,
        Proxy::Haproxy => haproxy::text(plan)?,
        Proxy::Envoy => envoy::text(plan),
        Proxy::Traefik => traefik::text(plan)?,
    };
    Ok(format!("{body}{}", plan.trust()))
}
