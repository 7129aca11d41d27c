//! NGINX http in front of a WebSocket listener: the address stands in header fields.

use super::{LB1, LB2, LB3, Seen, broker, everybody_sees_the_client};
use std::net::SocketAddr;
use tests::link::Dial;
use tests::process::free;
use tests::proxies::nginx;

const HEADERS: &str = "address_header = \"X-Forwarded-For\"\nport_header = \"X-Forwarded-Port\"";

const OVERWRITE: &str =
    "proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Port $remote_port;";
const APPEND: &str = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; \
                      proxy_set_header X-Forwarded-Port \"$http_x_forwarded_port, $remote_port\";";

/// A server that passes WebSockets on to `to`, from the address it listens on itself.
fn server(listen: SocketAddr, to: SocketAddr, fields: &str) -> String {
    format!(
        "server {{ listen {listen}; location /mqtt {{ proxy_pass http://{to}; proxy_bind {}; proxy_http_version 1.1;
           proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\"; {fields} }} }}\n",
        listen.ip()
    )
}

#[test]
fn one_layer() {
    let broker = broker("ws", HEADERS);
    let lb1 = free(LB1);
    let _nginx = nginx(
        &format!("http {{ {} }}", server(lb1, broker.addr("lb"), OVERWRITE)),
        &[lb1],
    );
    let seen = Seen {
        port: true,
        via: "header",
        socket: LB1,
        chain: &[LB1],
    };
    everybody_sees_the_client(&broker, &Dial::to(lb1).ws(), &seen);
}

#[test]
fn two_layers_and_a_client_that_forges_the_header() {
    let broker = broker("ws", HEADERS);
    let (lb1, lb2) = (free(LB1), free(LB2));
    let servers = server(lb1, lb2, OVERWRITE) + &server(lb2, broker.addr("lb"), APPEND);
    let _nginx = nginx(&format!("http {{ {servers} }}"), &[lb1, lb2]);
    let forging = Dial::to(lb1)
        .field("X-Forwarded-For", "127.0.0.1, 127.16.0.116")
        .field("X-Forwarded-Port", "1, 2")
        .field("X-Real-IP", "127.0.0.1");
    let seen = Seen {
        port: true,
        via: "header",
        socket: LB2,
        chain: &[LB2, LB1],
    };
    everybody_sees_the_client(&broker, &forging, &seen);
}

/// The inner layers only append, so that what the client wrote reaches the broker: it is not believed.
#[test]
fn two_layers_that_append_what_a_client_forged() {
    let broker = broker("ws", HEADERS);
    let (lb1, lb2) = (free(LB1), free(LB2));
    let servers = server(lb1, lb2, APPEND) + &server(lb2, broker.addr("lb"), APPEND);
    let _nginx = nginx(&format!("http {{ {servers} }}"), &[lb1, lb2]);
    let forging = Dial::to(lb1)
        .field("X-Forwarded-For", "127.0.0.1")
        .field("X-Forwarded-Port", "1");
    let seen = Seen {
        port: true,
        via: "header",
        socket: LB2,
        chain: &[LB2, LB1],
    };
    everybody_sees_the_client(&broker, &forging, &seen);
}

/// The innermost one walks the header itself and tells the result as X-Real-IP: no port comes with it.
#[test]
fn three_layers_with_real_ip_recursive() {
    let broker = broker("ws", "address_header = \"X-Real-IP\"");
    let (lb1, lb2, lb3) = (free(LB1), free(LB2), free(LB3));
    let walk = "set_real_ip_from 127.16.0.0/24; real_ip_header X-Forwarded-For; real_ip_recursive on;
                proxy_set_header X-Real-IP $remote_addr;";
    let servers =
        server(lb1, lb2, OVERWRITE) + &server(lb2, lb3, APPEND) + &server(lb3, broker.addr("lb"), walk);
    let _nginx = nginx(&format!("http {{ {servers} }}"), &[lb1, lb2, lb3]);
    let forging = Dial::to(lb1)
        .field("X-Forwarded-For", "127.0.0.1")
        .field("X-Real-IP", "127.0.0.1");
    let seen = Seen {
        port: false,
        via: "header",
        socket: LB3,
        chain: &[LB3],
    };
    everybody_sees_the_client(&broker, &forging, &seen);
}
