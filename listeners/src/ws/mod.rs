//! WebSocket (RFC 6455), the server's side: the upgrade and the frames. What does not live here: the
//! socket and TLS below it (`transport`), MQTT above it.

mod frame;
pub(crate) mod head;

pub use frame::WsFault;
pub(crate) use frame::{Control, Framer, Unframer};
pub use head::UpgradeFault;

/// Both directions of one WebSocket.
#[derive(Debug, Default)]
pub(crate) struct WsLayer {
    pub(crate) unframer: Unframer,
    pub(crate) framer: Framer,
}
