//! Reading a configuration whole: layers, checks, defaults, types. The result is either in force at once or refused with
//! everything that is wrong with it.

use std::path::Path;
use std::sync::Arc;

use toml::Table;

use super::check::Checks;
use super::finding::{self, Finding, Severity};
use super::origin::Origins;
use super::raw::{self, Surroundings};
use super::types::Config;
use super::{Loaded, Sources, effective};

/// Everything that is wrong with a configuration, errors first.
#[derive(Debug)]
pub struct Refused {
    /// Errors and warnings.
    pub findings: Vec<Finding>,
}

/// Reads the configuration of this process.
///
/// # Errors
/// All findings, if any of them is an error.
pub fn load(sources: &Sources) -> Result<Loaded, Refused> {
    load_in(sources, &Surroundings::of_this_process())
}

/// Reads the configuration in given surroundings.
///
/// # Errors
/// All findings, if any of them is an error.
pub fn load_in(sources: &Sources, around: &Surroundings) -> Result<Loaded, Refused> {
    let mut raw = raw::read(sources, around);
    let filled = effective::fill(&raw.merged);
    let mut findings = std::mem::take(&mut raw.findings);
    let unreadable = findings.iter().any(|f| f.code == "CFG006");
    if !unreadable {
        let mut checks = Checks {
            merged: &raw.merged,
            filled: &filled,
            origins: &raw.origins,
            findings,
        };
        checks.run();
        findings = checks.findings;
    }
    finding::sort(&mut findings);
    if findings.iter().any(|f| f.severity == Severity::Error) {
        return Err(Refused { findings });
    }
    let base = raw.main.parent().unwrap_or(Path::new("/"));
    match effective::resolve(&filled, base) {
        Ok(config) => Ok(loaded(sources, raw, filled, config, findings)),
        Err(error) => {
            let message = format!("this configuration cannot be used: {}", error.message());
            Err(Refused {
                findings: vec![Finding::error("CFG004", message)],
            })
        }
    }
}

fn loaded(sources: &Sources, raw: raw::Raw, filled: Table, config: Config, warnings: Vec<Finding>) -> Loaded {
    Loaded {
        config: Arc::new(config),
        local_mode: raw.local_mode,
        sources: sources.clone(),
        main: raw.main,
        files: raw.files,
        values: Arc::new(Values {
            filled,
            merged: raw.merged,
            origins: raw.origins,
        }),
        warnings,
    }
}

/// The values in force as a file would have them, and where they came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// With all defaults.
    pub filled: Table,
    /// Only what was set.
    pub merged: Table,
    /// Where it came from.
    pub origins: Origins,
}
