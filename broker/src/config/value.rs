//! One value against its key: is it of the right type and within its range? Values from files are TOML already; those
//! of the environment and of `--set` are text that is read by the key's type.

use toml::{Table, Value};

use super::keys::{Key, Kind, LEVELS};
use super::units::{Rate, UNLIMITED, format_duration, parse_bind, parse_duration, parse_mode, parse_size};

/// Checks a value. What comes back is the value to use: an integer where a number with a fraction may stand becomes
/// one, everything else stays as written.
///
/// # Errors
/// What the key takes, in a few words for under the value.
pub fn check(key: &Key, value: Value) -> Result<Value, String> {
    match key.kind {
        Kind::Bool | Kind::BoolOr(_) if value.is_bool() => Ok(value),
        Kind::Bool => Err("true or false".to_owned()),
        Kind::BoolOr(words) | Kind::Word(words) => word(words, value),
        Kind::Int(low, high) => match value.as_integer() {
            Some(n) if (low..=high).contains(&n) => Ok(value),
            _ => Err(format!("a number from {low} to {high}")),
        },
        Kind::Float(low, high) => {
            let number = value.as_float().or_else(|| value.as_integer().map(|n| n as f64));
            match number {
                Some(n) if (low..=high).contains(&n) => Ok(Value::Float(n)),
                _ => Err(format!("a number from {low} to {high}")),
            }
        }
        Kind::Text | Kind::Path(_) => text(value, |_| Ok(())),
        Kind::Words(words) => list(value, |v| word(words, v).map(drop)),
        Kind::Texts | Kind::Ranges => list(value, |v| text(v, |_| Ok(())).map(drop)),
        Kind::Ints(low, high) => list(value, |v| match v.as_integer() {
            Some(n) if (low..=high).contains(&n) => Ok(()),
            _ => Err(format!("numbers from {low} to {high}")),
        }),
        Kind::Duration(low, high) => text(value, |t| duration(t, low, high)),
        Kind::Size(low, high) => size(value, low, high),
        Kind::Limit(low) => match &value {
            Value::Integer(n) if u64::try_from(*n).is_ok_and(|n| n >= low) => Ok(value),
            Value::String(t) if t == UNLIMITED => Ok(value),
            _ => Err(format!("a number from {low} on, or \"unlimited\"")),
        },
        Kind::SizeLimit if value.as_str() == Some(UNLIMITED) => Ok(value),
        Kind::SizeLimit => size(value, 0, u64::MAX).map_err(|e| format!("{e}, or \"unlimited\"")),
        Kind::Rate => text(value, |t| {
            if t == UNLIMITED {
                Ok(())
            } else {
                t.parse::<Rate>().map(drop)
            }
        }),
        Kind::Bind => text(value, |t| parse_bind(t).map(drop)),
        Kind::AddressOrOff => text(value, |t| {
            let good = t.is_empty() || t.parse::<std::net::SocketAddr>().is_ok();
            if good {
                Ok(())
            } else {
                Err("an address and port such as \"127.0.0.1:9464\", or \"\" for off".to_owned())
            }
        }),
        Kind::Mode => text(value, |t| parse_mode(t).map(drop)),
        Kind::Field => text(value, |_| Ok(())),
        // The maps are walked entry by entry; this is one entry.
        Kind::TextMap => text(value, |_| Ok(())),
        Kind::LevelMap => word(LEVELS, value),
    }
}

fn text(value: Value, judge: impl Fn(&str) -> Result<(), String>) -> Result<Value, String> {
    match value.as_str() {
        Some(t) if t.contains(|c: char| c.is_control()) => {
            Err("a text without control characters".to_owned())
        }
        Some(t) => judge(t).map(|()| value),
        None => Err(format!("a text in quotes: \"{value}\"")),
    }
}

fn word(words: &[&str], value: Value) -> Result<Value, String> {
    let choices = words
        .iter()
        .map(|w| format!("\"{w}\""))
        .collect::<Vec<_>>()
        .join(", ");
    let Some(given) = value.as_str() else {
        return Err(format!("one of {choices}"));
    };
    if words.contains(&given) {
        return Ok(value);
    }
    match super::suggest::nearest(given, words.iter().copied()) {
        Some(near) => Err(format!("did you mean \"{near}\"? It takes {choices}")),
        None => Err(format!("one of {choices}")),
    }
}

fn list(value: Value, judge: impl Fn(Value) -> Result<(), String>) -> Result<Value, String> {
    match value.as_array() {
        Some(items) => items.iter().try_for_each(|v| judge(v.clone())).map(|()| value),
        None => Err("a list: [...]".to_owned()),
    }
}

fn duration(text: &str, low: u64, high: u64) -> Result<(), String> {
    let ms = u64::try_from(parse_duration(text)?.as_millis()).unwrap_or(u64::MAX);
    if (low..=high).contains(&ms) {
        return Ok(());
    }
    let show = |ms| format_duration(std::time::Duration::from_millis(ms));
    Err(format!("a duration from {} to {}", show(low), show(high)))
}

fn size(value: Value, low: u64, high: u64) -> Result<Value, String> {
    let bytes = match &value {
        Value::Integer(n) => u64::try_from(*n).map_err(|_| "a size is not negative".to_owned())?,
        Value::String(t) => parse_size(t)?,
        _ => parse_size("")?,
    };
    if (low..=high).contains(&bytes) {
        Ok(value)
    } else {
        Err(format!("a size from {low} to {high} bytes"))
    }
}

/// Reads the text of an environment variable or of `--set` by the key's type: numbers and booleans as such, a list as a
/// TOML array or `a,b`, everything else as text (quotes around it are taken away).
pub fn from_text(key: &Key, given: &str) -> Value {
    let toml = |t: &str| {
        format!("v = {t}")
            .parse::<Table>()
            .ok()
            .and_then(|mut t| t.remove("v"))
    };
    let given = given.trim();
    let plain = || Value::String(given.to_owned());
    match key.kind {
        Kind::Bool
        | Kind::BoolOr(_)
        | Kind::Int(..)
        | Kind::Float(..)
        | Kind::Limit(_)
        | Kind::Size(..)
        | Kind::SizeLimit => toml(given).filter(|v| !v.is_datetime()).unwrap_or_else(plain),
        Kind::Words(_) | Kind::Texts | Kind::Ranges | Kind::Ints(..) if given.starts_with('[') => {
            toml(given).unwrap_or_else(plain)
        }
        Kind::Words(_) | Kind::Texts | Kind::Ranges => {
            let items = given.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        Kind::Ints(..) => toml(&format!("[{given}]")).unwrap_or_else(plain),
        Kind::TextMap | Kind::LevelMap if given.starts_with('{') => toml(given).unwrap_or_else(plain),
        _ if given.len() > 1 && given.starts_with('"') && given.ends_with('"') => {
            toml(given).unwrap_or_else(plain)
        }
        _ => plain(),
    }
}
