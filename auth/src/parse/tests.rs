//! What the parser accepts, what it refuses and where it points.

use std::collections::HashMap;

use super::*;
use crate::diagnostic::render;

/// Files of a test by path.
#[derive(Default)]
pub(crate) struct Files(HashMap<String, String>);

impl Files {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        Self(
            files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        )
    }
}

impl Loader for Files {
    fn read(&self, path: &str) -> Result<String, String> {
        self.0.get(path).cloned().ok_or_else(|| "no such file".to_owned())
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        let depth = |path: &str| path.matches('/').count();
        let fits =
            |path: &&String| crate::pattern::glob_matches(pattern, path) && depth(path) == depth(pattern);
        Ok(self.0.keys().filter(fits).cloned().collect())
    }
}

/// `CODE line:col` of each finding.
#[track_caller]
fn check(text: &str, want: &[&str]) {
    let acl = parse_text("acl.conf", text, &Env::default());
    let got: Vec<String> = acl
        .errors
        .iter()
        .map(|d| format!("{} {}:{}", d.code, d.pos.line, d.pos.col))
        .collect();
    assert_eq!(got, want, "\n{text}\n{}", render(&acl.errors));
    for finding in &acl.errors {
        assert!(finding.code.is_error());
    }
}

#[test]
fn the_language() {
    check("", &[]);
    check("# only a comment\n\n   # and another\n", &[]);
    check("default connect deny\ndefault all allow\ndeny all", &[]);
    check(
        "allow connect user=a,b client!=c* cn~^x san!~y$ sni=s vpce=v listener=tcp auth=yes tls=yes,proxy,no",
        &[],
    );
    check(
        "deny connect ip=10.0.0.0/8,::1,unix,@loopback socket!=@private kind=proxy via=header,proxy_v1",
        &[],
    );
    check(
        "allow publish qos=0,1 retain=no to a/+/b =# %c/${username}/#",
        &[],
    );
    check("deny subscribe shared=yes to #", &[]);
    check("deny subscribe to \"#\" \"with blank/#\" $SYS/#", &[]);
    check("allow all user=\"a, b\",c \\\n   ip=1.2.3.4\\\n to x", &[]);
    check("group g = 10.0.0.0/8 2001:db8::1\nallow connect ip=@g", &[]);
    check("allow connect ip=@later\ngroup later = 10.0.0.0/8", &[]);
}

/// The right-hand sides of "you know | here" in operator-interface 2.
#[test]
fn what_others_write_has_its_equal() {
    for line in [
        "allow subscribe user=bob to a/#",
        "allow publish to s/%c/%u",
        "allow all ip=127.0.0.1 to \"#\" $SYS/#",
        "deny subscribe to =#",
        "deny all",
        "deny connect ip=1.2.3.0/24",
        "deny connect listener=tcp ip=1.2.3.0/24",
        "allow publish qos=1 retain=no to data/${clientid}/#",
        "allow connect user=bob ip=10.0.0.0/8 tls=yes auth=yes",
    ] {
        check(line, &[]);
    }
}

#[test]
fn all_errors_at_once_with_their_place() {
    check(
        "alow connect\nallow conect\nallow connect usr=bob",
        &["A101 1:1", "A101 2:7", "A102 3:15"],
    );
    check("allow", &["A101 1:1"]);
    check("allow connect bob", &["A101 1:15"]);
    check(
        "allow connect ip=10.0.0.1/8,1.2.3,x",
        &["A105 1:18", "A104 1:29", "A104 1:35"],
    );
    check("allow connect ip~10", &["A103 1:15"]);
    check(
        "allow connect user= kind=server,proxy tls=maybe",
        &["A103 1:20", "A103 1:26", "A103 1:43"],
    );
    check("allow connect user~(", &["A112 1:20"]);
    check("allow connect user=\"a", &["A113 1:20"]);
    check("allow connect qos=1 to a/b", &["A114 1:15", "A114 1:21"]);
    check(
        "allow publish shared=yes qos=3 retain=yes,no retain!=no",
        &["A114 1:15", "A103 1:30", "A103 1:32", "A103 1:46"],
    );
    check("allow all retain=yes to a", &["A114 1:11"]);
    check("allow publish to", &["A101 1:15"]);
    check("allow publish sensors/#", &["A101 1:15"]);
}

#[test]
fn filters() {
    check("allow publish to a/#/b", &["A106 1:18"]);
    check("allow publish to a+", &["A106 1:18"]);
    check("allow publish to x%c", &["A106 1:18"]);
    check("allow publish to ${clintid}/a", &["A106 1:18"]);
    check("allow subscribe to $share/g/a", &["A106 1:20"]);
    check("allow subscribe to a/# # everything else", &["A107 1:24"]);
    check("allow subscribe to # a", &["A107 1:20"]);
    check("allow subscribe to =# a", &[]);
}

#[test]
fn groups_and_defaults() {
    check("allow connect ip=@nobody", &["A108 1:18"]);
    check("group a = 10.0.0.0/8\ngroup a = 11.0.0.0/8", &["A109 2:7"]);
    check("group loopback = 10.0.0.0/8", &["A109 1:7"]);
    check("group a 10.0.0.0/8", &["A101 1:9"]);
    check("group a = 10.20.0.5/16", &["A105 1:11"]);
    check("deny connect ip=1.2.3.4\ndefault connect allow", &["A111 2:1"]);
    check("default connect allow\ndefault connect deny", &["A111 2:1"]);
    check("default all allow\ndefault publish deny", &["A111 2:1"]);
    check("default connect maybe", &["A101 1:17"]);
    check("default connect allow ip=1.2.3.4", &["A114 1:23"]);
}

#[test]
fn the_configuration_brings_networks_and_proxies() {
    let env = Env {
        networks: vec![(
            "office".into(),
            vec![Range::Net("203.0.113.0/24".parse().unwrap())],
        )],
        proxies: vec![Range::Unix, Range::Net("0.0.0.0/0".parse().unwrap())],
        names_verified: true,
    };
    let acl = parse_text(
        "acl.conf",
        "allow connect ip=@office\ndeny connect socket=@proxies",
        &env,
    );
    assert_eq!(acl.errors, []);
    let proxies = &acl.groups["proxies"].set;
    assert!(proxies.contains_addr(&peer::Addr::UNIX));
    assert!(
        !proxies.contains("1.2.3.4".parse().unwrap()),
        "a wildcard would be everybody"
    );
    let twice = parse_text("acl.conf", "group office = 10.0.0.0/8", &env);
    assert_eq!(twice.errors[0].code, Code::GroupTwice);
}

#[track_caller]
fn check_files(files: &[(&str, &str)], rules: &[&str], errors: &[&str]) {
    let acl = parse("/etc/broker/acl.conf", &Files::new(files), &Env::default());
    let got: Vec<_> = acl
        .rules
        .iter()
        .map(|r| format!("{} {}", acl.place(r.pos), r.line()))
        .collect();
    assert_eq!(got, rules);
    let got: Vec<_> = acl
        .errors
        .iter()
        .map(|d| format!("{} {}:{}:{}", d.code, d.file, d.pos.line, d.pos.col))
        .collect();
    assert_eq!(got, errors);
}

#[test]
fn includes_stand_where_they_are_written_in_name_order() {
    check_files(
        &[
            (
                "/etc/broker/acl.conf",
                "deny connect ip=1.2.3.4\ninclude \"acl.d/*.conf\"\nallow all",
            ),
            ("/etc/broker/acl.d/20.conf", "allow publish to b"),
            (
                "/etc/broker/acl.d/10.conf",
                "\nallow   publish  to a\ninclude more/x.conf",
            ),
            ("/etc/broker/acl.d/more/x.conf", "deny all"),
        ],
        &[
            "acl.conf:1 deny  connect   ip=1.2.3.4",
            "acl.d/10.conf:2 allow publish   to a",
            "acl.d/more/x.conf:1 deny  all",
            "acl.d/20.conf:1 allow publish   to b",
            "acl.conf:3 allow all",
        ],
        &[],
    );
}

#[test]
fn includes_that_cannot_be() {
    check_files(
        &[
            (
                "/etc/broker/acl.conf",
                "include missing.conf\ninclude none/*.conf\ninclude a.conf",
            ),
            (
                "/etc/broker/a.conf",
                "include ./acl.conf\ninclude a b\ngroup g from g.txt",
            ),
        ],
        &[],
        &[
            "A110 /etc/broker/acl.conf:1:9",
            "A110 /etc/broker/a.conf:1:9",
            "A101 /etc/broker/a.conf:2:11",
            "A110 /etc/broker/a.conf:3:14",
        ],
    );
    let deep: Vec<(String, String)> = (0..12)
        .map(|n| (format!("/f{n}"), format!("include f{}", n + 1)))
        .collect();
    let deep: Vec<(&str, &str)> = deep.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let acl = parse("/f0", &Files::new(&deep), &Env::default());
    assert_eq!(acl.errors.len(), 1);
    assert_eq!(acl.errors[0].file, "/f8", "f0 includes 8 levels below itself");
    check_files(&[], &[], &["A110 /etc/broker/acl.conf:1:1"]);
}

#[test]
fn group_files_are_lists_with_comments() {
    let list = "; a block list\n1.2.3.0/24 ; SBL1\n# x\n  2001:db8::/32\n\n10.0.0.1/8\n";
    let files = [
        ("/e/acl.conf", "group b from \"lists/b.txt\"\ndeny connect ip=@b"),
        ("/e/lists/b.txt", list),
    ];
    let acl = parse("/e/acl.conf", &Files::new(&files), &Env::default());
    assert_eq!(acl.errors.len(), 1);
    let error = &acl.errors[0];
    assert_eq!(
        (error.file.as_str(), error.pos.line, error.pos.col),
        ("/e/lists/b.txt", 6, 1)
    );
    assert_eq!(error.source, "10.0.0.1/8");
    assert!(acl.groups["b"].set.contains("2001:db8::9".parse().unwrap()));
}

#[test]
fn findings_are_printed_with_their_source() {
    let acl = parse_text("acl.conf", "allow connect usr=bob", &Env::default());
    assert_eq!(
        render(&acl.errors),
        "error[A102]: unknown term `usr`\n  --> acl.conf:1:15\n   |\n 1 | allow connect usr=bob\n   \
         |               ^^^ did you mean `user`?\n1 error, 0 warnings\n"
    );
}
