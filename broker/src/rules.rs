//! The ACL of a configuration: its files read, what `[networks]` and the listeners give to it, compiled.
//!
//! What does not live here: the language and the decisions (`auth`).

pub mod question;

use std::path::Path;

use auth::{Acl, Env, Loader, Policy};
use peer::TrustSet;

use crate::config::Config;

/// Reads ACL files from the disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files;

impl Loader for Files {
    fn read(&self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        let path = Path::new(pattern);
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or("not a file name")?;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if !name.contains(['*', '?']) {
            return Ok(vec![pattern.to_owned()]);
        }
        let wanted = auth::Pattern::glob(name);
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.to_string()),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let matching = names.filter(|name| wanted.matches(name));
        Ok(matching
            .map(|name| directory.join(name).to_string_lossy().into_owned())
            .collect())
    }
}

/// What a configuration gives to its ACL file.
pub fn environment(config: &Config) -> Env {
    let ranges = |texts: &[String]| -> Vec<peer::Range> {
        let set = TrustSet::parse(texts.iter().map(String::as_str)).unwrap_or_default();
        set.ranges().collect()
    };
    let listed = |texts: &[String]| -> Vec<peer::Range> {
        let resolve = |text: &String| match text.strip_prefix('@').and_then(|name| config.networks.get(name))
        {
            Some(network) => network.clone(),
            None => vec![text.clone()],
        };
        let all: Vec<String> = texts.iter().flat_map(resolve).collect();
        ranges(&all)
            .into_iter()
            .filter(|range| !range.is_wildcard())
            .collect()
    };
    let mut proxies = Vec::new();
    for listener in &config.listeners {
        proxies.extend(listed(&listener.peername.trusted_proxies));
        proxies.extend(
            listener
                .peername
                .header_trusted_proxies
                .iter()
                .flat_map(|texts| listed(texts)),
        );
    }
    Env {
        networks: config
            .networks
            .iter()
            .map(|(name, texts)| (name.clone(), ranges(texts)))
            .collect(),
        proxies,
        names_verified: !config.auth.chain.is_empty(),
    }
}

/// The rules in force under this configuration: those of `acl.file`, or the built-in ones. The error is the ACL
/// with its findings, for rendering.
pub fn load(config: &Config) -> Result<Policy, Box<Acl>> {
    let Some(file) = &config.acl.file else {
        return Ok(Policy::builtin());
    };
    let acl = auth::parse(&file.to_string_lossy(), &Files, &environment(config));
    if acl.errors.is_empty() {
        Policy::compile(acl.clone()).map_err(|_| Box::new(acl))
    } else {
        Err(Box::new(acl))
    }
}
