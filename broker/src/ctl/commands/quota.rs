//! `quota list|show|reset`.

use std::io;

use clap::Subcommand;

use super::super::client::{Query, encode};
use super::super::text::Table;
use super::super::{Ctl, Done};
use super::clients::{footer, pages};
use crate::admin::views::QuotaView;
use crate::cli::Exit;

/// What to do with quotas.
#[derive(Debug, Subcommand)]
pub enum Quota {
    /// The busiest prefixes
    List {
        /// How many
        #[arg(long, default_value_t = 20)]
        top: usize,
    },
    /// The prefix of an address
    Show {
        /// Address
        ip: String,
    },
    /// Fill its buckets again
    Reset {
        /// Address
        ip: String,
    },
}

pub(super) async fn run(command: Quota, ctl: &mut Ctl<'_>) -> Done {
    match command {
        Quota::List { top } => {
            let (answer, mut meta) = pages(ctl, "/quota", &Query::default(), top.max(1)).await?;
            meta.next = None;
            ctl.print(answer, |ctl, quotas: &Vec<QuotaView>| {
                table(ctl, quotas)?;
                footer(ctl, quotas.len(), &meta, "prefix")
            })?;
        }
        Quota::Show { ip } => {
            let answer = ctl
                .client
                .get(&format!("/quota/{}", encode(&ip)), Query::default())
                .await?;
            ctl.print(answer, |ctl, quota: &QuotaView| {
                table(ctl, std::slice::from_ref(quota))
            })?;
        }
        Quota::Reset { ip } => {
            let answer = ctl.client.delete(&format!("/quota/{}", encode(&ip))).await?;
            ctl.print(answer, |ctl, quota: &QuotaView| {
                table(ctl, std::slice::from_ref(quota))
            })?;
        }
    }
    Ok(Exit::Done)
}

fn table(ctl: &mut Ctl<'_>, quotas: &[QuotaView]) -> io::Result<()> {
    let mut table = Table::new(&[
        "PREFIX",
        "CONNECTIONS",
        "PENDING",
        "CONNECT_RATE",
        "PUBLISH_RATE",
        "PUBLISH_BYTES",
        "SUBS",
        "REJECTED",
    ]);
    let of = |used: u64, limit: Option<u64>| {
        limit.map_or_else(|| used.to_string(), |limit| format!("{used}/{limit}"))
    };
    let rate = |limit: Option<f64>| limit.map_or_else(|| "-".to_owned(), |limit| format!("{limit}/s"));
    for quota in quotas {
        let limits = &quota.limits;
        table.row([
            quota.prefix.clone(),
            of(quota.connections, limits.max_connections),
            of(quota.pending, limits.max_pending),
            rate(limits.connect_rate),
            rate(limits.publish_rate),
            rate(limits.publish_bytes),
            of(quota.subscriptions, limits.max_subscriptions),
            quota.rejected.to_string(),
        ]);
    }
    table.write(ctl.out)
}
