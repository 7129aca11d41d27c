//! `matches`, `covers` and `overlaps` against their definitions: every filter of up to three levels over a small
//! alphabet, and every topic of up to four levels over a larger one.
//!
//! A topic level beyond the filters' alphabet and a topic one level deeper than any filter stand for all the others,
//! so over these filters the search is exhaustive.

use codec::topic::{check_topic_name, covers, levels, matches, overlaps, valid_topic_name};
use codec::{TopicError, TopicFilter};

/// All sequences of `alphabet` of up to `depth` levels, joined; without the empty string.
fn sequences(alphabet: &[&str], depth: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut last: Vec<Vec<&str>> = vec![Vec::new()];
    for _ in 0..depth {
        last = last
            .iter()
            .flat_map(|head| alphabet.iter().map(|level| [head.as_slice(), &[*level]].concat()))
            .collect();
        all.extend(last.iter().map(|levels| levels.join("/")));
    }
    all.retain(|text| !text.is_empty());
    all
}

fn filters() -> Vec<String> {
    let mut all = sequences(&["", "a", "b", "$s", "+", "#"], 3);
    all.retain(|filter| TopicFilter::parse(filter, usize::MAX).is_ok());
    all
}

fn topics() -> Vec<String> {
    sequences(&["", "a", "b", "z", "$s", "$t"], 4)
}

/// Sections 4.7.1 and 4.7.2 as they read.
fn slow_match(filter: &[&str], topic: &[&str], first: bool) -> bool {
    let hidden = first && topic.first().is_some_and(|name| name.starts_with('$'));
    match (filter, topic) {
        ([], []) => true,
        (["#"], _) => !hidden,
        (["+", filter @ ..], [_, topic @ ..]) => !hidden && slow_match(filter, topic, false),
        ([level, filter @ ..], [name, topic @ ..]) => level == name && slow_match(filter, topic, false),
        _ => false,
    }
}

/// For each filter, which topics match it.
fn table(filters: &[String], topics: &[String]) -> Vec<Vec<bool>> {
    let split = |text: &'_ String| text.split('/').map(str::to_owned).collect::<Vec<_>>();
    let topics: Vec<Vec<String>> = topics.iter().map(split).collect();
    let row = |filter: &String| {
        let filter: Vec<&str> = filter.split('/').collect();
        let cell = |topic: &Vec<String>| {
            let topic: Vec<&str> = topic.iter().map(String::as_str).collect();
            slow_match(&filter, &topic, true)
        };
        topics.iter().map(cell).collect()
    };
    filters.iter().map(row).collect()
}

#[test]
fn matches_agrees_with_the_definition() {
    let (filters, topics) = (filters(), topics());
    assert_eq!((filters.len(), topics.len()), (185, 1553));
    let table = table(&filters, &topics);
    for (filter, row) in filters.iter().zip(&table) {
        for (topic, &want) in topics.iter().zip(row) {
            assert_eq!(matches(filter, topic), want, "{filter} {topic}");
        }
    }
}

#[test]
fn covers_and_overlaps_agree_with_brute_force() {
    let (filters, topics) = (filters(), topics());
    let table = table(&filters, &topics);
    for (a, row_a) in filters.iter().zip(&table) {
        for (b, row_b) in filters.iter().zip(&table) {
            let mut pairs = row_a.iter().zip(row_b);
            let all = pairs.clone().all(|(&in_a, &in_b)| in_a || !in_b);
            assert_eq!(covers(a, b), all, "{a} covers {b}");
            let any = pairs.any(|(&in_a, &in_b)| in_a && in_b);
            assert_eq!(overlaps(a, b), any, "{a} overlaps {b}");
        }
    }
}

#[test]
fn topic_names_are_checked() {
    #[track_caller]
    fn check(name: &str, want: Result<(), TopicError>) {
        assert_eq!(check_topic_name(name, 4), want, "{name:?}");
    }
    check("a", Ok(()));
    check("/", Ok(()));
    check("a/b/c/d", Ok(()));
    check("$SYS/x", Ok(()));
    check("日本/é", Ok(()));
    check("a/b/c/d/e", Err(TopicError::TooManyLevels));
    check("////", Err(TopicError::TooManyLevels));
    check("", Err(TopicError::Empty));
    check("a/+", Err(TopicError::Wildcard));
    check("#", Err(TopicError::Wildcard));
    check("a\0", Err(TopicError::NullCharacter));
    check(&"x".repeat(65_535), Ok(()));
    check(&"x".repeat(65_536), Err(TopicError::TooLong));
    assert!(valid_topic_name("a/b/c/d/e"));
    assert!(!valid_topic_name("a/+"));
    assert_eq!(levels("/a/"), 3);
}

#[test]
fn filters_are_checked_and_split() {
    #[track_caller]
    fn check(filter: &str, want: Result<(Option<&str>, &str), TopicError>) {
        let parsed = TopicFilter::parse(filter, 4);
        assert_eq!(
            parsed.map(|filter| (filter.share(), filter.filter())),
            want,
            "{filter:?}"
        );
    }
    check("a/+/c/#", Ok((None, "a/+/c/#")));
    check("+", Ok((None, "+")));
    check("#", Ok((None, "#")));
    check("/", Ok((None, "/")));
    check("$SYS/#", Ok((None, "$SYS/#")));
    check("$shared/x", Ok((None, "$shared/x")));
    check("$share/g/a/b/c/d", Ok((Some("g"), "a/b/c/d")));
    check("$share/g//", Ok((Some("g"), "/")));
    check("$share/g/#", Ok((Some("g"), "#")));
    check("$share/g/a/b/c/d/e", Err(TopicError::TooManyLevels));
    check("a/b/c/d/#", Err(TopicError::TooManyLevels));
    for filter in [
        "$share",
        "$share/",
        "$share/g",
        "$share/g/",
        "$share//a",
        "$share/+/a",
        "$share/#/a",
    ] {
        check(filter, Err(TopicError::Share));
    }
    for filter in ["a#", "#/a", "a/#/b", "##", "$share/g/#a"] {
        check(filter, Err(TopicError::Hash));
    }
    for filter in ["a+", "+a", "a/+b/c", "++"] {
        check(filter, Err(TopicError::Plus));
    }
    check("", Err(TopicError::Empty));
    check("a\0", Err(TopicError::NullCharacter));
    let filter = TopicFilter::parse("$share/g/é/+", 9).expect("valid");
    assert_eq!(filter.levels().collect::<Vec<_>>(), ["é", "+"]);
    assert_eq!(filter.as_str(), "$share/g/é/+");
    assert!(filter.has_wildcard() && filter.matches("é/x") && !filter.matches("e/x"));
}
