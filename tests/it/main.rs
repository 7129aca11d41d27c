//! The broker from outside: one binary, a module for each family of tests.

mod bad_input;
mod clients;
mod conformance;
mod credentials;
mod durable;
mod operator;
mod proxies;
mod readme;
mod session;
mod tidy;
mod wire;
