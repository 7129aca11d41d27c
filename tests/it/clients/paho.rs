//! paho-mqtt for Python (Debian's package), over all four transports.

use super::broker;
use std::path::Path;
use std::process::Command;
use tests::broker::{Broker, TRANSPORTS, printed};
use tests::certs::Certs;

#[test]
fn every_transport_version_and_qos() {
    let certs = Certs::new();
    let broker = broker(&certs);
    // A round waits for paho's own timers most of the time, so they run side by side.
    std::thread::scope(|scope| {
        for kind in TRANSPORTS {
            for version in ["3.1", "3.1.1", "5"] {
                let (broker, certs) = (&broker, &certs);
                scope.spawn(move || round(broker, certs, kind, version));
            }
        }
    });
}

fn round(broker: &Broker, certs: &Certs, kind: &str, version: &str) {
    // The system's Python is the one for which Debian's package is installed.
    let system = "/usr/bin/python3";
    let python = if Path::new(system).exists() {
        system
    } else {
        "python3"
    };
    let mut command = Command::new(python);
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("it/clients/paho_client.py"))
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
