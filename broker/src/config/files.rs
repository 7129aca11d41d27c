//! The files that a configuration names: `config check` opens each that the broker would read, and reads rules,
//! certificates and passwords as the broker does. What does not live here: what these files mean.

use std::path::Path;
use std::sync::Arc;

use listeners::TlsSettings;

use super::finding::{Finding, Severity, io_reason};
use super::keys::{Kind, Reads, find};
use super::origin::{File, KeyPath, Origin, Place};
use super::show::{entries, lookup};
use super::{AuthMethod, Loaded, TlsConfig, Transport, effective};
use crate::authn::Sources;
use crate::{doors, rules};

/// Opens every file named. Those of disabled listeners and of authentication methods that are not in `auth.chain` are left
/// alone; a password or token file missing at its default path is one without entries.
pub fn check(loaded: &Loaded) -> Vec<Finding> {
    let filled = &loaded.values.filled;
    let base = loaded.main.parent().unwrap_or(Path::new("/"));
    let mut findings = Vec::new();
    for entry in entries(filled) {
        let Some(key) = find(&entry.path) else { continue };
        let Kind::Path(reads) = key.kind else { continue };
        let text = entry.value.as_str().unwrap_or_default();
        if reads == Reads::No || text.is_empty() || !is_used(loaded, &entry.path) {
            continue;
        }
        let path = base.join(text);
        let Err(error) = std::fs::File::open(&path).and_then(|file| file.metadata().map(drop)) else {
            continue;
        };
        let at_default = Some(&entry.value) == effective::preset_value(key).as_ref();
        if reads == Reads::May && at_default && error.kind() == std::io::ErrorKind::NotFound {
            continue;
        }
        let message = format!("cannot read {}: {}", path.display(), io_reason(&error));
        let origin = loaded.values.origins.of(&entry.path);
        let finding = Finding::error("CFG006", message).at(origin);
        findings.push(match origin {
            Origin::Default => finding.hint(format!(
                "it is the default of {}",
                super::suggest::shown(&entry.path)
            )),
            _ => finding,
        });
    }
    if findings.is_empty() {
        acl(loaded, &mut findings);
        certificates(loaded, &mut findings);
        if !loaded.config.auth.chain.is_empty()
            && let Err(problem) = Sources::read(&loaded.config.auth)
        {
            findings.extend(problem.lines().map(|line| Finding::error("CFG006", line)));
        }
    }
    findings
}

/// The ACL: its errors, else its warnings.
fn acl(loaded: &Loaded, findings: &mut Vec<Finding>) {
    if loaded.config.acl.file.is_none() {
        return;
    }
    let found = match rules::load(&loaded.config) {
        Ok(policy) => auth::check::warnings(policy.acl(), &rules::environment(&loaded.config)),
        Err(acl) => acl.errors,
    };
    for diagnostic in &found {
        let severity = if diagnostic.code.is_error() {
            Severity::Error
        } else {
            Severity::Warning
        };
        let finding = Finding {
            severity,
            ..Finding::error(diagnostic.code.as_str(), diagnostic.message.clone())
        };
        let finding = match place(diagnostic) {
            Some(place) => finding.at(&Origin::File(place)),
            None => finding,
        };
        findings.push(match &diagnostic.hint {
            auth::Hint::Label(label) => finding.label(label.clone()),
            auth::Hint::Note(note) => finding.hint(note.clone()),
        });
    }
}

fn place(diagnostic: &auth::Diagnostic) -> Option<Place> {
    let text = std::fs::read_to_string(&diagnostic.file).ok()?;
    let line = usize::try_from(diagnostic.pos.line).ok()?.checked_sub(1)?;
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let mut columns = text.get(start..)?.char_indices().map(|(at, _)| start + at);
    let from = columns
        .nth(usize::try_from(diagnostic.pos.col).ok()?.checked_sub(1)?)
        .unwrap_or(start);
    let to = columns
        .nth(usize::try_from(diagnostic.pos.width).ok()?.saturating_sub(1))
        .unwrap_or(text.len());
    let file = File {
        path: diagnostic.file.clone().into(),
        name: diagnostic.file.clone(),
        text,
    };
    Some(Place {
        file: Arc::new(file),
        span: from..to,
    })
}

/// The certificates of enabled listeners and of the API.
fn certificates(loaded: &Loaded, findings: &mut Vec<Finding>) {
    // Somebody else in this process may have chosen it already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let listeners = loaded.config.listeners.iter().filter(|l| l.enabled);
    let own = listeners.filter_map(|l| {
        Some((
            vec!["listeners".into(), l.name.clone(), "tls".into()],
            l.tls.as_ref()?,
            l.transport,
        ))
    });
    let admin = loaded
        .config
        .admin
        .tls
        .as_ref()
        .filter(|_| loaded.config.admin.http_bind.is_some());
    let admin = admin.map(|tls| (vec!["admin".into(), "tls".into()], tls, Transport::Wss));
    for (table, tls, transport) in own.chain(admin) {
        let (table, tls): (KeyPath, &TlsConfig) = (table, tls);
        if let Err(error) = TlsSettings::load(doors::options(tls), transport.into()) {
            let message = format!("{}: {error}", super::suggest::shown(&table));
            findings.push(Finding::error("CFG006", message).at(loaded.values.origins.near(&table)));
        }
    }
}

/// Whether the broker would read the file of a key.
fn is_used(loaded: &Loaded, path: &KeyPath) -> bool {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    let in_chain = |method| loaded.config.auth.chain.contains(&method);
    match parts.as_slice() {
        ["listeners", name, ..] => {
            let enabled = ["listeners", name, "enabled"].map(str::to_owned);
            lookup(&loaded.values.filled, &enabled).and_then(toml::Value::as_bool) != Some(false)
        }
        ["auth", "password_file", ..] => in_chain(AuthMethod::PasswordFile),
        ["auth", "jwt", ..] => in_chain(AuthMethod::Jwt),
        ["auth", "http", ..] => in_chain(AuthMethod::Http) || loaded.config.auth.http.acl_url.is_some(),
        ["auth", "scram", ..] => in_chain(AuthMethod::Scram),
        ["admin", "tls", ..] => loaded.config.admin.http_bind.is_some(),
        _ => true,
    }
}
