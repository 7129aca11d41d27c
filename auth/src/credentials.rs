//! Password hashes and the passwd file: argon2id (ours and mosquitto's), mosquitto `$6$` and `$7$`, SCRAM keys.
//!
//! Verifying takes milliseconds on purpose: the caller moves it off the reactor and bounds how many run at once.
//! Random bytes come from the caller.

use std::collections::HashMap;
use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use sha2::{Digest as _, Sha512};
use subtle::ConstantTimeEq as _;

use crate::scram;

/// Reads base64 with or without padding: argon2 writes none, mosquitto's other formats do.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Most KiB of memory that a line of the file may ask for, and other costs: a file must not be able to stop
/// the broker.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 64;
const ITERATIONS_MAX: u32 = 10_000_000;
const SALT_BYTES_MAX: usize = 64;

/// How to check one user's password.
#[derive(Clone, PartialEq, Eq)]
pub enum Hash {
    /// `$argon2id$v=19$m=KIB,t=PASSES,p=LANES$SALT$HASH`
    Argon2id {
        /// Cost and length.
        params: Params,
        /// At least 8 bytes.
        salt: Box<[u8]>,
        /// At least 4 bytes.
        hash: Box<[u8]>,
    },
    /// mosquitto `$7$ITERATIONS$SALT$HASH`: PBKDF2 with HMAC-SHA-512.
    Pbkdf2 {
        /// Rounds.
        iterations: u32,
        /// Any bytes.
        salt: Box<[u8]>,
        /// The key.
        hash: Box<[u8; 64]>,
    },
    /// mosquitto `$6$SALT$HASH`: one SHA-512 over password and salt.
    Sha512 {
        /// Any bytes.
        salt: Box<[u8]>,
        /// The digest.
        hash: Box<[u8; 64]>,
    },
    /// `SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER`: serves AUTH and plain passwords.
    Scram(Box<scram::Keys>),
}

/// Why a text is no password hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashError {
    /// It does not look like a hash: perhaps a password in clear text.
    Unknown,
    /// A known format with a part missing, too many parts or bad base64.
    Malformed,
    /// Parameters out of range, or asking for too much work or memory.
    Parameters,
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "no known password hash ($argon2id$, $7$, $6$, SCRAM-SHA-256$)",
            Self::Malformed => "a damaged password hash",
            Self::Parameters => "a password hash with parameters out of range",
        })
    }
}

impl std::error::Error for HashError {}

// A hash in a log is a hash to guess at.
impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argon2id { .. } => "Argon2id(..)",
            Self::Pbkdf2 { .. } => "Pbkdf2(..)",
            Self::Sha512 { .. } => "Sha512(..)",
            Self::Scram(_) => "Scram(..)",
        })
    }
}

impl Hash {
    /// The hash of a new password: argon2id, 19 MiB, 2 passes (OWASP). The salt is random.
    pub fn argon2id(password: &[u8], salt: [u8; 16]) -> Result<Self, HashError> {
        let params = Params::DEFAULT;
        let hash =
            argon2(&params, password, &salt, Params::DEFAULT_OUTPUT_LEN).ok_or(HashError::Parameters)?;
        Ok(Self::Argon2id {
            params,
            salt: Box::new(salt),
            hash: hash.into(),
        })
    }

    /// Reads what stands behind `user:` in a passwd file.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        if let Some(rest) = text.strip_prefix("$argon2id$") {
            parse_argon2id(rest)
        } else if let Some(rest) = text.strip_prefix("$7$") {
            let [iterations, salt, hash] = parts(rest)?;
            let iterations = number(iterations, ITERATIONS_MAX)?;
            Ok(Self::Pbkdf2 {
                iterations,
                salt: salt_bytes(salt)?,
                hash: digest(hash)?,
            })
        } else if let Some(rest) = text.strip_prefix("$6$") {
            let [salt, hash] = parts(rest)?;
            Ok(Self::Sha512 {
                salt: salt_bytes(salt)?,
                hash: digest(hash)?,
            })
        } else if text.starts_with(scram::PREFIX) {
            let keys = text.parse::<scram::Keys>().map_err(|()| HashError::Malformed)?;
            if keys.iterations() > ITERATIONS_MAX {
                return Err(HashError::Parameters);
            }
            Ok(Self::Scram(Box::new(keys)))
        } else {
            Err(HashError::Unknown)
        }
    }

    /// Whether this is the password. Takes the time the hash was made to take; the comparison itself tells
    /// nothing by its time.
    pub fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Argon2id { params, salt, hash } => {
                argon2(params, password, salt, hash.len()).is_some_and(|got| got.ct_eq(hash).into())
            }
            Self::Pbkdf2 {
                iterations,
                salt,
                hash,
            } => {
                let got = pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password, salt, *iterations);
                got.ct_eq(&**hash).into()
            }
            Self::Sha512 { salt, hash } => {
                let got = Sha512::new().chain_update(password).chain_update(salt).finalize();
                got.ct_eq(&**hash).into()
            }
            Self::Scram(keys) => keys.verify(password),
        }
    }

    /// Its format in a word, for listings.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Argon2id { .. } => "argon2id",
            Self::Pbkdf2 { .. } => "pbkdf2-sha512",
            Self::Sha512 { .. } => "sha512",
            Self::Scram(_) => "scram-sha-256",
        }
    }

    /// The SCRAM keys, if the line has them.
    pub fn scram(&self) -> Option<&scram::Keys> {
        if let Self::Scram(keys) = self {
            Some(keys)
        } else {
            None
        }
    }
}

fn argon2(params: &Params, password: &[u8], salt: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; len];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    argon2.hash_password_into(password, salt, &mut out).ok()?;
    Some(out)
}

fn parse_argon2id(rest: &str) -> Result<Hash, HashError> {
    let [version, costs, salt, hash] = parts(rest)?;
    if version != "v=19" {
        return Err(HashError::Parameters);
    }
    let (mut memory, mut passes, mut lanes) = (None, None, None);
    for cost in costs.split(',') {
        match cost.split_once('=') {
            Some(("m", n)) => memory = Some(number(n, MEMORY_KIB_MAX)?),
            Some(("t", n)) => passes = Some(number(n, PASSES_MAX)?),
            Some(("p", n)) => lanes = Some(number(n, LANES_MAX)?),
            _ => return Err(HashError::Malformed),
        }
    }
    let (Some(memory), Some(passes), Some(lanes)) = (memory, passes, lanes) else {
        return Err(HashError::Malformed);
    };
    let salt = salt_bytes(salt)?;
    let hash = BASE64.decode(hash).map_err(|_| HashError::Malformed)?;
    // The library's own bounds: salt and output lengths, memory for the lanes.
    if salt.len() < 8 || !(16..=64).contains(&hash.len()) {
        return Err(HashError::Parameters);
    }
    let params = Params::new(memory, passes, lanes, Some(hash.len())).map_err(|_| HashError::Parameters)?;
    Ok(Hash::Argon2id {
        params,
        salt,
        hash: hash.into(),
    })
}

fn parts<const N: usize>(text: &str) -> Result<[&str; N], HashError> {
    let parts: Vec<&str> = text.split('$').collect();
    parts.try_into().map_err(|_| HashError::Malformed)
}

fn number(text: &str, max: u32) -> Result<u32, HashError> {
    match text.parse() {
        Ok(n) if (1..=max).contains(&n) => Ok(n),
        Ok(_) => Err(HashError::Parameters),
        Err(_) => Err(HashError::Malformed),
    }
}

fn salt_bytes(text: &str) -> Result<Box<[u8]>, HashError> {
    let salt = BASE64.decode(text).map_err(|_| HashError::Malformed)?;
    if salt.len() > SALT_BYTES_MAX {
        Err(HashError::Parameters)
    } else {
        Ok(salt.into())
    }
}

fn digest(text: &str) -> Result<Box<[u8; 64]>, HashError> {
    let bytes = BASE64.decode(text).map_err(|_| HashError::Malformed)?;
    let bytes: [u8; 64] = bytes.try_into().map_err(|_| HashError::Malformed)?;
    Ok(Box::new(bytes))
}

impl fmt::Display for Hash {
    /// The line's part behind `user:`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |bytes: &[u8]| BASE64_STANDARD_NO_PAD.encode(bytes);
        let padded = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        match self {
            Self::Argon2id { params, salt, hash } => {
                let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
                write!(
                    f,
                    "$argon2id$v=19$m={m},t={t},p={p}${}${}",
                    bare(salt),
                    bare(hash)
                )
            }
            Self::Pbkdf2 {
                iterations,
                salt,
                hash,
            } => {
                write!(f, "$7${iterations}${}${}", padded(salt), padded(&**hash))
            }
            Self::Sha512 { salt, hash } => write!(f, "$6${}${}", padded(salt), padded(&**hash)),
            Self::Scram(keys) => keys.fmt(f),
        }
    }
}

/// A line of a passwd file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswdError {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in characters.
    pub col: u32,
    /// What is wrong; never a part of the hash.
    pub message: String,
}

/// What a check of name and password says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Both are right.
    Accepted,
    /// The name is known, the password wrong.
    BadPassword,
    /// The name is not in the file. The client is told no difference, neither in words nor in time.
    UnknownUser,
}

/// A passwd file: users and their hashes.
#[derive(Debug, Clone, Default)]
pub struct Passwords {
    users: HashMap<Box<str>, Hash, foldhash::fast::RandomState>,
    /// What unknown users are checked against: for one name always the same of the file's hashes, so that their
    /// times are spread as those of known users are.
    decoys: Vec<Hash>,
}

impl Passwords {
    /// Reads a whole file: `user:HASH` lines, `#` comments, blank lines. Lines with errors are left out.
    pub fn parse(text: &str) -> (Self, Vec<PasswdError>) {
        let mut passwords = Self::default();
        let mut errors = Vec::new();
        for (number, line) in (1u32..).zip(text.lines()) {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut error = |col: usize, message: String| {
                errors.push(PasswdError {
                    line: number,
                    col: col as u32,
                    message,
                });
            };
            let Some((user, hash)) = line.split_once(':') else {
                error(1, "expected user:HASH".to_owned());
                continue;
            };
            if let Err(reason) = check_user(user) {
                error(1, reason.to_owned());
                continue;
            }
            match Hash::parse(hash) {
                Err(reason) => error(user.chars().count() + 2, reason.to_string()),
                Ok(hash) => {
                    if passwords.users.insert(user.into(), hash).is_some() {
                        error(1, "this user stands in the file twice".to_owned());
                    }
                }
            }
        }
        passwords.choose_decoys();
        (passwords, errors)
    }

    fn choose_decoys(&mut self) {
        self.decoys = self.users.values().take(256).cloned().collect();
        if self.decoys.is_empty() {
            // Nobody knows a password that gives this hash; its cost is that of a new user's.
            self.decoys.push(Hash::Argon2id {
                params: Params::DEFAULT,
                salt: Box::new([0; 16]),
                hash: Box::new([0; Params::DEFAULT_OUTPUT_LEN]),
            });
        }
    }

    /// Checks name and password. An unknown name costs what a known one costs.
    pub fn verify(&self, user: &str, password: &[u8]) -> Verdict {
        if let Some(hash) = self.users.get(user) {
            return if hash.verify(password) {
                Verdict::Accepted
            } else {
                Verdict::BadPassword
            };
        }
        let sum = user
            .bytes()
            .fold(0usize, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
        let decoy = sum
            .checked_rem(self.decoys.len())
            .and_then(|at| self.decoys.get(at));
        // The result does not count, the time does.
        let _ = decoy.is_some_and(|d| d.verify(password));
        Verdict::UnknownUser
    }

    /// The user's hash.
    pub fn hash(&self, user: &str) -> Option<&Hash> {
        self.users.get(user)
    }

    /// The names, in no order.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(AsRef::as_ref)
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

/// Whether a name can stand in a passwd file; the error is the reason.
pub fn check_user(user: &str) -> Result<(), &'static str> {
    if user.is_empty() {
        Err("the user name is empty")
    } else if user.contains(':') {
        Err("a user name has no `:`")
    } else if user.starts_with('#') || user.chars().any(char::is_control) {
        Err("a user name does not begin with `#` and has no control characters")
    } else {
        Ok(())
    }
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
