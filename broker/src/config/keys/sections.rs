//! The keys of all sections but `[listeners]`.

use super::{Key, Kind, Preset, Reads};
use Kind::{
    AddressOrOff, Bool, Duration, Field, Float, Int, LevelMap, Limit, Mode, Path, Ranges, Rate, Size,
    SizeLimit, Text, TextMap, Texts, Word, Words,
};

/// One day in milliseconds.
const DAY: u64 = 86_400_000;
/// The longest duration that a key takes, ten years.
const LONG: u64 = 3_650 * DAY;
/// The largest size, 2^53 bytes.
const HUGE: u64 = 1 << 53;
/// The largest count of things kept in memory.
const MANY: i64 = u32::MAX as i64;

/// Words of `log.level`.
pub(super) const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// The sections, in the order of `etc/broker.toml`.
pub(super) const SECTIONS: &[Key] = &[
    Key::preset(
        "networks.*",
        Ranges,
        Preset::Absent,
        "a named CIDR set: \"@NAME\" in range lists, ctl filters and the ACL file",
    ),
    // node
    Key::preset(
        "node.name",
        Text,
        Preset::Hostname,
        "name of this node in audit and metrics",
    )
    .restart(),
    Key::new(
        "node.data_dir",
        Path(Reads::No),
        "\"/var/lib/broker\"",
        "all data; \"\" = nothing on disk",
    )
    .restart(),
    Key::new(
        "node.workers",
        Int(0, 1024),
        "0",
        "worker threads; 0 = one for each core",
    )
    .restart(),
    Key::new(
        "node.shutdown_grace",
        Duration(0, DAY),
        "\"10s\"",
        "time that a stop gives clients to take their last messages",
    ),
    Key::new(
        "node.sys_interval",
        Duration(0, DAY),
        "\"10s\"",
        "time between two publications of $SYS; \"0s\" = none",
    ),
    // mqtt
    Key::new(
        "mqtt.protocol_versions",
        Words(&["3.1", "3.1.1", "5"]),
        "[\"3.1\", \"3.1.1\", \"5\"]",
        "versions served",
    ),
    Key::new(
        "mqtt.connect_timeout",
        Duration(100, 600_000),
        "\"10s\"",
        "from the step before to a whole CONNECT",
    ),
    Key::new(
        "mqtt.max_packet_size",
        Size(64, 268_435_460),
        "\"1MiB\"",
        "largest packet taken",
    ),
    Key::new(
        "mqtt.max_clientid_bytes",
        Int(23, 65_535),
        "1024",
        "longest client id",
    ),
    Key::new(
        "mqtt.allow_empty_clientid",
        Bool,
        "true",
        "clients may leave their id to the broker",
    ),
    Key::new(
        "mqtt.max_topic_levels",
        Int(1, 65_535),
        "128",
        "most levels of a topic or filter",
    ),
    Key::new(
        "mqtt.max_topic_alias",
        Int(0, 65_535),
        "64",
        "topic aliases that a v5 client may use",
    ),
    Key::new("mqtt.max_qos", Int(0, 2), "2", "highest QoS served"),
    Key::new(
        "mqtt.max_keepalive",
        Int(1, 65_535),
        "65535",
        "longest keep-alive, in seconds",
    ),
    Key::new(
        "mqtt.keepalive_multiplier",
        Float(1.0, 10.0),
        "1.5",
        "silence allowed, in keep-alives",
    ),
    Key::new(
        "mqtt.receive_maximum",
        Int(1, 65_535),
        "32",
        "unacknowledged QoS 1/2 messages from a v5 client; 3.x is slowed",
    ),
    Key::new(
        "mqtt.max_inflight",
        Int(1, 65_535),
        "32",
        "the same to a client, at most its receive maximum",
    ),
    Key::new(
        "mqtt.max_queued_messages",
        Int(0, MANY),
        "1000",
        "messages queued for a session",
    ),
    Key::new(
        "mqtt.max_queued_bytes",
        Size(0, HUGE),
        "\"64MiB\"",
        "bytes queued for a session",
    ),
    Key::new(
        "mqtt.queue_full",
        Word(&["drop_oldest", "drop_newest"]),
        "\"drop_oldest\"",
        "drop_oldest | drop_newest; QoS 0 first; counted",
    ),
    Key::new(
        "mqtt.queue_qos0",
        Bool,
        "false",
        "QoS 0 messages wait for offline clients too",
    ),
    Key::new(
        "mqtt.overload",
        Word(&["slow", "drop"]),
        "\"slow\"",
        "slow the publishers of slow subscribers | drop (QoS 0 only)",
    ),
    Key::new(
        "mqtt.shared_strategy",
        Word(&[
            "round_robin",
            "random",
            "sticky",
            "hash_client",
            "hash_topic",
            "local",
        ]),
        "\"round_robin\"",
        "round_robin | random | sticky | hash_client | hash_topic | local",
    ),
    Key::new(
        "mqtt.max_subscriptions",
        Limit(1),
        "\"unlimited\"",
        "subscriptions of a session",
    ),
    Key::new("mqtt.retain", Bool, "true", "retained messages are served"),
    Key::new(
        "mqtt.wildcard_subscription",
        Bool,
        "true",
        "filters may have + and #",
    ),
    Key::new("mqtt.shared_subscription", Bool, "true", "$share/... is served"),
    // session, store
    Key::new(
        "session.expiry_v3",
        Duration(0, LONG),
        "\"7d\"",
        "a 3.x session with clean_session=0 stays this long",
    ),
    Key::new(
        "session.expiry_max",
        Duration(0, LONG),
        "\"7d\"",
        "cap of a v5 session's expiry, told in CONNACK",
    ),
    Key::new("session.max_sessions", Int(1, MANY), "1000000", "sessions kept"),
    Key::new(
        "store.durability",
        Word(&["none", "async", "group", "replicated"]),
        "\"group\"",
        "an acknowledgement waits for: none | async (written, synced each fsync_interval) | group (the disk)",
    )
    .restart(),
    Key::new(
        "store.fsync_interval",
        Duration(10, 600_000),
        "\"1s\"",
        "with durability async",
    )
    .restart(),
    Key::new(
        "store.cache",
        Size(0, HUGE),
        "\"64MiB\"",
        "queued payloads kept in memory",
    )
    .restart(),
    Key::new(
        "store.max_bytes",
        Size(1 << 20, HUGE),
        "\"10GiB\"",
        "bytes on disk; beyond: durable messages are refused (0x97)",
    ),
    Key::new(
        "store.max_retained_messages",
        Limit(0),
        "\"unlimited\"",
        "beyond: 0x97",
    ),
    Key::new(
        "store.max_retained_bytes",
        SizeLimit,
        "\"unlimited\"",
        "beyond: 0x97",
    ),
    // delayed, rewrite, auto_subscribe
    Key::new(
        "delayed.enabled",
        Bool,
        "false",
        "$delayed/SECONDS/topic is served",
    ),
    Key::new(
        "delayed.max_delayed_messages",
        Int(1, MANY),
        "100000",
        "messages that may wait",
    ),
    Key::new(
        "rewrite.[].action",
        Word(&["all", "publish", "subscribe"]),
        "\"all\"",
        "all | publish | subscribe",
    ),
    Key::preset(
        "rewrite.[].source_topic",
        Text,
        Preset::Required,
        "filter that the topic must match",
    ),
    Key::preset(
        "rewrite.[].re",
        Text,
        Preset::Required,
        "regular expression that the topic must match",
    ),
    Key::preset(
        "rewrite.[].dest_topic",
        Text,
        Preset::Required,
        "what it becomes: $1, ${clientid}, ${username}",
    ),
    Key::preset(
        "auto_subscribe.[].topic",
        Text,
        Preset::Required,
        "filter; ${clientid}, ${username}, ${peerhost}",
    ),
    Key::new("auto_subscribe.[].qos", Int(0, 2), "0", "QoS"),
    Key::new("auto_subscribe.[].rh", Int(0, 2), "0", "retain handling"),
    Key::new("auto_subscribe.[].rap", Int(0, 1), "0", "retain as published"),
    Key::new("auto_subscribe.[].nl", Int(0, 1), "0", "no local"),
    // auth
    Key::new(
        "auth.allow_anonymous",
        Bool,
        "false",
        "clients without credentials get in",
    ),
    Key::new(
        "auth.chain",
        Words(&["certificate", "password_file", "jwt", "http", "scram"]),
        "[\"certificate\", \"password_file\"]",
        "asked in order: accept, reject or ignore; end = reject; [] verifies nothing",
    ),
    Key::new(
        "auth.password_file.path",
        Path(Reads::May),
        "\"/etc/broker/passwd\"",
        "broker passwd add USER",
    ),
    Key::new(
        "auth.jwt.from",
        Word(&["password", "username"]),
        "\"password\"",
        "password | username: where the token is",
    ),
    Key::new(
        "auth.jwt.algorithm",
        Word(&["hmac-based", "public-key"]),
        "\"hmac-based\"",
        "hmac-based | public-key",
    ),
    Key::new(
        "auth.jwt.secret_file",
        Path(Reads::Must),
        "\"\"",
        "the shared secret of hmac-based",
    ),
    Key::new(
        "auth.jwt.secret_base64_encoded",
        Bool,
        "false",
        "that file is base64",
    ),
    Key::new(
        "auth.jwt.public_key_file",
        Path(Reads::Must),
        "\"\"",
        "PEM key or certificate of public-key",
    ),
    Key::new(
        "auth.jwt.jwks_file",
        Path(Reads::Must),
        "\"\"",
        "or a JSON Web Key Set",
    ),
    Key::new("auth.jwt.endpoint", Text, "\"\"", "or its URL"),
    Key::new(
        "auth.jwt.refresh_interval",
        Duration(1_000, DAY),
        "\"5m\"",
        "how often it is read",
    ),
    Key::new(
        "auth.jwt.verify_claims",
        TextMap,
        "{}",
        "claims that must be so, e.g. { sub = \"${clientid}\" }",
    ),
    Key::new(
        "auth.jwt.username_claim",
        Text,
        "\"\"",
        "this claim is the username",
    ),
    Key::new(
        "auth.jwt.clientid_claim",
        Text,
        "\"\"",
        "this claim must be the client id",
    ),
    Key::new(
        "auth.jwt.acl_claim_name",
        Text,
        "\"acl\"",
        "this claim lists permissions",
    ),
    Key::new(
        "auth.jwt.disconnect_after_expire",
        Bool,
        "true",
        "exp ends the connection",
    ),
    Key::new(
        "auth.http.method",
        Word(&["get", "post"]),
        "\"post\"",
        "get | post",
    ),
    Key::new("auth.http.url", Text, "\"\"", "asked to authenticate; \"\" = not"),
    Key::new(
        "auth.http.headers",
        TextMap,
        "{ content-type = \"application/json\" }",
        "request headers",
    ),
    Key::new(
        "auth.http.body",
        TextMap,
        "{ username = \"${username}\", password = \"${password}\", clientid = \"${clientid}\", peerhost = \"${peerhost}\" }",
        "fields: ${username} ${password} ${clientid} ${peerhost} ${kind} ${via} ${socket} ${listener} ${cn}",
    ),
    Key::new(
        "auth.http.acl_url",
        Text,
        "\"\"",
        "asked for each publish and subscribe; \"\" = not",
    ),
    Key::new(
        "auth.http.acl_body",
        TextMap,
        "{ username = \"${username}\", clientid = \"${clientid}\", peerhost = \"${peerhost}\", action = \"${action}\", topic = \"${topic}\" }",
        "its fields; ${action} ${topic} ${qos} ${retain} too",
    ),
    Key::new(
        "auth.http.ca_file",
        Path(Reads::Must),
        "\"\"",
        "PEM authorities for https; \"\" = the system's",
    ),
    Key::new(
        "auth.http.connect_timeout",
        Duration(10, 60_000),
        "\"5s\"",
        "time to connect",
    ),
    Key::new(
        "auth.http.request_timeout",
        Duration(10, 60_000),
        "\"5s\"",
        "time to a whole answer",
    ),
    Key::new("auth.http.pool_size", Int(1, 1024), "8", "connections kept"),
    Key::new(
        "auth.http.cache_ttl",
        Duration(0, DAY),
        "\"0s\"",
        "answers are reused this long; \"0s\" = not",
    ),
    Key::new("auth.http.cache_max", Int(1, MANY), "10000", "answers kept"),
    Key::new(
        "auth.http.breaker_failures",
        Int(1, MANY),
        "5",
        "failures in a row that stop asking...",
    ),
    Key::new(
        "auth.http.breaker_open",
        Duration(100, DAY),
        "\"10s\"",
        "...for this long",
    ),
    Key::new(
        "auth.scram.path",
        Path(Reads::May),
        "\"/etc/broker/scram\"",
        "SCRAM-SHA-256 verifiers",
    ),
    Key::new(
        "auth.scram.iteration_count",
        Int(4096, 10_000_000),
        "4096",
        "iterations of new verifiers",
    ),
    // acl, bans
    Key::new(
        "acl.file",
        Path(Reads::Must),
        "\"\"",
        "rules; \"\" = the built-in ones: broker acl show --builtin",
    ),
    Key::new(
        "acl.deny_action",
        Word(&["ignore", "disconnect"]),
        "\"ignore\"",
        "ignore | disconnect",
    ),
    Key::new(
        "acl.recheck_on_reload",
        Bool,
        "true",
        "live clients too: kicked, subscriptions removed",
    ),
    Key::new("bans.max_entries", Int(1, MANY), "100000", "bans kept"),
    Key::new(
        "bans.protect",
        Ranges,
        "[\"@loopback\"]",
        "not banned without --force; @proxies never are",
    ),
    Key::preset(
        "bans.auto.[].name",
        Text,
        Preset::Required,
        "its name in audit and ban list",
    ),
    Key::preset(
        "bans.auto.[].on",
        Word(&["authn_fail", "connect", "proto_error", "acl_deny"]),
        Preset::Required,
        "authn_fail | connect (accepted ones) | proto_error | acl_deny",
    ),
    Key::preset(
        "bans.auto.[].count",
        Int(1, MANY),
        Preset::Required,
        "this many...",
    ),
    Key::preset(
        "bans.auto.[].window",
        Duration(1_000, LONG),
        Preset::Required,
        "...within this time",
    ),
    Key::preset(
        "bans.auto.[].ban",
        Duration(1_000, LONG),
        Preset::Required,
        "first ban; doubles at each repeat",
    ),
    Key::new(
        "bans.auto.[].ban_max",
        Duration(1_000, LONG),
        "\"24h\"",
        "longest ban",
    ),
    Key::new("bans.auto.[].dry_run", Bool, "false", "tell, do not ban"),
    Key::preset(
        "bans.auto.[].by",
        Word(&["prefix", "clientid", "username"]),
        Preset::Required,
        "prefix (kind=client only) | clientid | username",
    ),
    // quota
    Key::new(
        "quota.v4_prefix",
        Int(8, 32),
        "32",
        "IPv4 clients are counted by prefixes of this length",
    ),
    Key::new("quota.v6_prefix", Int(16, 128), "64", "IPv6 clients"),
    Key::new(
        "quota.max_keys",
        Int(1, MANY),
        "65536",
        "prefixes counted at a time",
    ),
    Key::new(
        "quota.max_connections",
        Limit(0),
        "\"unlimited\"",
        "connections of a prefix",
    ),
    Key::new(
        "quota.max_pending",
        Limit(1),
        "200",
        "those without a CONNECT yet",
    ),
    Key::new("quota.connect_rate", Rate, "\"100/s\"", "new connections"),
    Key::new("quota.connect_burst", Limit(1), "500", "new connections at once"),
    Key::new("quota.publish_rate", Rate, "\"unlimited\"", "messages published"),
    Key::new(
        "quota.publish_bytes",
        Rate,
        "\"unlimited\"",
        "bytes published, e.g. \"1MiB/s\"",
    ),
    Key::new(
        "quota.max_subscriptions",
        Limit(0),
        "\"unlimited\"",
        "subscriptions",
    ),
    Key::new(
        "quota.publish_over",
        Word(&["slow", "refuse"]),
        "\"slow\"",
        "slow (stop reading) | refuse (0x97)",
    ),
    Key::preset(
        "quota.override.[].nets",
        Ranges,
        Preset::Required,
        "other limits for these; the longest prefix wins",
    ),
    Key::preset(
        "quota.override.[].max_connections",
        Limit(0),
        Preset::Absent,
        "as in [quota]",
    ),
    Key::preset(
        "quota.override.[].max_pending",
        Limit(1),
        Preset::Absent,
        "as in [quota]",
    ),
    Key::preset(
        "quota.override.[].connect_rate",
        Rate,
        Preset::Absent,
        "as in [quota]",
    ),
    Key::preset(
        "quota.override.[].connect_burst",
        Limit(1),
        Preset::Absent,
        "as in [quota]",
    ),
    Key::preset(
        "quota.override.[].publish_rate",
        Rate,
        Preset::Absent,
        "as in [quota]",
    ),
    Key::preset(
        "quota.override.[].publish_bytes",
        Rate,
        Preset::Absent,
        "as in [quota]",
    ),
    Key::preset(
        "quota.override.[].max_subscriptions",
        Limit(0),
        Preset::Absent,
        "as in [quota]",
    ),
    Key::new(
        "quota.user.max_connections",
        Limit(0),
        "\"unlimited\"",
        "connections of a username",
    ),
    Key::new(
        "quota.user.connect_rate",
        Rate,
        "\"unlimited\"",
        "its new connections",
    ),
    Key::new("quota.user.connect_burst", Limit(1), "\"unlimited\"", "at once"),
    Key::new(
        "quota.user.publish_rate",
        Rate,
        "\"unlimited\"",
        "messages published",
    ),
    Key::new(
        "quota.user.publish_bytes",
        Rate,
        "\"unlimited\"",
        "bytes published",
    ),
    Key::new(
        "quota.user.max_subscriptions",
        Limit(0),
        "\"unlimited\"",
        "subscriptions",
    ),
    Key::new(
        "quota.listener.max_connections",
        Limit(0),
        "\"unlimited\"",
        "connections of a listener",
    ),
    Key::new(
        "quota.listener.connect_rate",
        Rate,
        "\"unlimited\"",
        "its new connections",
    ),
    Key::new(
        "quota.listener.connect_burst",
        Limit(1),
        "\"unlimited\"",
        "at once",
    ),
    Key::new(
        "quota.listener.publish_rate",
        Rate,
        "\"unlimited\"",
        "messages published",
    ),
    Key::new(
        "quota.listener.publish_bytes",
        Rate,
        "\"unlimited\"",
        "bytes published",
    ),
    Key::new(
        "quota.listener.max_subscriptions",
        Limit(0),
        "\"unlimited\"",
        "subscriptions",
    ),
    // audit, log, admin, metrics
    Key::new("audit.enabled", Bool, "true", "write the audit log"),
    Key::new(
        "audit.path",
        Path(Reads::No),
        "\"/var/log/broker/audit.log\"",
        "JSON lines",
    ),
    Key::new(
        "audit.events",
        Texts,
        "[\"*\", \"-publish_ok\"]",
        "events written; the last that fits decides",
    ),
    Key::new(
        "audit.queue",
        Int(16, 16_777_216),
        "65536",
        "records that may wait for the disk",
    )
    .restart(),
    Key::new(
        "audit.rotate_size",
        Size(4096, HUGE),
        "\"100MiB\"",
        "a new file begins here",
    ),
    Key::new("audit.rotate_keep", Int(0, 10_000), "10", "old files kept (gzip)"),
    Key::new(
        "audit.coalesce",
        Duration(0, 600_000),
        "\"10s\"",
        "alike denials within this time are one record",
    ),
    Key::new(
        "audit.fsync",
        Duration(0, 600_000),
        "\"1s\"",
        "time between two syncs",
    ),
    Key::new(
        "audit.hash_chain",
        Bool,
        "false",
        "each record carries the hash of the one before",
    )
    .restart(),
    Key::new(
        "log.level",
        Word(LEVELS),
        "\"info\"",
        "off | error | warn | info | debug | trace",
    ),
    Key::new(
        "log.filters",
        LevelMap,
        "{}",
        "single modules, e.g. { listeners = \"debug\" }",
    ),
    Key::new(
        "log.format",
        Word(&["auto", "text", "json"]),
        "\"auto\"",
        "auto (text on a terminal, else json) | text | json",
    ),
    Key::new(
        "admin.socket",
        Path(Reads::No),
        "\"/run/broker/ctl.sock\"",
        "of broker ctl",
    )
    .restart(),
    Key::new("admin.socket_mode", Mode, "\"0660\"", "its mode").restart(),
    Key::new(
        "admin.socket_group",
        Text,
        "\"broker\"",
        "its group: members are admins; \"\" = the process's",
    )
    .restart(),
    Key::new(
        "admin.http_bind",
        AddressOrOff,
        "\"\"",
        "HTTP API and page, e.g. \"127.0.0.1:18083\"; without [admin.tls] loopback only",
    )
    .restart(),
    Key::new(
        "admin.tokens_file",
        Path(Reads::May),
        "\"/etc/broker/tokens.toml\"",
        "broker token create",
    ),
    Key::new(
        "admin.trusted_proxies",
        Ranges,
        "[]",
        "proxies in front of the API",
    ),
    Key::new(
        "admin.address_header",
        Field,
        "\"\"",
        "with the caller's address; as on ws",
    ),
    Key::new(
        "metrics.bind",
        AddressOrOff,
        "\"127.0.0.1:9464\"",
        "plain HTTP /metrics /healthz /readyz; \"\" = off",
    )
    .restart(),
];
