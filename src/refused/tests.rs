use super::*;
use crate::admission::{As, TlsIdentity, Who};
use proptest::prelude::*;
use std::net::IpAddr;
use std::sync::LazyLock;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const TTL: Duration = Duration::from_hours(72);
static NAME: LazyLock<Arc<str>> = LazyLock::new(|| "mqtt".into());

fn settings(max_entries: usize) -> RefusedSettings {
    RefusedSettings { max_entries, ttl: TTL }
}

fn attempt<'a>(addr: &str, client_id: &'a str, username: Option<&'a str>) -> Attempt<'a> {
    let addr: IpAddr = addr.parse().expect("an address");
    Attempt {
        client: Client::new(addr, client_id, username),
        has_password: Some(username.is_some()),
        is_tls: false,
        server_name: None,
        via: None,
        listener: &NAME,
        zone: &NAME,
        reason: Reason::Broker(Codes::V5, 0x87),
        ban: None,
    }
}

fn rows(table: &Table) -> Vec<&Row> {
    table.after(None).collect()
}

fn client_ids(table: &Table) -> Vec<&str> {
    rows(table).into_iter().map(|row| row.client_id.as_deref().unwrap_or_default()).collect()
}

#[test]
fn a_client_that_comes_again_is_counted_in_its_row_with_what_was_last() {
    let mut table = Table::new(settings(100));
    table.note(&attempt("10.0.0.1", "dev", Some("u")), START);
    let later = START.after(Duration::from_secs(9));
    let bot = Who::new(As::Username, "u", None).expect("a name");
    let banned = Attempt { reason: Reason::Banned, ban: Some(&bot), ..attempt("10.0.0.1", "dev", Some("u")) };
    table.note(&banned, later);
    table.note(&attempt("10.0.0.1", "dev", None), later);
    let [row, other] = rows(&table)[..] else { panic!("{table:?}") };
    assert_eq!((row.count, row.first, row.last, row.reason), (2, START, later, Reason::Banned));
    assert_eq!((row.has_password, row.ban.clone()), (Some(true), Some((As::Username, "u".into()))));
    assert_eq!((other.count, other.username.as_deref()), (1, None), "another user name is another row");
}

#[test]
fn what_tls_told_is_kept_as_it_was_last_and_bounded() {
    let mut table = Table::new(settings(100));
    let plain = attempt("10.0.0.1", "dev", None);
    let long = "ö".repeat(4000);
    let tls = TlsIdentity {
        cert_cn: Some(&long),
        cert_sha256: None,
        ja4: Some("t13d1516h2_8daaf6152771_02713d6af862"),
    };
    let balancer: IpAddr = "192.0.2.80".parse().expect("an address");
    let secure = Attempt {
        client: plain.client.with_tls(tls),
        is_tls: true,
        server_name: Some(&long),
        via: Some(balancer),
        ..plain
    };
    table.note(&secure, START);
    let [row] = rows(&table)[..] else { panic!("{table:?}") };
    let seen = row.tls.as_deref().expect("TLS");
    assert_eq!(seen.ja4.as_deref(), tls.ja4);
    assert!([&seen.server_name, &seen.cert_cn].into_iter().flatten().all(|name| name.len() <= 256));
    assert_eq!((seen.cert_sha256.as_deref(), row.via), (None, Some(balancer)));
    table.note(&plain, START);
    let [row] = rows(&table)[..] else { panic!("{table:?}") };
    assert_eq!((row.count, row.is_tls, &row.tls, row.via), (2, false, &None, None));
}

#[test]
fn a_place_that_sends_ever_new_names_gets_a_tenth_and_one_row_for_the_others() {
    let mut table = Table::new(settings(100));
    table.note(&attempt("10.0.0.9", "victim", None), START);
    for number in 0..1000 {
        let (v4, v6) = (format!("bot-{number}"), format!("2001:db8::{number:x}"));
        table.note(&attempt("192.0.2.7", &v4, None), START);
        table.note(&attempt(&v6, "bot", None), START);
    }
    let others: Vec<_> =
        rows(&table).into_iter().filter(|row| matches!(row.origin, Origin::Others(_))).collect();
    let told: Vec<_> =
        others.iter().map(|row| (row.origin.text(), row.count, row.client_id.clone())).collect();
    assert_eq!(told, [("192.0.2.7".to_owned(), 990, None), ("2001:db8::/64".to_owned(), 990, None)]);
    assert_eq!(table.len(), 1 + 11 + 11);
    assert!(client_ids(&table).contains(&"victim"));
}

#[test]
fn a_flood_from_everywhere_does_not_push_out_who_tries_again() {
    let mut table = Table::new(settings(100));
    for _ in 0..2 {
        table.note(&attempt("10.0.0.9", "device", None), START);
    }
    for number in 0..5000 {
        table.note(&attempt(&format!("10.1.{}.{}", number / 250, number % 250), "x", None), START);
    }
    assert_eq!((table.len(), client_ids(&table)[0]), (100, "device"));
    // Nor do those who try again keep everybody new out.
    for number in 0..5000 {
        for _ in 0..2 {
            table.note(&attempt(&format!("10.2.{}.{}", number / 250, number % 250), "y", None), START);
        }
    }
    table.note(&attempt("10.0.0.8", "new", None), START);
    table.note(&attempt("10.0.0.7", "newer", None), START);
    assert_eq!(client_ids(&table)[98..], ["new", "newer"]);
}

#[test]
fn whoever_gets_in_leaves_and_whoever_used_its_name_elsewhere_stays() {
    let mut table = Table::new(settings(100));
    for (addr, client_id, username) in [
        ("10.0.0.1", "dev", Some("typo")),
        ("10.0.0.1", "dev", None),
        ("10.0.0.2", "dev", Some("u")),
        ("10.0.0.3", "dev", Some("attacker")),
        ("10.0.0.1", "other", Some("u")),
        ("10.0.0.1", "", Some("u")),
    ] {
        table.note(&attempt(addr, client_id, username), START);
    }
    table.admitted(&attempt("10.0.0.1", "dev", Some("u")).client);
    let left: Vec<_> =
        rows(&table).into_iter().map(|row| (row.origin.text(), row.username.clone())).collect();
    assert_eq!(left[0], ("10.0.0.3".to_owned(), Some("attacker".into())));
    assert_eq!((left.len(), client_ids(&table)), (3, vec!["dev", "other", ""]));
    table.admitted(&attempt("10.0.0.1", "", Some("u")).client);
    assert_eq!(client_ids(&table), ["dev", "other"]);
}

#[test]
fn rows_age_out_a_ttl_after_their_last_attempt() {
    let mut table = Table::new(settings(100));
    table.note(&attempt("10.0.0.1", "gone", None), START);
    table.note(&attempt("10.0.0.2", "stays", None), START);
    table.note(&attempt("10.0.0.2", "stays", None), START.after(TTL / 2));
    table.forget(START.after(TTL).before(Duration::from_millis(1)));
    assert_eq!(client_ids(&table), ["gone", "stays"]);
    table.forget(START.after(TTL));
    assert_eq!(client_ids(&table), ["stays"]);
}

#[test]
fn without_entries_nothing_is_kept_and_a_smaller_table_lets_the_oldest_go() {
    let refused = Refused::new(settings(5));
    for number in 0..5 {
        refused.note(&attempt(&format!("10.0.0.{number}"), &number.to_string(), None), START);
    }
    let ids = |refused: &Refused| -> Vec<_> {
        refused.pick(START, |_| true).into_iter().filter_map(|row| row.client_id).collect()
    };
    refused.adjust(settings(2));
    assert_eq!((refused.len(), ids(&refused)), (2, vec!["3".into(), "4".into()]));
    let row = refused.pick(START, |row| row.client_id.as_deref() == Some("4")).remove(0);
    assert!(refused.remove(row.id) && !refused.remove(row.id));
    assert_eq!(refused.clear(), 1);
    refused.adjust(settings(0));
    refused.note(&attempt("10.0.0.1", "x", None), START);
    assert!(refused.is_empty());
}

/// What may happen to a table.
#[derive(Debug, Clone)]
enum Step {
    Note(u8, u8, u8),
    Admitted(u8, u8, u8),
    Remove(u8),
    Wait(u32),
    Adjust(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => (0_u8..12, 0_u8..12, 0_u8..3).prop_map(|(a, c, u)| Step::Note(a, c, u)),
        3 => (0_u8..12, 0_u8..12, 0_u8..3).prop_map(|(a, c, u)| Step::Admitted(a, c, u)),
        1 => any::<u8>().prop_map(Step::Remove),
        2 => (0_u32..40).prop_map(Step::Wait),
        1 => (0_usize..60).prop_map(Step::Adjust),
    ];
    prop::collection::vec(step, 0..300)
}

fn made_up(addr: u8, client_id: u8, username: u8) -> (IpAddr, String, Option<&'static str>) {
    let addr = if addr < 6 {
        IpAddr::from([10, 0, 0, addr])
    } else {
        // Two networks with three addresses each.
        format!("2001:db8:0:{}::{}", addr % 2, addr / 4).parse().expect("an address")
    };
    let client_id = if client_id == 0 { String::new() } else { format!("c{client_id}") };
    (addr, client_id, [None, Some("u"), Some("v")][usize::from(username)])
}

proptest! {
    /// What holds whatever happens; and each row counts what came since it was made.
    #[test]
    fn the_table_keeps_its_bounds_and_counts_right(steps in steps(), max in 0_usize..60) {
        let (mut table, mut max, mut now) = (Table::new(settings(max)), max, START);
        let mut came: Vec<(IpAddr, String, Option<&str>, Timestamp)> = Vec::new();
        for step in steps {
            match step {
                Step::Note(a, c, u) => {
                    now = now.after(Duration::from_millis(1));
                    let (addr, client_id, username) = made_up(a, c, u);
                    table.note(&Attempt { client: Client::new(addr, &client_id, username), ..attempt("::", "", None) }, now);
                    came.push((addr, client_id, username, now));
                }
                Step::Admitted(a, c, u) => {
                    let (addr, client_id, username) = made_up(a, c, u);
                    let client = Client::new(addr, &client_id, username);
                    table.admitted(&client);
                    let is_it = |row: &Row| {
                        row.origin == Origin::One(Some(addr))
                            && row.client_id.as_deref() == client.client_id()
                            && (client.client_id().is_some() || row.username.as_deref() == username)
                    };
                    prop_assert!(!rows(&table).into_iter().any(is_it));
                }
                Step::Remove(n) => {
                    let id = table.after(None).nth(usize::from(n)).map(|row| row.id);
                    prop_assert!(id.is_none_or(|id| table.remove(id)));
                }
                Step::Wait(hours) => {
                    now = now.after(Duration::from_hours(hours.into()));
                    table.forget(now);
                    prop_assert!(rows(&table).into_iter().all(|row| row.last.after(TTL) > now));
                }
                Step::Adjust(size) => {
                    max = size;
                    table.adjust(settings(size));
                }
            }
            prop_assert!(table.len() <= max);
            table.check();
        }
        for row in rows(&table) {
            if let Origin::One(addr) = row.origin {
                let own = came.iter().filter(|(from, id, user, at)| {
                    Some(*from) == addr && row.client_id.as_deref().unwrap_or_default() == id
                        && row.username.as_deref() == *user && *at >= row.first
                });
                prop_assert_eq!(row.count, own.count() as u64);
            }
        }
    }
}
