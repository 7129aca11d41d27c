//! What the tests of several sources share.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use peer::Peer;

use super::chain::Credentials;
use crate::config::{self, AuthConfig};

/// `[auth]` of a file with this text.
#[track_caller]
pub(super) fn auth_config(text: &str) -> AuthConfig {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broker.toml");
    let listener = "[listeners.tcp]\ntransport = \"tcp\"\nbind = \"127.0.0.1:1883\"\n";
    std::fs::write(&file, format!("{listener}{text}")).unwrap();
    let sources = config::Sources {
        file: Some(file),
        ..config::Sources::default()
    };
    match config::load(&sources) {
        Ok(loaded) => loaded.config.auth.clone(),
        Err(refused) => panic!("{}", config::finding::render(&refused.findings)),
    }
}

/// A client called `c1` with these credentials.
pub(super) fn shown<'a>(
    peer: &'a Peer,
    username: Option<&'a str>,
    password: Option<&'a [u8]>,
) -> Credentials<'a> {
    Credentials {
        peer,
        listener: "tcp",
        allow_anonymous: false,
        client_id: "c1",
        username,
        password,
        certificate: false,
        cn: None,
    }
}

/// Runs a future as a shard would.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}

/// What a client of the [`HttpServer`] asked: its request line and headers, and its body.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) head: String,
    pub(super) body: String,
}

/// An HTTP server that answers each request with the next of its answers (status, body), then closes.
/// An answer of status 0 is none: the connection is closed, or kept open in silence where the body says `hang`.
pub(super) struct HttpServer {
    pub(super) addr: SocketAddr,
    pub(super) asked: Receiver<Asked>,
}

impl HttpServer {
    pub(super) fn new(answers: Vec<(u16, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (tell, asked) = channel();
        std::thread::spawn(move || {
            let mut answers = answers.into_iter();
            let mut silent = Vec::new();
            // It ends with its answers, or when the test has gone.
            'accept: while let Ok((stream, _)) = listener.accept() {
                let mut stream = BufReader::new(stream);
                while let Some(request) = read(&mut stream) {
                    let Some((status, body)) = answers.next() else {
                        return;
                    };
                    if tell.send(request).is_err() {
                        return;
                    }
                    if status == 0 {
                        if body == "hang" {
                            silent.push(stream);
                        }
                        continue 'accept;
                    }
                    let length = body.len();
                    let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
                    stream.get_mut().write_all(text.as_bytes()).unwrap();
                }
            }
        });
        Self { addr, asked }
    }
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Asked {
        head,
        body: String::from_utf8(body).unwrap(),
    })
}
