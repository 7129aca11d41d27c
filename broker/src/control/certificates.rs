//! Certificates whose files change load by themselves (certbot, cert-manager); a bad pair keeps the old one.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use listeners::Reloaded;

use super::Control;

impl Control {
    /// Looks at the files of all TLS listeners again and again; never ends.
    pub async fn watch_certificates(&self) {
        loop {
            tokio::time::sleep(self.certificate_interval()).await;
            for listener in self.listeners() {
                self.look_at_certificate(&listener).await;
            }
        }
    }

    async fn look_at_certificate(&self, listener: &listeners::Listener) {
        let Some(tls) = listener.spec().tls.clone() else {
            return;
        };
        let name = Arc::clone(&listener.spec().name);
        let Ok(result) = tokio::task::spawn_blocking(move || tls.reload()).await else {
            return;
        };
        let mut refused = self
            .refused_certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(Reloaded::Changed(summary)) => {
                tracing::info!("listener {name}: new certificate {}", summary.subject);
                refused.remove(&*name);
            }
            Ok(Reloaded::Same) => {}
            Err(error) => {
                let why = error.to_string();
                if refused.insert(name.to_string(), why.clone()).as_ref() != Some(&why) {
                    tracing::error!("listener {name}: TLS002: the old certificate stays in use: {why}");
                }
            }
        }
    }

    /// Time between two looks at the files: the shortest that a listener asks for.
    fn certificate_interval(&self) -> Duration {
        let config = &self.node.snapshot.load().config;
        let asked = config
            .listeners
            .iter()
            .filter_map(|l| l.tls.as_ref())
            .map(|tls| tls.reload_interval);
        asked
            .min()
            .unwrap_or(Duration::from_secs(60))
            .max(Duration::from_secs(1))
    }
}
