//! The PROXY stage: bytes from the socket to a hop (peername 5).
//! Not here: the address header (`header`), and what the result is called in the end (`outcome`).

mod sniff;
mod stage;
mod tlv;
mod v1;
mod v2;

pub use sniff::{FirstBytes, Signature, signature, sniff};
pub(crate) use stage::socket_step;
pub use stage::{End, ProxyStage, Verdict, after_tls, names_itself};

use crate::addr::Addr;
use crate::code::{Code, Detail, Warnings};
use crate::info::Info;
use crate::peer::{Command, Family};

/// A header that is complete and well formed. Whether it is believed is the stage's business.
struct Header {
    version: u8,
    /// Bytes of the whole header.
    len: usize,
    command: Command,
    family: Family,
    /// Source and destination; `Some` exactly for [`Command::Proxy`].
    ends: Option<(Addr, Addr)>,
    info: Info,
    warnings: Warnings,
}

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bad {
    code: Code,
    detail: Detail,
}

impl Bad {
    fn new(code: Code, detail: &'static str) -> Self {
        Self {
            code,
            detail: Some(detail),
        }
    }
}

/// `Ok(None)`: the bytes so far are the beginning of a header.
type Parsed = Result<Option<Header>, Bad>;
