//! `peername explain` and `proxies`.

use clap::{Args as ClapArgs, Subcommand};

use super::super::client::{Query, encode};
use super::super::text::{Table, line};
use super::super::{Ctl, CtlError, Done};
use crate::admin::explain::unhex;
use crate::admin::hex;
use crate::admin::views::{ExplainRequest, ExplainView, ProxyView};
use crate::cli::Exit;

/// About the client's address.
#[derive(Debug, Subcommand)]
pub enum Peername {
    /// How the address of a client was found, or would be
    Explain(Explain),
}

/// A live client, or a made-up connection.
#[derive(Debug, ClapArgs)]
pub struct Explain {
    /// Client id: shows the steps kept from its connection
    #[arg(required_unless_present = "listener", conflicts_with = "Args")]
    id: Option<String>,
    #[command(flatten)]
    args: Option<Args>,
}

/// A made-up connection: which listener, from where, with which bytes and fields.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Listener
    #[arg(long, value_name = "NAME", required = true)]
    listener: String,
    /// Address of the accepted socket: ip:port, [ip]:port or unix
    #[arg(long, value_name = "ADDR", required = true)]
    socket: String,
    /// PROXY header as hex
    #[arg(long, value_name = "HEX", conflicts_with = "proxy_text")]
    proxy_hex: Option<String>,
    /// PROXY v1 header as text; \r, \n, \t, \\ and \xNN are understood
    #[arg(long, value_name = "TEXT")]
    proxy_text: Option<String>,
    /// A field of the upgrade request, 'Name: value' (repeatable, in order)
    #[arg(long = "header", value_name = "FIELD")]
    headers: Vec<String>,
}

/// The PROXY bytes of the arguments.
fn proxy_bytes(args: &Args) -> Result<Vec<u8>, String> {
    if let Some(hex) = &args.proxy_hex {
        return unhex(hex).ok_or_else(|| "--proxy-hex: pairs of hex digits are wanted".to_owned());
    }
    args.proxy_text
        .as_deref()
        .map_or_else(|| Ok(Vec::new()), unescape)
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        let escape = after.chars().next().unwrap_or(' ');
        let (byte, length) = match escape {
            'r' => (b'\r', 1),
            'n' => (b'\n', 1),
            't' => (b'\t', 1),
            '\\' => (b'\\', 1),
            'x' => {
                let hex = after
                    .get(1..3)
                    .and_then(unhex)
                    .and_then(|bytes| bytes.first().copied());
                (hex.ok_or("--proxy-text: \\x wants two hex digits")?, 3)
            }
            other => return Err(format!("--proxy-text: \\{other} is not understood")),
        };
        out.push(byte);
        rest = after.get(length..).unwrap_or_default();
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

/// `Name: value` as a pair.
fn fields(args: &Args) -> Result<Vec<(String, String)>, String> {
    let pair = |field: &String| {
        let (name, value) = field
            .split_once(':')
            .ok_or_else(|| format!("--header: `{field}` has no colon"))?;
        Ok((name.to_owned(), value.trim().to_owned()))
    };
    args.headers.iter().map(pair).collect()
}

/// The arguments as the API takes them; the error says what is wrong with them.
pub(crate) fn explain_request(args: Args) -> Result<ExplainRequest, String> {
    let bytes = proxy_bytes(&args)?;
    Ok(ExplainRequest {
        headers: fields(&args)?,
        listener: args.listener,
        socket: args.socket,
        proxy_hex: (!bytes.is_empty()).then(|| hex(&bytes)),
    })
}

pub(super) async fn explain(explain: Explain, ctl: &mut Ctl<'_>) -> Done {
    let answer = match (explain.id, explain.args) {
        (Some(id), _) => {
            ctl.client
                .get(&format!("/clients/{}/peername", encode(&id)), Query::default())
                .await?
        }
        (None, Some(args)) => {
            let request = explain_request(args).map_err(CtlError::Usage)?;
            ctl.client.post("/peername/explain", &request).await?
        }
        (None, None) => {
            return Err(CtlError::Usage(
                "a client id, or --listener and --socket".to_owned(),
            ));
        }
    };
    let view = ctl.print(answer, |ctl, view: &ExplainView| {
        view.text
            .iter()
            .try_for_each(|text| writeln!(ctl.out, "{}", line(text)))
    })?;
    Ok(if view.outcome == "accept" {
        Exit::Done
    } else {
        Exit::No
    })
}

pub(super) async fn proxies(ctl: &mut Ctl<'_>) -> Done {
    let answer = ctl.client.get("/proxies", Query::default()).await?;
    ctl.print(answer, |ctl, proxies: &Vec<ProxyView>| {
        let mut table = Table::new(&[
            "LISTENER",
            "SOCKET",
            "HOPS",
            "CLIENTS",
            "CONNECTIONS",
            "VIA",
            "ENTRY",
            "ORIGIN",
            "LAST_SEEN",
            "NOTES",
        ]);
        let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        for proxy in proxies {
            table.row([
                proxy.listener.clone(),
                proxy.socket.clone(),
                if proxy.hops.is_empty() {
                    "-".to_owned()
                } else {
                    proxy.hops.join(" <- ")
                },
                proxy.clients.to_string(),
                proxy.connections.to_string(),
                proxy.via.map_or("-", |via| via.as_str()).to_owned(),
                dash(&proxy.entry),
                dash(&proxy.origin),
                proxy
                    .last_seen
                    .map_or_else(|| "-".to_owned(), |at| at.to_string()),
                proxy.notes.join(","),
            ]);
        }
        table.write(ctl.out)
    })?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_bytes_as_text() {
        assert_eq!(
            unescape(r"PROXY UNKNOWN\r\n\x00\\").unwrap(),
            b"PROXY UNKNOWN\r\n\0\\"
        );
        assert!(unescape(r"\x0").is_err());
        assert!(unescape(r"\q").is_err());
        assert!(unescape(r"end\").is_err());
    }
}
