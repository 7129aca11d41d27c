//! The commented configuration file that ships as `etc/broker.toml` and that `config init` writes: every key, one a line,
//! with its text. Made from the table of keys; only the examples (`ex` in operator-interface 1) are written here.

use std::fmt::Write as _;

use super::effective::preset_value;
use super::keys::{Key, Preset, available};
use super::local::LocalPaths;
use super::origin::dotted;
use super::text::inline;

/// A listener of the shipped file.
struct Example {
    name: &'static str,
    title: &'static str,
    /// Values that are not the defaults.
    values: &'static [(&'static str, &'static str)],
    /// Which keys of the listener are shown beside those: the ones of its own table...
    shows: fn(&str) -> bool,
    /// ...and whole tables.
    tables: &'static [&'static str],
}

const EXAMPLES: &[Example] = &[
    Example {
        name: "tcp",
        title: "A listener. Its name: [a-z][a-z0-9]*(_[a-z0-9]+)*. Clients that reach the broker directly need nothing more.",
        values: &[("transport", "\"tcp\""), ("bind", "\"0.0.0.0:1883\"")],
        shows: |key| !is_header_key(key),
        tables: &[],
    },
    Example {
        name: "tcp_lb",
        title: "Behind NGINX stream, HAProxy, Envoy, Traefik, NLB.",
        values: &[
            ("transport", "\"tcp\""),
            ("bind", "\"0.0.0.0:1884\""),
            ("enabled", "false"),
            ("proxy_protocol", "\"required\""),
            ("trusted_proxies", "[\"@lb\"]"),
        ],
        shows: |_| false,
        tables: &[],
    },
    Example {
        name: "tls",
        title: "MQTT on TLS.",
        values: &[
            ("transport", "\"tls\""),
            ("bind", "\"0.0.0.0:8883\""),
            ("enabled", "false"),
        ],
        shows: |_| false,
        tables: &["tls"],
    },
    Example {
        name: "ws",
        title: "MQTT on WebSocket behind an HTTP proxy. Without one: address_header = \"\".",
        values: &[
            ("transport", "\"ws\""),
            ("bind", "\"0.0.0.0:8083\""),
            ("enabled", "false"),
            ("trusted_proxies", "[\"@lb\"]"),
            ("address_header", "\"X-Forwarded-For\""),
            ("missing_header", "\"reject\""),
        ],
        shows: is_header_key,
        tables: &["websocket"],
    },
    Example {
        name: "wss",
        title: "MQTT on WebSocket on TLS; keys as in ws and tls.",
        values: &[
            ("transport", "\"wss\""),
            ("bind", "\"0.0.0.0:8084\""),
            ("enabled", "false"),
            ("tls.cert_file", "\"/etc/broker/tls/server.crt\""),
            ("tls.key_file", "\"/etc/broker/tls/server.key\""),
        ],
        shows: |_| false,
        tables: &[],
    },
];

/// Values of keys that have no default, as examples: commented out, but for the rows below.
const SAMPLES: &[(&str, &str)] = &[
    ("hops", "2"),
    ("header_trusted_proxies", "[\"@cdn\"]"),
    ("source_topic", "\"x/#\""),
    ("re", "\"^x/(.+)$\""),
    ("dest_topic", "\"y/$1\""),
    ("topic", "\"c/${clientid}/cmd\""),
];

/// Rows of arrays of tables in the shipped file.
const ROWS: &[(&str, &[(&str, &str)])] = &[
    (
        "bans.auto",
        &[
            ("name", "\"password-guessing\""),
            ("on", "\"authn_fail\""),
            ("count", "5"),
            ("window", "\"1m\""),
            ("ban", "\"10m\""),
            ("by", "\"prefix\""),
        ],
    ),
    (
        "bans.auto",
        &[
            ("name", "\"flapping\""),
            ("on", "\"connect\""),
            ("count", "15"),
            ("window", "\"1m\""),
            ("ban", "\"5m\""),
            ("by", "\"clientid\""),
        ],
    ),
    (
        "quota.override",
        &[
            ("nets", "[\"@office\"]"),
            ("max_connections", "\"unlimited\""),
            ("connect_rate", "\"1000/s\""),
        ],
    ),
];

const HEAD: &str = "\
#:schema ./broker.schema.json
# The configuration of the broker. Every key stands here with its default, except where a line says ex (an example).
# (restart) = a change waits for a restart; all others: broker ctl reload.
# Later wins: this file, conf.d/*.toml beside it in name order, BROKER__SECTION__KEY of the environment, --set KEY=VALUE.
# Sizes \"1MiB\" or bytes, durations \"3s\", rates \"50/s\", \"unlimited\" where a limit may be off.
# broker config check tells what is wrong; broker config show --origin where each value comes from.

# ex: named CIDR sets, \"@lb\" in every range list, in ctl filters and in the ACL file
[networks]
lb     = [\"172.16.0.0/24\"]
office = [\"203.0.113.0/24\", \"2001:db8:10::/48\"]
";

/// The keys that only a WebSocket upgrade gives a meaning, by the name left of `=`.
fn is_header_key(key: &str) -> bool {
    super::effective::HEADER_KEYS.contains(&key) || ["hops", "header_trusted_proxies"].contains(&key)
}

/// One line of the file.
struct Line {
    key: String,
    value: String,
    doc: String,
    commented: bool,
}

/// The file. With `local`, the paths are those of local mode, so that it starts for a user who is not root.
pub fn file(local: Option<&LocalPaths>) -> String {
    let settings = local.map(LocalPaths::settings);
    let own = |path: &str| {
        settings
            .as_ref()?
            .iter()
            .find(|(p, _)| *p == path)
            .map(|(_, v)| inline(v))
    };
    let mut out = HEAD.to_owned();
    for example in EXAMPLES {
        listener(example, &mut out);
    }
    out.push_str(
        "\n# Each listener may override keys of [mqtt] in [listeners.NAME.mqtt]: all but shared_strategy.\n",
    );
    let mut tables: Vec<&str> = Vec::new();
    for key in available() {
        let table = key.table();
        let shown = table != "networks" && !table.starts_with("listeners") && !tables.contains(&table);
        if shown {
            tables.push(table);
        }
    }
    // [admin.tls] comes last in the table of keys, as it is made from another one's.
    tables.retain(|table| *table != "admin.tls");
    let admin = tables
        .iter()
        .position(|table| *table == "admin")
        .map_or(tables.len(), |at| at + 1);
    tables.insert(admin, "admin.tls");
    for table in tables {
        section(table, &own, &mut out);
    }
    out
}

fn listener(example: &Example, out: &mut String) {
    let _ = write!(out, "\n# ex: {}\n[listeners.{}]\n", example.title, example.name);
    let value = |name: &str| {
        example
            .values
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, v)| (*v).to_owned())
    };
    let own = || available().filter(|key| key.table() == "listeners.*");
    let mut lines: Vec<Line> = own()
        .filter(|key| value(key.name()).is_some() || (example.shows)(key.name()))
        .map(|key| {
            line(
                key,
                value(key.name()),
                example.name == "tcp" || is_header_key(key.name()),
            )
        })
        .collect();
    for (key, given) in example.values.iter().filter(|(key, _)| key.contains('.')) {
        lines.push(Line {
            key: (*key).to_owned(),
            value: (*given).to_owned(),
            doc: String::new(),
            commented: false,
        });
    }
    write_lines(&lines, out);
    for table in example.tables {
        let _ = writeln!(out, "[listeners.{}.{table}]", example.name);
        let path = format!("listeners.*.{table}");
        let lines: Vec<Line> = available()
            .filter(|k| k.table() == path)
            .map(|k| line(k, None, true))
            .collect();
        write_lines(&lines, out);
    }
}

fn section(table: &str, own: &dyn Fn(&str) -> Option<String>, out: &mut String) {
    let keys: Vec<&Key> = available().filter(|key| key.table() == table).collect();
    let Some(array) = table.strip_suffix(".[]") else {
        // TLS of the API is off with the API, so it is shown but not set.
        let commented = table == "admin.tls";
        let _ = write!(out, "\n{}[{table}]\n", if commented { "#" } else { "" });
        let lines: Vec<Line> = keys
            .iter()
            .map(|key| {
                let line = line(key, own(&key.path), true);
                Line {
                    commented: commented || line.commented,
                    ..line
                }
            })
            .collect();
        return write_lines(&lines, out);
    };
    let rows: Vec<_> = ROWS.iter().filter(|(name, _)| *name == array).collect();
    for (i, (_, values)) in rows.iter().enumerate() {
        let _ = write!(out, "\n[[{array}]]{}\n", if i == 0 { "  # ex" } else { "" });
        let given = |name: &str| {
            values
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, v)| (*v).to_owned())
        };
        let shown = keys.iter().filter(|key| i == 0 || given(key.name()).is_some());
        let lines: Vec<Line> = shown.map(|key| line(key, given(key.name()), i == 0)).collect();
        write_lines(&lines, out);
    }
    if rows.is_empty() {
        let _ = write!(out, "\n#[[{array}]]\n");
        let lines: Vec<Line> = keys
            .iter()
            .map(|key| Line {
                commented: true,
                ..line(key, None, true)
            })
            .collect();
        write_lines(&lines, out);
    }
}

/// The line of a key: the value given, else its default, else a sample that is commented out.
fn line(key: &Key, given: Option<String>, with_doc: bool) -> Line {
    let sample = SAMPLES
        .iter()
        .find(|(name, _)| *name == key.name())
        .map(|(_, v)| (*v).to_owned());
    let (value, commented) = match (given, preset_value(key)) {
        (Some(given), _) => (given, false),
        (None, _) if key.preset == Preset::Hostname => ("\"broker-1\"".to_owned(), true),
        (None, Some(value)) => (inline(&value), false),
        (None, None) => (sample.unwrap_or_else(|| "\"unlimited\"".to_owned()), true),
    };
    let mut doc = if with_doc {
        key.doc.to_owned()
    } else {
        String::new()
    };
    if key.preset == Preset::Hostname {
        doc.push_str("; default: the host's name");
    }
    if key.restart {
        doc.push_str(" (restart)");
    }
    Line {
        key: dotted(&[key.name().to_owned()]),
        value,
        doc,
        commented,
    }
}

/// Writes lines with `=` and comments in columns.
fn write_lines(lines: &[Line], out: &mut String) {
    let width = |text: fn(&Line) -> usize, most: usize| {
        lines.iter().map(text).filter(|w| *w <= most).max().unwrap_or(0)
    };
    let keys = width(|l| l.key.len() + usize::from(l.commented), 40);
    let values = width(|l| l.value.len(), 34);
    for line in lines {
        let key = format!("{}{}", if line.commented { "#" } else { "" }, line.key);
        let text = format!("{key:keys$} = {:values$}", line.value);
        let comment = if line.doc.is_empty() {
            String::new()
        } else {
            format!("  # {}", line.doc)
        };
        out.push_str(format!("{text}{comment}").trim_end());
        out.push('\n');
    }
}

/// The keys of a file, commented out or not.
#[cfg(test)]
fn shown_keys(text: &str) -> Vec<String> {
    let mut table = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        if let Some(name) = line.strip_prefix("[[").and_then(|l| l.split("]]").next()) {
            table = format!("{name}.[]");
        } else if let Some(name) = line.strip_prefix('[').and_then(|l| l.split(']').next()) {
            table = name.to_owned();
        } else if let Some((key, _)) = line.split_once('=').filter(|(key, _)| !key.trim().contains(' ')) {
            found.push(format!("{table}.{}", key.trim()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use toml::Value;

    use super::super::load_tests::World;
    use super::*;

    #[test]
    fn the_shipped_file_is_the_one_that_is_made_here() {
        let shipped = include_str!("../../../etc/broker.toml");
        assert_eq!(
            shipped,
            file(None),
            "run: broker config init - > etc/broker.toml (as root)"
        );
    }

    #[test]
    fn the_shipped_file_shows_every_key() {
        let shown = shown_keys(&file(None));
        for key in available().filter(|key| key.preset != Preset::Inherited && key.path != "networks.*") {
            let path = key.path.to_string();
            let there = shown.iter().any(|seen| {
                let same = |(a, b): (&str, &str)| a == b || a == "*";
                path.split('.').count() == seen.split('.').count()
                    && path.split('.').zip(seen.split('.')).all(same)
            });
            assert!(there, "{path} is not shown");
        }
    }

    #[test]
    fn the_shipped_file_is_right_and_its_values_are_the_defaults() {
        let world = World::new(&[("broker.toml", &file(None))]);
        let loaded = world.good();
        assert!(loaded.warnings.is_empty(), "{}", world.shown(&loaded.warnings));
        for (path, _) in loaded.values.origins.iter() {
            let example = matches!(path.first().map(String::as_str), Some("networks" | "listeners"))
                || path.iter().any(|part| part.parse::<usize>().is_ok());
            let key = super::super::keys::find(path).unwrap();
            let mut default = preset_value(key).unwrap_or(Value::Boolean(false));
            if path.len() > key.path.split('.').count() {
                default = default.get(path.last().unwrap()).unwrap().clone();
            }
            let value = super::super::show::lookup(&loaded.values.filled, path).cloned();
            assert!(
                example || Some(&default) == value.as_ref(),
                "{}: {value:?} is not the default {default:?}",
                dotted(path)
            );
        }
    }

    #[test]
    fn a_user_who_is_not_root_gets_paths_of_their_own() {
        let paths = LocalPaths::new(None, None, Some("/home/mqtt".into()));
        let world = World::new(&[("broker.toml", &file(Some(&paths)))]);
        let config = world.good().config;
        assert_eq!(config.admin.socket_group, None);
        for path in [
            config.node.data_dir.clone().unwrap(),
            config.audit.path.clone(),
            config.admin.socket.clone(),
            config.admin.tokens_file.clone(),
            config.auth.password_file.path.clone(),
        ] {
            assert!(path.starts_with("/home/mqtt"), "{}", path.display());
        }
    }

    #[test]
    fn sample_values_suit_their_keys() {
        for key in available() {
            if let Some((_, sample)) = SAMPLES.iter().find(|(name, _)| *name == key.name()) {
                let value: Value = format!("v = {sample}")
                    .parse::<toml::Table>()
                    .unwrap()
                    .remove("v")
                    .unwrap();
                assert!(super::super::value::check(key, value).is_ok(), "{}", key.path);
            }
        }
    }
}
