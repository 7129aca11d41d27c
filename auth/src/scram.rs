//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side, without I/O: client-first -> server-first,
//! client-final -> server-final. Carried by AUTH packets with the method `SCRAM-SHA-256`.
//!
//! Channel binding is not offered (MQTT has none agreed). Names and passwords are compared as they come:
//! SASLprep is left to the client, so non-ASCII passwords must be sent in the form they were stored in.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::credentials::BASE64;

/// The method's name in CONNECT and AUTH.
pub const METHOD: &str = "SCRAM-SHA-256";

pub(crate) const PREFIX: &str = "SCRAM-SHA-256$";

/// Rounds for new keys, and of the salt that unknown users are shown.
pub const ITERATIONS: u32 = 4096;

/// What the server keeps of a password; it cannot be used to log in elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    iterations: u32,
    salt: Box<[u8]>,
    stored: [u8; 32],
    server: [u8; 32],
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length, so this cannot fail; an empty result would match nothing.
    Hmac::<Sha256>::new_from_slice(key).map_or([0; 32], |mac| {
        mac.chain_update(message).finalize().into_bytes().into()
    })
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

impl Keys {
    /// The keys of a password. The salt is random.
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations);
        Self {
            iterations,
            salt: salt.into(),
            stored: sha256(&hmac(&salted, b"Client Key")),
            server: hmac(&salted, b"Server Key"),
        }
    }

    /// Whether this is the password.
    pub fn verify(&self, password: &[u8]) -> bool {
        let other = Self::derive(password, &self.salt, self.iterations);
        other.stored.ct_eq(&self.stored).into()
    }

    /// Rounds.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Keys of nobody: for one name and secret always the same salt, as a real user has, so that a stranger
    /// cannot find out who exists.
    fn decoy(user: &str, secret: &[u8; 32]) -> Self {
        let salt = hmac(secret, user.as_bytes());
        Self {
            iterations: ITERATIONS,
            salt: salt.get(..16).unwrap_or(&salt).into(),
            stored: [0; 32],
            server: hmac(secret, &salt),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        let Self {
            iterations,
            salt,
            stored,
            server,
        } = self;
        write!(
            f,
            "{PREFIX}{iterations}:{}${}:{}",
            text(salt),
            text(stored),
            text(server)
        )
    }
}

impl FromStr for Keys {
    type Err = ();

    /// `SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER`, as PostgreSQL has it.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (cost, keys) = text
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('$'))
            .ok_or(())?;
        let (iterations, salt) = cost.split_once(':').ok_or(())?;
        let (stored, server) = keys.split_once(':').ok_or(())?;
        let key = |text: &str| {
            BASE64
                .decode(text)
                .ok()
                .and_then(|b| <[u8; 32]>::try_from(b).ok())
                .ok_or(())
        };
        let iterations = iterations.parse().ok().filter(|n| *n > 0).ok_or(())?;
        let salt = BASE64.decode(salt).map_err(|_| ())?;
        Ok(Self {
            iterations,
            salt: salt.into(),
            stored: key(stored)?,
            server: key(server)?,
        })
    }
}

/// Why an exchange ended; the text is RFC 5802's `server-error-value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScramError {
    /// A message that is not of this form, or a mandatory extension.
    InvalidEncoding,
    /// The client wants channel binding, which is not offered.
    ChannelBinding,
    /// The nonce is not ours.
    Nonce,
    /// A wrong proof, an unknown user, or an identity other than the user's own.
    InvalidProof,
}

impl ScramError {
    /// The words for the client; an unknown user is told what a wrong password is told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidEncoding => "invalid-encoding",
            Self::ChannelBinding => "channel-binding-not-supported",
            Self::Nonce => "other-error",
            Self::InvalidProof => "invalid-proof",
        }
    }
}

impl fmt::Display for ScramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for ScramError {}

/// An exchange in which the server has spoken once.
#[derive(Debug)]
pub struct Exchange {
    username: String,
    keys: Keys,
    known: bool,
    /// What the client's `c=` must be: its gs2 header in base64.
    binding: String,
    nonce: String,
    /// client-first-bare and server-first, joined by a comma.
    messages: String,
}

/// A login that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Who.
    pub username: String,
    /// The data of the last message to the client: `v=...`.
    pub server_final: Vec<u8>,
}

impl Exchange {
    /// Takes the client's first message. `lookup` gives a user's keys; `nonce` is random; `secret` is random but
    /// the same for the life of the server. Gives the data of the answer.
    pub fn start(
        client_first: &[u8],
        lookup: impl FnOnce(&str) -> Option<Keys>,
        nonce: [u8; 18],
        secret: &[u8; 32],
    ) -> Result<(Self, Vec<u8>), ScramError> {
        Self::start_with(client_first, lookup, &BASE64_STANDARD.encode(nonce), secret)
    }

    fn start_with(
        client_first: &[u8],
        lookup: impl FnOnce(&str) -> Option<Keys>,
        nonce: &str,
        secret: &[u8; 32],
    ) -> Result<(Self, Vec<u8>), ScramError> {
        let text = std::str::from_utf8(client_first).map_err(|_| ScramError::InvalidEncoding)?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(identity), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ScramError::InvalidEncoding);
        };
        match flag {
            "n" | "y" => {}
            _ if flag.starts_with("p=") => return Err(ScramError::ChannelBinding),
            _ => return Err(ScramError::InvalidEncoding),
        }
        let mut fields = bare.split(',');
        let username = fields
            .next()
            .and_then(|f| f.strip_prefix("n="))
            .and_then(decode_name);
        let username = username.ok_or(ScramError::InvalidEncoding)?;
        let client_nonce = fields
            .next()
            .and_then(|f| f.strip_prefix("r="))
            .filter(|n| is_nonce(n));
        let client_nonce = client_nonce.ok_or(ScramError::InvalidEncoding)?;
        match identity.strip_prefix("a=").map(decode_name) {
            None if identity.is_empty() => {}
            Some(Some(name)) if name == username => {}
            Some(Some(_)) => return Err(ScramError::InvalidProof),
            _ => return Err(ScramError::InvalidEncoding),
        }
        let found = lookup(&username);
        let known = found.is_some();
        let keys = found.unwrap_or_else(|| Keys::decoy(&username, secret));
        let nonce = format!("{client_nonce}{nonce}");
        let server_first = format!(
            "r={nonce},s={},i={}",
            BASE64_STANDARD.encode(&keys.salt),
            keys.iterations
        );
        let messages = format!("{bare},{server_first}");
        let binding = BASE64_STANDARD.encode(format!("{flag},{identity},"));
        Ok((
            Self {
                username,
                keys,
                known,
                binding,
                nonce,
                messages,
            },
            server_first.into_bytes(),
        ))
    }

    /// Takes the client's last message.
    pub fn finish(self, client_final: &[u8]) -> Result<Accepted, ScramError> {
        let text = std::str::from_utf8(client_final).map_err(|_| ScramError::InvalidEncoding)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::InvalidEncoding)?;
        let mut fields = without_proof.split(',');
        let binding = fields
            .next()
            .and_then(|f| f.strip_prefix("c="))
            .ok_or(ScramError::InvalidEncoding)?;
        let nonce = fields
            .next()
            .and_then(|f| f.strip_prefix("r="))
            .ok_or(ScramError::InvalidEncoding)?;
        if binding != self.binding {
            return Err(ScramError::ChannelBinding);
        }
        if nonce != self.nonce {
            return Err(ScramError::Nonce);
        }
        let proof = BASE64
            .decode(proof)
            .ok()
            .and_then(|p| <[u8; 32]>::try_from(p).ok());
        let proof = proof.ok_or(ScramError::InvalidEncoding)?;
        let message = format!("{},{without_proof}", self.messages);
        let signature = hmac(&self.keys.stored, message.as_bytes());
        let mut client_key = proof;
        client_key
            .iter_mut()
            .zip(signature)
            .for_each(|(key, sign)| *key ^= sign);
        let right: bool = sha256(&client_key).ct_eq(&self.keys.stored).into();
        if !(right && self.known) {
            return Err(ScramError::InvalidProof);
        }
        let verifier = hmac(&self.keys.server, message.as_bytes());
        let server_final = format!("v={}", BASE64_STANDARD.encode(verifier)).into_bytes();
        Ok(Accepted {
            username: self.username,
            server_final,
        })
    }

    /// Who the client says it is; not verified yet.
    pub fn claimed_username(&self) -> &str {
        &self.username
    }
}

/// `=2C` is a comma, `=3D` an equals sign; any other `=` is an error. Not empty.
fn decode_name(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once('=') {
        out.push_str(plain);
        if let Some(after) = after.strip_prefix("2C") {
            out.push(',');
            rest = after;
        } else {
            rest = after.strip_prefix("3D")?;
            out.push('=');
        }
    }
    out.push_str(rest);
    (!out.is_empty()).then_some(out)
}

/// Printable ASCII without a comma.
fn is_nonce(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|b| (0x21..=0x7e).contains(&b) && b != b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];
    const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    fn pencil() -> Keys {
        Keys::derive(
            b"pencil",
            &BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(),
            4096,
        )
    }

    fn start(first: &[u8], known: bool) -> Result<(Exchange, Vec<u8>), ScramError> {
        Exchange::start_with(
            first,
            |user| (known && user == "user").then(pencil),
            SERVER_NONCE,
            &SECRET,
        )
    }

    /// The exchange of RFC 7677 section 3.
    #[test]
    fn the_example_of_the_rfc() {
        let (exchange, server_first) = start(FIRST, true).unwrap();
        assert_eq!(
            String::from_utf8(server_first).unwrap(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let accepted = exchange.finish(last).unwrap();
        assert_eq!(accepted.username, "user");
        assert_eq!(
            accepted.server_final,
            b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[track_caller]
    fn refused(last: &[u8], want: ScramError) {
        let (exchange, _) = start(FIRST, true).unwrap();
        assert_eq!(exchange.finish(last), Err(want));
    }

    #[test]
    fn last_messages_that_are_wrong() {
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        refused(
            format!("c=biws,r={nonce}x,p={proof}").as_bytes(),
            ScramError::Nonce,
        );
        refused(
            format!("c=eSws,r={nonce},p={proof}").as_bytes(),
            ScramError::ChannelBinding,
        );
        refused(
            format!("c=biws,r={nonce},p=AAAA").as_bytes(),
            ScramError::InvalidEncoding,
        );
        refused(
            format!("c=biws,r={nonce},x=1,p={proof}").as_bytes(),
            ScramError::InvalidProof,
        );
        refused(b"", ScramError::InvalidEncoding);
        refused(b"\xff", ScramError::InvalidEncoding);
    }

    #[test]
    fn first_messages_that_are_wrong() {
        let first = |text: &str| start(text.as_bytes(), true).map(|_| ());
        assert_eq!(first("p=tls-unique,,n=user,r=x"), Err(ScramError::ChannelBinding));
        assert_eq!(first("n,a=other,n=user,r=x"), Err(ScramError::InvalidProof));
        assert_eq!(first("n,a=user,n=user,r=x"), Ok(()));
        for bad in [
            "",
            "n",
            "n,,",
            "n,,n=user",
            "n,,r=x,n=user",
            "n,,m=1,n=user,r=x",
            "n,,n=a=b,r=x",
            "n,,n=,r=x",
            "n,,n=user,r=",
        ] {
            assert_eq!(first(bad), Err(ScramError::InvalidEncoding), "{bad}");
        }
    }

    #[test]
    fn an_unknown_user_sees_nothing_unusual_and_never_gets_in() {
        let (_, known) = start(FIRST, true).unwrap();
        let (exchange, unknown) = start(FIRST, false).unwrap();
        assert_eq!(known.len(), unknown.len());
        assert_eq!(start(FIRST, false).unwrap().1, unknown, "the same salt each time");
        // Even who finds a key whose hash is all zeros is not let in: the exchange knows that nobody is there.
        let nonce = exchange.nonce.clone();
        let last = format!("c=biws,r={nonce},p={}", BASE64_STANDARD.encode([0; 32]));
        assert_eq!(exchange.finish(last.as_bytes()), Err(ScramError::InvalidProof));
    }

    #[test]
    fn keys_are_written_and_read() {
        let keys = pencil();
        assert_eq!(keys.to_string().parse(), Ok(keys.clone()));
        assert!(keys.verify(b"pencil") && !keys.verify(b"pencil2"));
        assert_eq!(decode_name("a=2Cb=3Dc").as_deref(), Some("a,b=c"));
        for bad in [
            "SCRAM-SHA-256$",
            "SCRAM-SHA-256$0:AA$AA:AA",
            "SCRAM-SHA-256$4096:W22Z$AAAA:AAAA",
        ] {
            assert_eq!(bad.parse::<Keys>(), Err(()));
        }
    }
}
