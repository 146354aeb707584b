//! What a config file makes of the lists.

use crate::admission::{As, Ban, Class, List, Terms, Timestamp, TooMany};
use crate::bouncer::Bouncer;
use crate::clock::Clock;
use crate::config::{BanConfig, Config, Orders};
use std::collections::HashMap;

/// Whether the lists can hold the expensive patterns that a reload adds.
pub(super) fn room_for(orders: &Orders, bouncer: &Bouncer) -> Result<(), TooMany> {
    let mut more: HashMap<(List, As, Class), usize> = HashMap::new();
    for (list, ban) in &orders.put {
        let Some(pattern) = ban.who.pattern() else { continue };
        let (kind, class) = (ban.who.kind(), pattern.class());
        let lists = bouncer.admission().list(*list);
        let Some(max) = class.max().filter(|_| lists.get(&ban.who).is_none()) else { continue };
        let more = more.entry((*list, kind, class)).or_default();
        *more += 1;
        if lists.count_of(kind, class) + *more > max {
            return Err(TooMany { pattern: pattern.source().into(), class, max });
        }
    }
    Ok(())
}

/// A ban of the file as it is in force.
pub(super) fn in_force(ban: &BanConfig, now: Timestamp) -> Ban {
    let BanConfig { who, by, reason, at, until } = ban.clone();
    Ban { who, terms: Terms { by, reason, at: at.unwrap_or(now), until } }
}

/// The lists that a config file makes, without a proxy around them.
pub fn bouncer_of(config: &Config, clock: Clock) -> Bouncer {
    let bouncer = Bouncer::new(clock);
    let now = bouncer.clock().now();
    for list in List::ALL {
        for ban in config.bans_of(list) {
            // The config holds no more expensive patterns than the lists take.
            let _ = bouncer.put_from_file(list, in_force(ban, now));
        }
    }
    bouncer
}
