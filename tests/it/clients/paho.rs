//! paho-mqtt for Python (Debian's package), over all four transports.

use super::broker;
use std::path::Path;
use std::process::Command;
use tests::broker::printed;
use tests::certs::Certs;

#[test]
fn every_transport_version_and_qos() {
    // The system's Python is the one for which Debian's package is installed.
    let python = ["/usr/bin/python3", "python3"]
        .into_iter()
        .find(|python| Path::new(python).exists())
        .unwrap_or("python3");
    let certs = Certs::new();
    let broker = broker(&certs);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/clients/paho_client.py");
    for kind in ["tcp", "tls", "ws", "wss"] {
        for version in ["3.1", "3.1.1", "5"] {
            let mut command = Command::new(python);
            command
                .arg(&script)
                .args([kind, version])
                .arg(broker.addr(kind).port().to_string())
                .arg(certs.path("ca.pem"));
            let done = printed(&mut command);
            assert!(
                !done.stderr.contains("ModuleNotFoundError"),
                "paho-mqtt is missing: ./check installs what the tests need"
            );
            assert_eq!(
                (done.code, done.stdout.trim()),
                (0, "ok"),
                "{kind} {version}: {done:?}"
            );
        }
    }
}
