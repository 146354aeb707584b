//! Holds the index to the plain loop over `regex::bytes::Regex`, on random rules, changes and identifiers.
//! `PROPTEST_CASES` scales it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use regex::bytes::{Regex, RegexBuilder};

use crate::admission::pattern::{Match, Pattern, PatternError, PatternIndex};

#[derive(Debug, Clone)]
enum Change {
    Insert(String, Match),
    Remove(usize),
    Compact,
}

/// The naive list: every rule in turn.
#[derive(Default)]
struct Naive {
    rules: BTreeMap<String, (Regex, u32)>,
}

impl Naive {
    fn matches(&self, haystack: &[u8]) -> Vec<u32> {
        let mut found: Vec<u32> = self
            .rules
            .values()
            .filter(|(regex, _)| regex.is_match(haystack))
            .map(|(_, value)| *value)
            .collect();
        found.sort_unstable();
        found
    }
}

/// A rule and its oracle, unless it is refused for its size.
fn parse(source: &str, mode: Match) -> Option<(Pattern, Regex)> {
    let whole = match mode {
        Match::Search => source.to_owned(),
        // A comment would swallow the closing parenthesis.
        Match::Full if source.starts_with("(?x)") => format!("\\A(?:{source}\n)\\z"),
        Match::Full => format!(r"\A(?:{source})\z"),
    };
    let regex = RegexBuilder::new(&whole).unicode(false).build();
    match Pattern::parse(source, mode) {
        Ok(pattern) => Some((pattern, regex.unwrap())),
        Err(PatternError::TooLarge { .. }) => None,
        Err(error) => {
            assert!(regex.is_err(), "{source}: {error}");
            None
        }
    }
}

pub(super) fn matches(index: &PatternIndex<u32>, haystack: &[u8]) -> Vec<u32> {
    let mut found = Vec::new();
    let outcome: ControlFlow<()> = index.for_each_match(haystack, |value| {
        found.push(*value);
        ControlFlow::Continue(())
    });
    assert!(outcome.is_continue());
    found.sort_unstable();
    found
}

fn piece() -> impl Strategy<Value = String> {
    let literals = [
        "a",
        "b",
        "ab",
        "dev-",
        "bot",
        "cam",
        "é",
        "/",
        "-",
        "x1",
        "",
        "A",
        "aaa",
        "abcdefghij",
        "dev-cam-1",
        "DEV",
        "k",
        "s",
        r"\xff",
        r"\n",
        "12",
    ];
    let classes = [
        "[ab]",
        r"\d",
        "[a-z]",
        "[^a]",
        ".",
        r"\w",
        "(?s:.)",
        "[0-9]",
        "[aA]",
        "(?i:dev-)",
        "(?i:bot)",
        "(?i:k1)",
        "(?i:é)",
        "(?u:é)",
        r"(?u:\w)",
        "(?iu:k)",
        "(?iu:des)",
        "[bB]",
        r"\s",
        r"[^\x00-\xff]",
        "[12]",
        "[dD]ev",
        "a(?i:b)a",
        r"(?-u:\xC3)",
        "(?i:ab)cd",
        r"\W",
    ];
    let looks = [
        "^",
        "$",
        r"\b",
        r"\B",
        "(?m:^)",
        "(?m:$)",
        r"\A",
        r"\z",
        r"(?u:\b)",
        r"\b{start}",
        r"\b{end-half}",
        "(?R:$)",
    ];
    prop_oneof![
        6 => select(literals.map(str::to_owned).to_vec()),
        4 => select(classes.map(str::to_owned).to_vec()),
        2 => select(looks.map(str::to_owned).to_vec()),
    ]
}

fn nasty() -> impl Strategy<Value = String> {
    let repeat = select(vec!["*", "+", "?", "{2}", "{1,3}", "{0}", "{2,}", "{0,2}", "*?", "+?", "??", "{3}"]);
    let expression = piece().prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            4 => vec(inner.clone(), 1..5).prop_map(|parts| parts.concat()),
            2 => vec(inner.clone(), 1..4).prop_map(|parts| format!("(?:{})", parts.join("|"))),
            1 => vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join("|"))),
            2 => (inner.clone(), repeat.clone()).prop_map(|(part, times)| format!("(?:{part}){times}")),
            1 => inner.clone().prop_map(|part| format!("(?i:{part})")),
            1 => inner.prop_map(|part| format!("(?m:{part})")),
        ]
    });
    (vec(expression, 1..3), 0..10u8).prop_map(|(parts, dress)| {
        let body = parts.join("|");
        match dress {
            0 | 1 => format!("^{body}"),
            2 => format!("^(?:{body})$"),
            3 => format!(".*{body}.*"),
            4 => format!("{body}$"),
            5 => format!("(?i){body}"),
            6 => format!("(?m)^{body}"),
            7 => format!("^dev-{body}"),
            _ => body,
        }
    })
}

fn realistic() -> impl Strategy<Value = String> {
    let word = select(vec!["dev", "bot", "cam", "dev-cam", "acme", "abcdefghij"]);
    (word, 0..3u8, 0..16u8).prop_map(|(word, number, shape)| match shape {
        0 => format!(r"^{word}-[a-z]+-\d{{4}}$"),
        1 => format!(r"^{word}{number}-\d+$"),
        2 => format!(".*{word}{number}.*"),
        3 => format!("^{word}{number}/"),
        4 => format!("^({word}|bot|cam){number}"),
        5 => format!("^(?:{word}-{number}|x{number})-[ab]+$"),
        6 => format!("(?i)^{word}-{number}"),
        7 => format!("(?i){word}{number}"),
        8 => format!("^{word}-{number}$"),
        9 => format!("-{word}{number}$"),
        10 => format!("^(foo)?{word}{number}"),
        11 => format!(r"^{word}-\d{{{}}}", number + 1),
        12 => format!("^[a-z]{{{}}}-{word}", number + 1),
        13 => format!("^{word}-[{number}-9a-f]+$"),
        14 => format!(r"^\d{{{}}}$", number + 1),
        _ => format!(r"^{word}.*-{number}$"),
    })
}

fn mode() -> impl Strategy<Value = Match> {
    prop_oneof![3 => Just(Match::Search), 1 => Just(Match::Full)]
}

fn source() -> impl Strategy<Value = String> {
    let odd = [
        "",
        ".*",
        "^$",
        "^",
        "$",
        "a|^b",
        "(^a|b)c",
        "^(foo)?bar",
        "(?m)^x",
        "^^a",
        "a^b",
        "a$b",
        "(a|)",
        "()",
        "(|a)b",
        r"\bdev\b",
        "^(a+)+$",
        "(a|a)*b",
        "[^a]",
        "(?i)dev|^cam",
        "^(?:dev|cam|bot)-(?:a|b)-(?:1|2)",
        "(?s).*",
        "^.*bot",
        "é+",
        "(?x) a b # c",
        "^(dev-1|dev-2|dev-3)$",
        "(?:ab){3}c",
        r"^\x{e9}",
        "(?i)K",
        "^(?i)dev-(?-i)A",
        "x*^dev",
        "dev$|^bot$",
        "(dev|bot)+",
        "^(dev|bot)*a",
        "(?:a|b|ab)(?:c|bot)",
        "a{0}dev",
        "^a{0}dev",
        r"\Adev\z",
        "^(?:)dev",
    ];
    prop_oneof![
        4 => realistic(),
        5 => nasty(),
        1 => select(odd.map(str::to_owned).to_vec()),
    ]
}

fn haystack() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"a",
        b"b",
        b"ab",
        b"dev-",
        b"bot",
        b"cam",
        "é".as_bytes(),
        b"\xc3",
        b"/",
        b"-",
        b"1",
        b"2",
        b"0",
        b"1234",
        b"x1",
        b"A",
        b"DEV-",
        b"Bot",
        b"\n",
        b"k",
        "\u{212a}".as_bytes(),
        b"K1",
        b" ",
        b"\xff",
        b"aaa",
        b"abcdefghij",
        b"dev-cam-1",
        b"foo",
        b"acme",
        b"x",
        b"\0",
        "ſ".as_bytes(),
        b"des",
        b"\r\n",
        b"cd",
        b"c",
    ];
    vec(select(pieces), 0..9).prop_map(|parts| parts.concat())
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        12 => (source(), mode()).prop_map(|(source, mode)| Change::Insert(source, mode)),
        4 => any::<usize>().prop_map(Change::Remove),
        1 => Just(Change::Compact),
    ]
}

fn apply(index: &PatternIndex<u32>, naive: &mut Naive, change: Change, value: u32) {
    match change {
        Change::Insert(source, mode) => {
            let Some((pattern, regex)) = parse(&source, mode) else { return };
            let old = naive.rules.insert(source, (regex, value)).map(|(_, value)| value);
            assert_eq!(index.insert(pattern, value), Ok(old));
        }
        Change::Remove(which) => {
            let Some(source) = naive.rules.keys().nth(which % naive.rules.len().max(1)).cloned() else {
                return;
            };
            let old = naive.rules.remove(&source).map(|(_, value)| value);
            assert_eq!(index.remove(&source), old);
            assert_eq!(index.remove(&source), None);
        }
        Change::Compact => {
            index.compact();
            assert!(!index.needs_compaction());
        }
    }
    assert_eq!(index.len(), naive.rules.len());
}

fn cases(default: u32) -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = default;
    }
    config.failure_persistence = None;
    config
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn finds_what_the_naive_loop_finds(
        loaded in vec((source(), mode()), 0..60),
        changes in vec(change(), 1..120),
        haystacks in vec(haystack(), 40),
    ) {
        let index = PatternIndex::new();
        let mut naive = Naive::default();
        let mut bulk = Vec::new();
        for (at, (source, mode)) in loaded.into_iter().enumerate() {
            if naive.rules.contains_key(&source) {
                continue;
            }
            if let Some((pattern, regex)) = parse(&source, mode) {
                let value = u32::try_from(at).unwrap();
                bulk.push((pattern, value));
                naive.rules.insert(source, (regex, value));
            }
        }
        prop_assert!(index.extend(bulk).is_empty());
        let half = changes.len() / 2;
        for (at, change) in changes.into_iter().enumerate() {
            apply(&index, &mut naive, change, u32::try_from(1000 + at).unwrap());
            if at == half {
                for haystack in &haystacks {
                    prop_assert_eq!(matches(&index, haystack), naive.matches(haystack), "{:?}", haystack);
                }
            }
        }
        for haystack in &haystacks {
            prop_assert_eq!(matches(&index, haystack), naive.matches(haystack), "{:?}", haystack);
        }
        index.compact();
        for haystack in &haystacks {
            prop_assert_eq!(matches(&index, haystack), naive.matches(haystack), "{:?}", haystack);
        }
        prop_assert_eq!(index.undecided(), 0);
    }

    #[test]
    fn crowds_under_one_text_are_still_told_apart(
        bodies in vec(nasty(), 40..120),
        haystacks in vec(haystack(), 30),
    ) {
        let index = PatternIndex::new();
        let mut naive = Naive::default();
        for (at, body) in bodies.into_iter().enumerate() {
            let source = format!("^dev-(?:{body})");
            let at = u32::try_from(at).unwrap();
            apply(&index, &mut naive, Change::Insert(source, Match::Search), at);
            if at % 37 == 36 {
                index.compact();
            }
        }
        for tail in &haystacks {
            let haystack = [b"dev-", tail.as_slice()].concat();
            prop_assert_eq!(matches(&index, &haystack), naive.matches(&haystack), "{:?}", haystack);
        }
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn one_rule_means_what_the_regex_crate_says(
        source in source(),
        mode in mode(),
        haystacks in vec(haystack(), 40),
    ) {
        if let Some((pattern, regex)) = parse(&source, mode) {
            let index = PatternIndex::new();
            let (finder, needles) = (pattern.finder(), pattern.needles());
            index.insert(pattern, 0).unwrap();
            for haystack in &haystacks {
                prop_assert_eq!(index.is_match(haystack), regex.is_match(haystack), "{} {:?}", source, haystack);
                if let Some(found) = finder.as_ref().and_then(|finder| finder.is_match(haystack)) {
                    prop_assert_eq!(found, regex.is_match(haystack), "finder: {} {:?}", source, haystack);
                }
                if let Some(needles) = needles.as_ref().filter(|_| regex.is_match(haystack)) {
                    let lower = haystack.to_ascii_lowercase();
                    let has = |needle: &Vec<u8>| lower.windows(needle.len()).any(|part| *part == **needle);
                    prop_assert!(needles.iter().any(has), "needles: {} {:?}", source, haystack);
                }
            }
        }
    }

    #[test]
    fn no_source_causes_a_panic(source in ".{0,40}", lookaround in r"\(\?[=!<]{1,2}.{0,20}\).{0,10}") {
        let _ = Pattern::parse(&source, Match::Search);
        let _ = Pattern::parse(&lookaround, Match::Full);
    }
}
