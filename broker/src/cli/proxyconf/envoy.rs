//! Envoy: a TCP proxy with PROXY to the broker, or an HTTP connection manager that lets upgrades through.

use super::plan::{HeaderKind, Plan, Way};

/// A whole bootstrap file.
pub(super) fn text(plan: &Plan) -> String {
    let (filter, transport) = match plan.way {
        Way::Proxy => (tcp_filter(plan), upstream_proxy(plan)),
        Way::Header => (
            http_filter(plan),
            if plan.tls_to_broker {
                upstream_tls()
            } else {
                String::new()
            },
        ),
    };
    format!(
        "# envoy.yaml
static_resources:
  listeners:
  - name: {name}
    address: {{socket_address: {{address: \"{listen_ip}\", port_value: {listen_port}}}}}
    filter_chains:
    - filters:
{filter}  clusters:
  - name: broker_{name}
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: broker_{name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: \"{backend_ip}\", port_value: {backend_port}}}}}}}
{transport}",
        name = plan.name,
        listen_ip = plan.listen.ip(),
        listen_port = plan.listen.port(),
        backend_ip = plan.backend.ip(),
        backend_port = plan.backend.port(),
    )
}

fn tcp_filter(plan: &Plan) -> String {
    format!(
        "      - name: envoy.filters.network.tcp_proxy
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: {name}
          cluster: broker_{name}
          idle_timeout: 10800s
",
        name = plan.name
    )
}

/// PROXY is sent before anything else, so before the client's own TLS too.
fn upstream_proxy(plan: &Plan) -> String {
    let version = if plan.versions == "v1" { "V1" } else { "V2" };
    format!(
        "    transport_socket:
      name: envoy.transport_sockets.upstream_proxy_protocol
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport
        config: {{version: {version}}}
        transport_socket:
          name: envoy.transport_sockets.raw_buffer
          typed_config:
            \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer
"
    )
}

fn upstream_tls() -> String {
    "    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        common_tls_context:
          validation_context: {trusted_ca: {filename: /etc/ssl/certs/ca-certificates.crt}}
"
    .to_owned()
}

fn http_filter(plan: &Plan) -> String {
    let address = match plan.header_kind {
        HeaderKind::Plain => "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        // Envoy writes IPv6 with brackets and port, as RFC 7239 wants it inside the quotes.
        HeaderKind::Forwarded => "for=\\\"%DOWNSTREAM_REMOTE_ADDRESS%\\\"",
    };
    let mut fields = vec![(plan.address_header.as_str(), address)];
    fields.extend(
        plan.port_header
            .as_deref()
            .map(|field| (field, "%DOWNSTREAM_REMOTE_PORT%")),
    );
    let fields: Vec<String> = fields
        .into_iter()
        .map(|(field, value)| {
            format!(
                "              - {{header: {{key: \"{field}\", value: \"{value}\"}}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}}
"
            )
        })
        .collect();
    let fields = fields.concat();
    format!(
        "      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          use_remote_address: true
          skip_xff_append: true      # the fields below overwrite what a client sent
          upgrade_configs: [{{upgrade_type: websocket}}]
          route_config:
            virtual_hosts:
            - name: {name}
              domains: [\"*\"]
              request_headers_to_add:
{fields}              routes:
              - match: {{prefix: \"{path}\"}}
                route: {{cluster: broker_{name}, timeout: 0s, idle_timeout: 10800s}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
",
        name = plan.name,
        path = plan.path,
    )
}
