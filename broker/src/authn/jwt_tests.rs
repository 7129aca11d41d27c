//! Tokens good and bad, signed here with keys made here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, encode};
use peer::Peer;
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use super::super::testing::{HttpServer, auth_config, block_on, shown};
use super::*;

const NOW: u64 = 1_000_000;

/// Seconds since 1970: `exp` is compared with the real clock by the decoder, and again with ours.
fn later() -> u64 {
    jsonwebtoken::get_current_timestamp() + 600
}

fn sign(claims: &Value, algorithm: Algorithm, key: &EncodingKey) -> String {
    encode(&Header::new(algorithm), claims, key).unwrap()
}

fn hs256(claims: &Value) -> String {
    sign(claims, Algorithm::HS256, &EncodingKey::from_secret(b"s3cret"))
}

/// Tokens signed with "s3cret", and what else `[auth.jwt]` says.
fn hmac(more: &str) -> Tokens {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "s3cret\n").unwrap();
    let path = file.path().display();
    let text = format!("[auth]\nchain = [\"jwt\"]\n[auth.jwt]\nsecret_file = \"{path}\"\n{more}");
    Tokens::read(&auth_config(&text).jwt).unwrap()
}

fn ask(tokens: &Tokens, username: Option<&str>, password: &str) -> Opinion {
    let peer = Peer::test_client("192.0.2.1:1000");
    block_on(tokens.verify(&shown(&peer, username, Some(password.as_bytes())), NOW))
}

#[track_caller]
fn accepted(opinion: Opinion) -> Verified {
    match opinion {
        Opinion::Accept(verified) => verified,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(opinion: &Opinion) {
    assert!(
        matches!(opinion, Opinion::Reject(AuthnReason::BadCredentials)),
        "{opinion:?}"
    );
}

#[test]
fn a_good_token_gets_in_until_it_ends() {
    let tokens = hmac("");
    let exp = later();
    let verified = accepted(ask(&tokens, Some("bob"), &hs256(&json!({ "exp": exp }))));
    assert_eq!(verified.until, Some(exp * 1000));
    assert_eq!(verified.method, AuthMethod::Jwt);
    assert!(verified.username.is_none() && verified.permissions.is_none());
    let tokens = hmac("disconnect_after_expire = false\n");
    assert_eq!(
        accepted(ask(&tokens, None, &hs256(&json!({ "exp": exp })))).until,
        None
    );
}

#[test]
fn a_bad_token_is_refused() {
    let tokens = hmac("");
    let exp = later();
    let good = hs256(&json!({ "exp": exp }));
    refused(&ask(&tokens, None, &hs256(&json!({})))); // no end
    refused(&ask(&tokens, None, &hs256(&json!({ "exp": exp - 1200 }))));
    refused(&ask(&tokens, None, &hs256(&json!({ "exp": exp, "nbf": exp }))));
    let other = EncodingKey::from_secret(b"other");
    refused(&ask(
        &tokens,
        None,
        &sign(&json!({ "exp": exp }), Algorithm::HS256, &other),
    ));
    refused(&ask(&tokens, None, &good.replacen('.', ".e", 1)));
    let unsigned = URL_SAFE_NO_PAD.encode("{\"alg\":\"none\"}");
    let body = good.split('.').nth(1).unwrap();
    refused(&ask(&tokens, None, &format!("{unsigned}.{body}.eA")));
}

#[test]
fn what_is_no_token_is_for_another_source() {
    let tokens = hmac("");
    for password in ["", "password", "a.b.c", "eyJ.b", "eyJ..c"] {
        let opinion = ask(&tokens, Some("bob"), password);
        assert!(matches!(opinion, Opinion::Ignore), "{password}: {opinion:?}");
    }
    let peer = Peer::test_client("192.0.2.1:1000");
    let opinion = block_on(tokens.verify(&shown(&peer, Some("bob"), None), NOW));
    assert!(matches!(opinion, Opinion::Ignore));
}

#[test]
fn claims_say_who_the_client_is_and_what_it_may() {
    let tokens = hmac(
        "username_claim = \"name\"\nclientid_claim = \"id\"\nverify_claims = { ip = \"${peerhost}\", aud = \"mqtt\" }\n",
    );
    let good = json!({
        "exp": later(), "name": "carol", "id": "c1", "ip": "192.0.2.1", "aud": ["web", "mqtt"],
        "acl": { "pub": ["up/${username}"] },
    });
    let verified = accepted(ask(&tokens, Some("bob"), &hs256(&good)));
    assert_eq!(verified.username.as_deref(), Some("carol"));
    let permissions = verified.permissions.unwrap();
    assert!(permissions.allow_publish("up/carol", 0, false));
    assert!(!permissions.allow_publish("up/bob", 0, false));
    for (claim, wrong) in [
        ("name", Value::Null),
        ("name", json!(5)),
        ("id", json!("c2")),
        ("ip", json!("192.0.2.2")),
        ("aud", json!(["web"])),
        ("acl", json!("all")),
    ] {
        let mut claims = good.clone();
        claims[claim] = wrong;
        refused(&ask(&tokens, Some("bob"), &hs256(&claims)));
    }
}

#[test]
fn a_token_as_username_is_nothing_to_show() {
    let tokens = hmac("from = \"username\"\nusername_claim = \"sub\"\n");
    let token = hs256(&json!({ "exp": later(), "sub": "dave" }));
    assert!(tokens.is_token(&token) && !tokens.is_token("bob"));
    assert!(!hmac("").is_token(&token));
    let verified = accepted(ask(&tokens, Some(&token), ""));
    assert_eq!(verified.username.as_deref(), Some("dave"));
}

/// A key in PKCS#8, its certificate and its public key.
fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> (KeyPair, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let certificate = CertificateParams::new(vec!["issuer".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().pem();
    (key, certificate)
}

fn public(pem: &str) -> Tokens {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, pem).unwrap();
    let path = file.path().display();
    let text = format!(
        "[auth]\nchain = [\"jwt\"]\n[auth.jwt]\nalgorithm = \"public-key\"\npublic_key_file = \"{path}\"\n"
    );
    Tokens::read(&auth_config(&text).jwt).unwrap()
}

#[test]
fn public_keys_and_certificates_verify() {
    let claims = json!({ "exp": later() });
    let (p256, p256_certificate) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let es256 = sign(
        &claims,
        Algorithm::ES256,
        &EncodingKey::from_ec_der(&p256.serialize_der()),
    );
    let (ed, ed_certificate) = pair(&rcgen::PKCS_ED25519);
    let eddsa = sign(
        &claims,
        Algorithm::EdDSA,
        &EncodingKey::from_ed_der(&ed.serialize_der()),
    );
    for pem in [p256.public_key_pem(), p256_certificate.clone()] {
        accepted(ask(&public(&pem), None, &es256));
        refused(&ask(&public(&pem), None, &eddsa));
    }
    accepted(ask(&public(&ed.public_key_pem()), None, &eddsa));
    accepted(ask(&public(&(p256_certificate + &ed_certificate)), None, &eddsa));
    // The old trick: the public key, which everybody has, taken as the secret of HS256.
    let pem = p256.public_key_pem();
    let trick = sign(
        &claims,
        Algorithm::HS256,
        &EncodingKey::from_secret(pem.as_bytes()),
    );
    refused(&ask(&public(&pem), None, &trick));
}

#[test]
fn rsa_keys_verify() {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
    let rsa = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
    let shared: PublicKeyX509Der<'_> = aws_lc_rs::signature::KeyPair::public_key(&rsa).as_der().unwrap();
    let shared = base64::engine::general_purpose::STANDARD.encode(shared.as_ref());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{shared}\n-----END PUBLIC KEY-----\n");
    let key = EncodingKey::from_rsa_der(&pkcs1(private.as_ref()));
    for algorithm in [Algorithm::RS256, Algorithm::PS512] {
        let token = sign(&json!({ "exp": later() }), algorithm, &key);
        accepted(ask(&public(&pem), None, &token));
    }
}

/// The `RSAPrivateKey` inside PKCS#8: the second long sequence.
fn pkcs1(pkcs8: &[u8]) -> Vec<u8> {
    let at = pkcs8[4..].windows(2).position(|two| two == [0x30, 0x82]);
    pkcs8[4 + at.unwrap()..].to_vec()
}

fn jwks(key: &KeyPair, id: &str, more: &str) -> String {
    let raw = key.public_key_raw();
    let (x, y) = (
        URL_SAFE_NO_PAD.encode(&raw[1..33]),
        URL_SAFE_NO_PAD.encode(&raw[33..65]),
    );
    format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"{id}","x":"{x}","y":"{y}"{more}}}]}}"#)
}

fn with_kid(claims: &Value, key: &KeyPair, id: &str) -> String {
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(id.to_owned());
    encode(&header, claims, &EncodingKey::from_ec_der(&key.serialize_der())).unwrap()
}

#[test]
fn a_key_set_in_a_file_is_looked_up_by_key_id() {
    let (key, _) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let claims = json!({ "exp": later() });
    let file = tempfile::NamedTempFile::new().unwrap();
    let read = |set: &str| {
        std::fs::write(&file, set).unwrap();
        let path = file.path().display();
        let text = format!(
            "[auth]\nchain = [\"jwt\"]\n[auth.jwt]\nalgorithm = \"public-key\"\njwks_file = \"{path}\"\n"
        );
        Tokens::read(&auth_config(&text).jwt)
    };
    let tokens = read(&jwks(&key, "k1", "")).unwrap();
    accepted(ask(&tokens, None, &with_kid(&claims, &key, "k1")));
    refused(&ask(&tokens, None, &with_kid(&claims, &key, "k2")));
    let other = read(&jwks(&key, "k1", r#","alg":"ES384""#)).unwrap();
    refused(&ask(&other, None, &with_kid(&claims, &key, "k1")));
    assert!(read(&jwks(&key, "k1", r#","use":"enc""#)).is_err());
    assert!(read(r#"{"keys":[{"kty":"oct","k":"czNjcmV0"}]}"#).is_err());
    assert!(read("{}").is_err());
}

#[test]
fn a_key_set_behind_a_url_is_read_again_when_it_is_old() {
    let (first, _) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let (second, _) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let claims = json!({ "exp": later() });
    let sets = [jwks(&first, "k1", ""), jwks(&second, "k2", "")].map(|set| &*set.leak());
    let server = HttpServer::new(vec![(200, sets[0]), (200, sets[1]), (500, "")]);
    let text = format!(
        "[auth]\nchain = [\"jwt\"]\n[auth.jwt]\nalgorithm = \"public-key\"\nendpoint = \"http://{}/keys\"\n",
        server.addr
    );
    let mut config = auth_config(&text).jwt;
    let tokens = Tokens::read(&config).unwrap();
    accepted(ask(&tokens, None, &with_kid(&claims, &first, "k1")));
    accepted(ask(&tokens, None, &with_kid(&claims, &first, "k1")));
    assert!(
        server
            .asked
            .try_recv()
            .unwrap()
            .head
            .starts_with("GET /keys HTTP/1.1\r\n")
    );
    assert!(server.asked.try_recv().is_err(), "they are still fresh");
    config.refresh_interval = std::time::Duration::ZERO;
    let tokens = Tokens::read(&config).unwrap();
    accepted(ask(&tokens, None, &with_kid(&claims, &second, "k2")));
    // It fails now: the keys stay.
    accepted(ask(&tokens, None, &with_kid(&claims, &second, "k2")));
    assert_eq!(server.asked.try_iter().count(), 2);
}
