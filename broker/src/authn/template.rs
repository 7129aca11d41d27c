//! `${clientid}` and its like in the requests of `[auth.http]` and the claims of `[auth.jwt]`.
//!
//! What does not live here: who uses them (`http`, `jwt`).

use super::chain::Credentials;

/// Names that a template may hold between `${` and `}`.
const NAMES: [&str; 10] = [
    "clientid", "username", "password", "peerhost", "peerport", "kind", "via", "socket", "listener", "cn",
];

/// The template filled with facts about the client, each first sent through `quote`. A fact that is not known is
/// empty; what is no placeholder of ours stays as it stands.
pub(super) fn fill(template: &str, shown: &Credentials<'_>, quote: impl Fn(&str) -> String) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        match after.split_once('}') {
            Some((name, behind)) if NAMES.contains(&name) => {
                filled.push_str(&quote(&fact(name, shown)));
                rest = behind;
            }
            _ => {
                filled.push_str("${");
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

fn fact(name: &str, shown: &Credentials<'_>) -> String {
    let peer = shown.peer;
    match name {
        "clientid" => shown.client_id.to_owned(),
        "username" => shown.username.unwrap_or_default().to_owned(),
        "password" => String::from_utf8_lossy(shown.password.unwrap_or_default()).into_owned(),
        "peerhost" => peer.peername().addr().host_text().to_string(),
        "peerport" => peer.peername().port().to_string(),
        "kind" => peer.kind().to_string(),
        "via" => peer.source().to_string(),
        "socket" => peer.socket().to_string(),
        "listener" => shown.listener.to_owned(),
        "cn" => shown.cn.unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}
