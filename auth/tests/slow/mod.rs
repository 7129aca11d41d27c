//! The obvious evaluator: rules as plain data, asked one after the other, topics compared by trying all topics of a
//! small world. Slow on purpose, and sharing no code with the crate.

use std::sync::OnceLock;

use auth::{Action, Effect, Subject};
use peer::{Kind, Peer, PeerBuilder, Source};
use proptest::prelude::*;

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    allow: bool,
    action: &'static str,
    conds: Vec<Cond>,
    filters: Vec<Filter>,
}

#[derive(Clone, Debug)]
struct Cond {
    key: &'static str,
    negated: bool,
    values: Vec<&'static str>,
}

#[derive(Clone, Debug)]
struct Filter {
    exact: bool,
    levels: Vec<&'static str>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    ip: &'static str,
    socket: &'static str,
    proxy: bool,
    via: Source,
    pub(crate) listener: String,
    user: Option<&'static str>,
    client: &'static str,
    auth: bool,
}

/// What for.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Connect,
    Publish(String, u8, bool),
    Subscribe(String, u8, bool),
}

impl Rule {
    /// As the file has it.
    pub(crate) fn text(&self) -> String {
        let mut out = format!("{} {}", if self.allow { "allow" } else { "deny" }, self.action);
        for Cond { key, negated, values } in &self.conds {
            let sign = if *negated { "!=" } else { "=" };
            out.extend([" ", key, sign, &values.join(",")]);
        }
        let words: Vec<String> = self.filters.iter().map(Filter::text).collect();
        if !words.is_empty() {
            out.extend([" to ", &words.join(" ")]);
        }
        out
    }
}

impl Filter {
    fn text(&self) -> String {
        let body = self.levels.join("/");
        match (self.exact, body.as_str()) {
            (true, body) => format!("={body}"),
            (false, "#") => "\"#\"".to_owned(),
            (false, body) => body.to_owned(),
        }
    }
}

impl Who {
    pub(crate) fn peer(&self) -> Peer {
        let kind = if self.proxy { Kind::Proxy } else { Kind::Client };
        PeerBuilder::new(self.ip)
            .behind(self.socket, self.via)
            .kind(kind)
            .build()
    }

    pub(crate) fn subject<'a>(&'a self, peer: &'a Peer) -> Subject<'a> {
        Subject::new(peer, &self.listener).with_client(self.client, self.user, self.auth)
    }

    fn text(&self, key: &str) -> Option<&str> {
        let text = match key {
            "user" => self.user?,
            "client" => self.client,
            "listener" => &self.listener,
            _ => return None,
        };
        (!text.is_empty()).then_some(text)
    }
}

impl Ask {
    pub(crate) fn action(&self) -> Action<'_> {
        match self {
            Self::Connect => Action::Connect,
            Self::Publish(topic, qos, retain) => Action::Publish {
                topic,
                qos: *qos,
                retain: *retain,
            },
            Self::Subscribe(filter, qos, shared) => Action::Subscribe {
                filter,
                qos: *qos,
                shared: *shared,
            },
        }
    }
}

/// The effect, and the rule that decided.
pub(crate) fn decide(rules: &[Rule], who: &Who, ask: &Ask) -> (Effect, Option<usize>) {
    if matches!(ask, Ask::Publish(topic, ..) if topic == "$SYS" || topic.starts_with("$SYS/")) {
        return (Effect::Deny, None);
    }
    for (number, rule) in rules.iter().enumerate() {
        let about = match ask {
            Ask::Connect => rule.action == "connect",
            Ask::Publish(..) => matches!(rule.action, "publish" | "all"),
            Ask::Subscribe(..) => matches!(rule.action, "subscribe" | "all"),
        };
        if about && rule.conds.iter().all(|c| holds(c, rule.allow, who, ask)) && topics_fit(rule, who, ask) {
            return (
                if rule.allow { Effect::Allow } else { Effect::Deny },
                Some(number),
            );
        }
    }
    (
        if matches!(ask, Ask::Connect) {
            Effect::Allow
        } else {
            Effect::Deny
        },
        None,
    )
}

fn holds(cond: &Cond, allow: bool, who: &Who, ask: &Ask) -> bool {
    let yes_no = |yes: bool| if yes { "yes" } else { "no" };
    let any = |found: &dyn Fn(&str) -> bool| cond.values.iter().any(|v| found(v)) != cond.negated;
    match cond.key {
        "user" | "client" | "listener" => match who.text(cond.key) {
            None => cond.negated && !allow,
            Some(text) => any(&|value| glob(value.as_bytes(), text.as_bytes())),
        },
        "ip" if allow && who.proxy => false,
        "ip" => any(&|value| in_net(value, who.ip)),
        "socket" => any(&|value| in_net(value, who.socket)),
        "kind" => any(&|value| value == if who.proxy { "proxy" } else { "client" }),
        "via" => any(&|value| value == who.via.as_str()),
        "auth" => any(&|value| value == yes_no(who.auth)),
        "qos" => match ask {
            Ask::Connect => false,
            Ask::Publish(_, qos, _) | Ask::Subscribe(_, qos, _) => any(&|value| value == qos.to_string()),
        },
        "retain" => matches!(ask, Ask::Publish(_, _, retain) if any(&|value| value == yes_no(*retain))),
        "shared" => matches!(ask, Ask::Subscribe(_, _, shared) if any(&|value| value == yes_no(*shared))),
        other => panic!("no term {other}"),
    }
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => glob(rest, text) || !text.is_empty() && glob(pattern, &text[1..]),
        (Some((b'?', rest)), Some((_, more))) => glob(rest, more),
        (Some((a, rest)), Some((b, more))) => a == b && glob(rest, more),
        _ => false,
    }
}

fn in_net(net: &str, addr: &str) -> bool {
    let ip: std::net::IpAddr = addr.parse::<std::net::SocketAddr>().unwrap().ip();
    match net {
        "@loopback" => ip.is_loopback(),
        "unix" => false,
        net => match net.parse::<ipnet::IpNet>() {
            Ok(net) => net.contains(&ip),
            Err(_) => net.parse::<std::net::IpAddr>().unwrap() == ip,
        },
    }
}

fn topics_fit(rule: &Rule, who: &Who, ask: &Ask) -> bool {
    let asked = match ask {
        Ask::Connect => return true,
        Ask::Publish(topic, ..) | Ask::Subscribe(topic, ..) => topic.as_str(),
    };
    rule.filters.is_empty()
        || rule
            .filters
            .iter()
            .any(|f| filter_fits(f, rule.allow, who, asked, ask))
}

fn filter_fits(filter: &Filter, allow: bool, who: &Who, asked: &str, ask: &Ask) -> bool {
    // Levels filled in; None = any value (a deny without a usable one).
    let mut levels: Vec<Option<&str>> = Vec::new();
    for (number, level) in filter.levels.iter().enumerate() {
        let value = match *level {
            "%c" => who.text("client"),
            "${username}" => who.text("user"),
            plain => {
                levels.push(Some(plain));
                continue;
            }
        };
        let usable = value.filter(|v| !v.contains(['/', '+', '#']));
        if allow && (usable.is_none() || number == 0 && usable.is_some_and(|v| v.starts_with('$'))) {
            return false;
        }
        levels.push(usable);
    }
    let asked: Vec<&str> = asked.split('/').collect();
    if filter.exact {
        return levels.len() == asked.len()
            && levels.iter().zip(&asked).all(|(l, a)| l.is_none_or(|l| l == *a));
    }
    let world = world();
    let fits = |topic: &Vec<&str>| topic_fits(&levels, topic);
    match ask {
        Ask::Connect => true,
        Ask::Publish(..) => fits(&asked),
        Ask::Subscribe(..) => {
            let request: Vec<Option<&str>> = asked.iter().map(|l| Some(*l)).collect();
            let mut wanted = world.iter().filter(|topic| topic_fits(&request, topic));
            if allow { wanted.all(fits) } else { wanted.any(fits) }
        }
    }
}

/// Whether a topic matches filter levels; `None` matches any level, also `$...` on the first.
fn topic_fits(levels: &[Option<&str>], topic: &[&str]) -> bool {
    let wild = matches!(levels.first(), Some(Some("+" | "#")));
    if wild && topic.first().is_some_and(|level| level.starts_with('$')) {
        return false;
    }
    fn rest(levels: &[Option<&str>], topic: &[&str]) -> bool {
        match (levels.split_first(), topic.split_first()) {
            (None, None) | (Some((Some("#"), _)), _) => true,
            (Some((None | Some("+"), levels)), Some((_, topic))) => rest(levels, topic),
            (Some((Some(level), levels)), Some((name, topic))) => level == name && rest(levels, topic),
            _ => false,
        }
    }
    rest(levels, topic)
}

/// All topics of up to four levels over the names that occur, one that does not, and `$...` in front. Every value of a
/// placeholder must be among the names.
fn world() -> &'static [Vec<&'static str>] {
    static WORLD: OnceLock<Vec<Vec<&'static str>>> = OnceLock::new();
    WORLD.get_or_init(make_world)
}

fn make_world() -> Vec<Vec<&'static str>> {
    let names = ["a", "b", "c1", "zz", "$SYS"];
    let mut all: Vec<Vec<&'static str>> = ["a", "b", "c1", "zz", "$SYS", "$q"]
        .iter()
        .map(|n| vec![*n])
        .collect();
    let mut last = all.clone();
    for _ in 1..4 {
        last = last
            .iter()
            .flat_map(|t| names.iter().map(|n| [t.as_slice(), &[*n]].concat()))
            .collect();
        all.extend(last.iter().cloned());
    }
    all
}

fn values(of: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(of, 1..=most)
}

fn cond(action: &'static str) -> BoxedStrategy<Cond> {
    let term = |key: &'static str, of: &'static [&'static str], most| {
        (any::<bool>(), values(of, most))
            .prop_map(move |(negated, values)| Cond { key, negated, values })
            .boxed()
    };
    let option = |key: &'static str, of: &'static [&'static str], most| {
        values(of, most)
            .prop_map(move |values| Cond {
                key,
                negated: false,
                values,
            })
            .boxed()
    };
    let nets: &[&str] = &[
        "10.0.0.0/8",
        "10.1.0.0/16",
        "203.0.113.9",
        "@loopback",
        "2001:db8::/32",
        "unix",
    ];
    let mut all = vec![
        term("user", &["a", "b", "a*", "?1", "*"], 3),
        term("client", &["c1", "x2", "c*", "a"], 2),
        term("ip", nets, 3),
        term("ip", &["10.1.2.3", "203.0.113.9"], 1),
        term("socket", nets, 2),
        term("kind", &["client", "proxy"], 1),
        term("via", &["socket", "proxy_v1", "header"], 2),
        term("auth", &["yes", "no"], 1),
        term("listener", &["tcp", "ws", "t*"], 1),
    ];
    if action != "connect" {
        all.push(option("qos", &["0", "1", "2"], 2));
    }
    if action == "publish" {
        all.push(option("retain", &["yes", "no"], 1));
    }
    if action == "subscribe" {
        all.push(option("shared", &["yes", "no"], 1));
    }
    prop::strategy::Union::new(all).boxed()
}

fn filter() -> impl Strategy<Value = Filter> {
    let level = prop::sample::select(&["a", "b", "c1", "+", "%c", "${username}"][..]);
    let first = prop::sample::select(&["a", "b", "a", "+", "%c", "${username}", "$SYS"][..]);
    (first, prop::collection::vec(level, 0..2), any::<bool>(), 0..8u8).prop_map(
        |(first, more, hash, exact)| {
            let mut levels = vec![first];
            levels.extend(more);
            if hash {
                levels.push("#");
            }
            if exact == 7 && hash {
                levels = vec!["#"];
            }
            Filter {
                exact: exact == 0,
                levels,
            }
        },
    )
}

pub(crate) fn rule() -> impl Strategy<Value = Rule> {
    let action = prop::sample::select(&["connect", "publish", "subscribe", "subscribe", "all"][..]);
    action.prop_flat_map(|action| {
        let filters = if action == "connect" { 0..1 } else { 0..3 };
        (
            any::<bool>(),
            prop::collection::vec(cond(action), 0..3),
            prop::collection::vec(filter(), filters),
        )
            .prop_map(move |(allow, conds, filters)| Rule {
                allow,
                action,
                conds,
                filters,
            })
    })
}

pub(crate) fn who() -> impl Strategy<Value = Who> {
    let ips = &[
        "10.1.2.3:5",
        "10.2.0.1:5",
        "203.0.113.9:0",
        "127.0.0.1:1",
        "[2001:db8::1]:7",
        "192.0.2.1:1",
    ][..];
    (
        prop::sample::select(ips),
        prop::sample::select(ips),
        prop::bool::weighted(0.3),
        prop::sample::select(&[Source::Socket, Source::ProxyV1, Source::Header][..]),
        prop::sample::select(&["tcp", "ws"][..]),
        prop::sample::select(
            &[
                None,
                Some("a"),
                Some("b"),
                Some("c1"),
                Some(""),
                Some("a/b"),
                Some("+"),
                Some("$SYS"),
            ][..],
        ),
        prop::sample::select(&["c1", "a", "", "#"][..]),
        any::<bool>(),
    )
        .prop_map(|(ip, socket, proxy, via, listener, user, client, auth)| Who {
            ip,
            socket,
            proxy,
            via,
            listener: listener.to_owned(),
            user,
            client,
            auth,
        })
}

pub(crate) fn ask() -> impl Strategy<Value = Ask> {
    let name = || prop::sample::select(&["a", "b", "c1", "zz", "$SYS", "$q"][..]);
    let topic = prop::collection::vec(name(), 1..4).prop_map(|levels| levels.join("/"));
    let first = prop::sample::select(&["a", "b", "c1", "+", "$SYS", "$q"][..]);
    let level = prop::sample::select(&["a", "b", "c1", "+"][..]);
    let filter = (first, prop::collection::vec(level, 0..2), any::<bool>(), 0..8u8).prop_map(
        |(first, more, hash, all)| {
            let mut levels = [vec![first], more].concat();
            if hash {
                levels.push("#");
            }
            if all == 0 {
                "#".to_owned()
            } else {
                levels.join("/")
            }
        },
    );
    prop_oneof![
        1 => Just(Ask::Connect),
        3 => (topic, 0..3u8, any::<bool>()).prop_map(|(t, qos, retain)| Ask::Publish(t, qos, retain)),
        3 => (filter, 0..3u8, any::<bool>()).prop_map(|(f, qos, shared)| Ask::Subscribe(f, qos, shared)),
    ]
}

/// Words from which files are made, so that random texts get past the first word.
pub(crate) fn word() -> impl Strategy<Value = String> {
    let words = &[
        "allow",
        "deny",
        "default",
        "group",
        "include",
        "connect",
        "publish",
        "subscribe",
        "all",
        "to",
        "user=",
        "ip=",
        "client~",
        "socket!=",
        "@g",
        "10.0.0.0/8",
        "::1",
        "qos=1",
        "retain=yes",
        "#",
        "\"",
        "\\",
        "\n",
        "\r\n",
        " ",
        "\t",
        ",",
        "=",
        "%c",
        "${username}",
        "${",
        "a/+/#",
        "$SYS/#",
        "from",
        "x.txt",
        "(",
        "é",
        "\u{feff}",
        "\u{202e}",
        "topic",
        "read",
        "pattern",
        "user ",
        "{",
        "}",
        "[",
        "]",
        ".",
        "{allow, all}.\n",
        "{deny, {",
        "<<\"",
        ">>",
        "'and'",
        "%",
        ":",
        "$7$",
        "$6$AA==$AA==",
        "$argon2id$v=19$m=8,t=1,p=1$",
        "SCRAM-SHA-256$1:",
        "client:",
        "*",
    ][..];
    prop_oneof![9 => prop::sample::select(words).prop_map(str::to_owned), 1 => any::<String>()]
}
