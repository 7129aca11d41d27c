//! The pure part of a reload: from the configuration in force and the one just read to what applies now and what waits
//! for a restart; and the texts of both. What does not live here: binding, swapping, kicking (`server`).

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use toml::{Table, Value};

use super::keys::{Key, Kind, all, find};
use super::load::Values;
use super::origin::dotted;
use super::show::{Change, changes, lookup};
use super::text::inline;
use super::{ListenerConfig, Loaded, effective, raw};
use crate::admin::views::{ConfigDiffRow, PendingRestart, ReloadView};

/// What a reload can be narrowed to (`--only`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `[acl]` and the rule files.
    Acl,
    /// Certificates and keys.
    Tls,
    /// `[networks]`.
    Networks,
    /// The password files.
    Passwd,
}

impl Part {
    /// By its name in `--only`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "acl" => Some(Self::Acl),
            "tls" => Some(Self::Tls),
            "networks" => Some(Self::Networks),
            "passwd" => Some(Self::Passwd),
            _ => None,
        }
    }

    fn has(self, path: &[String]) -> bool {
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        match self {
            Self::Acl => matches!(parts.as_slice(), ["acl", ..]),
            Self::Tls => matches!(
                parts.as_slice(),
                ["listeners", _, "tls", ..] | ["admin", "tls", ..]
            ),
            Self::Networks => matches!(parts.as_slice(), ["networks", ..]),
            Self::Passwd => matches!(parts.as_slice(), ["auth", "password_file" | "scram", ..]),
        }
    }
}

/// What happens to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerChange {
    /// It is bound and started.
    Start,
    /// It stops accepting; its clients stay.
    Stop,
    /// It is bound anew: address, backlog or transport changed.
    Rebind,
    /// New connections get the new settings.
    Settings,
}

/// What a reload would do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is in force afterwards: the new configuration, but keys that need a restart keep the running value.
    pub apply: Loaded,
    /// Keys that change now.
    pub changed: Vec<Change>,
    /// Keys that wait for a restart: the running value, the value on disk.
    pub pending: Vec<Change>,
    /// Enabled listeners that change, by name.
    pub listeners: Vec<(String, ListenerChange)>,
}

/// Whether a change of this key waits for a restart.
pub fn needs_restart(path: &[String]) -> bool {
    find(path).is_some_and(|key| key.restart)
}

/// Plans a reload from the running configuration to the one just read. With `only`, all other keys keep their running
/// values and are not looked at.
///
/// # Errors
/// A sentence, if what would be in force is no configuration (with `only`: a key left out that another needs).
pub fn plan(running: &Loaded, new: Loaded, only: &[Part]) -> Result<Plan, String> {
    let in_both = |path: &[String]| match path {
        [listeners, _, ..] if listeners == "listeners" => {
            let listener = path.get(..2).unwrap_or(path);
            [running, &new]
                .iter()
                .all(|loaded| lookup(&loaded.values.filled, listener).is_some())
        }
        _ => true,
    };
    let wanted =
        |path: &[String]| only.is_empty() || (only.iter().any(|part| part.has(path)) && in_both(path));
    let differences = changes(&running.values.filled, &new.values.filled);
    let differences = differences.into_iter().filter(|change| wanted(&change.path));
    let (pending, changed): (Vec<_>, Vec<_>) = differences.partition(|change| needs_restart(&change.path));
    let values = if only.is_empty() {
        overlay(&new.values, &running.values, &pending)
    } else {
        overlay(&running.values, &new.values, &changed)
    };
    let base = new.main.parent().unwrap_or(Path::new("/"));
    let config = effective::resolve(&values.filled, base).map_err(|error| error.message().to_owned())?;
    let listeners = listener_changes(&running.config.listeners, &config.listeners);
    let apply = Loaded {
        config: Arc::new(config),
        values: Arc::new(values),
        ..new
    };
    Ok(Plan {
        apply,
        changed,
        pending,
        listeners,
    })
}

/// `base` with the keys of some changes taken from elsewhere, and where those came from.
fn overlay(base: &Values, from: &Values, keys: &[Change]) -> Values {
    let mut values = base.clone();
    for Change { path, .. } in keys {
        for (table, theirs) in [
            (&mut values.filled, &from.filled),
            (&mut values.merged, &from.merged),
        ] {
            match lookup(theirs, path) {
                Some(value) => raw::insert(table, path, value.clone()),
                None => remove(table, path),
            }
        }
        values.origins.restore(path, &from.origins);
    }
    values
}

fn remove(table: &mut Table, path: &[String]) {
    match path {
        [] => {}
        [name] => {
            table.remove(name);
        }
        [name, rest @ ..] => {
            if let Some(Value::Table(inner)) = table.get_mut(name) {
                remove(inner, rest);
            }
        }
    }
}

fn listener_changes(before: &[ListenerConfig], after: &[ListenerConfig]) -> Vec<(String, ListenerChange)> {
    let enabled =
        |list: &[ListenerConfig], name: &str| list.iter().find(|l| l.name == name && l.enabled).cloned();
    let mut names: Vec<&String> = before.iter().chain(after).map(|l| &l.name).collect();
    names.sort();
    names.dedup();
    let change = |name: &str| match (enabled(before, name), enabled(after, name)) {
        (None, Some(_)) => Some(ListenerChange::Start),
        (Some(_), None) => Some(ListenerChange::Stop),
        (Some(old), Some(new)) if old == new => None,
        (Some(old), Some(new)) => {
            let same_socket =
                (&old.bind, old.backlog, old.transport) == (&new.bind, new.backlog, new.transport);
            Some(if same_socket {
                ListenerChange::Settings
            } else {
                ListenerChange::Rebind
            })
        }
        (None, None) => None,
    };
    names
        .into_iter()
        .filter_map(|name| Some((name.clone(), change(name)?)))
        .collect()
}

/// A changed key in a few words: words as `log.level info -> debug`, lists and files by name alone.
pub fn describe(change: &Change) -> String {
    let name = dotted(&change.path);
    let key: Option<&Key> = find(&change.path);
    let bare = |value: &Value| value.as_str().map_or_else(|| inline(value), ToOwned::to_owned);
    match (key.map(|k| k.kind), &change.before, &change.after) {
        (Some(Kind::Path(_) | Kind::Ranges | Kind::Texts | Kind::Words(_)), _, _)
        | (_, None, _)
        | (_, _, None) => name,
        (Some(Kind::Word(_) | Kind::LevelMap), Some(old), Some(new)) => {
            format!("{name} {} -> {}", bare(old), bare(new))
        }
        (_, Some(old), Some(new)) => format!("{name} {} -> {}", inline(old), inline(new)),
    }
}

impl Plan {
    /// The changed keys in a few words each; a listener that comes or goes as one.
    pub fn changed_phrases(&self) -> Vec<String> {
        let whole = |path: &[String]| match path {
            [listeners, name, ..] if listeners == "listeners" => {
                let change = self
                    .listeners
                    .iter()
                    .find(|(n, _)| n == name)
                    .map(|(_, change)| *change)?;
                match change {
                    ListenerChange::Start => Some(format!("listeners.{name} started")),
                    ListenerChange::Stop => Some(format!("listeners.{name} stopped")),
                    ListenerChange::Rebind | ListenerChange::Settings => None,
                }
            }
            _ => None,
        };
        let mut phrases = Vec::new();
        for change in &self.changed {
            let phrase = whole(&change.path).unwrap_or_else(|| describe(change));
            if !phrases.contains(&phrase) {
                phrases.push(phrase);
            }
        }
        phrases
    }

    /// What waits for a restart (CFG030), with the place of the value on disk.
    pub fn pending_rows(&self, disk: &Values) -> Vec<PendingRestart> {
        let text = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), inline);
        let row = |change: &Change| PendingRestart {
            key: dotted(&change.path),
            running: text(&change.before),
            new: text(&change.after),
            origin: disk.origins.of(&change.path).short(),
        };
        self.pending.iter().map(row).collect()
    }
}

/// What `broker ctl config diff` shows: the running values beside those on disk (CFG031).
pub fn diff(running: &Values, disk: &Values) -> Vec<ConfigDiffRow> {
    let json = |value: Option<Value>| value.map_or(serde_json::Value::Null, |v| serde_json::json!(v));
    let row = |change: Change| ConfigDiffRow {
        key: dotted(&change.path),
        origin: disk.origins.of(&change.path).describe(),
        restart: needs_restart(&change.path),
        running: json(change.before),
        disk: json(change.after),
    };
    changes(&running.filled, &disk.filled)
        .into_iter()
        .map(row)
        .collect()
}

/// The block that `broker ctl reload` prints.
pub fn render(view: &ReloadView) -> String {
    let mut out = if view.dry_run {
        format!(
            "would reload (generation {}); nothing was changed\n",
            view.generation
        )
    } else {
        format!(
            "reloaded in {} ms (generation {})\n",
            view.duration_ms, view.generation
        )
    };
    let mut line = |name: &str, text: &str| {
        if !text.is_empty() {
            let _ = writeln!(out, "  {name:<9} {text}");
        }
    };
    line("changed", &view.changed.join("; "));
    line("tls", &view.tls.join("; "));
    line("clients", &clients(view));
    for pending in &view.restart {
        let place = &pending.origin;
        line(
            "restart",
            &format!("{} {} -> {} ({place})", pending.key, pending.running, pending.new),
        );
    }
    out
}

fn clients(view: &ReloadView) -> String {
    let effect = &view.clients;
    let rules = if effect.rules.is_empty() {
        String::new()
    } else {
        format!(" ({})", effect.rules.join(", "))
    };
    let s = |n: u64| if n == 1 { "" } else { "s" };
    let mut parts = Vec::new();
    if effect.kicked > 0 {
        parts.push(format!("{} kicked{rules}", effect.kicked));
    }
    if effect.subscriptions_removed > 0 {
        let n = effect.subscriptions_removed;
        parts.push(format!("{n} subscription{} removed", s(n)));
    }
    parts.join(", ")
}

/// The keys that need a restart, for the documentation and tests.
pub fn restart_keys() -> impl Iterator<Item = &'static Key> {
    all().iter().filter(|key| key.restart)
}

#[cfg(test)]
mod tests {
    use super::super::load_tests::World;
    use super::*;
    use crate::admin::views::ReloadClients;

    const BASE: &str = "[listeners.tcp]\ntransport = \"tcp\"\nbind = \"127.0.0.1:1883\"\n";

    fn loaded(more: &str) -> Loaded {
        World::new(&[("broker.toml", &format!("{BASE}{more}"))]).good()
    }

    fn planned(before: &str, after: &str, only: &[Part]) -> Plan {
        plan(&loaded(before), loaded(after), only).unwrap()
    }

    #[test]
    fn keys_that_need_a_restart_keep_their_value_and_the_rest_applies() {
        let plan = planned(
            "",
            "[metrics]\nbind = \"0.0.0.0:9464\"\n[log]\nlevel = \"debug\"\n",
            &[],
        );
        assert_eq!(plan.changed_phrases(), ["log.level info -> debug"]);
        assert_eq!(plan.apply.config.metrics.bind, "127.0.0.1:9464".parse().ok());
        assert_eq!(plan.apply.config.log.level, super::super::LogLevel::Debug);
        let rows = plan.pending_rows(&loaded("[metrics]\nbind = \"0.0.0.0:9464\"\n").values);
        let row = &rows[0];
        assert_eq!(
            (
                row.key.as_str(),
                row.running.as_str(),
                row.new.as_str(),
                row.origin.as_str()
            ),
            (
                "metrics.bind",
                "\"127.0.0.1:9464\"",
                "\"0.0.0.0:9464\"",
                "broker.toml:5"
            )
        );
        // The next reload still knows: what is in force is not what the file says.
        let file = "[metrics]\nbind = \"0.0.0.0:9464\"\n[log]\nlevel = \"debug\"\n";
        let next = super::plan(&plan.apply, loaded(file), &[]).unwrap();
        assert_eq!((next.changed.len(), next.pending.len()), (0, 1));
    }

    #[test]
    fn listeners_start_stop_and_are_bound_anew() {
        let b =
            |bind: &str, more: &str| format!("[listeners.b]\ntransport = \"tcp\"\nbind = \"{bind}\"\n{more}");
        let one = b("127.0.0.1:1", "");
        for (before, after, expected) in [
            ("", one.as_str(), Some(ListenerChange::Start)),
            (&one, "", Some(ListenerChange::Stop)),
            (
                &one,
                &b("127.0.0.1:1", "enabled = false\n"),
                Some(ListenerChange::Stop),
            ),
            (&one, &b("127.0.0.1:2", ""), Some(ListenerChange::Rebind)),
            (
                &one,
                &b("127.0.0.1:1", "max_pending = 5\n"),
                Some(ListenerChange::Settings),
            ),
            (
                &one,
                &b("127.0.0.1:1", "[mqtt]\nmax_qos = 1\n"),
                Some(ListenerChange::Settings),
            ),
            (&one, &one, None),
        ] {
            let plan = planned(before, after, &[]);
            let change = plan
                .listeners
                .iter()
                .find(|(name, _)| name == "b")
                .map(|(_, c)| *c);
            assert_eq!(change, expected, "{after}");
        }
        assert_eq!(planned("", &one, &[]).changed_phrases(), ["listeners.b started"]);
    }

    #[test]
    fn a_narrowed_reload_leaves_the_rest_alone() {
        let before = "[networks]\noffice = [\"10.0.0.0/8\"]\n";
        let after = "[networks]\noffice = [\"10.1.0.0/16\"]\n[log]\nlevel = \"debug\"\n[[quota.override]]\nnets = [\"10.0.0.0/8\"]\n";
        let plan = planned(before, after, &[Part::Networks]);
        assert_eq!(plan.changed_phrases(), ["networks.office"]);
        assert_eq!(plan.apply.config.networks["office"], ["10.1.0.0/16"]);
        assert_eq!(plan.apply.config.log.level, super::super::LogLevel::Info);
        assert!(plan.apply.config.quota.overrides.is_empty());
        assert!(plan.pending.is_empty());
        let another = "[listeners.b]\ntransport = \"tls\"\nbind = \"127.0.0.1:2\"\n";
        let tls = |file: &str| format!("{another}[listeners.b.tls]\ncert_file = \"{file}\"\n");
        assert!(planned(before, &tls("/a"), &[Part::Tls]).changed.is_empty());
        let plan = planned(
            &tls("/a"),
            &format!("{}[log]\nlevel = \"warn\"\n", tls("/b")),
            &[Part::Tls, Part::Acl],
        );
        assert_eq!(plan.changed_phrases(), ["listeners.b.tls.cert_file"]);
        assert_eq!(plan.apply.config.log.level, super::super::LogLevel::Info);
    }

    #[test]
    fn every_key_that_needs_a_restart_is_in_a_table_that_always_exists() {
        for key in restart_keys() {
            assert!(!key.path.contains(['*', '[']), "{}", key.path);
        }
    }

    #[test]
    fn the_block_of_a_reload() {
        let view = ReloadView {
            generation: 8,
            duration_ms: 14,
            changed: [
                "acl.file: 24 rules, 3 groups",
                "networks.office",
                "log.level info -> debug",
            ]
            .map(str::to_owned)
            .into(),
            tls: vec!["listeners.tls: CN=mqtt.example.com, valid to 2027-02-01".to_owned()],
            clients: ReloadClients {
                kicked: 2,
                rules: vec!["acl.conf:8".to_owned()],
                subscriptions_removed: 1,
            },
            restart: vec![PendingRestart {
                key: "metrics.bind".to_owned(),
                running: "\"127.0.0.1:9464\"".to_owned(),
                new: "\"0.0.0.0:9464\"".to_owned(),
                origin: "broker.toml:156".to_owned(),
            }],
            ..ReloadView::default()
        };
        assert_eq!(
            render(&view),
            "reloaded in 14 ms (generation 8)\n\
             \x20 changed   acl.file: 24 rules, 3 groups; networks.office; log.level info -> debug\n\
             \x20 tls       listeners.tls: CN=mqtt.example.com, valid to 2027-02-01\n\
             \x20 clients   2 kicked (acl.conf:8), 1 subscription removed\n\
             \x20 restart   metrics.bind \"127.0.0.1:9464\" -> \"0.0.0.0:9464\" (broker.toml:156)\n"
        );
    }
}
