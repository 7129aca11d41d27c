//! Logs: what is written, how a line looks, levels that change at run time, and one line per cause.
//!
//! Lines go to stderr: text on a terminal, else JSON with OpenTelemetry field names, which the call
//! sites spell out (`client.address = %ip`). Security facts belong in the audit log (`audit`).

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash, RandomState};
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::{Registry, reload};

use crate::config::{LogConfig, LogFormat, LogLevel};

/// Our crates: `level` is theirs. Libraries speak only of trouble, unless named in `filters`.
const OURS: &[&str] = &["broker", "listeners", "auth", "peer", "codec", "audit"];

/// Levels in force: of everything, and of single modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    /// Of all our modules.
    pub level: LogLevel,
    /// Of single ones, by the name given: a crate (`listeners`), or a room of the broker (`session`).
    pub modules: BTreeMap<String, LogLevel>,
}

impl Levels {
    fn targets(&self) -> Targets {
        let mut t = Targets::new().with_default(filter(self.level).min(LevelFilter::WARN));
        for ours in OURS {
            t = t.with_target(*ours, filter(self.level));
        }
        for (name, level) in &self.modules {
            t = t.with_target(name.clone(), filter(*level));
            if !name.contains("::") && !OURS.contains(&name.as_str()) {
                t = t.with_target(format!("broker::{name}"), filter(*level));
            }
        }
        t
    }
}

impl From<&LogConfig> for Levels {
    fn from(c: &LogConfig) -> Self {
        Self {
            level: c.level,
            modules: c.filters.clone(),
        }
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// The handle on the running log.
#[derive(Debug)]
pub struct Logging {
    handle: reload::Handle<Targets, Registry>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// From the configuration.
    base: Levels,
    /// Set at run time for a while: module (none = all), level, until when.
    passing: Vec<(Option<String>, LogLevel, Option<Instant>)>,
}

impl State {
    fn levels(&self) -> Levels {
        let mut l = self.base.clone();
        for (module, level, _) in &self.passing {
            match module {
                Some(m) => {
                    l.modules.insert(m.clone(), *level);
                }
                None => l.level = *level,
            }
        }
        l
    }
}

/// Starts logging for this process.
///
/// # Errors
/// Logging was already started.
pub fn init(config: &LogConfig) -> Result<Logging, tracing::subscriber::SetGlobalDefaultError> {
    let terminal = std::io::stderr().is_terminal();
    let color = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let (logging, subscriber) = build(config, terminal, color, std::io::stderr);
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(logging)
}

fn build<W>(
    config: &LogConfig,
    terminal: bool,
    color: bool,
    writer: W,
) -> (Logging, impl tracing::Subscriber + Send + Sync)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let base = Levels::from(config);
    let (filter, handle) = reload::Layer::new(base.targets());
    let text = match config.format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(color);
    let lines = if text {
        lines.boxed()
    } else {
        lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed()
    };
    let subscriber = tracing_subscriber::registry().with(filter.and_then(lines));
    (
        Logging {
            handle,
            state: Mutex::new(State {
                base,
                passing: Vec::new(),
            }),
        },
        subscriber,
    )
}

impl Logging {
    /// Takes the levels of a reloaded configuration; those set at run time stay on top. A change of
    /// `format` needs a restart.
    pub fn reconfigure(&self, config: &LogConfig) {
        self.change(|s| s.base = config.into());
    }

    /// Sets a level (of one module, or of all) until it is set again, or until a time; see
    /// [`Self::revert`].
    pub fn set(&self, module: Option<&str>, level: LogLevel, until: Option<Instant>) {
        self.change(|s| {
            s.passing.retain(|(m, ..)| m.as_deref() != module);
            s.passing.push((module.map(str::to_owned), level, until));
        });
    }

    /// Takes back what was set for a time that is over at `now`; the next such time, if any.
    pub fn revert(&self, now: Instant) -> Option<Instant> {
        let over = |until: &Option<Instant>| until.is_some_and(|at| at <= now);
        if self.lock().passing.iter().any(|(.., until)| over(until)) {
            self.change(|s| s.passing.retain(|(.., until)| !over(until)));
        }
        self.lock().passing.iter().filter_map(|(.., until)| *until).min()
    }

    /// The levels in force.
    pub fn levels(&self) -> Levels {
        self.lock().levels()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, f: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        f(&mut state);
        let targets = state.levels().targets();
        drop(state);
        // An error means that the subscriber is gone, and with it every line.
        let _ = self.handle.reload(targets);
    }
}

/// One line per cause in a time: the next one says how many were left out.
#[derive(Debug)]
pub struct Limiter {
    window: Duration,
    hasher: RandomState,
    seen: Mutex<HashMap<u64, (Instant, u64)>>,
}

/// Causes remembered; beyond, causes whose time is over are forgotten, then new ones are not written.
const CAUSES_MAX: usize = 4096;

impl Default for Limiter {
    /// One line in 10 seconds (peername 9).
    fn default() -> Self {
        Self::new(Duration::from_secs(10))
    }
}

impl Limiter {
    /// One line in this time.
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            hasher: RandomState::new(),
            seen: Mutex::default(),
        }
    }

    /// Whether a line for this cause, such as (code, listener, socket address), may be written at `now`;
    /// then the number of lines left out since the last one, to be written as `suppressed` if not 0.
    pub fn permit(&self, cause: impl Hash, now: Instant) -> Option<u64> {
        let cause = self.hasher.hash_one(cause);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, left_out)) = seen.get_mut(&cause) {
            if now.saturating_duration_since(*since) < self.window {
                *left_out += 1;
                return None;
            }
            *since = now;
            return Some(std::mem::take(left_out));
        }
        if seen.len() >= CAUSES_MAX {
            seen.retain(|_, (since, _)| now.saturating_duration_since(*since) < self.window);
        }
        if seen.len() >= CAUSES_MAX {
            return None;
        }
        seen.insert(cause, (now, 0));
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
        }
    }

    fn config(level: LogLevel, format: LogFormat) -> LogConfig {
        LogConfig {
            level,
            filters: BTreeMap::new(),
            format,
        }
    }

    #[test]
    fn a_json_line_has_its_fields_at_the_top_with_their_names() {
        let sink = Sink::default();
        let out = sink.clone();
        let (_logging, subscriber) = build(
            &config(LogLevel::Info, LogFormat::Auto),
            false,
            false,
            move || out.clone(),
        );
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(
                target: "listeners::accept",
                { client.address = "1.2.3.4", client.port = 5 },
                "hello\nworld"
            );
        });
        let text = sink.take();
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["client.address"], "1.2.3.4");
        assert_eq!(line["client.port"], 5);
        assert_eq!(line["message"], "hello\nworld");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn levels_change_at_run_time_and_go_back() {
        let sink = Sink::default();
        let out = sink.clone();
        let (logging, subscriber) = build(
            &config(LogLevel::Info, LogFormat::Text),
            false,
            false,
            move || out.clone(),
        );
        let now = Instant::now();
        let speak = || {
            tracing::debug!(target: "broker::session", "room");
            tracing::debug!(target: "listeners", "crate");
            tracing::info!(target: "hyper", "library");
            sink.take()
                .lines()
                .filter_map(|l| l.split_whitespace().last().map(str::to_owned))
                .collect::<Vec<_>>()
        };
        tracing::subscriber::with_default(subscriber, || {
            assert_eq!(speak(), Vec::<String>::new());
            logging.set(
                Some("session"),
                LogLevel::Debug,
                Some(now + Duration::from_secs(1)),
            );
            assert_eq!(speak(), ["room"]);
            logging.set(None, LogLevel::Debug, None);
            assert_eq!(speak(), ["room", "crate"]);
            assert_eq!(logging.levels().level, LogLevel::Debug);
            assert_eq!(logging.revert(now), Some(now + Duration::from_secs(1)));
            logging.set(None, LogLevel::Info, None);
            assert_eq!(logging.revert(now + Duration::from_secs(1)), None);
            assert_eq!(speak(), Vec::<String>::new());
            logging.set(Some("hyper"), LogLevel::Info, None);
            assert_eq!(speak(), ["library"]);
        });
    }

    #[test]
    fn one_line_per_cause_and_the_next_counts_the_rest() {
        let limiter = Limiter::new(Duration::from_secs(10));
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(limiter.permit(("E_X", 1), at(0)), Some(0));
        assert_eq!(limiter.permit(("E_X", 1), at(1)), None);
        assert_eq!(limiter.permit(("E_X", 2), at(1)), Some(0));
        assert_eq!(limiter.permit(("E_X", 1), at(9)), None);
        assert_eq!(limiter.permit(("E_X", 1), at(10)), Some(2));
        assert_eq!(limiter.permit(("E_X", 1), at(11)), None);
    }

    #[test]
    fn a_flood_of_causes_does_not_grow_the_table() {
        let limiter = Limiter::new(Duration::from_secs(10));
        let start = Instant::now();
        let permitted = (0..CAUSES_MAX * 2)
            .filter(|i| limiter.permit(i, start).is_some())
            .count();
        assert_eq!(permitted, CAUSES_MAX);
        assert_eq!(limiter.permit("later", start + Duration::from_secs(11)), Some(0));
    }
}
