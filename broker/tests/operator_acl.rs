//! Golden tests of `broker acl` and `broker passwd`: the console blocks of operator-interface 2 stand word by word in
//! `tests/operator/`, and more beside them. Changing one of those files is changing the interface.

#![expect(clippy::unwrap_used, reason = "a test says what failed by panicking")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A directory that stands for /etc/broker, with the shipped sample rules.
struct Etc(tempfile::TempDir);

impl Etc {
    fn new() -> Self {
        let etc = Self(tempfile::tempdir().unwrap());
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc");
        std::fs::create_dir(etc.path("lists")).unwrap();
        for file in ["acl.conf", "lists/blocked.txt"] {
            std::fs::copy(shipped.join(file), etc.path(file)).unwrap();
        }
        etc.write(
            "broker.toml",
            "[networks]\noffice = [\"203.0.113.0/24\", \"2001:db8:10::/48\"]\n[acl]\nfile = \"acl.conf\"\n\
             [listeners.tcp]\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n\
             [auth.password_file]\npath = \"passwd\"\n",
        );
        etc
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Runs a line in a shell, `broker` being ours and /etc/broker this directory; stdout and stderr together.
    fn run(&self, line: &str, stdin: &str) -> String {
        let here = self.0.path().to_str().unwrap();
        let binary = Path::new(env!("CARGO_BIN_EXE_broker")).parent().unwrap();
        let path = format!(
            "{}:{}",
            binary.display(),
            std::env::var("PATH").unwrap_or_default()
        );
        self.write("stdin", stdin);
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!("exec 2>&1; {}", line.replace("/etc/broker", here)))
            .current_dir(here)
            .env("PATH", path)
            .env("BROKER_CONFIG", self.path("broker.toml"))
            .stdin(Stdio::from(std::fs::File::open(self.path("stdin")).unwrap()))
            .output()
            .unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .replace(here, "/etc/broker")
    }
}

/// Runs each `$ ` line of a golden file and compares what follows it.
#[track_caller]
fn golden(etc: &Etc, name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/operator")
        .join(name);
    let text = std::fs::read_to_string(file).unwrap();
    let mut got = String::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("$ ")) {
        write!(got, "$ {line}\n{}", etc.run(line, "")).unwrap();
    }
    let differs = got.lines().zip(text.lines()).find(|(got, want)| got != want);
    assert!(
        got == text,
        "{name}: first difference (got, wanted) {differs:#?}\n--- got\n{got}--- end"
    );
}

#[test]
fn check_names_all_errors_at_once() {
    let etc = Etc::new();
    let sample = std::fs::read_to_string(etc.path("acl.conf")).unwrap();
    let broken = sample.replace("= 10.20.0.0/16", "= 10.20.0.5/16").replace(
        "allow subscribe to cmd/%c/#",
        "allow subscribe usr=bob to cmd/%c/#",
    );
    etc.write("acl.conf", &broken);
    golden(&etc, "acl_check.txt");
}

#[test]
fn test_says_which_line_decides_and_why() {
    golden(&Etc::new(), "acl_test.txt");
}

#[test]
fn the_other_forms_of_acl() {
    let etc = Etc::new();
    etc.write(
        "cases.toml",
        r#"[[case]]
name    = "a sensor outside the plant cannot publish"
ip      = "1.2.3.4"
user    = "bob"
client  = "sensor-7"
publish = "sensors/sensor-7/t"
expect  = "deny"
line    = "acl.conf:3"

# wrong on purpose


[[case]]
name    = "a sensor in the plant cannot publish"
ip      = "10.20.0.1"
client  = "sensor-7"
publish = "sensors/sensor-7/t"
retain  = "no"
expect  = "deny"

[[case]]
connect = true
expect  = "allow"
line    = "acl.conf:9"
"#,
    );
    golden(&etc, "acl_more.txt");
}

#[test]
fn foreign_files_are_imported() {
    let etc = Etc::new();
    etc.write(
        "aclfile",
        "user bob\ntopic read a/#\ntopic deny a/b\npattern write $SYS/broker/connection/%c/state\n",
    );
    let got = etc.run(
        "broker acl import mosquitto aclfile > ours.conf; cat ours.conf; broker acl check ours.conf",
        "",
    );
    assert!(
        got.contains("no equal here for 1 line: see the comments"),
        "{got}"
    );
    assert!(
        got.contains("deny  all       user=bob to a/b\nallow subscribe user=bob to a/#\n"),
        "{got}"
    );
    assert!(
        got.contains("warning[A202]") && got.ends_with("0 errors, 1 warning\n"),
        "{got}"
    );
}

#[test]
fn fmt_writes_back_and_keeps_the_file_when_it_has_errors() {
    let etc = Etc::new();
    etc.write("x.conf", "allow  publish  to a\n# c\n");
    assert_eq!(etc.run("broker acl fmt --check x.conf; echo $?", ""), "1\n");
    assert_eq!(
        etc.run("broker acl fmt --write x.conf; cat x.conf", ""),
        "allow publish   to a\n# c\n"
    );
    etc.write("x.conf", "alow  publish  to a\n");
    let got = etc.run("broker acl fmt --write x.conf; echo $?; cat x.conf", "");
    assert!(
        got.contains("error[A101]") && got.ends_with("1\nalow  publish  to a\n"),
        "{got}"
    );
}

#[test]
fn passwd_keeps_the_rest_of_the_file() {
    let etc = Etc::new();
    let old = "$6$uUCevxNcYkpNs77o$PPE3WLU8uNk4KEkA3Fceyum3GUaGXf1UpFRytDo9Ehy4Xa1M42CkaWDvC4ioSoojBXRtr2Dfko50a6Uh9Z9xog==";
    etc.write("passwd", &format!("# users\neve:{old}\n"));
    let added = "bob is added in /etc/broker/passwd; a running broker takes it with: broker ctl reload\n";
    assert_eq!(etc.run("broker passwd add bob", "hunter 2\n"), added);
    etc.run("broker passwd add --scram carol", "pencil\r\n");
    assert_eq!(
        etc.run("broker passwd list", ""),
        "USER   HASH\nbob    argon2id\ncarol  scram-sha-256\neve    sha512\n"
    );
    assert!(
        etc.run("broker passwd add eve", "secret2\n")
            .starts_with("eve has a new password")
    );
    let text = std::fs::read_to_string(etc.path("passwd")).unwrap();
    assert!(
        text.starts_with("# users\neve:$argon2id$") && text.lines().count() == 4,
        "{text}"
    );
    let (passwords, errors) = auth::credentials::Passwords::parse(&text);
    assert_eq!(errors, []);
    for (user, password) in [("bob", "hunter 2"), ("carol", "pencil"), ("eve", "secret2")] {
        assert_eq!(
            passwords.verify(user, password.as_bytes()),
            auth::credentials::Verdict::Accepted,
            "{user}"
        );
    }
    let got = etc.run("broker passwd del bob nobody; echo $?", "");
    assert_eq!(
        got,
        "error: nobody: not in /etc/broker/passwd; nothing was changed\n1\n"
    );
    assert_eq!(
        etc.run("broker passwd del bob carol; broker passwd list", ""),
        "USER  HASH\neve   argon2id\n"
    );
    let got = etc.run(
        "broker passwd add dave; echo $?; broker passwd add a:b; echo $?",
        "\n",
    );
    assert_eq!(
        got,
        "error: the password is empty; nothing was changed\n1\nerror: a user name has no `:`\n1\n"
    );
}
