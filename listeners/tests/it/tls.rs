//! Our own TLS: what it tells about the client, which clients it takes, and certificates that change.

use crate::client::{Client, Cut, MQTT, old_tls_config, tls_config};
use crate::world::{Certs, World, policy, read_n, spec, write};
use listeners::{
    ClientAuth, ListenerSpec, MinVersion, Reloaded, TlsError, TlsOptions, TlsSettings, TransportKind,
};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;

const TLS: TransportKind = TransportKind::Tls;

fn door(settings: Arc<TlsSettings>) -> ListenerSpec {
    ListenerSpec {
        tls: Some(settings),
        ..spec(TLS, policy(TLS, &[]))
    }
}

fn load(options: TlsOptions) -> Arc<TlsSettings> {
    Arc::new(TlsSettings::load(options, TLS).expect("good files"))
}

/// A client with the certificate of that file.
fn with_certificate(certs: &Certs, file: &str) -> ClientConfig {
    let chain = CertificateDer::pem_file_iter(certs.path(&format!("{file}.crt"))).expect("a file");
    let key = PrivateKeyDer::from_pem_file(certs.path(&format!("{file}.key"))).expect("a key");
    tls_config(Some((chain.map(|c| c.expect("a certificate")).collect(), key)))
}

/// Connects and sends MQTT bytes; the server's facts, or why it refused.
async fn visit(world: &mut World, config: &Arc<ClientConfig>) -> Result<listeners::TlsInfo, String> {
    let mut client = Client::socket(world.addr, Cut::Whole).await;
    if client.try_tls(Arc::clone(config)).await.is_ok() {
        client.send(MQTT).await;
    }
    let done = world.outcome().await;
    // The tickets come with the first bytes.
    let mut server = done.map_err(|e| e.to_string())?;
    write(&mut server.transport, b"\x20\x02\0\0").await;
    client.read_n(4).await;
    Ok(*server.tls.expect("a TLS listener"))
}

#[tokio::test]
async fn what_a_handshake_tells() {
    let mut world = World::new(door(Certs::new().settings(TLS)));
    let mut config = tls_config(None);
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    let config = Arc::new(config);
    let info = visit(&mut world, &config).await.expect("a connection");
    assert_eq!(
        (info.version, info.cipher.as_str()),
        ("TLSv1.3", "TLS13_AES_256_GCM_SHA384")
    );
    assert_eq!(
        (info.sni.as_deref(), info.alpn.as_deref()),
        (Some("localhost"), Some("mqtt"))
    );
    assert_eq!((info.resumed, info.identity), (false, None));
    let again = visit(&mut world, &config).await.expect("a connection");
    assert_eq!((again.resumed, again.sni.as_deref()), (true, Some("localhost")));

    let mut foreign = tls_config(None);
    foreign.alpn_protocols = vec![b"h2".to_vec()];
    let refused = visit(&mut world, &Arc::new(foreign))
        .await
        .expect_err("no common protocol");
    assert_eq!(refused, "tls: peer doesn't support any known protocol");
}

#[tokio::test]
async fn client_certificates_by_setting() {
    let certs = Certs::new();
    certs.issue("device", "dev-7.example");
    let bare = Arc::new(tls_config(None));
    let known = Arc::new(with_certificate(&certs, "device"));
    let other = Certs::new();
    other.issue("device", "dev-7.example");
    let stranger = Arc::new(with_certificate(&other, "device"));
    for auth in [ClientAuth::Optional, ClientAuth::Require] {
        let ca = Some(certs.path("ca.pem"));
        let mut world = World::new(door(load(TlsOptions {
            client_ca_file: ca,
            client_auth: auth,
            ..certs.options()
        })));
        let info = visit(&mut world, &known).await.expect("a connection");
        let identity = info.identity.expect("a certificate");
        assert_eq!(identity.cn.as_deref(), Some("dev-7.example"));
        assert_eq!(
            (identity.san_dns, identity.san_uri),
            (vec!["dev-7.example".to_owned()], Vec::<String>::new())
        );
        assert_ne!(identity.sha256, [0; 32]);
        assert!(visit(&mut world, &stranger).await.is_err());
        assert_eq!(
            visit(&mut world, &bare).await.is_ok(),
            auth == ClientAuth::Optional
        );
        let resumed = visit(&mut world, &known).await.expect("a connection");
        assert!(
            resumed.resumed && resumed.identity.is_some(),
            "the certificate is remembered"
        );
    }
}

#[tokio::test]
async fn revoked_certificates_end_with_the_reload() {
    let certs = Certs::new();
    let serial = certs.issue("device", "dev-7.example");
    certs.revoke(&[]);
    let settings = load(TlsOptions {
        client_ca_file: Some(certs.path("ca.pem")),
        crl_file: Some(certs.path("crl.pem")),
        client_auth: ClientAuth::Require,
        ..certs.options()
    });
    let mut world = World::new(door(Arc::clone(&settings)));
    let config = Arc::new(with_certificate(&certs, "device"));
    assert!(!visit(&mut world, &config).await.expect("a connection").resumed);
    assert!(visit(&mut world, &config).await.expect("a connection").resumed);
    certs.revoke(&[serial]);
    assert!(matches!(settings.reload(), Ok(Reloaded::Changed(_))));
    let refused = visit(&mut world, &config)
        .await
        .expect_err("revoked, ticket or not");
    assert_eq!(refused, "tls: invalid peer certificate: Revoked");
}

#[tokio::test]
async fn the_oldest_version_is_kept() {
    let certs = Certs::new();
    let old = Arc::new(old_tls_config());
    let mut world = World::new(door(load(certs.options())));
    assert_eq!(
        visit(&mut world, &old).await.expect("a connection").version,
        "TLSv1.2"
    );
    assert!(visit(&mut world, &old).await.expect("a connection").resumed);
    let mut world = World::new(door(load(TlsOptions {
        min_version: MinVersion::V13,
        ..certs.options()
    })));
    assert!(visit(&mut world, &old).await.is_err());
}

#[tokio::test]
async fn new_certificates_meet_new_connections_and_bad_ones_nobody() {
    let certs = Certs::new();
    let settings = certs.settings(TLS);
    assert_eq!(settings.summary().subject, "CN=localhost");
    let mut world = World::new(door(Arc::clone(&settings)));
    assert_eq!(settings.reload().expect("good files"), Reloaded::Same);

    let good_key = std::fs::read(certs.path("server.key")).expect("a file");
    certs.issue("server", "renewed.example");
    let new_key = std::fs::read(certs.path("server.key")).expect("a file");
    std::fs::write(certs.path("server.key"), good_key).expect("a file");
    assert!(matches!(settings.reload(), Err(TlsError::Pair(_))));
    assert_eq!(settings.summary().subject, "CN=localhost", "the old one stays");
    visit(&mut world, &Arc::new(tls_config(None)))
        .await
        .expect("the old one serves");

    std::fs::write(certs.path("server.key"), new_key).expect("a file");
    let Ok(Reloaded::Changed(summary)) = settings.reload() else {
        panic!("good files")
    };
    assert_eq!(summary.subject, "CN=renewed.example");
    let mut client = Client::open(world.addr, TLS, b"", Cut::Whole).await;
    client.send(MQTT).await;
    world.connection().await;
    let leaf = client.tls().peer_certificates().expect("a certificate")[0].to_vec();
    assert!(leaf.windows(15).any(|w| w == b"renewed.example"));
}

#[track_caller]
fn bad(options: TlsOptions, reason: &str) {
    let error = TlsSettings::load(options, TLS)
        .expect_err("bad files")
        .to_string();
    assert!(error.contains(reason), "{error}");
}

#[test]
fn bad_files_are_named() {
    let certs = Certs::new();
    let empty = certs.path("empty");
    std::fs::write(&empty, "").expect("a file");
    let options = certs.options();
    bad(
        TlsOptions {
            cert_file: Path::new("/nowhere.crt").into(),
            ..options.clone()
        },
        "/nowhere.crt: No such file",
    );
    bad(
        TlsOptions {
            cert_file: empty.clone(),
            ..options.clone()
        },
        "no certificate in it",
    );
    bad(
        TlsOptions {
            key_file: empty.clone(),
            ..options.clone()
        },
        "/empty: ",
    );
    let auth = TlsOptions {
        client_auth: ClientAuth::Require,
        ..options
    };
    bad(auth.clone(), "client_auth needs client_ca_file");
    bad(
        TlsOptions {
            client_ca_file: Some(empty.clone()),
            ..auth.clone()
        },
        "no certificate in it",
    );
    let ca = Some(certs.path("ca.pem"));
    bad(
        TlsOptions {
            client_ca_file: ca,
            crl_file: Some(empty),
            ..auth
        },
        "no revocation list in it",
    );
}

#[tokio::test]
async fn a_key_update_is_answered() {
    let mut world = World::new(door(Certs::new().settings(TLS)));
    let mut client = Client::open(world.addr, TLS, b"", Cut::Whole).await;
    client.send(MQTT).await;
    let mut server = world.connection().await;
    assert_eq!(read_n(&mut server.transport, MQTT.len()).await, MQTT);
    for _ in 0..3 {
        client.update_keys().await;
        client.send(b"\xc0\0").await;
        assert_eq!(read_n(&mut server.transport, 2).await, b"\xc0\0");
        write(&mut server.transport, b"\xd0\0").await;
        assert_eq!(client.read_n(2).await, b"\xd0\0");
    }
}
