//! Hash formats against lines that other programs wrote, and the passwd file.

use super::*;

/// Written by mosquitto_passwd 2.0.11 and libargon2's own test; passwords beside them.
const FOREIGN: [(&str, &str); 3] = [
    (
        "$7$101$rZqjOVlHPxjncP3r$E9dsjO8gn3TzjGVodhKU9dRDhi5+Tojg+CuENwkUli1C7QqRf5G5+I4qDfW/8XiyXo7ZlqVOpareup8/DhtdFQ==",
        "hunter 2ü",
    ),
    (
        "$6$uUCevxNcYkpNs77o$PPE3WLU8uNk4KEkA3Fceyum3GUaGXf1UpFRytDo9Ehy4Xa1M42CkaWDvC4ioSoojBXRtr2Dfko50a6Uh9Z9xog==",
        "secret",
    ),
    (
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "password",
    ),
];

#[test]
fn foreign_hashes_are_verified_and_written_back() {
    for (line, password) in FOREIGN {
        let hash = Hash::parse(line).unwrap();
        assert!(hash.verify(password.as_bytes()), "{line}");
        assert!(!hash.verify(b"wrong") && !hash.verify(b""), "{line}");
        assert_eq!(hash.to_string(), line);
        assert!(!format!("{hash:?}").contains('$'), "a hash is not logged");
    }
}

#[test]
fn new_passwords_are_argon2id() {
    let hash = Hash::argon2id(b"p\xff", [1; 16]).unwrap();
    let line = hash.to_string();
    assert!(line.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{line}");
    let again = Hash::parse(&line).unwrap();
    assert!(again.verify(b"p\xff") && !again.verify(b"p"));
}

#[test]
fn hashes_that_are_none() {
    let check = |text: &str, want: HashError| assert_eq!(Hash::parse(text).unwrap_err(), want, "{text}");
    check("secret", HashError::Unknown);
    check("", HashError::Unknown);
    check("$5$abc$def", HashError::Unknown);
    check("$7$101$abcd", HashError::Malformed);
    check("$7$x$AAAA$AAAA", HashError::Malformed);
    check("$6$!$AAAA", HashError::Malformed);
    check("$7$99999999$AAAA$AAAA", HashError::Parameters);
    check(
        "$argon2id$v=18$m=256,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
        HashError::Parameters,
    );
    check(
        "$argon2id$v=19$m=99999999,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
        HashError::Parameters,
    );
    check(
        "$argon2id$v=19$m=256,t=2$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
        HashError::Malformed,
    );
    check(
        "$argon2id$v=19$m=256,t=2,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAA",
        HashError::Parameters,
    );
    check(
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$AAAA",
        HashError::Parameters,
    );
    check("SCRAM-SHA-256$4096:AAAA$AAAA", HashError::Malformed);
}

#[test]
fn a_passwd_file() {
    let text = format!(
        "# users\n\nbob:{}\neve:{}\nno-colon\n:{}\nmallory:clear text\nbob:{}\n",
        FOREIGN[0].0, FOREIGN[1].0, FOREIGN[1].0, FOREIGN[1].0
    );
    let (passwords, errors) = Passwords::parse(&text);
    let places: Vec<_> = errors.iter().map(|e| (e.line, e.col)).collect();
    assert_eq!(places, [(5, 1), (6, 1), (7, 9), (8, 1)]);
    assert!(errors.iter().all(|e| !e.message.contains("clear text")));
    assert_eq!(passwords.len(), 2);
    assert_eq!(passwords.verify("eve", b"secret"), Verdict::Accepted);
    assert_eq!(passwords.verify("eve", b"Secret"), Verdict::BadPassword);
    assert_eq!(passwords.verify("nobody", b"secret"), Verdict::UnknownUser);
    let (empty, errors) = Passwords::parse("");
    assert!(empty.is_empty() && errors.is_empty());
    assert_eq!(empty.verify("nobody", b"x"), Verdict::UnknownUser);
}

#[test]
fn a_scram_line_serves_plain_passwords_too() {
    let keys = scram::Keys::derive(b"pencil", b"0123456789abcdef", 4096);
    let (passwords, errors) = Passwords::parse(&format!("user:{keys}\n"));
    assert_eq!(errors, []);
    assert_eq!(passwords.verify("user", b"pencil"), Verdict::Accepted);
    assert_eq!(passwords.hash("user").and_then(Hash::scram), Some(&keys));
}

#[test]
fn names_that_can_stand_in_the_file() {
    assert!(check_user("bob@example.com").is_ok());
    for bad in ["", "a:b", "#a", "a\nb"] {
        assert!(check_user(bad).is_err(), "{bad:?}");
    }
}
