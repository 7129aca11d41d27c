//! Peername on the running broker: the doctor before misconfigured proxies, limits before login, facts of TLVs, the
//! shared vectors through real sockets, `explain`, and what a reload re-evaluates.

mod doctor;
mod explain;
mod limits;
mod recheck;
mod tlv;
mod vectors;
