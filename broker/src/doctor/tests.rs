//! The doctor fed with made-up connections: findings, own findings, the table of proxies.

use peer::{Addr, PeerBuilder, Source, Warning};

use super::*;
use crate::admin::views::Via;
use crate::config::raw::Surroundings;
use crate::config::{LocalPaths, Sources, load_in};

const CONFIG: &str = r#"
[networks]
lb = ["10.0.0.0/30", "10.0.0.9"]
[listeners.tcp]
transport = "tcp"
bind = "127.0.0.1:1883"
[listeners.tcp_lb]
transport = "tcp"
bind = "127.0.0.1:1884"
proxy_protocol = "required"
trusted_proxies = ["@lb", "192.0.2.1"]
"#;

fn loaded() -> Loaded {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broker.toml");
    std::fs::write(&file, CONFIG).unwrap();
    let around = Surroundings {
        vars: Vec::new(),
        working_dir: dir.path().to_path_buf(),
        default_file: file.clone(),
        local: LocalPaths::new(None, None, None),
    };
    load_in(
        &Sources {
            file: Some(file),
            set: Vec::new(),
        },
        &around,
    )
    .unwrap()
}

fn doctors() -> Doctors {
    let doctors = Doctors::default();
    doctors.configure(&loaded());
    doctors
}

fn codes(view: &DoctorView) -> Vec<&str> {
    view.findings
        .iter()
        .map(|finding| finding.code.as_str())
        .collect()
}

#[test]
fn everybody_behind_one_nat_is_found_and_worst_comes_first() {
    let doctors = doctors();
    for i in 0..20 {
        let peer = PeerBuilder::new(&format!("10.9.9.1:{}", 40_000 + i)).build();
        doctors.accepted("tcp", &peer, &format!("dev-{i}"));
    }
    doctors.set(Topic::Audit, vec![own::audit_dropped(3, false)]);
    let view = doctors.findings(None);
    assert_eq!(codes(&view), ["D01", "AUD001"]);
    let nat = &view.findings[0];
    assert!(
        nat.message
            .starts_with("20 clients on tcp all come from 10.9.9.1. "),
        "{}",
        nat.message
    );
    assert!(
        nat.snippets[0].contains("listen 1883; proxy_pass 127.0.0.1:1883;"),
        "{:?}",
        nat.snippets
    );
    assert_eq!(doctors.worst().unwrap().code, "D01");
    assert_eq!(doctors.counts(), [0, 1, 1]);
    assert_eq!(codes(&doctors.findings(Some("tcp_lb"))), ["AUD001"]);
    doctors.set(Topic::Audit, Vec::new());
    assert_eq!(codes(&doctors.findings(None)), ["D01"]);
    doctors.tick();
}

#[test]
fn proxies_show_who_names_whom_and_metrics_count_by_entry() {
    let doctors = doctors();
    let peers: Vec<Peer> = (1..=3)
        .map(|i| {
            PeerBuilder::new(&format!("203.0.113.{i}:5000"))
                .behind("10.0.0.1:4000", Source::ProxyV1)
                .build()
        })
        .collect();
    for (i, peer) in peers.iter().enumerate() {
        doctors.accepted("tcp_lb", peer, &format!("c{i}"));
    }
    let rows = doctors.proxies();
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0];
    assert_eq!(
        (row.listener.as_str(), row.socket.as_str()),
        ("tcp_lb", "10.0.0.1")
    );
    assert_eq!(
        (row.clients, row.connections, row.via),
        (3, 3, Some(Via::ProxyV1))
    );
    assert_eq!(row.entry.as_deref(), Some("10.0.0.0/30"));
    assert!(
        row.origin.as_ref().unwrap().ends_with("broker.toml:11"),
        "{row:?}"
    );
    assert_eq!(row.notes, ["ok"]);
    doctors.closed("tcp_lb", &peers[0]);
    let levels = &doctors.levels()["tcp_lb"];
    assert_eq!((levels.peer_prefixes, levels.socket_addresses), (2, 1));
    assert_eq!(levels.proxies["@lb"], 2);
}

#[test]
fn strangers_and_unread_headers_are_noted() {
    let doctors = doctors();
    let stranger: Addr = "10.7.7.7:9".parse().unwrap();
    let cause = Cause::Peername(Code::ProxyPeer, None);
    let refusal = Refusal {
        listener: "tcp_lb",
        socket: stranger,
        hop: None,
        peer: None,
        stage: listeners::Stage::Proxy,
        cause: &cause,
        http_status: None,
        reject: None,
        class: None,
        first_bytes: &[],
        header: None,
        same_address: false,
        lasted: std::time::Duration::ZERO,
    };
    doctors.refused(&refusal);
    let ignored = PeerBuilder::new("10.8.8.8:1")
        .warnings(&[Warning::HeaderIgnored])
        .build();
    doctors.accepted("tcp", &ignored, "web");
    let notes: Vec<_> = doctors
        .proxies()
        .into_iter()
        .map(|row| (row.socket, row.notes))
        .collect();
    assert!(
        notes.contains(&("10.7.7.7".to_owned(), vec!["unexpected".to_owned()])),
        "{notes:?}"
    );
    assert!(
        notes
            .iter()
            .any(|(socket, notes)| socket == "10.8.8.8" && notes.contains(&"header_unread".to_owned()))
    );
    assert_eq!(codes(&doctors.findings(None)), ["D05"]);
}

#[test]
fn an_entry_that_nobody_uses_is_told_after_a_week() {
    let mut proxies = Proxies::default();
    let loaded = loaded();
    let config = loaded
        .config
        .listeners
        .iter()
        .find(|l| l.name == "tcp_lb")
        .unwrap();
    proxies.trust(config, &loaded.values);
    let week = 7 * 86_400_000;
    assert!(proxies.rows("tcp_lb", Timestamp(1000)).is_empty());
    let peer = PeerBuilder::new("203.0.113.1:1")
        .behind("10.0.0.1:4000", Source::ProxyV1)
        .build();
    proxies.opened(&peer, Timestamp(2000));
    let rows = proxies.rows("tcp_lb", Timestamp(1000 + week));
    let unused: Vec<_> = rows
        .iter()
        .filter(|row| row.notes == ["unused"])
        .map(|row| row.socket.as_str())
        .collect();
    assert_eq!(unused, ["10.0.0.9", "192.0.2.1"]);
}
