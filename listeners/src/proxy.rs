//! The PROXY stage on a socket: reads in pieces and asks `peer::ProxyStage` about each. The rules are
//! not here (peername 5 is `peer`'s).

use crate::error::Cause;
use crate::socket::Socket;
use peer::{Addr, End, FirstBytes, Hop, Policy, ProxyStage, Reject, Verdict};
use std::time::Instant;
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
    /// The hop, if the header named it.
    pub(crate) hop: Option<Addr>,
    pub(crate) class: FirstBytes,
}

/// Reads until the verdict. A byte does not move `deadline`.
pub(crate) async fn read(
    socket: &mut Socket,
    policy: &Policy,
    addr: Addr,
    deadline: Instant,
) -> Result<Passed, Ended> {
    let mut stage = ProxyStage::new(policy, addr).map_err(|reject| refused(&reject, FirstBytes::Empty))?;
    let mut verdict = Verdict::Undecided;
    loop {
        let class = || peer::sniff(stage.received());
        match verdict {
            Verdict::Accept { hop, .. } => {
                let rest = stage.into_rest();
                return Ok(Passed { hop, rest });
            }
            Verdict::Reject(reject) => return Err(refused(&reject, class())),
            Verdict::Close(code) => {
                let (cause, class) = (Cause::Peername(code, None), class());
                return Err(Ended {
                    cause,
                    hop: None,
                    class,
                });
            }
            Verdict::Undecided => {}
        }
        let pushed = socket.read_with(|bytes| {
            if bytes.is_empty() {
                None
            } else {
                Some(stage.push(bytes))
            }
        });
        let pushed = timeout_at(deadline.into(), pushed).await;
        verdict = match pushed {
            Ok(Ok(Some(verdict))) => verdict,
            // A reset is an end too; the next layer meets it again.
            Ok(Ok(None) | Err(_)) => stage.finish(End::Eof),
            Err(_) => stage.finish(End::Timeout),
        };
    }
}

fn refused(reject: &Reject, class: FirstBytes) -> Ended {
    Ended {
        cause: Cause::Peername(reject.code(), reject.detail()),
        hop: reject.hop(),
        class,
    }
}
