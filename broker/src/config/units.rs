//! The values of a configuration file that are more than a number: durations, sizes, rates, limits, addresses to
//! bind. Each reads its text, writes it back, and comes out of serde. What does not live here: keys and their
//! ranges (`keys`).

use std::str::FromStr;
use std::time::Duration;

pub use listeners::Bind;
use serde::{Deserialize, Deserializer, de::Error as _};

const DURATION_UNITS: [(&str, u64); 6] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
];

const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Splits `"10m"` into 10 and `m`; blanks between are allowed. `None` if it does not begin with digits.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text.get(..end)?.parse().ok()?, text.get(end..)?.trim()))
}

/// Reads `"3s"`, `"100ms"`, `"7d"`, `"1h30m"`; units ms, s, m, h, d, w. A bare `"0"` is zero.
///
/// # Errors
/// A sentence without the value itself.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let explain =
        || "a duration is a number and a unit: \"500ms\", \"3s\", \"10m\", \"2h\", \"7d\"".to_owned();
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = number_and_unit(rest).ok_or_else(explain)?;
        let end = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, tail) = after.split_at(end);
        let factor = DURATION_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(explain)?
            .1;
        total = number
            .checked_mul(factor)
            .and_then(|ms| total.checked_add(ms))
            .ok_or_else(explain)?;
        rest = tail.trim();
    }
    if text.trim().is_empty() {
        Err(explain())
    } else {
        Ok(Duration::from_millis(total))
    }
}

/// Writes a duration with the largest unit that divides it: `90s`, `10m`, `7d`. The inverse of [`parse_duration`].
pub fn format_duration(value: Duration) -> String {
    let ms = value.as_millis();
    if ms == 0 {
        return "0s".to_owned();
    }
    let unit = DURATION_UNITS
        .iter()
        .rev()
        .filter(|(name, _)| *name != "w")
        .find(|u| ms.is_multiple_of(u128::from(u.1)));
    unit.map_or_else(
        || format!("{ms}ms"),
        |(name, factor)| format!("{}{name}", ms / u128::from(*factor)),
    )
}

/// Reads a size in bytes: `"1MiB"`, `"16KiB"`, `"10GiB"`, `"1048576"`; KiB and KB differ as usual.
///
/// # Errors
/// A sentence without the value itself.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let explain =
        || "a size is a number of bytes or a number and a unit: \"16KiB\", \"1MiB\", \"10GiB\"".to_owned();
    let (number, unit) = number_and_unit(text).ok_or_else(explain)?;
    if unit.is_empty() {
        return Ok(number);
    }
    let factor = SIZE_UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(explain)?
        .1;
    number.checked_mul(factor).ok_or_else(explain)
}

/// How often something may happen: `"50/s"`, `"5/m"`, `"1MiB/s"`. Always more than zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Events (or bytes) in each period.
    pub count: u64,
    /// The period: one second, minute, hour or day.
    pub per: Duration,
}

impl Rate {
    /// The rate as events (or bytes) a second.
    pub fn per_second(self) -> f64 {
        self.count as f64 / self.per.as_secs_f64()
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let explain = || "a rate is a number a period: \"50/s\", \"10/m\", \"1MiB/s\"".to_owned();
        let (count, unit) = text.split_once('/').ok_or_else(explain)?;
        let count = parse_size(count).map_err(|_| explain())?;
        let seconds = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(explain()),
        };
        if count == 0 {
            return Err(
                "a rate of zero would let nobody in; write \"unlimited\" to switch the limit off".to_owned(),
            );
        }
        Ok(Self {
            count,
            per: Duration::from_secs(seconds),
        })
    }
}

/// The word that switches a limit off.
pub const UNLIMITED: &str = "unlimited";

/// A number that may be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Limit {
    /// No limit.
    #[default]
    Unlimited,
    /// At most this many (or this many bytes).
    At(u64),
}

impl Limit {
    /// The number, `None` when unlimited.
    pub const fn get(self) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::At(n) => Some(n),
        }
    }

    /// Whether `n` in use is still within the limit (`n` equal to it is).
    pub const fn allows(self, n: u64) -> bool {
        match self {
            Self::Unlimited => true,
            Self::At(limit) => n <= limit,
        }
    }
}

/// A rate that may be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RateLimit {
    /// No limit.
    #[default]
    Unlimited,
    /// At most this rate.
    At(Rate),
}

impl RateLimit {
    /// The rate, `None` when unlimited.
    pub const fn get(self) -> Option<Rate> {
        match self {
            Self::Unlimited => None,
            Self::At(rate) => Some(rate),
        }
    }
}

/// Reads where to listen: `0.0.0.0:1883`, `[::]:1883` (dual stack), `unix:/path`; port 0 lets the system choose.
///
/// # Errors
/// A sentence that says how it is written.
pub fn parse_bind(text: &str) -> Result<Bind, String> {
    if let Ok(bind) = text.parse() {
        return Ok(bind);
    }
    if text.starts_with("unix:") {
        return Err("a unix-domain socket is written \"unix:/absolute/path\"".to_owned());
    }
    let port = text.trim_start_matches([':', '*']);
    if port.parse::<u16>().is_ok() {
        return Err(format!(
            "an address is needed too: \"0.0.0.0:{port}\", or \"[::]:{port}\" for IPv4 and IPv6"
        ));
    }
    Err("an address is written \"0.0.0.0:1883\", \"[::]:1883\" or \"unix:/run/broker/mqtt.sock\"".to_owned())
}

/// A number as itself or as text: what sizes and limits may be in the file.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

pub(super) fn de_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(from)?).map_err(D::Error::custom)
}

pub(super) fn de_size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    match NumberOrText::deserialize(from)? {
        NumberOrText::Number(n) => Ok(n),
        NumberOrText::Text(text) => parse_size(&text).map_err(D::Error::custom),
    }
}

pub(super) fn de_bind<'de, D: Deserializer<'de>>(from: D) -> Result<Bind, D::Error> {
    parse_bind(&String::deserialize(from)?).map_err(D::Error::custom)
}

pub(super) fn de_mode<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    parse_mode(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// Reads a file mode: four octal digits, `"0660"`.
///
/// # Errors
/// A sentence without the value itself.
pub fn parse_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if text.len() == 4 && mode <= 0o777 => Ok(mode),
        _ => Err("a file mode is four octal digits: \"0660\"".to_owned()),
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match NumberOrText::deserialize(from)? {
            NumberOrText::Number(n) => Ok(Self::At(n)),
            NumberOrText::Text(text) if text == UNLIMITED => Ok(Self::Unlimited),
            NumberOrText::Text(text) => parse_size(&text).map(Self::At).map_err(D::Error::custom),
        }
    }
}

impl<'de> Deserialize<'de> for RateLimit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text == UNLIMITED {
            return Ok(Self::Unlimited);
        }
        text.parse().map(Self::At).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_write_back() {
        for (text, ms, canonical) in [
            ("3s", 3_000, "3s"),
            ("100ms", 100, "100ms"),
            ("7d", 604_800_000, "7d"),
            ("1h30m", 5_400_000, "90m"),
            ("2w", 1_209_600_000, "14d"),
            ("0s", 0, "0s"),
            ("0", 0, "0s"),
            ("60 s", 60_000, "1m"),
        ] {
            let read = parse_duration(text).unwrap();
            assert_eq!(read, Duration::from_millis(ms), "{text}");
            assert_eq!(format_duration(read), canonical, "{text}");
            assert_eq!(parse_duration(canonical).unwrap(), read, "{text}");
        }
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "3 fortnights",
            "99999999999999999999s",
            "18446744073709551615w",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_know_both_kinds_of_kilo() {
        for (text, bytes) in [
            ("1MiB", 1 << 20),
            ("1MB", 1_000_000),
            ("16KiB", 16 << 10),
            ("4096", 4096),
            ("7B", 7),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "MiB", "1.5MiB", "1mib", "-1", "99999999999TiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_have_a_period_and_are_never_zero() {
        assert_eq!(
            "50/s".parse(),
            Ok(Rate {
                count: 50,
                per: Duration::from_secs(1)
            })
        );
        assert_eq!(
            "1MiB/m".parse(),
            Ok(Rate {
                count: 1 << 20,
                per: Duration::from_secs(60)
            })
        );
        for bad in ["50", "0/s", "/s", "5/w", "-5/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_to_bind() {
        assert_eq!(
            parse_bind("[::]:1883"),
            Ok(Bind::Tcp("[::]:1883".parse().unwrap()))
        );
        assert_eq!(
            parse_bind("unix:/run/x.sock"),
            Ok(Bind::Unix("/run/x.sock".into()))
        );
        for (bad, hint) in [
            ("1883", "0.0.0.0:1883"),
            (":1883", "0.0.0.0:1883"),
            ("unix:x", "absolute"),
            ("a:b", "unix:"),
        ] {
            let error = parse_bind(bad).unwrap_err();
            assert!(error.contains(hint), "{bad}: {error}");
        }
    }

    #[test]
    fn limits_compare() {
        assert!(Limit::Unlimited.allows(u64::MAX));
        assert!(Limit::At(3).allows(3));
        assert!(!Limit::At(3).allows(4));
    }
}
