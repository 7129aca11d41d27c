//! How an admin call goes wrong: one enum and its HTTP answer (RFC 9457).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One fault in a configuration, ACL or list file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileError {
    /// The file, or empty where a value did not come from one.
    pub file: String,
    /// Line, from 1; 0 = unknown.
    pub line: u32,
    /// Column, from 1; 0 = unknown.
    pub col: u32,
    /// `CE…`, `CFG…`, `A…`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Why a call was not done. Texts are for the operator: one line, no trailing stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no such thing; the text names it (`client nobody`).
    NotFound(String),
    /// The call itself makes no sense (bad CIDR, unknown listener action).
    Usage(String),
    /// Understood, and not done: the state of things forbids it.
    Refused {
        /// A stable word or a `CE…`, `BAN…` code.
        code: String,
        /// One line.
        message: String,
        /// The faults in files, when those are the reason.
        errors: Vec<FileError>,
    },
    /// No or a wrong token.
    Unauthorized,
    /// The token's scope does not cover this; the text names the scope it takes.
    Forbidden(String),
    /// Too many wrong tokens from there.
    TooManyAttempts,
    /// It was begun and not finished in time; the text says how far it got.
    TimedOut(String),
    /// The broker is starting, draining or stopping.
    Unavailable(String),
    /// Our own fault.
    Internal(String),
}

impl Failure {
    /// A refusal without file errors.
    pub fn refused(code: &str, message: impl Into<String>) -> Self {
        Self::Refused {
            code: code.to_owned(),
            message: message.into(),
            errors: Vec::new(),
        }
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound(_) => 404,
            Self::Usage(_) => 400,
            Self::Refused { .. } => 409,
            Self::Unauthorized => 401,
            Self::Forbidden(_) => 403,
            Self::TooManyAttempts => 429,
            Self::TimedOut(_) => 504,
            Self::Unavailable(_) => 503,
            Self::Internal(_) => 500,
        }
    }

    /// The answer's body.
    pub fn problem(&self) -> Problem {
        let (code, title) = match self {
            Self::NotFound(_) => ("not_found", "Not found"),
            Self::Usage(_) => ("usage", "Bad request"),
            Self::Refused { code, .. } => (code.as_str(), "Refused"),
            Self::Unauthorized => ("unauthorized", "Token required"),
            Self::Forbidden(_) => ("forbidden", "Not permitted"),
            Self::TooManyAttempts => ("too_many_attempts", "Too many failed tokens"),
            Self::TimedOut(_) => ("timed_out", "Timed out"),
            Self::Unavailable(_) => ("unavailable", "Not available now"),
            Self::Internal(_) => ("internal", "Internal error"),
        };
        let (detail, errors) = match self {
            Self::NotFound(what) => (format!("{what}: not found"), Vec::new()),
            Self::Usage(text) | Self::TimedOut(text) | Self::Unavailable(text) | Self::Internal(text) => {
                (text.clone(), Vec::new())
            }
            Self::Refused { message, errors, .. } => (message.clone(), errors.clone()),
            Self::Unauthorized => ("a valid bearer token is required".to_owned(), Vec::new()),
            Self::Forbidden(scope) => (format!("this call needs scope {scope}"), Vec::new()),
            Self::TooManyAttempts => (
                "too many wrong tokens from this address, wait a minute".to_owned(),
                Vec::new(),
            ),
        };
        Problem {
            title: title.to_owned(),
            status: self.status(),
            code: code.to_owned(),
            detail,
            errors,
        }
    }
}

/// The body of an error answer, `application/problem+json` (RFC 9457; `type` is `about:blank`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The status in words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable word or code.
    pub code: String,
    /// One line for the operator.
    pub detail: String,
    /// Faults in files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FileError>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(failure: &Failure, status: u16, code: &str, detail: &str) {
        let problem = failure.problem();
        assert_eq!((problem.status, problem.code.as_str()), (status, code));
        assert_eq!(problem.detail, detail);
    }

    #[test]
    fn each_failure_has_its_status_and_code() {
        check(
            &Failure::NotFound("client nobody".into()),
            404,
            "not_found",
            "client nobody: not found",
        );
        check(&Failure::Usage("bad CIDR".into()), 400, "usage", "bad CIDR");
        check(&Failure::refused("BAN001", "a proxy"), 409, "BAN001", "a proxy");
        check(
            &Failure::Unauthorized,
            401,
            "unauthorized",
            "a valid bearer token is required",
        );
        check(
            &Failure::Forbidden("admin".into()),
            403,
            "forbidden",
            "this call needs scope admin",
        );
        check(&Failure::TimedOut("3 of 5".into()), 504, "timed_out", "3 of 5");
        check(
            &Failure::Unavailable("stopping".into()),
            503,
            "unavailable",
            "stopping",
        );
    }
}
