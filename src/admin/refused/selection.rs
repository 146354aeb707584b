//! Which of those who were turned away are asked for, and in what order.

use crate::admin::fault::Fault;
use crate::admin::listing::{Order, Page, Words};
use crate::admission::{As, Timestamp};
use crate::refused::{Origin, Refused, Row, TlsSeen, cut};
use compact_str::CompactString;
use ipnet::IpNet;
use std::net::IpAddr;

/// What a row has to be. Parts are kept in lower case.
#[derive(Debug, Default)]
pub(super) struct Filter {
    client_id: Option<CompactString>,
    username: Option<CompactString>,
    address: Option<IpAddr>,
    network: Option<IpNet>,
    like_client_id: Option<String>,
    like_username: Option<String>,
    like_address: Option<String>,
    like_who: Option<String>,
    like_reason: Option<String>,
    reason: Option<String>,
    kind: Option<As>,
    listener: Option<String>,
    zone: Option<String>,
    password: Option<bool>,
    tls: Option<bool>,
    server_name: Option<CompactString>,
    ja4: Option<CompactString>,
    cert_cn: Option<CompactString>,
    cert_sha256: Option<CompactString>,
    via: Option<IpAddr>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl Filter {
    pub(super) fn read(words: &Words) -> Result<Filter, Fault> {
        let text = |key: &str| words.one(key).map(str::to_owned);
        let part = |key: &str| words.one(key).map(str::to_lowercase);
        Ok(Filter {
            client_id: words.one("clientid").map(cut),
            username: words.one("username").map(cut),
            address: words.address("peerhost")?,
            network: words.parsed("net", "a network, e.g. 203.0.113.0/24")?,
            like_client_id: part("like_clientid"),
            like_username: part("like_username"),
            like_address: part("like_peerhost"),
            like_who: part("like_who"),
            like_reason: part("like_reason"),
            reason: text("reason"),
            kind: words.parsed("as", &format!("one of {}", As::ALL.map(As::as_str).join(", ")))?,
            listener: text("listener"),
            zone: text("zone"),
            password: words.parsed("password", "true or false")?,
            tls: words.parsed("tls", "true or false")?,
            server_name: words.one("server_name").map(cut),
            ja4: words.one("ja4").map(cut),
            cert_cn: words.one("cert_cn").map(cut),
            cert_sha256: words.one("cert_sha256").map(cut),
            via: words.address("via")?,
            from: words.moment("gte_last_at")?,
            to: words.moment("lte_last_at")?,
        })
    }

    fn fits(&self, row: &Row) -> bool {
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let has = |part: &Option<String>, text: Option<&str>| {
            part.as_deref().is_none_or(|part| text.is_some_and(|text| text.to_lowercase().contains(part)))
        };
        let is_at = |address: IpAddr| match row.origin {
            Origin::One(own) => own == Some(address),
            Origin::Others(place) => place.is_some_and(|place| place.contains(&address)),
        };
        let told = |wanted: &Option<CompactString>, part: Part| {
            wanted.as_deref().is_none_or(|wanted| told(row, part) == Some(wanted))
        };
        let is_in = |network: IpNet| match row.origin {
            Origin::One(own) => own.is_some_and(|own| network.contains(&own)),
            Origin::Others(place) => place.is_some_and(|place| network.contains(&place)),
        };
        let who = row.ban.as_ref().map(|(_, who)| who.as_str());
        self.client_id.as_ref().is_none_or(|id| row.client_id.as_ref().map_or("", |own| own) == id)
            && self.username.as_ref().is_none_or(|name| row.username.as_ref() == Some(name))
            && self.address.is_none_or(is_at)
            && self.network.is_none_or(is_in)
            && has(&self.like_client_id, row.client_id.as_deref())
            && has(&self.like_username, row.username.as_deref())
            && (self.like_address.is_none() || has(&self.like_address, Some(&row.origin.text())))
            && has(&self.like_who, who)
            && has(&self.like_reason, Some(row.reason.as_str()))
            && is(&self.reason, row.reason.as_str())
            && self.kind.is_none_or(|kind| row.ban.as_ref().is_some_and(|(own, _)| *own == kind))
            && is(&self.listener, &row.listener)
            && is(&self.zone, &row.zone)
            && self.password.is_none_or(|password| row.has_password == Some(password))
            && self.tls.is_none_or(|tls| row.is_tls == tls)
            && told(&self.server_name, |tls| &tls.server_name)
            && told(&self.ja4, |tls| &tls.ja4)
            && told(&self.cert_cn, |tls| &tls.cert_cn)
            && told(&self.cert_sha256, |tls| &tls.cert_sha256)
            && self.via.is_none_or(|via| row.via == Some(via))
            && self.from.is_none_or(|from| row.last >= from)
            && self.to.is_none_or(|to| row.last <= to)
    }
}

/// A part of what a client's TLS told.
type Part = fn(&TlsSeen) -> &Option<CompactString>;

fn told(row: &Row, part: Part) -> Option<&str> {
    part(row.tls.as_deref()?).as_deref()
}

/// The page, and how many there are on all pages.
pub(super) fn select(
    refused: &Refused,
    now: Timestamp,
    filter: &Filter,
    order: Order<Column>,
    page: Page,
) -> (Vec<Row>, usize) {
    let mut rows = refused.pick(now, |row| filter.fits(row));
    order.sort(&mut rows, |row| order.column.key(row));
    let count = rows.len();
    (rows.into_iter().skip(page.offset()).take(page.limit).collect(), count)
}

/// What a row can be sorted by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    Id,
    ClientId,
    Username,
    PeerHost,
    Others,
    Password,
    Tls,
    Told(Part),
    Via,
    Listener,
    Zone,
    Reason,
    Connack,
    As,
    Who,
    First,
    Last,
    Count,
}

/// What the list can be sorted by.
pub(super) const COLUMNS: &[(&str, Column)] = &[
    ("id", Column::Id),
    ("clientid", Column::ClientId),
    ("username", Column::Username),
    ("peerhost", Column::PeerHost),
    ("others", Column::Others),
    ("password", Column::Password),
    ("tls", Column::Tls),
    ("server_name", Column::Told(|tls| &tls.server_name)),
    ("ja4", Column::Told(|tls| &tls.ja4)),
    ("cert_cn", Column::Told(|tls| &tls.cert_cn)),
    ("cert_sha256", Column::Told(|tls| &tls.cert_sha256)),
    ("via", Column::Via),
    ("listener", Column::Listener),
    ("zone", Column::Zone),
    ("reason", Column::Reason),
    ("connack", Column::Connack),
    ("as", Column::As),
    ("who", Column::Who),
    ("first_at", Column::First),
    ("last_at", Column::Last),
    ("count", Column::Count),
];

/// How it is sorted, if nobody says.
pub(super) const LATEST_FIRST: Order<Column> = Order { column: Column::Last, is_descending: true };

/// What rows are compared by; all of one list are of one sort.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Text(Option<CompactString>),
    Switch(Option<bool>),
    Number(i64),
    Count(u64),
    Origin(Origin),
    Address(Option<IpAddr>),
}

impl Column {
    fn key(self, row: &Row) -> Key {
        let text = |text: &str| Key::Text(Some(text.into()));
        match self {
            Column::Id => Key::Count(row.id),
            Column::ClientId => Key::Text(row.client_id.clone()),
            Column::Username => Key::Text(row.username.clone()),
            Column::PeerHost => Key::Origin(row.origin),
            Column::Others => Key::Switch(Some(matches!(row.origin, Origin::Others(_)))),
            Column::Password => Key::Switch(row.has_password),
            Column::Tls => Key::Switch(Some(row.is_tls)),
            Column::Told(part) => Key::Text(told(row, part).map(Into::into)),
            Column::Via => Key::Address(row.via),
            Column::Listener => text(&row.listener),
            Column::Zone => text(&row.zone),
            Column::Reason => text(row.reason.as_str()),
            Column::Connack => Key::Count(row.reason.connack().map_or(0, u64::from)),
            Column::As => Key::Text(row.ban.as_ref().map(|(kind, _)| kind.as_str().into())),
            Column::Who => Key::Text(row.ban.as_ref().map(|(_, who)| who.clone())),
            Column::First => Key::Number(row.first.as_millis()),
            Column::Last => Key::Number(row.last.as_millis()),
            Column::Count => Key::Count(row.count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::refused::WORDS;
    use crate::admission::{Client, TlsIdentity, Who};
    use crate::refused::{Attempt, Codes, Reason, RefusedSettings};
    use std::sync::Arc;
    use std::time::Duration;

    const START: Timestamp = Timestamp::from_millis(1_920_594_240_000);

    /// Five clients of one address, and a crowd at another that has one row more than its share of two.
    fn refused() -> Refused {
        let refused = Refused::new(RefusedSettings { max_entries: 50, ttl: Duration::from_hours(1) });
        let name: Arc<str> = "mqtt".into();
        let ban = Who::new(As::PeerHostNet, "10.0.0.0/8", None).expect("a network");
        for number in 0..15_u8 {
            let client_id = format!("Dev-{number}");
            let is_crowd = number >= 5;
            let peer: IpAddr = if is_crowd { [10, 0, 0, 2] } else { [192, 0, 2, 1] }.into();
            let reason = if is_crowd { Reason::Banned } else { Reason::Broker(Codes::V3, 5) };
            let client = Client::new(peer, &client_id, (number % 2 > 0).then_some("Eve"));
            let ja4 = Some("t13d1516h2_8daaf6152771_02713d6af862");
            let tls = TlsIdentity { cert_cn: Some("dev"), cert_sha256: None, ja4 };
            let attempt = Attempt {
                client: if number == 3 { client.with_tls(tls) } else { client },
                has_password: (number > 0).then_some(number % 2 > 0),
                is_tls: number == 3,
                server_name: (number == 3).then_some("mqtt.example"),
                via: (number == 3).then_some([192, 0, 2, 80].into()),
                listener: &name,
                zone: &name,
                reason,
                ban: is_crowd.then_some(&ban),
            };
            refused.note(&attempt, START.after(Duration::from_secs(number.into())));
        }
        refused
    }

    fn asked(refused: &Refused, query: &str) -> (Vec<u64>, usize) {
        let words = Words::read(Some(query), WORDS).expect(query);
        let (page, filter) = (words.page().expect(query), Filter::read(&words).expect(query));
        let order = words.order(COLUMNS, LATEST_FIRST).expect(query);
        let (rows, count) = select(refused, START, &filter, order, page);
        (rows.iter().map(|row| row.id).collect(), count)
    }

    #[test]
    fn every_filter_picks_its_rows() {
        let refused = refused();
        for (query, expected) in [
            ("", vec![11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
            ("clientid=Dev-3", vec![4]),
            ("clientid=dev-3", vec![]),
            ("clientid=", vec![11]),
            ("like_clientid=dEV-3", vec![4]),
            ("username=Eve&like_peerhost=192.", vec![4, 2]),
            ("peerhost=192.0.2.1&like_username=VE", vec![4, 2]),
            ("peerhost=10.0.0.2&sort=id", vec![6, 7, 8, 9, 10, 11]),
            ("net=192.0.2.0/24&sort=id&limit=2", vec![1, 2]),
            ("net=10.0.0.0/8&sort=id&limit=1", vec![6]),
            ("reason=not_authorized&sort=first_at", vec![1, 2, 3, 4, 5]),
            ("like_reason=BAN&as=peerhost_net&limit=2", vec![11, 10]),
            ("like_who=10.0&password=true&sort=id&limit=1", vec![6]),
            ("tls=true", vec![4]),
            ("ja4=t13d1516h2_8daaf6152771_02713d6af862&cert_cn=dev", vec![4]),
            ("ja4=t13d1516h2_8daaf6152771_02713d6af862&server_name=x", vec![]),
            ("server_name=mqtt.example&via=192.0.2.80", vec![4]),
            ("cert_sha256=0", vec![]),
            ("via=::1", vec![]),
            ("password=false&peerhost=192.0.2.1", vec![5, 3]),
            ("gte_last_at=1920594243&lte_last_at=1920594244", vec![5, 4]),
            ("listener=x", vec![]),
            ("sort=count&order=desc&limit=2", vec![11, 1]),
            ("sort=others&order=desc&limit=1", vec![11]),
        ] {
            assert_eq!(asked(&refused, query).0, expected, "{query}");
        }
        assert_eq!(asked(&refused, "limit=4&page=3"), (vec![3, 2, 1], 11));
    }

    #[test]
    fn every_column_sorts_and_rows_alike_stay_in_their_order() {
        let refused = refused();
        for (name, _) in COLUMNS {
            let (up, down) = (
                asked(&refused, &format!("sort={name}")).0,
                asked(&refused, &format!("sort={name}&order=desc")).0,
            );
            let sorted = |mut rows: Vec<u64>| {
                rows.sort_unstable();
                rows
            };
            assert_eq!(sorted(up.clone()), sorted(down), "{name}");
        }
        assert_eq!(asked(&refused, "sort=listener&order=desc").0, asked(&refused, "sort=id").0);
    }

    #[test]
    fn a_wrong_filter_is_refused() {
        for query in ["password=yes", "tls=1", "as=ip", "peerhost=x", "via=x", "net=1", "gte_last_at=x"] {
            let words = Words::read(Some(query), WORDS).expect(query);
            assert!(Filter::read(&words).is_err(), "{query}");
        }
    }
}
