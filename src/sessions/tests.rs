use super::*;
use crate::admission::Timestamp;
use crate::wire::mqtt::Version;
use proptest::prelude::*;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;

fn enter(sessions: &Sessions, client_id: &str, username: Option<&str>, peer: [u8; 4]) -> Entered {
    sessions.enter(Guest {
        client_id,
        username,
        peer: SocketAddr::from((peer, 4000)).into(),
        listener: "mqtt".into(),
        zone: "default".into(),
        upstream: "127.0.0.1:1884",
        version: Version::V5,
        clean_start: true,
        keep_alive: 60,
        via: None,
        is_tls: false,
        tls: None,
        cert_cn: username,
        since: Timestamp::from_millis(0),
        received: 20,
    })
}

fn small(n: usize) -> u8 {
    u8::try_from(n).expect("small")
}

fn numbers(found: impl Iterator<Item = Arc<Live>>) -> Vec<u64> {
    found.map(|live| live.number()).collect()
}

#[test]
fn a_session_is_found_by_every_name_until_it_ends() {
    let sessions = Sessions::default();
    let first = enter(&sessions, "a", Some("u"), [10, 0, 0, 1]);
    let second = enter(&sessions, "b", Some("u"), [10, 0, 0, 1]);
    assert_eq!(numbers(sessions.of_client_id("a")), [1]);
    assert_eq!(numbers(sessions.of_username("u")), [1, 2]);
    assert_eq!(numbers(sessions.of_peer("::ffff:10.0.0.1".parse().expect("an address"))), [1, 2]);
    assert_eq!(numbers(sessions.of_username("a")), [0; 0], "a client identifier is no user name");
    assert_eq!(numbers(sessions.of_cert_cn("u")), [1, 2]);
    assert_eq!(numbers(sessions.of_cert_sha256("u")), [0; 0]);
    assert_eq!(numbers(sessions.of_ja4("u")), [0; 0]);
    drop(first);
    assert_eq!(numbers(sessions.of_cert_cn("u")), [2]);
    assert_eq!(numbers(sessions.of_client_id("a")), [0; 0]);
    assert_eq!(numbers(sessions.of_username("u")), [2]);
    assert_eq!((sessions.len(), sessions.get(1).is_none(), sessions.get(2).is_some()), (1, true, true));
    drop(second);
    assert!(sessions.is_empty() && sessions.0.names.find(Name::Username("u"), 0, 9).is_empty());
}

#[test]
fn a_client_without_an_identifier_is_found_by_the_one_that_the_broker_chose() {
    let sessions = Sessions::default();
    let nameless = enter(&sessions, "", None, [10, 0, 0, 1]);
    assert_eq!(numbers(sessions.of_client_id("")), [0; 0]);
    assert!(nameless.assign("auto-1") && !nameless.assign("auto-2"));
    assert_eq!((nameless.client_id(), numbers(sessions.of_client_id("auto-1"))), ("auto-1", vec![1]));
    let named = enter(&sessions, "mine", None, [10, 0, 0, 1]);
    assert!(!named.assign("auto-3"), "a client keeps its own");
    drop((nameless, named));
    assert_eq!(numbers(sessions.of_client_id("auto-1")), [0; 0]);
}

#[test]
fn a_session_is_kicked_once_and_counts_its_bytes() {
    let sessions = Sessions::default();
    let entered = enter(&sessions, "a", None, [10, 0, 0, 1]);
    let live = sessions.get(1).expect("inside");
    entered.count_from_client(5);
    entered.count_to_client(7);
    entered.accept(30);
    assert_eq!((live.bytes(), live.keep_alive(), live.is_accepted()), ((25, 7), 30, true));
    assert!(!live.is_kicked() && live.kick() && !live.kick() && entered.is_kicked());
}

#[test]
fn a_name_of_many_sessions_is_found_whole() {
    let sessions = Sessions::default();
    let all: Vec<_> =
        (0..3 * PIECE + 7).map(|n| enter(&sessions, &n.to_string(), Some("u"), [10, 0, 0, 1])).collect();
    let expected: Vec<u64> = all.iter().map(|entered| entered.number()).collect();
    assert_eq!(numbers(sessions.of_username("u")), expected);
    assert_eq!(numbers(sessions.walk().flatten()), expected);
}

/// What happens to a registry: a session enters, or the one at this place leaves.
fn steps() -> impl Strategy<Value = Vec<(bool, usize)>> {
    prop::collection::vec((prop::bool::weighted(0.7), any::<usize>()), 0..400)
}

proptest! {
    #[test]
    fn the_registry_agrees_with_a_list(steps in steps(), limit in 1_usize..100) {
        let sessions = Sessions::default();
        let mut model: Vec<Entered> = Vec::new();
        for (enters, n) in steps {
            if enters {
                let (id, user) = (format!("c{}", n % 9), format!("u{}", n % 3));
                let user = (n % 4 > 0).then_some(&*user);
                model.push(enter(&sessions, if n % 10 == 0 { "" } else { &id }, user, [10, 0, 0, small(n % 5)]));
            } else if !model.is_empty() {
                model.remove(n % model.len());
            }
        }
        let pick = |is: &dyn Fn(&Live) -> bool| -> Vec<u64> {
            model.iter().filter(|live| is(live)).map(|live| live.number()).collect()
        };
        prop_assert_eq!(sessions.len(), model.len());
        prop_assert_eq!(numbers(sessions.walk().flatten()), pick(&|_| true));
        for n in 0..9 {
            let (id, user) = (format!("c{n}"), format!("u{}", n % 3));
            prop_assert_eq!(numbers(sessions.of_client_id(&id)), pick(&|live| live.client_id() == id));
            prop_assert_eq!(numbers(sessions.of_username(&user)), pick(&|live| live.username() == Some(&*user)));
            let peer = IpAddr::from([10, 0, 0, n]);
            prop_assert_eq!(numbers(sessions.of_peer(peer)), pick(&|live| live.peer().ip() == Some(peer)));
        }
        let (mut last, mut paged) = (0, Vec::new());
        loop {
            let piece = sessions.after(last, limit);
            let Some(end) = piece.last() else { break };
            prop_assert!(piece.len() <= limit + PARTS);
            last = end.number();
            paged.extend(piece.iter().map(|live| live.number()));
        }
        prop_assert_eq!(paged, pick(&|_| true));
    }
}

/// Whoever enters and then asks, and whoever bans and then looks, never both miss. Two threads meet thousands of
/// times, with every delay between them; the ban is a flag that nothing but the registry's locks may order.
#[test]
fn whoever_enters_while_a_ban_lands_sees_the_ban_or_is_seen() {
    const ROUNDS: usize = 3_000;
    let (sessions, ready) = (Sessions::default(), [const { AtomicUsize::new(0) }; 2]);
    let (enters, looks) = (&ready[0], &ready[1]);
    let bans: Vec<AtomicBool> = (0..ROUNDS).map(|_| AtomicBool::new(false)).collect();
    let meet = |own: &AtomicUsize, other: &AtomicUsize, round: usize, delay: usize| {
        own.store(round + 1, Ordering::Release);
        while other.load(Ordering::Acquire) <= round {
            std::thread::yield_now();
        }
        (0..delay).for_each(|_| std::hint::spin_loop());
    };
    let is_missed: Vec<bool> = std::thread::scope(|scope| {
        let entering = scope.spawn(|| {
            let mut last = None;
            let mut enter = |round: usize| {
                meet(enters, looks, round, round / 64 % 64);
                let entered = enter(&sessions, &round.to_string(), None, [10, 0, 0, 1]);
                let sees_ban = bans[round].load(Ordering::Relaxed);
                // It stays until the other thread has looked.
                last = Some(entered);
                sees_ban
            };
            let sees_ban: Vec<bool> = (0..ROUNDS).map(&mut enter).collect();
            // The last one stays until the other thread has looked for it, too.
            (sees_ban, last)
        });
        let look = |round: usize| {
            let name = round.to_string();
            meet(looks, enters, round, round % 64);
            bans[round].store(true, Ordering::Relaxed);
            match round % 2 {
                0 => sessions.of_client_id(&name).next().is_some(),
                _ => sessions.walk().flatten().any(|live| live.client_id() == name),
            }
        };
        let seen: Vec<bool> = (0..ROUNDS).map(look).collect();
        let (sees_ban, _last) = entering.join().expect("no panic");
        sees_ban.into_iter().zip(seen).map(|(sees_ban, is_seen)| !sees_ban && !is_seen).collect()
    });
    let missed: Vec<usize> = (0..ROUNDS).filter(|round| is_missed[*round]).collect();
    assert_eq!(missed, [0; 0], "these rounds of {ROUNDS}");
}
