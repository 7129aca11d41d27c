//! Listeners as the configuration has them, turned into what the `listeners` crate takes.
//!
//! What does not live here: accepting and handshakes (`listeners`), the rules about addresses (`peer`).

use std::sync::Arc;

use listeners::{ClientAuth, ListenerSpec, MinVersion, TlsOptions, TlsSettings, WsSettings};
use peer::{Policy, RawPolicy, Value};

use crate::config::units::format_duration;
use crate::config::{self, Config, ListenerConfig, PeernameSettings, TlsConfig};

/// The spec of a listener; the error says what is wrong with its files or addresses.
pub fn spec(listener: &ListenerConfig, config: &Config) -> Result<ListenerSpec, String> {
    let policy = policy(listener, config)?;
    let mut spec = ListenerSpec::new(&listener.name, listener.bind.clone(), Arc::new(policy));
    spec.backlog = listener.backlog;
    spec.login_timeout = listener.login_timeout;
    spec.connect_timeout = listener.mqtt.connect_timeout;
    let limit = |limit: config::Limit| limit.get().map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    spec.max_connections = limit(listener.max_connections);
    spec.max_connections_proxy = limit(listener.max_connections_proxy);
    spec.max_pending = u32::try_from(listener.max_pending).unwrap_or(u32::MAX);
    if let Some(tls) = &listener.tls {
        spec.handshake_timeout = tls.handshake_timeout;
        let settings = TlsSettings::load(options(tls), listener.transport.into());
        spec.tls =
            Some(Arc::new(settings.map_err(|error| {
                format!("listeners.{}.tls: {error}", listener.name)
            })?));
    }
    if let Some(ws) = &listener.websocket {
        let loopback = |origin: &String| origin == "@loopback";
        spec.ws = WsSettings {
            path: ws.path.clone(),
            subprotocols: ws.subprotocols.clone(),
            allowed_origins: ws
                .allowed_origins
                .iter()
                .filter(|o| !loopback(o))
                .cloned()
                .collect(),
            loopback_origin_only: ws.allowed_origins.iter().any(loopback),
            upgrade_max_bytes: usize::try_from(listener.upgrade_max_bytes).unwrap_or(usize::MAX),
            upgrade_max_lines: listener.upgrade_max_lines,
            upgrade_timeout: ws.upgrade_timeout,
        };
    }
    Ok(spec)
}

/// TLS files and settings, as `listeners` takes them.
pub fn options(tls: &TlsConfig) -> TlsOptions {
    TlsOptions {
        cert_file: tls.cert_file.clone(),
        key_file: tls.key_file.clone(),
        client_ca_file: tls.client_ca_file.clone(),
        crl_file: tls.crl_file.clone(),
        client_auth: match tls.client_auth {
            config::ClientAuth::None => ClientAuth::None,
            config::ClientAuth::Optional => ClientAuth::Optional,
            config::ClientAuth::Require => ClientAuth::Require,
        },
        min_version: match tls.min_version {
            config::TlsVersion::V12 => MinVersion::V12,
            config::TlsVersion::V13 => MinVersion::V13,
        },
    }
}

/// Whom the listener believes about addresses.
pub fn policy(listener: &ListenerConfig, config: &Config) -> Result<Policy, String> {
    let raw = raw_policy(&listener.peername, listener.transport.is_websocket());
    let lookup = |name: &str| config.networks.get(name).cloned();
    match raw.check(listener.transport.into(), &lookup).into_result() {
        Ok((policy, _warnings)) => Ok(policy),
        Err(problems) => {
            let texts: Vec<String> = problems
                .iter()
                .map(|p| format!("listeners.{}: {p}", listener.name))
                .collect();
            Err(texts.join("\n"))
        }
    }
}

fn raw_policy(settings: &PeernameSettings, websocket: bool) -> RawPolicy {
    let text = |text: &str| Value::Str(text.to_owned());
    let list = |items: &[String]| Value::List(items.iter().map(|item| Value::Str(item.clone())).collect());
    let int = |n: u32| Value::Int(i64::from(n));
    let mut raw = RawPolicy::default();
    raw.set("proxy_protocol", text(&settings.proxy_protocol))
        .set("proxy_versions", text(&settings.proxy_versions))
        .set("trusted_proxies", list(&settings.trusted_proxies))
        .set("untrusted_proxy_header", text(&settings.untrusted_proxy_header))
        .set(
            "proxy_header_timeout",
            text(&format_duration(settings.proxy_header_timeout)),
        )
        .set("proxy_header_max", int(settings.proxy_header_max))
        .set("proxy_local", text(&settings.proxy_local))
        .set("proxy_unknown", text(&settings.proxy_unknown))
        .set("pp2_require_tls", Value::Bool(settings.pp2_require_tls))
        .set(
            "pp2_require_client_cert",
            Value::Bool(settings.pp2_require_client_cert),
        )
        .set("pp2_cn_as_username", Value::Bool(settings.pp2_cn_as_username))
        .set(
            "pp2_expose_tlvs",
            Value::List(
                settings
                    .pp2_expose_tlvs
                    .iter()
                    .map(|&n| Value::Int(n.into()))
                    .collect(),
            ),
        );
    if !websocket || settings.address_header.is_empty() {
        return raw;
    }
    raw.set("address_header", text(&settings.address_header))
        .set("address_header_kind", text(&settings.address_header_kind))
        .set("port_header", text(&settings.port_header))
        .set("strategy", text(&settings.strategy))
        .set("edge_overwrites", Value::Bool(settings.edge_overwrites))
        .set("untrusted_header", text(&settings.untrusted_header))
        .set("missing_header", text(&settings.missing_header))
        .set("on_unresolvable", text(&settings.on_unresolvable))
        .set("scope_check", Value::Bool(settings.scope_check))
        .set("header_max_bytes", int(settings.header_max_bytes))
        .set("header_max_elements", int(settings.header_max_elements));
    if let Some(hops) = settings.hops {
        raw.set("hops", Value::Int(hops.into()));
    }
    if let Some(proxies) = &settings.header_trusted_proxies {
        raw.set("header_trusted_proxies", list(proxies));
    }
    raw
}
