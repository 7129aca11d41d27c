//! The configuration in force and on disk, and log levels.

use std::time::{Duration, Instant};

use super::Control;
use crate::admin::problem::Failure;
use crate::admin::views::{ConfigDiffRow, ConfigRow, LogLevelRequest, LogLevelView, parse_duration};
use crate::config::{self, LogLevel};

impl Control {
    pub(super) fn config_rows(&self, prefix: Option<&str>) -> Vec<ConfigRow> {
        self.loaded().values.rows(prefix.unwrap_or_default())
    }

    pub(super) async fn diff_rows(&self) -> Result<Vec<ConfigDiffRow>, Failure> {
        let running = self.loaded();
        let read = tokio::task::spawn_blocking(move || {
            let disk = config::load(&running.sources);
            disk.map(|disk| config::reload::diff(&running.values, &disk.values))
        });
        let rows = read.await.map_err(|error| Failure::Internal(error.to_string()))?;
        rows.map_err(|refused| {
            let errors = config::finding::render(&refused.findings);
            Failure::refused("CFG004", format!("the files on disk have errors:\n{errors}"))
        })
    }

    pub(super) fn levels_view(&self) -> Result<LogLevelView, Failure> {
        let logging = self.logging.as_ref().ok_or_else(no_logging)?;
        let levels = logging.levels();
        Ok(LogLevelView {
            level: levels.level.as_str().to_owned(),
            modules: levels
                .modules
                .iter()
                .map(|(m, level)| (m.clone(), level.as_str().to_owned()))
                .collect(),
            reverts_in: None,
        })
    }

    pub(super) fn set_level(&self, request: &LogLevelRequest) -> Result<LogLevelView, Failure> {
        let logging = self.logging.as_ref().ok_or_else(no_logging)?;
        let level = LogLevel::ALL
            .iter()
            .find(|level| level.as_str() == request.level)
            .copied();
        let level = level.ok_or_else(|| Failure::Usage(format!("`{}` is no log level", request.level)))?;
        let time = match &request.duration {
            Some(text) => {
                Some(parse_duration(text).ok_or_else(|| Failure::Usage(format!("`{text}` is no time")))?)
            }
            None => None,
        };
        logging.set(
            request.module.as_deref(),
            level,
            time.map(|time| Instant::now() + time),
        );
        if let Some(time) = time {
            self.revert_levels_after(time);
        }
        let mut view = self.levels_view()?;
        view.reverts_in = time.map(|time| time.as_secs());
        Ok(view)
    }

    fn revert_levels_after(&self, time: Duration) {
        let Some(control) = self.me.upgrade() else { return };
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            if let Some(logging) = &control.logging {
                logging.revert(Instant::now());
            }
        });
    }
}

fn no_logging() -> Failure {
    Failure::Unavailable("logging was not started by this broker".to_owned())
}
