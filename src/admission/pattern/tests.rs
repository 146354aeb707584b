mod model;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use model::matches;

fn index_of(sources: &[&str]) -> PatternIndex<u32> {
    let index = PatternIndex::new();
    for (source, value) in sources.iter().zip(0..) {
        index.insert(parse(source), value).unwrap();
    }
    index
}

fn parse(source: &str) -> Pattern {
    Pattern::parse(source, Match::Search).unwrap()
}

fn class(source: &str) -> Class {
    parse(source).class()
}

fn error(source: &str) -> PatternError {
    Pattern::parse(source, Match::Search).unwrap_err()
}

#[test]
fn a_rule_is_found_anywhere_in_an_identifier() {
    let index = index_of(&[r"bot\d"]);
    assert!(index.is_match(b"my-bot7-x"));
    assert!(!index.is_match(b"my-bot-7"));
}

#[test]
fn a_full_rule_must_match_the_whole_identifier() {
    let index = PatternIndex::new();
    index.insert(Pattern::parse("a|ab", Match::Full).unwrap(), 0).unwrap();
    assert!(index.is_match(b"a") && index.is_match(b"ab"));
    assert!(!index.is_match(b"abc") && !index.is_match(b"xa") && !index.is_match(b"a\n"));
}

#[test]
fn a_rule_with_many_branches_is_reported_once() {
    let index = index_of(&["cam|bot|dev", "(?:a|ca|cam)"]);
    assert_eq!(matches(&index, b"cam-bot-dev-cam"), [0, 1]);
}

#[test]
fn visiting_stops_when_told() {
    let index = index_of(&["a", "aa", "aaa", ""]);
    let mut visited = 0;
    let outcome = index.for_each_match(b"aaaa", |value| {
        visited += 1;
        std::ops::ControlFlow::Break(*value)
    });
    assert!(outcome.is_break());
    assert_eq!(visited, 1);
}

#[test]
fn a_visitor_may_ask_again() {
    let index = index_of(&[r"^a.*", r"^ab\d"]);
    let mut found = Vec::new();
    let _: std::ops::ControlFlow<()> = index.for_each_match(b"ab1", |_| {
        found.push(matches(&index, b"ab1"));
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(found, [[0, 1], [0, 1]]);
}

#[test]
fn inserting_the_same_source_replaces_the_value_and_the_mode() {
    let index = index_of(&["cam"]);
    assert_eq!(index.insert(parse("cam"), 7), Ok(Some(0)));
    assert_eq!(matches(&index, b"a-cam"), [7]);
    assert_eq!(index.insert(Pattern::parse("cam", Match::Full).unwrap(), 8), Ok(Some(7)));
    assert!(matches(&index, b"a-cam").is_empty());
    assert_eq!(matches(&index, b"cam"), [8]);
    assert_eq!(index.len(), 1);
}

#[test]
fn a_removed_rule_is_gone_and_returns_its_value() {
    let index = index_of(&["^cam", r"\d", "^(?!x).", "bot"]);
    for (source, value) in ["^cam", r"\d", "^(?!x).", "bot"].into_iter().zip(0..) {
        assert_eq!(index.remove(source), Some(value));
        assert_eq!(index.remove(source), None);
    }
    assert!(index.is_empty());
    assert!(!index.is_match(b"cam1-bot"));
}

#[test]
fn a_rule_removed_from_an_automaton_is_gone_at_once() {
    let index = PatternIndex::new();
    let refused = index.extend((0..200).map(|n| (parse(&format!(r"^\d{{{n}}}x?$")), n)));
    assert!(refused.is_empty());
    assert_eq!(matches(&index, b"12345"), [5]);
    assert_eq!(index.remove(r"^\d{5}x?$"), Some(5));
    assert!(!index.is_match(b"12345"));
    index.insert(parse(r"^\d{5}x?$"), 1005).unwrap();
    assert_eq!(matches(&index, b"12345"), [1005]);
}

#[test]
fn removal_of_most_rules_asks_for_compaction_and_gets_memory_back() {
    let index = PatternIndex::new();
    index.extend((0..100).map(|n| (parse(&format!(r"^\d{{{n}}}x?$")), Arc::new(n))));
    assert!(!index.needs_compaction());
    let values: Vec<_> = (0..90).map(|n| index.remove(&format!(r"^\d{{{n}}}x?$")).unwrap()).collect();
    assert!(values.iter().all(|value| Arc::strong_count(value) == 1));
    assert!(index.needs_compaction());
    index.compact();
    assert!(!index.needs_compaction());
    assert!(index.is_match(&b"1".repeat(95)) && !index.is_match(b"1"));
}

#[test]
fn a_compaction_changes_no_answer() {
    let index = PatternIndex::new();
    for n in 0..300 {
        index.insert(parse(&format!("^dev-[a-z]{{{n},}}$")), n).unwrap();
    }
    assert!(index.needs_compaction());
    let before = matches(&index, b"dev-abcde");
    assert_eq!(before, [0, 1, 2, 3, 4, 5]);
    index.compact();
    assert!(!index.needs_compaction());
    assert_eq!(matches(&index, b"dev-abcde"), before);
}

#[test]
fn rules_that_no_automaton_can_hold_are_still_found() {
    let index = PatternIndex::new();
    index.extend((0..60).map(|n| (parse(&format!(r"(?u)\b[ab].{{{n}}}\b")), n)));
    assert_eq!(matches(&index, b"ab ab"), [1, 2, 4]);
}

/// An automaton decides whole rules, and once kept one branch of each: merged again and found too large, the
/// other branches were lost.
#[test]
fn a_rule_keeps_its_branches_through_repeated_compactions() {
    let rule = |n| parse(&format!(r"^dev-(?:\d|[x-z]{{{n}}}|\b{{end-half}})"));
    let tablefree = |n| parse(&format!(r"(?u)^dev-[a-f]{{{n}}}\b"));
    for rules in 14..24 {
        let index = PatternIndex::new();
        index.extend((0..rules).map(|n| (rule(n), n)));
        index.extend((100..113).map(|n| (tablefree(n), n)));
        index.compact();
        assert_eq!(matches(&index, b"dev-7"), (0..rules).collect::<Vec<_>>());
        assert_eq!(matches(&index, b"dev-!"), (0..rules).collect::<Vec<_>>());
    }
}

#[test]
fn classes_tell_the_cost_of_a_rule() {
    for source in
        ["^cam$", "cam", "^cam", "cam$", "^(cam|bot)$", "^.*$|x", ".*bot.*", "(?i)^cam", "^[ab]c", "(bot)+"]
    {
        let wanted = if source == "^.*$|x" { Class::Unfilterable } else { Class::Literal };
        assert_eq!(class(source), wanted, "{source}");
    }
    for source in [r"^cam-\d+$", "^(cam|bot).*x", "^(foo)?bar.$", r"^c\d", r"^\bcam", r"(^cam|^bot)-\d"] {
        assert_eq!(class(source), Class::Anchored, "{source}");
    }
    for source in [r"bot\d", "(?m)^cam", r"^\d+-cam$", r"cam\b", "a|^b.*cam|xy"] {
        let wanted = if source.starts_with("a|") { Class::Unfilterable } else { Class::Floating };
        assert_eq!(class(source), wanted, "{source}");
    }
    for source in ["", ".*", "^$", r"\d", "^[a-f0-9]{32}$", "a", "cam|.", r"(^a|b)c|\w"] {
        assert_eq!(class(source), Class::Unfilterable, "{source}");
    }
    for source in ["^(?!a$|b$).+", r"(a)\1", "(?<=x)y"] {
        assert_eq!(class(source), Class::Lookaround, "{source}");
    }
}

#[test]
fn classes_are_counted() {
    let index = index_of(&["cam", r"^cam\d", r"cam\d", r"\d", "(?=a)b", "bot"]);
    assert_eq!(Class::ALL.map(|class| index.count(class)), [2, 1, 1, 1, 1]);
    index.remove("bot");
    assert_eq!(index.count(Class::Literal), 1);
}

#[test]
fn bytes_are_matched_not_characters() {
    let index = index_of(&["é", "^.$", r"\w", "(?u)^..é$"]);
    assert_eq!(matches(&index, "é".as_bytes()), [0]);
    assert_eq!(matches(&index, b"\xc3"), [1]);
    assert_eq!(matches(&index, "üüé".as_bytes()), [0, 3]);
}

#[test]
fn case_matters_unless_told_otherwise() {
    let index = index_of(&["^cam-1", "(?i)^cam-1", "(?i)bot", "bot", "(?i)CAM", "^c(?i)am"]);
    assert_eq!(matches(&index, b"cam-1"), [0, 1, 4, 5]);
    assert_eq!(matches(&index, b"CAM-1"), [1, 4]);
    assert_eq!(matches(&index, b"cAM-1"), [1, 4, 5]);
    assert_eq!(matches(&index, b"x-BoT"), [2]);
}

#[test]
fn a_dollar_is_the_very_end() {
    let index = index_of(&["^cam$", r"^cam\n?$"]);
    assert_eq!(matches(&index, b"cam\n"), [1]);
}

#[test]
fn an_allow_list_with_lookahead_works() {
    let index = index_of(&["^(?!a$|b$).+"]);
    assert!(!index.is_match(b"a") && !index.is_match(b"b"));
    assert!(index.is_match(b"c") && index.is_match(b"ab"));
    assert!(index.is_match(b"\xff\xfe"));
    let full = PatternIndex::new();
    full.insert(Pattern::parse("(?!a)..|x", Match::Full).unwrap(), 0).unwrap();
    assert!(full.is_match(b"bc") && full.is_match(b"x"));
    assert!(!full.is_match(b"ab") && !full.is_match(b"bcd"));
}

/// The stranger chooses the identifier: giving up must not let him in.
#[test]
fn a_lookaround_rule_that_gives_up_counts_as_a_match() {
    let index = index_of(&["^(?:a(?=a|b)|a|aa)+$"]);
    assert!(!index.is_match(b"x"));
    assert_eq!(index.undecided(), 0);
    assert!(index.is_match(&[b"a".repeat(60).as_slice(), b"b"].concat()));
    assert_eq!(index.undecided(), 1);
}

#[test]
fn a_lookaround_rule_does_not_face_long_identifiers() {
    let index = index_of(&["(?!a)bcd"]);
    assert!(!index.is_match(&b"x".repeat(EXACT_LEN)));
    assert!(index.is_match(&b"x".repeat(EXACT_LEN + 1)));
    assert_eq!(index.undecided(), 1);
}

#[test]
fn catastrophic_rules_are_linear() {
    let index = index_of(&["^(a+)+$", "(a|a)*b", r"^(\w+\s?)*!$", "^(?:a?){30}a{30}$", "a.*a.*a.*c"]);
    let haystack = b"a".repeat(60_000);
    assert_eq!(matches(&index, &haystack), [0]);
    assert_eq!(index.undecided(), 0);
}

#[test]
fn long_identifiers_are_decided_though_the_backtracker_refuses_them() {
    let index = index_of(&[r"^dev-(?:[a-z]+-)*\d{20}$", r"x(?:[a-y]|z\d){3,40}!"]);
    let mut haystack = b"dev-".to_vec();
    haystack.extend(b"abc-".repeat(15_000));
    assert!(!index.is_match(&haystack));
    haystack.extend(b"1".repeat(20));
    assert_eq!(matches(&index, &haystack), [0]);
    haystack.extend(b"xabcz1!");
    assert_eq!(matches(&index, &haystack), [1]);
    assert_eq!(index.undecided(), 0);
}

#[test]
fn a_long_identifier_cannot_buy_its_way_past_a_rule() {
    let index = PatternIndex::new();
    let rules = (0..2_000).map(|n| (parse(&format!("bot{n}[a-z]{{1,99}}(?:x|y\\d)+$")), n));
    assert!(index.extend(rules).is_empty());
    let mut haystack: Vec<u8> = (0..2_000).flat_map(|n| format!("bot{n}z").into_bytes()).collect();
    haystack.extend(b"bot7abcx");
    assert!(matches(&index, &haystack).contains(&7));
    assert!(index.undecided() > 0);
}

#[test]
fn an_identifier_of_ordinary_length_is_always_decided() {
    let index = PatternIndex::new();
    index.extend((0..500).map(|n| (parse(&format!("bot[a-z]{{{},200}}!{n}", n % 50)), n)));
    let haystack: Vec<u8> = b"bot".repeat(EXACT_LEN / 3);
    assert!(!index.is_match(&haystack));
    assert_eq!(index.undecided(), 0);
}

#[test]
fn refusals_say_what_is_wrong_and_where() {
    assert_eq!(error("a(b").to_string(), "the pattern is wrong at byte 1: unclosed group");
    assert_eq!(
        error("é*(*)").to_string(),
        "the pattern is wrong at byte 4: repetition operator missing expression"
    );
    assert_eq!(
        error("ab[é]").to_string(),
        "the pattern is wrong at byte 3: this needs Unicode, and identifiers are matched as bytes; put (?u) before it"
    );
    assert!(matches!(error("(?=a)(b"), PatternError::Syntax { at: 5.., .. }));
    assert!(matches!(error(r"(?<!a)\1"), PatternError::Unsupported { .. } | PatternError::Syntax { .. }));
}

#[test]
fn sources_that_are_too_much_are_refused() {
    assert_eq!(error(&"a".repeat(1025)), PatternError::TooLong { len: 1025, max: 1024 });
    assert!(Pattern::parse(&"a".repeat(1024), Match::Search).is_ok());
    let deep = |levels: usize| "(".repeat(levels) + "a" + &")".repeat(levels);
    assert!(matches!(error(&deep(65)), PatternError::TooDeep { max: 64, .. }));
    assert!(matches!(error(&("(?=".repeat(70) + "a" + &")".repeat(70))), PatternError::TooDeep { .. }));
    assert!(Pattern::parse(&deep(60), Match::Search).is_ok());
    for bomb in
        [r"(?u)\w{1000}", "(?:a{1000}){1000}", r"[\s\S]{5000}", r"^a(?u)\w{500}", "(?=a)(?:b{1000}){1000}"]
    {
        assert!(matches!(error(bomb), PatternError::TooLarge { .. }), "{bomb}");
    }
}

#[test]
fn rules_that_every_check_must_run_are_limited() {
    let index = PatternIndex::new();
    for n in 0..LOOKAROUND_MAX {
        index.insert(parse(&format!("(?!a)b{n}")), n).unwrap();
    }
    let refused = index.insert(parse("(?!a)c"), 0).unwrap_err();
    assert_eq!(
        (refused.class, refused.max, &*refused.pattern),
        (Class::Lookaround, LOOKAROUND_MAX, "(?!a)c")
    );
    assert_eq!(index.insert(parse("(?!a)b1"), 77), Ok(Some(1)));
    index.remove("(?!a)b0").unwrap();
    assert!(index.insert(parse("(?!a)c"), 0).is_ok());

    let rules = (0..=UNFILTERABLE_MAX)
        .map(|n| (parse(&format!(r"^\d\w{{{}}}{}", n % 30, "[xy]?".repeat(n / 30))), n));
    let refused = index.extend(rules);
    assert_eq!(refused.len(), 1);
    assert_eq!(index.count(Class::Unfilterable), UNFILTERABLE_MAX);
}

#[test]
fn a_rule_that_stays_is_never_missed_while_others_come_and_go() {
    let stays =
        [r"^dev-[a-z]+-\d{4}$", r"bot\d+", r"^\w{3}-.*$", "^(?:dev|cam)-", "^dev-abc-1234$", "(?i)ABC"];
    let index = index_of(&stays);
    let is_over = AtomicBool::new(false);
    let checks = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let found: BTreeSet<u32> = matches(&index, b"dev-abc-1234").into_iter().collect();
                    assert!([0, 2, 3, 4, 5].iter().all(|value| found.contains(value)), "{found:?}");
                    assert!(matches(&index, b"dev-bot17").contains(&1));
                    checks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                index.compact();
            }
        });
        let mut round = 0;
        while round < 20 || checks.load(Ordering::Relaxed) < 100 {
            let sources = (0..100).flat_map(|n| {
                [
                    format!("^dev-[a-z]{{{n}}}-"),
                    format!("bot{n}.*x"),
                    format!(r"^\w{{{n}}}"),
                    format!("^dev-{n}{round}-."),
                ]
            });
            for (source, value) in sources.clone().zip(1000..) {
                index.insert(parse(&source), value).unwrap();
                assert!(
                    index.remove(&source).is_none_or(|old| old == value)
                        && index.insert(parse(&source), value).is_ok()
                );
            }
            for source in sources {
                index.remove(&source).unwrap();
            }
            round += 1;
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(index.len(), stays.len());
}

#[test]
fn what_insert_returned_from_the_next_check_of_any_thread_sees() {
    let index = PatternIndex::new();
    let (ask, asked) = std::sync::mpsc::channel::<(Vec<u8>, bool)>();
    let (answer, answered) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let index = &index;
        scope.spawn(move || {
            for (haystack, wanted) in asked {
                answer.send(index.is_match(&haystack) == wanted).unwrap();
            }
        });
        for n in 0..2_000 {
            let source =
                [format!("^cam{n}-."), format!("x{n}y"), format!(r"^\d{{{}}}$", n % 90 + 1)][n % 3].clone();
            let haystack =
                [format!("cam{n}-1"), format!("ax{n}yb"), "1".repeat(n % 90 + 1)][n % 3].clone().into_bytes();
            index.insert(parse(&source), n).unwrap();
            ask.send((haystack.clone(), true)).unwrap();
            assert!(answered.recv().unwrap(), "{source}");
            index.remove(&source).unwrap();
            ask.send((haystack, false)).unwrap();
            assert!(answered.recv().unwrap(), "{source}");
        }
        drop(ask);
    });
}
