//! Finds what an identifier must contain for a rule to match, so that the rule is looked at for no other.
//!
//! A miss here is a ban bypass, so each step keeps the meaning exactly or gives up:
//!
//! 1. Groups are dissolved, and what an unanchored search does not need is cut off both ends: whatever contains
//!    a match of `.*bot\d+` contains one of `bot\d`, and the other way round.
//! 2. Alternations become *branches*: `^(cam|bot)-\d+` is `^cam-\d+` or `^bot-\d+`. A rule matches when any
//!    branch does, so a rule without literal in one branch has none at all (`a|^b`).
//! 3. A branch yields *runs*: literal text between things that are not. The run at an anchored beginning and
//!    the longest elsewhere are what the index keeps the branch under, and what follows an anchored run is often
//!    the same in thousands of rules (`[a-z]+-\d{4}$`) and is compiled once.
//!
//! Case: a class of exactly `[Xx]` continues a folded run. Everything else that is not literal ends a run.

use std::collections::VecDeque;

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

use super::filter::GRAM_WIDTHS;

/// Literal text with its case rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Literal {
    /// In lower case if `ignores_case`.
    pub(super) text: Box<[u8]>,
    pub(super) ignores_case: bool,
}

impl Literal {
    /// Where the literal ends if it stands at `start`.
    pub(super) fn end_at(&self, start: usize, haystack: &[u8]) -> Option<usize> {
        let end = start.checked_add(self.text.len())?;
        let found = haystack.get(start..end)?;
        let same =
            if self.ignores_case { found.eq_ignore_ascii_case(&self.text) } else { *found == *self.text };
        same.then_some(end)
    }
}

/// One of the alternatives that make a rule.
#[derive(Debug, Clone)]
pub(super) struct Branch<V> {
    /// The text at the beginning of every identifier that it matches.
    pub(super) prefix: Option<Literal>,
    /// Texts that every identifier it matches contains somewhere (behind the prefix), best first. Each is two
    /// bytes at least.
    pub(super) grams: Vec<Literal>,
    /// Does it begin at the beginning of the identifier?
    pub(super) is_anchored: bool,
    /// What decides, once the prefix was found if it is anchored, or any gram if not.
    pub(super) verdict: V,
}

/// What decides a branch once its literal was found.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// It matches: the branch is nothing but the literal.
    Here,
    /// It matches if the identifier ends with the literal.
    AtEnd,
    /// This must match right behind the literal.
    Behind(Hir),
    /// The whole rule must be searched for.
    Search,
}

/// The branches of a rule, or `None` if one of them can be kept under no text at all.
pub(super) fn branches(hir: &Hir) -> Option<Vec<Branch<Verdict>>> {
    let branches: Vec<_> = split(hir.clone()).iter().map(|items| branch(items)).collect();
    branches.iter().all(|branch| branch.prefix.is_some() || !branch.grams.is_empty()).then_some(branches)
}

/// The same set of matching haystacks, with groups dissolved and needless edges cut off.
pub(super) fn simplify(hir: &Hir) -> Hir {
    trim(without_groups(hir))
}

fn without_groups(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => hir.clone(),
        HirKind::Capture(group) => without_groups(&group.sub),
        HirKind::Repetition(of) => {
            Hir::repetition(Repetition { sub: Box::new(without_groups(&of.sub)), ..of.clone() })
        }
        HirKind::Concat(items) => Hir::concat(items.iter().map(without_groups).collect()),
        HirKind::Alternation(items) => Hir::alternation(items.iter().map(without_groups).collect()),
    }
}

/// At either edge of a search `x{m,n}` finds what `x{m}` finds: a match of the one lies within one of the other.
fn trim(hir: Hir) -> Hir {
    let mut items = VecDeque::from(items_of(hir));
    while let Some(least) = items.front().and_then(least) {
        items.pop_front();
        for item in items_of(least).into_iter().rev() {
            items.push_front(item);
        }
    }
    while let Some(least) = items.back().and_then(least) {
        items.pop_back();
        items.extend(items_of(least));
    }
    Hir::concat(items.into())
}

fn least(edge: &Hir) -> Option<Hir> {
    let HirKind::Repetition(of) = edge.kind() else { return None };
    if of.max == Some(of.min) {
        return None;
    }
    Some(Hir::repetition(Repetition { max: Some(of.min), ..of.clone() }))
}

fn items_of(hir: Hir) -> Vec<Hir> {
    match hir.kind() {
        HirKind::Concat(_) => match hir.into_kind() {
            HirKind::Concat(items) => items,
            _ => Vec::new(),
        },
        HirKind::Empty => Vec::new(),
        _ => vec![hir],
    }
}

/// Splits into alternatives, as far as that is worth it and they do not become too many.
fn split(hir: Hir) -> Vec<Vec<Hir>> {
    let mut done = Vec::new();
    let mut open = vec![hir];
    let mut rounds = 0..SPLIT_ROUNDS;
    while let Some(hir) = open.pop() {
        let items = items_of(trim(hir));
        let room = BRANCHES_MAX.saturating_sub(done.len() + open.len());
        let forks = rounds.next().and_then(|_| fork(&items, room));
        match forks {
            Some(forks) => open.extend(forks),
            None => done.push(items),
        }
    }
    done
}

/// The alternatives of the first item that stands in the way of a good literal; each is simpler than `items`.
fn fork(items: &[Hir], room: usize) -> Option<Vec<Hir>> {
    if items.len() > ITEMS_MAX {
        return None;
    }
    let start = items.iter().take_while(|item| is_look(item, Look::Start)).count();
    let run = run_at(items, start);
    let head = items.get(run.end).filter(|_| run.literal.text.len() < LONG_ENOUGH);
    let at_start = start > 0 || run.end == 0;
    let (at, options) = match head.filter(|_| at_start).and_then(|head| options(head, start > 0)) {
        Some(options) => (run.end, options),
        None if runs(items).iter().any(|run| run.literal.text.len() > SHORT) => return None,
        None => items.iter().enumerate().find_map(|(at, item)| Some((at, options(item, false)?)))?,
    };
    if options.len() > room {
        return None;
    }
    let before = items.get(..at)?;
    let behind = items.get(at + 1..)?;
    let with = |option: Hir| Hir::concat([before, &[option], behind].concat());
    Some(options.into_iter().map(with).collect())
}

/// The ways to match an item. Optional things and small classes only where they are `leading`: elsewhere the
/// literals around them do.
fn options(item: &Hir, leading: bool) -> Option<Vec<Hir>> {
    match item.kind() {
        HirKind::Alternation(options) => Some(options.clone()),
        HirKind::Repetition(of) if of.min == 0 && of.max == Some(1) && leading => {
            Some(vec![Hir::empty(), (*of.sub).clone()])
        }
        HirKind::Repetition(of) if of.min > 0 && !matches!(of.sub.kind(), HirKind::Class(_)) => {
            let one_less = Repetition { min: of.min - 1, max: of.max.map(|max| max - 1), ..of.clone() };
            Some(vec![Hir::concat(vec![(*of.sub).clone(), Hir::repetition(one_less)])])
        }
        HirKind::Class(class) if leading && folded_letter(class).is_none() => few_bytes(class),
        _ => None,
    }
}

fn few_bytes(class: &Class) -> Option<Vec<Hir>> {
    let ranges: Vec<(u8, u8)> = match class {
        Class::Bytes(class) => class.iter().map(|range| (range.start(), range.end())).collect(),
        Class::Unicode(class) => class
            .iter()
            .map(|range| Some((ascii(range.start())?, ascii(range.end())?)))
            .collect::<Option<_>>()?,
    };
    let count: usize = ranges.iter().map(|(start, end)| usize::from(end - start) + 1).sum();
    (1..=FEW).contains(&count).then(|| {
        ranges.into_iter().flat_map(|(start, end)| start..=end).map(|byte| Hir::literal([byte])).collect()
    })
}

fn branch(items: &[Hir]) -> Branch<Verdict> {
    let starts = items.iter().take_while(|item| is_look(item, Look::Start)).count();
    let looks = items.iter().take_while(|item| matches!(item.kind(), HirKind::Look(_))).count();
    let is_anchored = starts > 0;
    // What follows zero-width assertions at the start still is the beginning of the identifier.
    let first = run_at(items, if is_anchored { looks } else { 0 });
    let behind = items.get(first.end..).unwrap_or_default();
    let is_plain = !is_anchored || looks == starts;
    let verdict = match behind {
        _ if first.literal.text.is_empty() || !is_plain => Verdict::Search,
        [] => Verdict::Here,
        [end] if is_look(end, Look::End) => Verdict::AtEnd,
        _ if is_anchored => Verdict::Behind(Hir::concat(behind.to_vec())),
        _ => Verdict::Search,
    };
    let mut grams: Vec<Literal> = runs(if is_anchored { behind } else { items })
        .into_iter()
        .map(|run| run.literal)
        .filter(|literal| literal.text.len() >= usize::from(*GRAM_WIDTHS.start()))
        .collect();
    grams.sort_by_key(|literal| std::cmp::Reverse(literal.text.len()));
    let prefix = Some(first.literal).filter(|literal| is_anchored && !literal.text.is_empty());
    Branch { prefix, grams, is_anchored, verdict }
}

/// Literal text made of neighbouring items.
struct Run {
    literal: Literal,
    /// The first item behind it.
    end: usize,
}

fn runs(items: &[Hir]) -> Vec<Run> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < items.len() {
        let run = run_at(items, at);
        at = run.end.max(at + 1);
        if !run.literal.text.is_empty() {
            found.push(run);
        }
    }
    found
}

fn run_at(items: &[Hir], start: usize) -> Run {
    let mut text = Vec::new();
    let mut ignores_case = None;
    let mut end = start;
    for item in items.get(start..).unwrap_or_default() {
        let (part, folds) = match item.kind() {
            HirKind::Literal(literal) => {
                let has_letter = literal.0.iter().any(u8::is_ascii_alphabetic);
                (literal.0.to_vec(), has_letter.then_some(false))
            }
            HirKind::Class(class) => match folded_letter(class) {
                Some(letter) => (vec![letter], Some(true)),
                None => break,
            },
            _ => break,
        };
        if folds.is_some() && ignores_case.is_some() && folds != ignores_case {
            break;
        }
        ignores_case = ignores_case.or(folds);
        text.extend(part);
        end += 1;
    }
    Run { literal: Literal { text: text.into(), ignores_case: ignores_case == Some(true) }, end }
}

/// The lower-case letter of a class that is that letter in both cases and nothing else (`(?u)(?i)k` is also the
/// Kelvin sign).
fn folded_letter(class: &Class) -> Option<u8> {
    let both: Vec<(char, char)> = match class {
        Class::Bytes(class) => class.iter().map(|range| (range.start().into(), range.end().into())).collect(),
        Class::Unicode(class) => class.iter().map(|range| (range.start(), range.end())).collect(),
    };
    let &[(upper, upper_end), (lower, lower_end)] = both.as_slice() else { return None };
    let is_pair = upper == upper_end && lower == lower_end && upper.is_ascii_uppercase();
    (is_pair && upper.to_ascii_lowercase() == lower).then(|| ascii(lower)).flatten()
}

fn ascii(char: char) -> Option<u8> {
    u8::try_from(char).ok().filter(u8::is_ascii)
}

fn is_look(item: &Hir, look: Look) -> bool {
    matches!(item.kind(), HirKind::Look(found) if *found == look)
}

/// An operator's list of devices in one rule still becomes one branch each.
const BRANCHES_MAX: usize = 128;

/// Longer sequences are not split: spelling out `(ab){1000}` is no help.
const ITEMS_MAX: usize = 64;

/// Bounds the splitting of nested repetitions and alternations.
const SPLIT_ROUNDS: usize = 512;

/// Classes up to this size are spelled out at an anchored beginning.
const FEW: usize = 4;

/// A literal this long tells rules apart well enough to split no further.
const LONG_ENOUGH: usize = 16;

/// Literals up to this length are in too many identifiers; a better one is looked for.
const SHORT: usize = 2;
