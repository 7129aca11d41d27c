//! The service against a server on loopback that says what the test wants.

use peer::{Peer, PeerBuilder};

use super::super::testing::{HttpServer, auth_config, block_on, shown};
use super::*;

fn service(server: &HttpServer, more: &str) -> Service {
    let text = format!(
        "[auth]\nchain = [\"http\"]\n[auth.http]\nurl = \"http://{}/auth?l=${{listener}}\"\n{more}",
        server.addr
    );
    Service::new(&auth_config(&text).http).unwrap()
}

fn ask(service: &Service, password: &str) -> Opinion {
    let peer = Peer::test_client("192.0.2.1:1000");
    block_on(service.verify(&shown(&peer, Some("bob"), Some(password.as_bytes()))))
}

#[track_caller]
fn answers(answer: (u16, &'static str), expected: &str) {
    let server = HttpServer::new(vec![answer]);
    let opinion = match ask(&service(&server, ""), "x") {
        Opinion::Accept(_) => "accept".to_owned(),
        Opinion::Ignore => "ignore".to_owned(),
        Opinion::Reject(reason) => reason.as_str().to_owned(),
    };
    assert_eq!(opinion, expected, "{answer:?}");
}

#[test]
fn what_the_answers_mean() {
    answers((200, r#"{"result": "allow", "is_superuser": true}"#), "accept");
    answers((204, ""), "accept");
    answers((200, r#"{"result": "deny"}"#), "bad_credentials");
    answers((200, r#"{"result": "ignore"}"#), "ignore");
    // What is no answer is our trouble, and never an allow.
    for failure in [
        (200, ""),
        (200, "{}"),
        (200, r#"{"result": "yes"}"#),
        (200, r#"{"result": "allow", "acl": 1}"#),
        (200, r#"{"result": "allow", "expire_at": "soon"}"#),
        (401, r#"{"result": "allow"}"#),
        (500, ""),
        (0, "close"),
    ] {
        answers(failure, "backend_error");
    }
}

#[test]
fn an_allow_may_end_and_may_narrow() {
    let body = r#"{"result": "allow", "expire_at": 1700000000, "acl": {"sub": ["of/${clientid}"]}}"#;
    let server = HttpServer::new(vec![(200, body)]);
    let Opinion::Accept(verified) = ask(&service(&server, ""), "x") else {
        panic!("refused");
    };
    assert_eq!(
        (verified.until, verified.method),
        (Some(1_700_000_000_000), AuthMethod::Http)
    );
    assert!(verified.permissions.unwrap().allow_subscribe("of/c1", 0));
}

#[test]
fn the_request_says_who_wants_in() {
    let server = HttpServer::new(vec![(204, "")]);
    let body = "${clientid} ${username} ${password} ${peerhost} ${peerport} ${kind} ${via} ${socket} ${listener} ${cn} ${x}";
    let more = format!("body = {{ a = '{body}' }}\nheaders = {{ x-from = \"${{peerhost}}\" }}\n");
    let peer = PeerBuilder::new("192.0.2.1:1000")
        .behind("10.0.0.1:2000", peer::Source::ProxyV2)
        .build();
    let credentials = Credentials {
        cn: Some("dev"),
        ..shown(&peer, Some("b\"ob"), Some(b"p w"))
    };
    let opinion = block_on(service(&server, &more).verify(&credentials));
    assert!(matches!(opinion, Opinion::Accept(_)), "{opinion:?}");
    let asked = server.asked.try_recv().unwrap();
    assert!(
        asked.head.starts_with("POST /auth?l=tcp HTTP/1.1\r\n"),
        "{}",
        asked.head
    );
    assert!(asked.head.contains("\r\nx-from: 192.0.2.1\r\n"), "{}", asked.head);
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(
        body["a"],
        "c1 b\"ob p w 192.0.2.1 1000 client proxy_v2 10.0.0.1:2000 tcp dev ${x}"
    );
}

#[test]
fn get_and_forms_are_encoded() {
    let peer = Peer::test_client("192.0.2.1:1000");
    for (more, line, sent) in [
        (
            "method = \"get\"\nbody = { u = \"${username}\" }\n",
            "GET /auth?l=tcp&u=a%26b%3Dc HTTP/1.1\r\n",
            "",
        ),
        (
            "headers = { content-type = \"application/x-www-form-urlencoded\" }\nbody = { u = \"${username}\" }\n",
            "POST /auth?l=tcp HTTP/1.1\r\n",
            "u=a%26b%3Dc",
        ),
    ] {
        let server = HttpServer::new(vec![(204, "")]);
        block_on(service(&server, more).verify(&shown(&peer, Some("a&b=c"), None)));
        let asked = server.asked.try_recv().unwrap();
        assert!(asked.head.starts_with(line), "{}", asked.head);
        assert_eq!(asked.body, sent);
    }
}

#[test]
fn a_client_cannot_smuggle_a_header() {
    let server = HttpServer::new(vec![(204, "")]);
    let service = service(&server, "headers = { x-user = \"${username}\" }\n");
    let peer = Peer::test_client("192.0.2.1:1000");
    let opinion = block_on(service.verify(&shown(&peer, Some("a\r\nx-admin: 1"), None)));
    assert!(
        matches!(opinion, Opinion::Reject(AuthnReason::BadCredentials)),
        "{opinion:?}"
    );
    assert!(server.asked.try_recv().is_err());
}

#[test]
fn a_connection_serves_many_requests_and_a_closed_one_is_replaced() {
    let server = HttpServer::new(vec![(204, ""), (204, ""), (0, "close"), (204, "")]);
    let service = service(&server, "");
    let peer = Peer::test_client("192.0.2.1:1000");
    block_on(async {
        for _ in 0..3 {
            let opinion = service.verify(&shown(&peer, Some("bob"), None)).await;
            assert!(matches!(opinion, Opinion::Accept(_)), "{opinion:?}");
        }
    });
    assert_eq!(server.asked.try_iter().count(), 4);
}

#[test]
fn answers_are_kept_for_a_while_by_everything_that_was_asked() {
    let server = HttpServer::new(vec![(204, ""), (200, r#"{"result": "deny"}"#), (204, "")]);
    let service = service(&server, "cache_ttl = \"1h\"\ncache_max = 2\n");
    for _ in 0..2 {
        assert!(matches!(ask(&service, "right"), Opinion::Accept(_)));
        assert!(matches!(ask(&service, "wrong"), Opinion::Reject(_)));
    }
    assert_eq!(server.asked.try_iter().count(), 2);
    assert!(matches!(ask(&service, "third"), Opinion::Accept(_)));
    assert!(service.cache.lock().unwrap().len() <= 2);
}

#[test]
fn a_service_that_is_silent_or_failing_is_left_alone_for_a_while() {
    let server = HttpServer::new(vec![(0, "hang"), (500, ""), (204, ""), (204, "")]);
    let service = service(
        &server,
        "request_timeout = \"50ms\"\nbreaker_failures = 2\nbreaker_open = \"1h\"\n",
    );
    let failed = |opinion: Opinion| matches!(opinion, Opinion::Reject(AuthnReason::BackendError));
    assert!(failed(ask(&service, "x")) && failed(ask(&service, "x")));
    assert_eq!(server.asked.try_iter().count(), 2);
    assert!(failed(ask(&service, "x")));
    assert!(
        server.asked.try_recv().is_err(),
        "nobody is asked while it is open"
    );
    // Its time is over: one tries, and all may again.
    service.breaker.lock().unwrap().closed_until = Some(Instant::now());
    assert!(!failed(ask(&service, "x")) && !failed(ask(&service, "x")));
}

#[test]
fn a_url_that_cannot_be_asked_is_told_at_start() {
    let mut config = auth_config("").http;
    for url in ["http://", "http://h:port/", "ftp://h/", "http://${peerhost}/"] {
        config.url = Some(url.to_owned());
        assert!(Service::new(&config).is_err(), "{url}");
    }
    config.url = Some("http://[::1]:80/a".to_owned());
    assert!(Service::new(&config).is_ok());
    config.headers.insert("a b".to_owned(), String::new());
    assert!(Service::new(&config).is_err());
}
