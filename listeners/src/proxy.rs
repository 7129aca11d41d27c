//! The PROXY stage on a socket: reads in pieces and asks `peer::ProxyStage` about each. The rules are
//! not here (peername 5 is `peer`'s).

use crate::error::Cause;
use crate::socket::Socket;
use peer::{Addr, Code, End, Hop, Policy, ProxyStage, Reject, Verdict};
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// What the stage leaves to the next ones.
pub(crate) struct Passed {
    pub(crate) hop: Hop,
    /// Bytes after the header: they belong to the next layer.
    pub(crate) rest: Vec<u8>,
}

/// Why the stage ended the connection.
pub(crate) struct Ended {
    pub(crate) cause: Cause,
    /// The refusal, unless it was a quiet end.
    pub(crate) reject: Option<Reject>,
    /// What had arrived.
    pub(crate) seen: Vec<u8>,
}

/// Bytes of a refused header that are read on, and for how long, to see whom it names (peername 11.1).
const READ_ON_MAX: usize = 232;
const READ_ON: Duration = Duration::from_millis(200);

/// Reads until the verdict. A byte does not move `deadline`.
pub(crate) async fn read(
    socket: &mut Socket,
    policy: &Policy,
    addr: Addr,
    deadline: Instant,
) -> Result<Passed, Ended> {
    let mut stage = ProxyStage::new(policy, addr).map_err(|reject| refused(reject, Vec::new()))?;
    let mut verdict = Verdict::Undecided;
    loop {
        match verdict {
            Verdict::Accept { hop, .. } => {
                let rest = stage.into_rest();
                return Ok(Passed { hop, rest });
            }
            Verdict::Reject(reject) => return Err(refused(reject, stage.received().to_vec())),
            Verdict::Close(code) => {
                let (cause, seen) = (Cause::Peername(code, None), stage.received().to_vec());
                return Err(Ended {
                    cause,
                    reject: None,
                    seen,
                });
            }
            Verdict::Undecided => {}
        }
        let pushed = socket.read_with(|bytes| (!bytes.is_empty()).then(|| stage.push(bytes)));
        verdict = match timeout_at(deadline.into(), pushed).await {
            Ok(Ok(Some(verdict))) => verdict,
            // A reset is an end too; the next layer meets it again.
            Ok(Ok(None) | Err(_)) => stage.finish(End::Eof),
            Err(_) => stage.finish(End::Timeout),
        };
    }
}

fn refused(reject: Reject, seen: Vec<u8>) -> Ended {
    Ended {
        cause: Cause::Peername(reject.code(), reject.detail()),
        reject: Some(reject),
        seen,
    }
}

/// Whether a sender that may not speak PROXY says so about itself: then a load balancer keeps the
/// client's address and adds the header as well (D16). `may_read_on` lets it read a little more.
pub(crate) async fn names_itself(
    socket: &mut Socket,
    addr: Addr,
    ended: &Ended,
    may_read_on: impl FnOnce() -> bool,
) -> bool {
    let code = ended.reject.as_ref().map(Reject::code);
    let unheard = [Code::ProxyPeer, Code::ProxyUntrusted, Code::ProxyUnexpected];
    if !code.is_some_and(|code| unheard.contains(&code)) {
        return false;
    }
    let mut bytes = ended.seen.clone();
    if let Some(same) = peer::names_itself(&addr, &bytes) {
        return same;
    }
    if !may_read_on() {
        return false;
    }
    let deadline = Instant::now() + READ_ON;
    while bytes.len() < READ_ON_MAX {
        let more = socket.read_with(|more| {
            bytes.extend_from_slice(more);
            !more.is_empty()
        });
        if !matches!(timeout_at(deadline.into(), more).await, Ok(Ok(true))) {
            break;
        }
        if let Some(same) = peer::names_itself(&addr, &bytes) {
            return same;
        }
    }
    false
}
