//! Which of those who are inside are asked for, and in what order.

use crate::admin::fault::Fault;
use crate::admin::listing::{Order, Page, Words};
use crate::admission::Timestamp;
use crate::sessions::{Live, Sessions};
use crate::wire::mqtt::Version;
use compact_str::CompactString;
use std::net::IpAddr;
use std::sync::Arc;

/// What a client has to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    client_ids: Vec<String>,
    usernames: Vec<String>,
    address: Option<IpAddr>,
    like_client_id: Option<String>,
    like_username: Option<String>,
    like_address: Option<String>,
    version: Option<Version>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    listener: Option<String>,
    zone: Option<String>,
    upstream: Option<String>,
}

impl Filter {
    pub(super) fn read(words: &Words) -> Result<Filter, Fault> {
        let text = |key: &str| words.one(key).map(str::to_owned);
        let level: Option<u8> = words.parsed("proto_ver", "3, 4 or 5")?;
        let version = level.map(|level| Version::ALL.into_iter().find(|version| level_of(*version) == level));
        Ok(Filter {
            client_ids: words.all("clientid"),
            usernames: words.all("username"),
            address: words.address("ip_address")?,
            like_client_id: text("like_clientid"),
            like_username: text("like_username"),
            like_address: text("like_ip_address"),
            version: match version {
                Some(None) => return Err(Fault::bad_request(&"proto_ver is wrong; expected 3, 4 or 5")),
                Some(version) => version,
                None => None,
            },
            from: words.moment("gte_connected_at")?,
            to: words.moment("lte_connected_at")?,
            listener: text("listener"),
            zone: text("zone"),
            upstream: text("upstream"),
        })
    }

    fn fits(&self, live: &Live) -> bool {
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let has = |part: &Option<String>, text: &str| part.as_deref().is_none_or(|part| text.contains(part));
        let is_one_of = |wanted: &[String], found: Option<&str>| {
            wanted.is_empty() || found.is_some_and(|found| wanted.iter().any(|wanted| wanted == found))
        };
        !live.is_kicked()
            && is_one_of(&self.client_ids, Some(live.client_id()))
            && is_one_of(&self.usernames, live.username())
            && self.address.is_none_or(|address| live.peer().ip() == Some(address))
            && has(&self.like_client_id, live.client_id())
            && (self.like_username.is_none()
                || live.username().is_some_and(|name| has(&self.like_username, name)))
            && (self.like_address.is_none() || has(&self.like_address, &live.peer().host()))
            && self.version.is_none_or(|version| live.version() == version)
            && self.from.is_none_or(|from| live.since() >= from)
            && self.to.is_none_or(|to| live.since() <= to)
            && is(&self.listener, live.listener())
            && is(&self.zone, live.zone())
            && is(&self.upstream, live.upstream())
    }

    /// The sessions that may fit, each once, in the order of their numbers. Only without an exact name these are all.
    fn candidates<'s>(&'s self, sessions: &'s Sessions) -> Box<dyn Iterator<Item = Arc<Live>> + 's> {
        // The empty identifier is no name to be found by.
        if !self.client_ids.is_empty() && !self.client_ids.iter().any(String::is_empty) {
            in_order(self.client_ids.iter().flat_map(|id| sessions.of_client_id(id)))
        } else if !self.usernames.is_empty() {
            in_order(self.usernames.iter().flat_map(|name| sessions.of_username(name)))
        } else if let Some(address) = self.address {
            Box::new(sessions.of_peer(address))
        } else {
            Box::new(sessions.walk().flatten())
        }
    }
}

fn in_order<'s>(found: impl Iterator<Item = Arc<Live>>) -> Box<dyn Iterator<Item = Arc<Live>> + 's> {
    let mut found: Vec<_> = found.collect();
    found.sort_unstable_by_key(|live| live.number());
    found.dedup_by_key(|live| live.number());
    Box::new(found.into_iter())
}

/// The page, and how many there are on all pages.
pub(super) fn select(
    sessions: &Sessions,
    filter: &Filter,
    order: Order<Column>,
    page: Page,
) -> (Vec<Arc<Live>>, usize) {
    let mut fitting = filter.candidates(sessions).filter(|live| filter.fits(live));
    if order.column != Column::Number || order.is_descending {
        let mut rows: Vec<_> = fitting.collect();
        order.sort(&mut rows, |live| order.column.key(live));
        let count = rows.len();
        return (rows.into_iter().skip(page.offset()).take(page.limit).collect(), count);
    }
    // Without a filter, nobody has to look at those behind the page to know how many there are.
    let (mut rows, mut count, is_all) = (Vec::new(), 0, *filter == Filter::default());
    for live in &mut fitting {
        if count >= page.offset() && rows.len() < page.limit {
            rows.push(live);
        }
        count += 1;
        if rows.len() == page.limit && is_all {
            return (rows, sessions.len());
        }
    }
    (rows, count)
}

/// What a client can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Number,
    ClientId,
    Username,
    Address,
    Version,
    Since,
    KeepAlive,
    Listener,
    Zone,
    Upstream,
    Received,
    Sent,
}

/// What the list can be sorted by.
pub(super) const COLUMNS: &[(&str, Column)] = &[
    ("number", Column::Number),
    ("clientid", Column::ClientId),
    ("username", Column::Username),
    ("ip_address", Column::Address),
    ("proto_ver", Column::Version),
    ("connected_at", Column::Since),
    ("keepalive", Column::KeepAlive),
    ("listener", Column::Listener),
    ("zone", Column::Zone),
    ("upstream", Column::Upstream),
    ("recv_oct", Column::Received),
    ("send_oct", Column::Sent),
];

/// What rows are compared by; all of one list are of one sort.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(i64),
    Count(u64),
    Text(Option<CompactString>),
    Address(Option<IpAddr>),
}

impl Column {
    fn key(self, live: &Live) -> Key {
        let text = |text: &str| Key::Text(Some(text.into()));
        match self {
            Column::Number => Key::Count(live.number()),
            Column::ClientId => text(live.client_id()),
            Column::Username => Key::Text(live.username().map(Into::into)),
            Column::Address => Key::Address(live.peer().ip()),
            Column::Version => Key::Count(level_of(live.version()).into()),
            Column::Since => Key::Number(live.since().as_millis()),
            Column::KeepAlive => Key::Count(live.keep_alive().into()),
            Column::Listener => text(live.listener()),
            Column::Zone => text(live.zone()),
            Column::Upstream => text(live.upstream()),
            Column::Received => Key::Count(live.bytes().0),
            Column::Sent => Key::Count(live.bytes().1),
        }
    }
}

/// The protocol level of a version's CONNECT.
pub(super) fn level_of(version: Version) -> u8 {
    match version {
        Version::V31 => 3,
        Version::V311 => 4,
        Version::V5 => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::clients::WORDS;
    use crate::sessions::{Entered, Guest};
    use std::net::SocketAddr;

    fn enter(sessions: &Sessions, number: u64) -> Entered {
        sessions.enter(Guest {
            client_id: &format!("dev-{number}"),
            username: Some(if number.is_multiple_of(2) { "even" } else { "odd" }).filter(|_| number > 0),
            peer: SocketAddr::from(([10, 0, 0, (number % 3) as u8], 4000)).into(),
            listener: "mqtt".into(),
            zone: "default".into(),
            upstream: "127.0.0.1:1884",
            version: Version::ALL[usize::try_from(number % 3).expect("small")],
            clean_start: true,
            keep_alive: 60,
            via: None,
            is_tls: false,
            tls: None,
            cert_cn: None,
            since: Timestamp::from_millis(1_920_594_240_000 + i64::try_from(number).expect("small") * 1000),
            received: 100 - number,
        })
    }

    /// The numbers in the names of the clients on the page, and the count.
    fn asked(sessions: &Sessions, query: &str) -> (Vec<u64>, usize) {
        let words = Words::read(Some(query), WORDS).expect(query);
        let (page, filter) = (words.page().expect(query), Filter::read(&words).expect(query));
        let order =
            words.order(COLUMNS, Order { column: Column::Number, is_descending: false }).expect(query);
        let (rows, count) = select(sessions, &filter, order, page);
        let number =
            |live: &Arc<Live>| live.client_id().trim_start_matches("dev-").parse().expect("a number");
        (rows.iter().map(number).collect(), count)
    }

    #[test]
    fn every_filter_picks_its_clients() {
        let sessions = Sessions::default();
        let _inside: Vec<_> = (0..10).map(|number| enter(&sessions, number)).collect();
        for (query, expected) in [
            ("clientid=dev-3&clientid=dev-1&clientid=dev-3&clientid=x", vec![1, 3]),
            ("clientid=", vec![]),
            ("username=even", vec![2, 4, 6, 8]),
            ("username=even&username=odd&ip_address=10.0.0.1", vec![1, 4, 7]),
            ("ip_address=::ffff:10.0.0.2", vec![2, 5, 8]),
            ("like_clientid=v-9", vec![9]),
            ("like_username=dd", vec![1, 3, 5, 7, 9]),
            ("like_username=", vec![1, 2, 3, 4, 5, 6, 7, 8, 9]),
            ("like_ip_address=.0.1", vec![1, 4, 7]),
            ("proto_ver=5&username=odd", vec![5]),
            ("gte_connected_at=2030-11-11T02:24:07Z&lte_connected_at=1920594248", vec![7, 8]),
            ("listener=other", vec![]),
            ("zone=default&upstream=127.0.0.1:1884&clientid=dev-2", vec![2]),
        ] {
            let count = expected.len();
            assert_eq!(asked(&sessions, query), (expected, count), "{query}");
        }
    }

    #[test]
    fn pages_come_in_the_order_that_is_asked_for() {
        let sessions = Sessions::default();
        let inside: Vec<_> = (0..10).map(|number| enter(&sessions, number)).collect();
        assert_eq!(asked(&sessions, "limit=4&page=3"), (vec![8, 9], 10));
        assert_eq!(asked(&sessions, "limit=4&page=4"), (vec![], 10));
        assert_eq!(asked(&sessions, "limit=3&order=desc"), (vec![9, 8, 7], 10));
        assert_eq!(asked(&sessions, "limit=3&sort=recv_oct"), (vec![9, 8, 7], 10));
        assert_eq!(asked(&sessions, "sort=username&order=desc").0, [1, 3, 5, 7, 9, 2, 4, 6, 8, 0]);
        assert_eq!(asked(&sessions, "sort=ip_address&limit=5").0, [0, 3, 6, 9, 1]);
        inside[0].kick();
        assert_eq!(asked(&sessions, "limit=1").0, [1], "whoever was kicked is gone");
    }

    #[test]
    fn a_wrong_filter_is_refused() {
        for query in ["proto_ver=6", "proto_ver=x", "ip_address=nowhere", "gte_connected_at=soon"] {
            let words = Words::read(Some(query), WORDS).expect(query);
            assert!(Filter::read(&words).is_err(), "{query}");
        }
    }
}
