//! Every normative statement of MQTT 3.1.1 and 5.0 that binds a server, at a real socket. The comment of a test names
//! the statements it shows, by version; `docs/conformance.md` lists all statements with their tests.

mod connect;
mod errors;
mod forward;
mod qos;
mod retained;
mod session;
mod shared;
mod subscribe;
mod v31;
mod will;
mod wire;
