//! `broker acl`: check, test, format, list and import rule files without a running broker.
//!
//! What does not live here: the language (`auth`), reading the files (`rules`), the facts as flags (`facts`).

mod cases;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use auth::{Acl, Env, Policy, check};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Exit;
use super::config::ConfigArgs;
use super::facts::FactArgs;
use super::{print, whole_file};
use crate::config::{Config, finding};
use crate::rules::question::{Question, view};
use crate::rules::{self, Files};

/// `broker acl ...`
#[derive(Debug, Args)]
pub(super) struct AclArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check a rule file with all it includes; all errors at once
    Check {
        /// The file (else acl.file of the configuration)
        file: Option<PathBuf>,
        /// Print the rules as a table, those with errors too
        #[arg(long)]
        list: bool,
        /// Warnings fail too
        #[arg(long)]
        strict: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        from: ConfigArgs,
    },
    /// Which rule decides, and why not each before it
    Test(Box<TestArgs>),
    /// Print a rule file with its columns aligned
    Fmt {
        /// The file (else acl.file of the configuration)
        file: Option<PathBuf>,
        /// Write it back instead
        #[arg(long, conflicts_with = "check")]
        write: bool,
        /// Print nothing; exit 1 if it is not aligned
        #[arg(long)]
        check: bool,
        #[command(flatten)]
        from: ConfigArgs,
    },
    /// Translate another broker's rule file; what has no equal becomes a comment
    Import {
        /// Whose file it is
        #[arg(value_enum)]
        broker: Foreign,
        /// The file
        file: PathBuf,
    },
    /// Print the rules in force under the configuration
    Show {
        /// The rules that stand when no file is configured
        #[arg(long)]
        builtin: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        from: ConfigArgs,
    },
}

/// Brokers whose rule files can be read.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Foreign {
    /// `acl_file` of Mosquitto
    Mosquitto,
    /// `acl.conf` of EMQX (also RMQTT's older form)
    Emqx,
    /// `vmq.acl` of `VerneMQ`
    Vernemq,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("request").required(true).args(["connect", "publish", "subscribe", "cases"])))]
struct TestArgs {
    #[command(flatten)]
    facts: FactArgs,
    /// Exit 0 if this is the verdict, 1 if not
    #[arg(long, value_parser = ["allow", "deny"], conflicts_with = "cases")]
    expect: Option<String>,
    /// Run all cases of a TOML file
    #[arg(long, value_name = "FILE")]
    cases: Option<PathBuf>,
    /// The rule file (else acl.file of the configuration)
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    from: ConfigArgs,
}

/// Does what was asked.
pub(super) fn run(args: AclArgs) -> ExitCode {
    let done = match args.what {
        What::Check {
            file,
            list,
            strict,
            json,
            from,
        } => check_file(file.as_deref(), &from, list, strict, json),
        What::Test(args) => test(*args),
        What::Fmt {
            file,
            write,
            check,
            from,
        } => format_file(file.as_deref(), &from, write, check),
        What::Import { broker, file } => import(broker, &file),
        What::Show {
            builtin: true, json, ..
        } => Ok(show(&Policy::builtin(), json)),
        What::Show { from, json, .. } => from.load().and_then(|loaded| {
            let policy = rules::load(&loaded.config).map_err(|acl| refused(&acl))?;
            Ok(show(&policy, json))
        }),
    };
    match done {
        Ok(exit) | Err(exit) => exit.into(),
    }
}

type Done = Result<Exit, Exit>;

/// Prints the errors of a file that cannot be used.
fn refused(acl: &Acl) -> Exit {
    eprint!("{}", auth::render(&acl.errors));
    Exit::No
}

/// The file named, else the configured one; `None` stands for the built-in rules.
fn file_of(named: Option<&Path>, config: &Config) -> Option<PathBuf> {
    named.map(Path::to_path_buf).or_else(|| config.acl.file.clone())
}

fn read(file: &Path, env: &Env) -> Acl {
    auth::parse(&file.to_string_lossy(), &Files, env)
}

fn check_file(named: Option<&Path>, from: &ConfigArgs, list: bool, strict: bool, json: bool) -> Done {
    let config = from.load()?.config;
    let env = rules::environment(&config);
    let acl = match file_of(named, &config) {
        Some(file) => read(&file, &env),
        None => Policy::builtin().acl().clone(),
    };
    let errors = acl.errors.len();
    let mut findings = acl.errors.clone();
    if errors == 0 {
        findings = check::warnings(&acl, &env);
    }
    let warnings = findings.len() - errors;
    let rows = check::list(&acl);
    if json {
        let findings: Vec<Value> = findings.iter().map(finding_json).collect();
        let mut out = json!({ "errors": errors, "warnings": warnings, "findings": findings });
        if let (true, Some(out)) = (list, out.as_object_mut()) {
            out.insert("rules".to_owned(), rows.iter().map(row_json).collect());
        }
        print(&format!("{out}\n"));
    } else {
        if list {
            print(&table(&rows));
        }
        print(&auth::render(&findings));
    }
    let compared = check::compared(&acl);
    if errors == 0 && compared < acl.rules.len() {
        eprintln!(
            "A201 and A202 were looked for in the first {compared} of {} rules",
            acl.rules.len()
        );
    }
    let failed = errors > 0 || (strict && warnings > 0);
    Ok(if failed { Exit::No } else { Exit::Done })
}

fn finding_json(finding: &auth::Diagnostic) -> Value {
    let (auth::Hint::Label(hint) | auth::Hint::Note(hint)) = &finding.hint;
    json!({
        "severity": if finding.code.is_error() { "error" } else { "warning" },
        "code": finding.code.as_str(),
        "message": finding.message,
        "file": finding.file,
        "line": finding.pos.line,
        "col": finding.pos.col,
        "hint": hint,
    })
}

fn row_json(row: &check::Listed) -> Value {
    json!({
        "number": row.number,
        "place": row.place,
        "verdict": row.verdict,
        "action": row.action,
        "terms": row.terms,
        "filters": row.filters,
        "error": row.error,
    })
}

/// The rules in columns as wide as they need.
fn table(rows: &[check::Listed]) -> String {
    const HEAD: [&str; 7] = ["RULE", "PLACE", "VERDICT", "ACTION", "TERMS", "FILTERS", "ERROR"];
    let cells = rows.iter().map(|row| {
        let number = row.number.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let texts: [&str; 6] = [
            &row.place,
            row.verdict,
            row.action,
            &row.terms,
            &row.filters,
            &row.error,
        ];
        std::iter::once(number)
            .chain(texts.map(str::to_owned))
            .collect::<Vec<String>>()
    });
    let lines: Vec<Vec<String>> = std::iter::once(HEAD.map(str::to_owned).to_vec())
        .chain(cells)
        .collect();
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|at| {
            lines
                .iter()
                .filter_map(|line| line.get(at))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for line in &lines {
        let padded: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        out.push_str(padded.join("  ").trim_end());
        out.push('\n');
    }
    out
}

fn test(args: TestArgs) -> Done {
    let config = args.from.load()?.config;
    let policy = match file_of(args.file.as_deref(), &config) {
        None => Policy::builtin(),
        Some(file) => {
            let acl = read(&file, &rules::environment(&config));
            Policy::compile(acl).map_err(|errors| {
                eprint!("{}", auth::render(&errors));
                Exit::No
            })?
        }
    };
    if let Some(cases) = &args.cases {
        return cases::run(&policy, cases, args.json);
    }
    let question = Question::new(args.facts.request()).map_err(|reason| {
        eprintln!("error: {reason}");
        Exit::Usage
    })?;
    let explanation = question.explain(&policy);
    if args.json {
        print(&format!("{}\n", json!(view(&explanation))));
    } else {
        print(&explanation.to_string());
    }
    let verdict = explanation.decision.effect.as_str();
    let wanted = args.expect.as_deref().unwrap_or("allow");
    Ok(if verdict == wanted { Exit::Done } else { Exit::No })
}

fn format_file(named: Option<&Path>, from: &ConfigArgs, write: bool, check: bool) -> Done {
    let config = from.load()?.config;
    let Some(file) = file_of(named, &config) else {
        eprintln!("error: no file named, and no acl.file configured");
        return Err(Exit::Usage);
    };
    let acl = read(&file, &rules::environment(&config));
    if !acl.errors.is_empty() {
        return Err(refused(&acl));
    }
    let Some(text) = acl.files.first().map(|main| main.text.as_str()) else {
        return Ok(Exit::Done);
    };
    let aligned = auth::format(text);
    if check {
        return Ok(if aligned == text { Exit::Done } else { Exit::No });
    }
    if !write {
        print(&aligned);
    } else if aligned != text {
        whole_file::write(&file, &aligned, 0o644).map_err(|error| {
            eprintln!(
                "error: cannot write {}: {}",
                file.display(),
                finding::io_reason(&error)
            );
            Exit::No
        })?;
    }
    Ok(Exit::Done)
}

fn import(broker: Foreign, file: &Path) -> Done {
    let text = std::fs::read_to_string(file).map_err(|error| {
        eprintln!(
            "error: cannot read {}: {}",
            file.display(),
            finding::io_reason(&error)
        );
        Exit::No
    })?;
    let imported = match broker {
        Foreign::Mosquitto => auth::import::mosquitto(&text),
        Foreign::Vernemq => auth::import::vernemq(&text),
        Foreign::Emqx => auth::import::emqx(&text),
    };
    print(&imported.text);
    if imported.left_out > 0 {
        eprintln!(
            "no equal here for {}: see the comments",
            count(imported.left_out, "line")
        );
    }
    Ok(Exit::Done)
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn show(policy: &Policy, json: bool) -> Exit {
    let acl = policy.acl();
    if json {
        let rows: Vec<Value> = check::list(acl).iter().map(row_json).collect();
        print(&format!("{}\n", Value::Array(rows)));
        return Exit::Done;
    }
    let mut out = String::new();
    for file in acl.files.iter().filter(|file| !file.text.is_empty()) {
        if acl.files.len() > 1 {
            out.extend(["# ", file.name.as_str(), "\n"]);
        }
        out.push_str(&file.text);
        if !file.text.ends_with('\n') {
            out.push('\n');
        }
    }
    print(&out);
    Exit::Done
}
