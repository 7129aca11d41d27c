//! The TLS handshake on a socket. Its deadline is the caller's.

use super::layer::TlsLayer;
use super::{TlsInfo, take_server_name};
use crate::error::Cause;
use crate::socket::Socket;
use rustls::ServerConfig;
use std::sync::Arc;

/// A finished handshake.
pub(crate) struct Shaken {
    pub(crate) layer: Box<TlsLayer>,
    pub(crate) info: TlsInfo,
    /// Plaintext that came with the client's last message.
    pub(crate) plain: Vec<u8>,
}

/// Shakes hands; `bytes` are what was read already. A failure is told to the client by its alert.
pub(crate) async fn shake(
    socket: &mut Socket,
    config: Arc<ServerConfig>,
    bytes: Vec<u8>,
) -> Result<Shaken, Cause> {
    let mut layer = Box::new(TlsLayer::new(config).map_err(Cause::Tls)?);
    let (mut plain, mut sni) = (Vec::new(), None);
    let mut done = layer.process(&mut { bytes }, &mut plain);
    loop {
        if let Some(name) = take_server_name() {
            sni = Some(name);
        }
        let sent = socket.write_all(layer.outgoing()).await;
        done.map_err(Cause::Tls)?;
        sent?;
        layer.sent(usize::MAX);
        if !layer.is_handshaking() {
            break;
        }
        let read = socket.read_with(|bytes| {
            let mut cipher = [layer.incoming(), bytes].concat();
            (bytes.len(), layer.process(&mut cipher, &mut plain))
        });
        let (n, result) = read.await?;
        if n == 0 {
            return Err(Cause::Gone);
        }
        done = result;
    }
    let info = TlsInfo::of(layer.conn(), sni);
    Ok(Shaken { layer, info, plain })
}
