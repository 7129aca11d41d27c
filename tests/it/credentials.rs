//! Tokens and the HTTP service as sources of `auth.chain`, with a real client before a real broker.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use codec::ReasonCode;
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use tests::broker::{Broker, Setup, TRANSPORTS};
use tests::client::{Client, Login, Reply};

const TCP: &str = "[listeners.tcp]\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n";

/// What the rules of the file say in these tests.
const RULES: &str = "default all allow\ndeny publish to closed\n";

fn token(claims: &Value) -> String {
    let key = EncodingKey::from_secret(b"s3cret");
    encode(&Header::default(), claims, &key).expect("a token")
}

fn log_in(broker: &Broker, username: &str, password: &str) -> Result<Client, Reply> {
    let login = Login {
        username: Some(username),
        password: Some(password),
        ..Login::new("c1")
    };
    broker.dial(TRANSPORTS[0]).try_login(&login)
}

#[test]
fn a_token_opens_a_session_narrows_it_and_ends_it() {
    let config = "[auth]\nallow_anonymous = false\nchain = [\"jwt\"]\n[auth.jwt]\nsecret_file = \"@DIR@/secret\"\nusername_claim = \"sub\"\n";
    let setup = Setup::new(TCP).file("secret", "s3cret").acl(RULES).config(config);
    let broker = setup.start();
    let exp = get_current_timestamp() + 3;
    let acl = json!({ "pub": ["open/${username}", "closed"], "sub": ["open/+"] });
    let good = token(&json!({ "exp": exp, "sub": "carol", "acl": acl }));
    let mut client = log_in(&broker, "bob", &good).expect("a good token");
    assert!(broker.client_line("c1").contains("username=carol"));
    assert_eq!(
        client.publish("open/carol", "", 1, false),
        ReasonCode::NoMatchingSubscribers
    );
    for topic in ["open/bob", "closed", "elsewhere"] {
        assert_eq!(
            client.publish(topic, "", 1, false),
            ReasonCode::NotAuthorized,
            "{topic}"
        );
    }
    broker.audited("acl_deny", |record| {
        record["topic"] == "elsewhere" && record["rule"] == "credentials"
    });
    assert_eq!(client.subscribe("open/+", 0), 0);
    assert_eq!(client.subscribe("#", 0), ReasonCode::NotAuthorized.code());
    // Its lifetime is the session's.
    assert_eq!(client.reply(), Reply::Disconnect(ReasonCode::MaximumConnectTime));
    let late = log_in(&broker, "bob", &good).expect_err("it has expired");
    assert_eq!(late, Reply::ConnAck(false, ReasonCode::BadUserNameOrPassword));
    let record = broker.audited("authn_fail", |record| record["reason"] == "bad_credentials");
    assert_eq!(record["method"], "jwt");
}

#[test]
fn a_token_as_username_is_written_nowhere() {
    let config = "[auth]\nallow_anonymous = false\nchain = [\"jwt\"]\n[auth.jwt]\nfrom = \"username\"\nsecret_file = \"@DIR@/secret\"\n";
    let broker = Setup::new(TCP).file("secret", "s3cret").config(config).start();
    let exp = get_current_timestamp() + 600;
    let good = token(&json!({ "exp": exp }));
    log_in(&broker, &good, "").expect("a good token").disconnect();
    let bad = token(&json!({ "exp": 1 }));
    log_in(&broker, &bad, "").expect_err("an old token");
    broker.audited("authn_fail", |record| record["username"].is_null());
    let audit: String = broker.audit().iter().map(Value::to_string).collect();
    assert!(!audit.contains(&good) && !audit.contains(&bad));
}

#[test]
fn a_service_that_fails_is_told_apart_from_one_that_refuses() {
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let config = format!(
        "[auth]\nallow_anonymous = false\nchain = [\"http\"]\n[auth.http]\nurl = \"http://{}/\"\n",
        service.local_addr().expect("an address")
    );
    std::thread::spawn(move || {
        let answers = [
            "200 OK\r\ncontent-length: 18\r\n\r\n{\"result\":\"allow\"}",
            "500 No\r\ncontent-length: 0\r\n\r\n",
        ];
        for answer in answers {
            let (mut stream, _) = service.accept().expect("the broker");
            let mut asked = [0; 4096];
            // Head and body come in one piece or two; the end of the JSON ends them.
            let mut len = 0;
            while !asked[..len].ends_with(b"}") {
                len += stream.read(&mut asked[len..]).expect("a request");
            }
            let text = format!("HTTP/1.1 {answer}");
            stream.write_all(text.as_bytes()).expect("an open connection");
        }
    });
    let broker = Setup::new(TCP).config(&config).start();
    log_in(&broker, "bob", "x").expect("allowed").disconnect();
    for _ in 0..2 {
        // The second time nobody listens any more.
        let refused = log_in(&broker, "bob", "x").expect_err("no answer is no allow");
        assert_eq!(refused, Reply::ConnAck(false, ReasonCode::ServerUnavailable));
    }
    broker.audited("authn_fail", |record| {
        record["reason"] == "backend_error" && record["method"] == "http"
    });
}
