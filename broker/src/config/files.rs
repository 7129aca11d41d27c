//! The files that a configuration names: `config check` opens each that the broker would read. What does not live here:
//! what is in them, which is for those who read them.

use std::path::Path;

use super::finding::{Finding, io_reason};
use super::keys::{Kind, Reads, find};
use super::origin::{KeyPath, Origin};
use super::show::{entries, lookup};
use super::{AuthMethod, Loaded, effective};

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
    findings
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
