//! The doors on real sockets: loopback, port 0, no broker behind them.

mod client;
mod world;

mod accept;
mod cuts;
mod deadlines;
mod flow;
mod logs;
mod refusals;
mod tls;
mod vectors;
