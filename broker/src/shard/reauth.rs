//! AUTH from a client that is logged in: re-authentication (MQTT 5, 4.12.1).

use codec::{Auth, ReasonCode};

use super::Shard;
use super::end::Cause;
use crate::router::trie::SessionRef;

impl Shard {
    pub(super) fn on_auth(&mut self, who: SessionRef, packet: &Auth<'_>) -> Result<(), Cause> {
        let conn = self.client(who).and_then(|c| c.conn.as_ref());
        let method = conn.and_then(|c| c.extras.as_ref()?.auth_method.as_deref());
        if method != Some(packet.method) {
            // [MQTT-4.12.1-1]: the method is the one CONNECT named.
            return Err(Cause::Protocol(
                ReasonCode::BadAuthenticationMethod,
                "AUTH with another method than CONNECT",
            ));
        }
        Err(Cause::Protocol(ReasonCode::ProtocolError, "AUTH out of turn"))
    }
}
