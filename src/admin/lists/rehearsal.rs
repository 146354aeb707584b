//! What an import would come to, and what it would be refused for, without making it: where no proxy is asked.

use super::import::{Changes, Mode};
use crate::admission::{As, Ban, BanList, List, MAX_WHO, Timestamp, Who};
use crate::store::{ChangeError, ReadError, Selection, View};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// How many of these would be new, and how many are on the list already; or what they would all be refused for. That of
/// one moment: another import may come before the real one.
///
/// # Errors
/// The list cannot be read.
pub fn rehearse(
    view: &View<'_>,
    list: List,
    mode: Mode,
    bans: &[Ban],
    now: Timestamp,
) -> Result<Result<Changes, ChangeError>, ReadError> {
    view.at_one_moment(|view| {
        if let Some(error) = bans.iter().find_map(too_long) {
            return Ok(Err(error));
        }
        if let Err(error) = try_patterns(view, list, bans)? {
            return Ok(Err(error));
        }
        let known = known_to(view, list, bans)?;
        let taken = known.iter().find(|ban| mode == Mode::Add && ban.terms.is_active(now));
        if let Some(taken) = taken {
            return Ok(Err(ChangeError::Exists(Box::new(taken.clone()))));
        }
        Ok(Ok(Changes { added: bans.len() - known.len(), changed: known.len() }))
    })?
}

/// A text that is longer than any that is kept.
pub(super) fn too_long(ban: &Ban) -> Option<ChangeError> {
    let texts = [("by", &ban.terms.by), ("reason", &ban.terms.reason)];
    let (column, text) = texts.into_iter().find(|(_, text)| text.len() > MAX_WHO)?;
    Some(ChangeError::TooLong { column, len: text.len(), max: MAX_WHO })
}

/// Expensive patterns are limited in number, together with those that are there, those of the config file included.
pub(super) fn try_patterns(
    view: &View<'_>,
    list: List,
    bans: &[Ban],
) -> Result<Result<(), ChangeError>, ReadError> {
    let dear: Vec<&Ban> = bans.iter().filter(|ban| is_dear(&ban.who)).collect();
    if dear.is_empty() {
        return Ok(Ok(()));
    }
    let patterns = BanList::default();
    let kinds = As::ALL.into_iter().filter(|kind| kind.is_pattern()).collect();
    view.for_each(list, &Selection { kinds, ..Selection::default() }, |entry| {
        if let Some(ban) = entry.ban().ok().filter(|ban| is_dear(&ban.who)) {
            // They have found their places already.
            let _ = patterns.insert(ban);
        }
        ControlFlow::Continue(())
    })?;
    Ok(dear.into_iter().try_for_each(|ban| patterns.insert(ban.clone()).map(drop)).map_err(ChangeError::from))
}

/// True for patterns whose number is limited.
pub(super) fn is_dear(who: &Who) -> bool {
    who.pattern().is_some_and(|pattern| pattern.class().max().is_some())
}

/// Those of these that are kept already, as they are there: asked for one by one where they are few, else found in one
/// reading of the list.
fn known_to(view: &View<'_>, list: List, bans: &[Ban]) -> Result<Vec<Ban>, ReadError> {
    let mut known = HashMap::new();
    if bans.len() < FEW {
        for ban in bans {
            let who = ban.who.to_string();
            let selection = Selection {
                kinds: vec![ban.who.kind()],
                who: Some(who),
                is_stored: true,
                limit: Some(1),
                ..Selection::default()
            };
            let found = view.page(list, &selection)?.entries.pop().and_then(|entry| entry.ban().ok());
            known.extend(found.map(|found| (&ban.who, found)));
        }
    } else {
        let names: HashMap<(As, String), &Who> =
            bans.iter().map(|ban| ((ban.who.kind(), ban.who.to_string()), &ban.who)).collect();
        view.for_each(list, &Selection { is_stored: true, ..Selection::default() }, |entry| {
            if let Some(name) = names.get(&(entry.kind, entry.who.clone())) {
                known.extend(entry.ban().ok().map(|found| (*name, found)));
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(known.into_values().collect())
}

/// How many are looked for one by one.
const FEW: usize = 10_000;
