//! What an operator does with a running broker: ctl, the HTTPS side, the health port, proxyconf.

mod ctl;
mod http;
mod proxyconf;
