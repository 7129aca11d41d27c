//! nginx: `stream` with PROXY, or `http` with the address headers.

use super::plan::{Certificates, HeaderKind, Plan, Way};

/// The block for nginx.conf.
pub(super) fn text(plan: &Plan) -> Result<String, String> {
    match plan.way {
        Way::Proxy => stream(plan),
        Way::Header => Ok(http(plan)),
    }
}

fn stream(plan: &Plan) -> Result<String, String> {
    if plan.client_tls.is_some_and(|wanted| wanted != Certificates::None) {
        return Err(format!(
            "listeners.{} wants the client's certificate in the PROXY header, which nginx does not send; use haproxy",
            plan.name
        ));
    }
    if plan.client_tls.is_some() {
        return Err(format!(
            "listeners.{} wants the client's TLS in the PROXY header, which nginx does not send; use haproxy",
            plan.name
        ));
    }
    let version = if plan.versions == "v2" {
        "proxy_protocol v2;   # nginx 1.31.4 or newer; before that set proxy_versions = \"any\" and write `on`"
    } else {
        "proxy_protocol on;"
    };
    Ok(format!(
        "# nginx, into nginx.conf beside the http block; needs the stream module
stream {{
  upstream mqtt_{name} {{ server {backend}; }}
  proxy_timeout 3h;
  server {{
    listen {listen};
    proxy_pass mqtt_{name};
    {version}
  }}
}}
",
        name = plan.name,
        backend = plan.backend,
        listen = plan.listen_port(),
    ))
}

fn http(plan: &Plan) -> String {
    let mut fields = vec![
        "proxy_set_header Upgrade $http_upgrade;".to_owned(),
        "proxy_set_header Connection \"upgrade\";".to_owned(),
    ];
    let mut maps = String::new();
    match plan.header_kind {
        HeaderKind::Plain => {
            fields.push(format!(
                "proxy_set_header {} $remote_addr;   # overwrites what a client sent",
                plan.address_header
            ));
        }
        HeaderKind::Forwarded => {
            maps.push_str(
                "  map $remote_addr $mqtt_forwarded {
    ~^[0-9.]+$        \"for=\\\"$remote_addr:$remote_port\\\"\";
    ~^[0-9A-Fa-f:.]+$ \"for=\\\"[$remote_addr]:$remote_port\\\"\";
    default           \"for=unknown\";
  }
",
            );
            fields.push(format!(
                "proxy_set_header {} $mqtt_forwarded;   # overwrites what a client sent",
                plan.address_header
            ));
        }
    }
    if let Some(field) = &plan.port_header {
        fields.push(format!(
            "proxy_set_header {field} $remote_port;   # not $server_port"
        ));
    }
    let scheme = if plan.tls_to_broker {
        fields.push("proxy_ssl_verify on;".to_owned());
        fields.push(
            "proxy_ssl_trusted_certificate /etc/ssl/certs/ca-certificates.crt;   # who signed the broker's"
                .to_owned(),
        );
        fields.push("proxy_ssl_server_name on;".to_owned());
        "https"
    } else {
        "http"
    };
    format!(
        "# nginx, into nginx.conf
http {{
{maps}  upstream ws_{name} {{ server {backend}; }}
  server {{
    listen {listen};
    location {path} {{
      proxy_pass {scheme}://ws_{name};
      proxy_http_version 1.1;
      {fields}
      proxy_read_timeout 3h;
      proxy_send_timeout 3h;
    }}
  }}
}}
",
        name = plan.name,
        backend = plan.backend,
        listen = plan.listen_port(),
        path = plan.path,
        fields = fields.join("\n      "),
    )
}
