//! HAProxy: `mode tcp` with PROXY, or `mode http` with the address headers.

use super::plan::{Certificates, HeaderKind, Plan, Way};

const DEFAULTS: &str = "\
defaults
  timeout connect 5s
  timeout client  3h
  timeout server  3h
";

/// The sections for haproxy.cfg.
pub(super) fn text(plan: &Plan) -> Result<String, String> {
    match plan.way {
        Way::Proxy => tcp(plan),
        Way::Header => Ok(http(plan)),
    }
}

/// Where HAProxy listens: `:1883` for all addresses.
fn bind(plan: &Plan) -> String {
    if plan.listen.ip().is_unspecified() {
        let v6 = if plan.listen.is_ipv6() { "[::]" } else { "" };
        return format!("{v6}:{}", plan.listen.port());
    }
    plan.listen.to_string()
}

/// A check with its own port carries no PROXY header; without one it must send one.
fn check(plan: &Plan) -> (&'static str, String) {
    match plan.health_port {
        Some(port) => ("  option httpchk GET /readyz\n", format!("check port {port}")),
        None if plan.way == Way::Proxy => ("", "check check-send-proxy".to_owned()),
        None => ("", "check".to_owned()),
    }
}

fn tcp(plan: &Plan) -> Result<String, String> {
    let (bind_tls, send) = match (plan.client_tls, plan.versions.as_str()) {
        (Some(_), "v1") => {
            return Err(format!(
                "listeners.{} wants TLS facts, which only PROXY v2 carries; set proxy_versions=\"v2\"",
                plan.name
            ));
        }
        (Some(wanted), _) => {
            let verify = match wanted {
                Certificates::None => String::new(),
                Certificates::Optional => " ca-file /etc/haproxy/clients-ca.pem verify optional".to_owned(),
                Certificates::Required => " ca-file /etc/haproxy/clients-ca.pem verify required".to_owned(),
            };
            (
                format!(" ssl crt /etc/haproxy/certs/{verify}"),
                "send-proxy-v2-ssl-cn",
            )
        }
        (None, "v1") => (String::new(), "send-proxy"),
        (None, _) => (String::new(), "send-proxy-v2"),
    };
    let (option, check) = check(plan);
    Ok(format!(
        "# haproxy.cfg
{DEFAULTS}frontend mqtt_{name}
  mode tcp
  bind {bind}{bind_tls}
  default_backend broker_{name}
backend broker_{name}
  mode tcp
  balance leastconn
{option}  server b1 {backend} {send} {check}
",
        name = plan.name,
        bind = bind(plan),
        backend = plan.backend,
    ))
}

fn http(plan: &Plan) -> String {
    let address = match plan.header_kind {
        HeaderKind::Plain => format!("  http-request set-header {} %[src]\n", plan.address_header),
        // The first is for IPv6; HAProxy's `src ::/0` would meet IPv4 too.
        HeaderKind::Forwarded => format!(
            "  http-request set-header {field} for=\\\"[%[src]]:%[src_port]\\\"
  http-request set-header {field} for=\\\"%[src]:%[src_port]\\\" if {{ src 0.0.0.0/0 }}
",
            field = plan.address_header
        ),
    };
    let port = plan
        .port_header
        .as_ref()
        .map(|field| format!("  http-request set-header {field} %[src_port]\n"));
    let tls = if plan.tls_to_broker {
        " ssl verify required ca-file /etc/ssl/certs/ca-certificates.crt"
    } else {
        ""
    };
    let (option, check) = check(plan);
    format!(
        "# haproxy.cfg
{DEFAULTS}frontend ws_{name}
  mode http
  bind {bind}
{address}{port}  default_backend broker_{name}
backend broker_{name}
  mode http
  timeout tunnel 3h
{option}  server b1 {backend}{tls} {check}
",
        name = plan.name,
        bind = bind(plan),
        port = port.unwrap_or_default(),
        backend = plan.backend,
    )
}
