//! The broker from outside: one binary, a module for each family of tests.

mod proxies;
mod readme;
mod tidy;
