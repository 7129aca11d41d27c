//! NGINX stream: PROXY v1, one layer and two.

use super::{LB1, LB2, Seen, broker, everybody_sees_the_client};
use tests::link::Dial;
use tests::process::free;
use tests::proxies::nginx;

const REQUIRED: &str = "proxy_protocol = \"required\"\nproxy_versions = \"v1\"";

#[test]
fn one_layer() {
    let broker = broker("tcp", REQUIRED);
    let (backend, lb1) = (broker.addr("lb"), free(LB1));
    let _nginx = nginx(
        &format!(
            "stream {{ server {{ listen {lb1}; proxy_pass {backend}; proxy_bind {LB1}; proxy_protocol on; }} }}"
        ),
        &[lb1],
    );
    let seen = Seen {
        port: true,
        via: "proxy_v1",
        socket: LB1,
        chain: &[LB1],
    };
    everybody_sees_the_client(&broker, &Dial::to(lb1), &seen);
}

/// The outer balancer names the client; the inner one passes bytes on without looking at them.
#[test]
fn two_layers_of_which_the_inner_one_passes_the_header_on() {
    let broker = broker("tcp", REQUIRED);
    let (backend, lb1, lb2) = (broker.addr("lb"), free(LB1), free(LB2));
    let _nginx = nginx(
        &format!(
            "stream {{
               server {{ listen {lb1}; proxy_pass {lb2}; proxy_bind {LB1}; proxy_protocol on; }}
               server {{ listen {lb2}; proxy_pass {backend}; proxy_bind {LB2}; }}
             }}"
        ),
        &[lb1, lb2],
    );
    let seen = Seen {
        port: true,
        via: "proxy_v1",
        socket: LB2,
        chain: &[LB2],
    };
    everybody_sees_the_client(&broker, &Dial::to(lb1), &seen);
}

/// The inner balancer reads the header of the outer one and sends its own, with the same client.
#[test]
fn two_layers_of_which_the_inner_one_takes_the_address_and_sends_its_own_header() {
    let broker = broker("tcp", REQUIRED);
    let (backend, lb1, lb2) = (broker.addr("lb"), free(LB1), free(LB2));
    let _nginx = nginx(
        &format!(
            "stream {{
               server {{ listen {lb1}; proxy_pass {lb2}; proxy_bind {LB1}; proxy_protocol on; }}
               server {{ listen {lb2} proxy_protocol; set_real_ip_from {LB1};
                         proxy_pass {backend}; proxy_bind {LB2}; proxy_protocol on; }}
             }}"
        ),
        &[lb1, lb2],
    );
    let seen = Seen {
        port: true,
        via: "proxy_v1",
        socket: LB2,
        chain: &[LB2],
    };
    everybody_sees_the_client(&broker, &Dial::to(lb1), &seen);
}
