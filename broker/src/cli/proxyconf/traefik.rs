//! Traefik 3: the entry point for the static file and the rest for the file provider, in one YAML document each.

use super::plan::{HeaderKind, Plan, Way};

/// Both documents.
pub(super) fn text(plan: &Plan) -> Result<String, String> {
    if plan.client_tls.is_some() {
        return Err(format!(
            "listeners.{} wants the client's TLS in the PROXY header, which Traefik does not send; use haproxy",
            plan.name
        ));
    }
    let dynamic = match plan.way {
        Way::Proxy => tcp(plan),
        Way::Header => http(plan)?,
    };
    let address = match plan.listen.ip() {
        ip if ip.is_unspecified() => format!(":{}", plan.listen.port()),
        _ => plan.listen.to_string(),
    };
    Ok(format!(
        "# traefik.yml (static)
entryPoints:
  {name}:
    address: \"{address}\"
    transport:
      respondingTimeouts: {{readTimeout: 0s, idleTimeout: 3h}}
---
# a file of the file provider (dynamic)
{dynamic}",
        name = plan.name
    ))
}

fn tcp(plan: &Plan) -> String {
    let version = if plan.versions == "v1" { 1 } else { 2 };
    format!(
        "tcp:
  routers:
    {name}:
      entryPoints: [{name}]
      rule: \"HostSNI(`*`)\"
      service: broker_{name}
  services:
    broker_{name}:
      loadBalancer:
        serversTransport: proxy_{name}
        servers:
        - address: \"{backend}\"
  serversTransports:
    proxy_{name}:
      proxyProtocol: {{version: {version}}}
",
        name = plan.name,
        backend = plan.backend,
    )
}

fn http(plan: &Plan) -> Result<String, String> {
    let sends = ["x-forwarded-for", "x-real-ip"];
    if plan.header_kind == HeaderKind::Forwarded
        || !sends.contains(&plan.address_header.to_ascii_lowercase().as_str())
    {
        return Err(format!(
            "Traefik sends X-Forwarded-For and X-Real-Ip, not {}; set listeners.{}.address_header to one of them",
            plan.address_header, plan.name
        ));
    }
    if let Some(field) = &plan.port_header {
        return Err(format!(
            "Traefik sends no client port ({field} would be the server's); set listeners.{}.port_header = \"\"",
            plan.name
        ));
    }
    let scheme = if plan.tls_to_broker { "https" } else { "http" };
    Ok(format!(
        "http:
  routers:
    {name}:
      entryPoints: [{name}]
      rule: \"PathPrefix(`{path}`)\"
      service: broker_{name}
  services:
    broker_{name}:
      loadBalancer:
        servers:
        - url: \"{scheme}://{backend}\"
",
        name = plan.name,
        path = plan.path,
        backend = plan.backend,
    ))
}
