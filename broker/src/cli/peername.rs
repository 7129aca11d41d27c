//! `broker peername explain`: what a configuration would make of a connection, without a broker.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Exit;
use super::config::ConfigArgs;
use crate::admin::explain;
use crate::admin::problem::Failure;
use crate::admin::views::{ExplainRequest, ExplainView};
use crate::config::Config;
use crate::ctl::text::{json, line};
use crate::ctl::{ExplainArgs, explain_request};

/// `broker peername ...`
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// How the client's address would be found, step by step
    Explain {
        #[command(flatten)]
        connection: ExplainArgs,
        /// Print the result and its steps as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        from: ConfigArgs,
    },
}

impl Command {
    /// Does what was asked.
    pub(super) fn run(self) -> ExitCode {
        let What::Explain {
            connection,
            json,
            from,
        } = self.what;
        let exit = from.load().and_then(|loaded| {
            let request = explain_request(connection).map_err(|text| wrong(&text, Exit::Usage))?;
            let view = resolve(&loaded.config, &request).map_err(|failure| {
                let exit = if matches!(failure, Failure::Usage(_)) {
                    Exit::Usage
                } else {
                    Exit::No
                };
                wrong(&failure.problem().detail, exit)
            })?;
            print(&view, json);
            Ok(if view.outcome == "accept" {
                Exit::Done
            } else {
                Exit::No
            })
        });
        exit.unwrap_or_else(|exit| exit).into()
    }
}

fn wrong(text: &str, exit: Exit) -> Exit {
    eprintln!("error: {}", line(text));
    exit
}

fn resolve(config: &Config, request: &ExplainRequest) -> Result<ExplainView, Failure> {
    let listener = config
        .listeners
        .iter()
        .find(|listener| listener.name == request.listener);
    let listener = listener.ok_or_else(|| Failure::NotFound(format!("listener {}", request.listener)))?;
    explain::answer(&listener.policy, request)
}

fn print(view: &ExplainView, as_json: bool) {
    if as_json {
        println!("{}", json(&serde_json::to_value(view).unwrap_or_default()));
        return;
    }
    for text in &view.text {
        println!("{}", line(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::Surroundings;
    use crate::config::{LocalPaths, Sources, load_in};

    const EXPECT: &str = "\
listener edge (ws) proxy_protocol=off trusted_proxies=10.0.0.0/24 address_header=X-Forwarded-For strategy=rightmost_untrusted
 1 socket     10.0.0.5:443             PROXY stage off
 2 header     X-Forwarded-For          3 element(s); the hop is trusted (10.0.0.0/24)
 3 walk [2]   10.0.0.9                 trusted (10.0.0.0/24): continue
 4 walk [1]   198.51.100.7             not trusted: this is the client
 5 walk [<1]  1 element(s)             left of the client: not examined, could be forged
 6 port       X-Forwarded-Port         2 value(s) for 3 address(es): port unknown
 = peername   198.51.100.7:0           kind=client source=header(X-Forwarded-For, rightmost_untrusted, 1)
   chain      10.0.0.5:443 <- 10.0.0.9:0
   warnings   W_PORT_MISALIGNED";

    #[test]
    fn a_file_explains_as_the_document_shows() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("broker.toml");
        let text = "[listeners.edge]\ntransport = \"ws\"\nbind = \"127.0.0.1:8083\"\ntrusted_proxies = [\"10.0.0.0/24\"]\n\
                    address_header = \"X-Forwarded-For\"\nport_header = \"X-Forwarded-Port\"\n";
        std::fs::write(&file, text).unwrap();
        let around = Surroundings {
            vars: Vec::new(),
            working_dir: dir.path().to_path_buf(),
            default_file: file.clone(),
            local: LocalPaths::new(None, None, None),
        };
        let loaded = load_in(
            &Sources {
                file: Some(file),
                set: Vec::new(),
            },
            &around,
        )
        .unwrap();
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut request = ExplainRequest {
            listener: "edge".into(),
            socket: "10.0.0.5:443".into(),
            proxy_hex: None,
            headers: vec![
                header("X-Forwarded-For", "127.0.0.1, 198.51.100.7, 10.0.0.9"),
                header("X-Forwarded-Port", "61813, 4000"),
            ],
        };
        let view = resolve(&loaded.config, &request).unwrap();
        assert_eq!(view.text.join("\n"), EXPECT);
        assert_eq!(
            (view.outcome.as_str(), &view.result["peername"]),
            ("accept", &"198.51.100.7:0".into())
        );
        request.listener = "none".into();
        assert_eq!(
            resolve(&loaded.config, &request),
            Err(Failure::NotFound("listener none".into()))
        );
        request.listener = "edge".into();
        request.socket = "here".into();
        assert!(matches!(
            resolve(&loaded.config, &request),
            Err(Failure::Usage(_))
        ));
    }
}
