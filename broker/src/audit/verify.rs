//! `broker audit verify`: follows the hash chain through files and names the first line that breaks it.
//!
//! Not here: how a link is made (`chain`) or written (`writer`), and the command line (`cli::audit`).

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::chain;

/// A file whose chain holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The file.
    pub file: PathBuf,
    /// Records with a hash; all of them hold.
    pub records: u64,
    /// Records before the first with a hash (the chain was switched on later): nothing is known of them.
    pub unchained: u64,
    /// Number of its first and its last chained record.
    pub seq: (u64, u64),
    /// Hash of the last record.
    pub head: String,
}

/// The first thing that does not hold.
#[derive(Debug)]
pub enum Broken {
    /// The file cannot be read.
    File(PathBuf, io::Error),
    /// No record in it carries a hash.
    NoChain(PathBuf),
    /// File, line (from 1), and what is wrong with it.
    Line(PathBuf, u64, &'static str),
    /// All holds, but no record has the head that was kept elsewhere.
    HeadMissing(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file, e) => write!(f, "{}: {e}", file.display()),
            Self::NoChain(file) => {
                write!(
                    f,
                    "{}: no record has a hash (audit.hash_chain is off): nothing to verify",
                    file.display()
                )
            }
            Self::Line(file, line, what) => write!(f, "{}:{line}: {what}", file.display()),
            Self::HeadMissing(head) => write!(
                f,
                "no record has the hash {head}: records were cut off or replaced"
            ),
        }
    }
}

impl std::error::Error for Broken {}

/// Follows the chain through `files`, oldest first, plain or `.gz`; with `head`, one of the records must
/// have that hash.
///
/// # Errors
/// The first line that breaks.
pub fn verify(files: &[PathBuf], head: Option<&str>) -> Result<Vec<Verified>, Broken> {
    let mut out = Vec::with_capacity(files.len());
    let mut follow = Follow {
        previous: None,
        wanted: head.map(str::to_ascii_lowercase),
        found: false,
    };
    for file in files {
        out.push(follow.file(file)?);
    }
    match follow.wanted {
        Some(head) if !follow.found => Err(Broken::HeadMissing(head)),
        _ => Ok(out),
    }
}

/// Where the chain stands.
struct Follow {
    previous: Option<String>,
    wanted: Option<String>,
    found: bool,
}

impl Follow {
    fn file(&mut self, file: &Path) -> Result<Verified, Broken> {
        let fail = |e| Broken::File(file.to_owned(), e);
        let mut sum = Verified {
            file: file.to_owned(),
            records: 0,
            unchained: 0,
            seq: (0, 0),
            head: String::new(),
        };
        for (i, line) in lines(file).map_err(fail)?.enumerate() {
            let line = line.map_err(fail)?;
            let broken = |what| Broken::Line(file.to_owned(), i as u64 + 1, what);
            let record: serde_json::Value =
                serde_json::from_slice(&line).map_err(|_| broken("not a JSON record"))?;
            let seq = record
                .get("seq")
                .and_then(serde_json::Value::as_u64)
                .ok_or_else(|| broken("no seq"))?;
            let Some((bare, hash)) = chain::split(&line) else {
                if sum.records > 0 || self.previous.is_some() {
                    return Err(broken("a record without a hash within the chain"));
                }
                sum.unchained += 1;
                continue;
            };
            let checkpoint = record.get("event").is_some_and(|e| e == "audit_checkpoint");
            let named = record.get("head").and_then(|h| h.as_str()).filter(|_| checkpoint);
            if sum.records == 0 && named.is_none() {
                return Err(broken("the chain does not begin with a checkpoint"));
            }
            let previous = match (&self.previous, named) {
                (Some(p), Some(n)) if p != n => {
                    return Err(broken(
                        "the checkpoint names another record than the one before it",
                    ));
                }
                (Some(p), _) => p.as_str(),
                (None, Some(n)) => n,
                (None, None) => return Err(broken("the chain does not begin with a checkpoint")),
            };
            if chain::link(previous, &bare) != hash {
                return Err(broken("the hash does not fit this record and the one before it"));
            }
            if sum.records == 0 {
                sum.seq.0 = seq;
            }
            sum.seq.1 = seq;
            sum.records += 1;
            self.found |= self.wanted.as_deref() == Some(hash);
            self.previous = Some(hash.to_owned());
        }
        match &self.previous {
            Some(head) if sum.records > 0 => sum.head.clone_from(head),
            _ => return Err(Broken::NoChain(file.to_owned())),
        }
        Ok(sum)
    }
}

/// Lines of a log file, plain or `.gz`.
fn lines(path: &Path) -> io::Result<Box<dyn Iterator<Item = io::Result<Vec<u8>>>>> {
    let file = File::open(path)?;
    Ok(if path.extension().is_some_and(|e| e == "gz") {
        Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(file)).split(b'\n'))
    } else {
        Box::new(BufReader::new(file).split(b'\n'))
    })
}
