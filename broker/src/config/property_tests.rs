//! Properties over all keys: what `config show` prints is the same configuration again, and no key is read in vain.

use proptest::prelude::*;
use toml::{Table, Value};

use super::effective::preset_value;
use super::keys::{Key, Kind, Preset, all, available};
use super::load_tests::World;
use super::text::file;
use super::{Loaded, raw};

const NAMES: [&str; 3] = ["a", "some_name", "b2"];

/// A value that suits the key, chosen by a number.
fn value(kind: Kind, seed: u64) -> Value {
    let pick = |words: &[&str]| Value::from(words[seed as usize % words.len()]);
    let within = |low: i64, high: i64| low + i64::try_from(seed % 1000).unwrap() % (high - low + 1).min(1000);
    let text = ["x", "with \"quotes\"", "é\\n", "a.b/c", "a'b"][seed as usize % 5];
    let ranges = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "@lb"];
    match kind {
        Kind::Bool => Value::Boolean(seed.is_multiple_of(2)),
        Kind::BoolOr(_) if seed.is_multiple_of(3) => Value::Boolean(seed.is_multiple_of(2)),
        Kind::BoolOr(words) | Kind::Word(words) => pick(words),
        Kind::Int(low, high) => Value::Integer(within(low, high)),
        Kind::Float(low, high) => Value::Float(low + (high - low) * (seed % 100) as f64 / 100.0),
        Kind::Text => Value::from(text),
        Kind::Path(_) => Value::from(format!("/srv/{seed}/file")),
        Kind::Words(words) => Value::Array(
            words
                .iter()
                .skip(seed as usize % words.len())
                .map(|w| Value::from(*w))
                .collect(),
        ),
        Kind::Texts => Value::Array(vec![Value::from(text), Value::from("b")]),
        Kind::Ranges => {
            let some = ranges
                .iter()
                .cycle()
                .skip(seed as usize % 4)
                .take(1 + seed as usize % 3);
            Value::Array(some.map(|r| Value::from(*r)).collect())
        }
        Kind::Ints(low, high) => Value::Array(vec![Value::Integer(within(low, high))]),
        Kind::Duration(low, high) => Value::from(format!("{}ms", low + seed % (high - low + 1))),
        Kind::Size(low, high) if seed.is_multiple_of(2) => {
            Value::from(format!("{}KiB", (low + seed).min(high) / 1024 + 1))
        }
        Kind::Size(low, high) => Value::Integer(i64::try_from((low + seed).min(high)).unwrap()),
        Kind::Limit(_) | Kind::SizeLimit | Kind::Rate if seed.is_multiple_of(3) => Value::from("unlimited"),
        Kind::Limit(low) => Value::Integer(i64::try_from(low + seed).unwrap()),
        Kind::SizeLimit => Value::from(format!("{seed}MiB")),
        Kind::Rate => Value::from(format!("{}/{}", seed + 1, ["s", "m", "h"][seed as usize % 3])),
        Kind::Bind => Value::from(format!("127.0.0.1:{}", 2000 + seed % 1000)),
        Kind::AddressOrOff => Value::from(format!("127.0.0.1:{}", 3000 + seed % 1000)),
        Kind::Mode => Value::from(["0600", "0660", "0640"][seed as usize % 3]),
        Kind::Field => Value::from(["X-Real-IP", "X-Forwarded-For", "Forwarded"][seed as usize % 3]),
        Kind::TextMap => Value::Table(Table::from_iter([
            ("k".to_owned(), Value::from(text)),
            ("odd key".to_owned(), Value::from("v")),
        ])),
        Kind::LevelMap => Value::Table(Table::from_iter([("auth".to_owned(), Value::from("debug"))])),
    }
}

/// A value for a key; some take only texts of a kind.
fn value_of(key: &Key, seed: u64) -> Value {
    match key.name() {
        "endpoint" | "url" | "acl_url" => Value::from(format!("https://localhost/{seed}")),
        "events" => Value::Array(vec![
            Value::from("*"),
            Value::from(["-connect", "-ban"][seed as usize % 2]),
        ]),
        // Not every word of it is in this version.
        "chain" => Value::Array(vec![Value::from(["password_file", "http"][seed as usize % 2])]),
        _ => value(key.kind, seed),
    }
}

/// A configuration with two listeners and everything that other keys may need.
fn base() -> Table {
    r#"
    [networks]
    lb = ["172.16.0.0/24"]
    [listeners.tcp]
    transport = "tcp"
    bind = "127.0.0.1:1883"
    [listeners.wss]
    transport = "wss"
    bind = "127.0.0.1:8084"
    trusted_proxies = ["@lb"]
    address_header = "X-Client"
    [listeners.wss.tls]
    client_ca_file = "/ca.pem"
    client_auth = "require"
    [admin]
    trusted_proxies = ["10.9.9.9"]
    [admin.tls]
    client_ca_file = "/ca.pem"
    [auth.jwt]
    secret_file = "/secret"
    public_key_file = "/key"
    [auth.http]
    url = "http://localhost/"
    [bans]
    auto = [{ name = "n", on = "connect", count = 1, window = "1m", ban = "1m", by = "prefix" }]
    [quota]
    override = [{ nets = ["10.0.0.0/8"] }]
    "#
    .parse()
    .unwrap()
}

/// `table` with the key set; `*` becomes `name`, `[]` the first row.
fn with(table: &Table, key: &Key, name: &str, value: Value) -> Table {
    let mut table = table.clone();
    let path: Vec<String> = key
        .path
        .replace('*', name)
        .split('.')
        .map(ToOwned::to_owned)
        .collect();
    match path.iter().position(|part| part == "[]") {
        None => raw::insert(&mut table, &path, value),
        Some(at) => {
            let (array, rest) = (&path[..at], &path[at + 1..]);
            let rows = array
                .iter()
                .skip(1)
                .fold(table.get_mut(&array[0]), |v, part| v?.get_mut(part.as_str()));
            let row = rows.unwrap().get_mut(0).unwrap().as_table_mut().unwrap();
            raw::insert(row, rest, value);
        }
    }
    table
}

fn load(table: &Table) -> Option<Loaded> {
    World::new(&[("broker.toml", &file(table))]).load().ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_show_prints_is_the_same_configuration(choices in prop::collection::vec((0..available().count(), 0..3_usize, 0..5_000_u64), 1..25)) {
        let mut table = base();
        for (index, name, seed) in choices {
            let key = available().nth(index).unwrap();
            let name = if key.path.starts_with("listeners") { ["tcp", "wss"][name % 2] } else { NAMES[name] };
            // Keys that do not go with those before are left out.
            let next = with(&table, key, name, value_of(key, seed));
            if load(&next).is_some() {
                table = next;
            }
        }
        let first = load(&table).unwrap();
        let shown = first.values.file("");
        let again = World::new(&[("broker.toml", &shown)]).good();
        prop_assert_eq!(&first.values.filled, &again.values.filled, "{}", shown);
        prop_assert_eq!(&*first.config, &*again.config, "{}", shown);
        prop_assert_eq!(shown, again.values.file(""));
    }
}

#[test]
fn every_key_reaches_the_running_configuration() {
    let before = load(&base()).unwrap();
    for key in available() {
        // These are worth something only together with another key of theirs.
        let help: Vec<(&str, Value)> = match key.name() {
            "hops" => vec![("listeners.*.strategy", Value::from("trusted_hops"))],
            "edge_overwrites" => vec![("listeners.*.strategy", Value::from("leftmost"))],
            name if name.starts_with("pp2_") => vec![
                ("listeners.*.proxy_protocol", Value::from("required")),
                ("listeners.*.proxy_versions", Value::from("v2")),
                (
                    "listeners.*.trusted_proxies",
                    Value::Array(vec![Value::from("10.0.0.1")]),
                ),
            ],
            _ => Vec::new(),
        };
        let default = preset_value(key);
        let mut changed = false;
        for (name, seed) in [
            ("tcp", 0),
            ("wss", 0),
            ("tcp", 1),
            ("wss", 1),
            ("wss", 2),
            ("tcp", 4),
            ("wss", 5),
            ("tcp", 7),
        ] {
            let given = value_of(key, seed);
            if default.as_ref() == Some(&given) {
                continue;
            }
            let with_help = help.iter().fold(base(), |t, (path, v)| {
                with(
                    &t,
                    all().iter().find(|k| k.path == *path).unwrap(),
                    name,
                    v.clone(),
                )
            });
            let without = load(&with_help).unwrap_or_else(|| before.clone()).config;
            let after = load(&with(&with_help, key, name, given));
            changed = after.is_some_and(|after| after.config != without);
            if changed {
                break;
            }
        }
        let needs_more = key.preset == Preset::Required && key.path.ends_with("transport");
        assert!(changed || needs_more, "{} changes nothing", key.path);
    }
}
