//! The lists against the naive loop over all rules, for every kind; and what the two lists make of each other.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn ban(kind: As, who: &str, matching: Option<Match>, until: Until) -> Ban {
    let terms = Terms { by: "test".into(), reason: "".into(), at: NOW, until };
    Ban { who: Who::new(kind, who, matching).expect("a name"), terms }
}

fn forever(kind: As, who: &str) -> Ban {
    ban(kind, who, None, Until::Infinity)
}

fn client<'a>(peer: &str, client_id: &'a str, username: Option<&'a str>) -> Client<'a> {
    Client::new(peer.parse::<IpAddr>().expect("an address"), client_id, username)
}

fn list(bans: impl IntoIterator<Item = Ban>) -> BanList {
    let list = BanList::default();
    for ban in bans {
        list.insert(ban).expect("room");
    }
    list
}

const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const JA4: &str = "t13d1516h2_8daaf6152771_e5627efa2ab1";

/// The same client with a certificate.
fn secured(client: Client<'_>) -> Client<'_> {
    client.with_tls(TlsIdentity { cert_cn: Some("dev"), cert_sha256: Some(DIGEST), ja4: Some(JA4) })
}

fn refused_by(list: &BanList, client: &Client<'_>) -> Option<As> {
    list.check(client, NOW).map(|ban| ban.who.kind())
}

#[test]
fn each_kind_refuses_whom_it_names_and_nobody_else() {
    let stranger = client("192.0.2.1", "sensor", Some("joe"));
    for (kind, who, named) in [
        (As::ClientId, "c", client("192.0.2.1", "c", None)),
        (As::Username, "u", client("192.0.2.1", "x", Some("u"))),
        (As::CertCn, "dev", secured(client("192.0.2.1", "x", None))),
        (As::CertSha256, DIGEST, secured(client("192.0.2.1", "x", None))),
        (As::TlsJa4, JA4, secured(client("192.0.2.1", "x", None))),
        (As::PeerHost, "10.0.0.1", client("::ffff:10.0.0.1", "x", None)),
        (As::PeerHostNet, "10.0.0.0/8", client("10.9.8.7", "x", None)),
        (As::PeerHostNet, "2001:db8::/32", client("2001:db8:1::1", "x", None)),
        (As::ClientIdRe, "^bot-[0-9]+$", client("192.0.2.1", "bot-17", None)),
        (As::UsernameRe, "adm", client("192.0.2.1", "x", Some("badmin"))),
        (As::PeerHostRe, r"^203\.0\.113\.", client("203.0.113.9", "x", None)),
    ] {
        let list = list([forever(kind, who)]);
        assert_eq!(refused_by(&list, &named), Some(kind), "{who}");
        assert_eq!(refused_by(&list, &stranger), None, "{who}");
        assert_eq!((list.count(kind), As::ALL.map(|kind| list.count(kind)).iter().sum::<usize>()), (1, 1));
    }
}

#[test]
fn the_order_of_evaluation_is_that_of_emqx_and_tbmq() {
    let who = secured(client("10.0.0.1", "c", Some("u")));
    let list = BanList::default();
    for (kind, text) in [
        (As::PeerHostRe, "^10"),
        (As::UsernameRe, "u"),
        (As::ClientIdRe, "c"),
        (As::PeerHostNet, "10.0.0.0/8"),
        (As::PeerHost, "10.0.0.1"),
        (As::TlsJa4, JA4),
        (As::CertSha256, DIGEST),
        (As::CertCn, "dev"),
        (As::Username, "u"),
        (As::ClientId, "c"),
    ] {
        list.insert(forever(kind, text)).expect("room");
        assert_eq!(refused_by(&list, &who), Some(kind), "the last one added comes before all others");
    }
    let hits: Vec<_> = list.hits(&who).iter().map(|ban| ban.who.kind()).collect();
    assert_eq!(hits, As::ALL);
    list.insert(ban(As::ClientId, "c", None, Until::Moment(NOW))).expect("room");
    assert_eq!(refused_by(&list, &who), Some(As::Username), "an expired ban stands in nobody's way");
    assert_eq!(list.hits(&who).len(), As::ALL.len(), "but is told");
}

#[test]
fn the_longest_prefix_is_the_verdict() {
    let list = list([forever(As::PeerHostNet, "10.0.0.0/8"), forever(As::PeerHostNet, "10.1.0.0/16")]);
    let verdict = |peer| list.check(&client(peer, "x", None), NOW).map(|ban| ban.who.to_string());
    assert_eq!(verdict("10.1.2.3").as_deref(), Some("10.1.0.0/16"));
    assert_eq!(verdict("10.2.2.3").as_deref(), Some("10.0.0.0/8"));
}

#[test]
fn a_pattern_matches_a_part_or_the_whole() {
    let search = list([ban(As::ClientIdRe, "evil", Some(Match::Search), Until::Infinity)]);
    let full = list([ban(As::ClientIdRe, "evil", Some(Match::Full), Until::Infinity)]);
    let (part, whole) = (client("::1", "my-evil-1", None), client("::1", "evil", None));
    assert_eq!(
        (refused_by(&search, &part), refused_by(&search, &whole)),
        (Some(As::ClientIdRe), Some(As::ClientIdRe))
    );
    assert_eq!((refused_by(&full, &part), refused_by(&full, &whole)), (None, Some(As::ClientIdRe)));
}

#[test]
fn an_allow_list_by_lookahead_is_not_escaped_by_sending_no_identifier() {
    let list = list([forever(As::ClientIdRe, "^(?!sensor$|pump$).+")]);
    for (id, expected) in
        [("sensor", None), ("pump", None), ("x", Some(As::ClientIdRe)), ("", Some(As::ClientIdRe))]
    {
        assert_eq!(refused_by(&list, &client("::1", id, None)), expected, "{id:?}");
    }
    assert_eq!(list.count_class(Class::Lookaround), 1);
}

#[test]
fn a_later_ban_of_the_same_name_replaces_the_terms_of_every_kind() {
    for (kind, who) in [
        (As::ClientId, "c"),
        (As::PeerHost, "10.0.0.1"),
        (As::PeerHostNet, "10.0.0.0/8"),
        (As::ClientIdRe, "^c$"),
    ] {
        let list = list([ban(kind, who, None, Until::Moment(NOW))]);
        let replaced = list.insert(forever(kind, who)).expect("room").expect("one before");
        assert_eq!(replaced.terms.until, Until::Moment(NOW));
        assert_eq!((list.count(kind), list.ended_by(NOW, 10).len()), (1, 0), "its old end is forgotten");
        assert_eq!(refused_by(&list, &client("10.0.0.1", "c", None)), Some(kind));
        let key = Who::new(kind, who, None).expect("a name");
        assert_eq!(list.get(&key), Some(forever(kind, who)));
        assert!(list.remove(&key).is_some() && list.remove(&key).is_none() && list.get(&key).is_none());
        assert_eq!(refused_by(&list, &client("10.0.0.1", "c", None)), None);
    }
}

#[test]
fn bans_that_ended_are_found_in_the_order_of_their_ends() {
    let at = |second: i64| Until::Moment(Timestamp::from_millis(second * 1000));
    let list = list([
        ban(As::ClientId, "third", None, at(30)),
        ban(As::PeerHostNet, "10.0.0.0/8", None, at(10)),
        ban(As::UsernameRe, "^second", None, at(20)),
        forever(As::ClientId, "never"),
    ]);
    let ended = |second: i64, limit| -> Vec<_> {
        list.ended_by(Timestamp::from_millis(second * 1000), limit).iter().map(ToString::to_string).collect()
    };
    assert_eq!(ended(9, 10), [""; 0]);
    assert_eq!(ended(20, 10), ["10.0.0.0/8", "^second"]);
    assert_eq!(ended(99, 1), ["10.0.0.0/8"]);
    assert_eq!(ended(99, 10), ["10.0.0.0/8", "^second", "third"]);
}

#[test]
fn an_exemption_wins_over_every_ban_while_it_holds() {
    let admission = Admission::default();
    let who = client("10.0.0.1", "gateway", Some("u"));
    admission.list(List::Bans).insert(forever(As::ClientId, "gateway")).expect("room");
    let soon = Timestamp::from_millis(NOW.as_millis() + 1);
    let office = ban(As::PeerHostNet, "10.0.0.0/24", None, Until::Moment(soon));
    admission.list(List::Exemptions).insert(office.clone()).expect("room");
    assert_eq!(admission.check(&who, NOW), Verdict::Admit);
    assert!(matches!(admission.check(&who, soon), Verdict::Refuse(_)));
    let explanation = admission.explain(&who, NOW);
    assert_eq!(explanation.verdict, Verdict::Admit);
    assert_eq!(
        (explanation.exemptions, explanation.bans),
        (vec![office], vec![forever(As::ClientId, "gateway")])
    );
}

#[test]
fn an_address_is_not_cut_off_while_a_name_might_save_it() {
    let admission = Admission::default();
    let peer = [10, 0, 0, 1].into();
    admission.list(List::Bans).insert(forever(As::PeerHostNet, "10.0.0.0/8")).expect("room");
    assert!(admission.check_peer(peer, NOW).is_some());
    admission.list(List::Exemptions).insert(forever(As::PeerHost, "10.0.0.2")).expect("room");
    assert!(admission.check_peer(peer, NOW).is_some());
    admission.list(List::Exemptions).insert(forever(As::ClientId, "gateway")).expect("room");
    assert!(admission.check_peer(peer, NOW).is_none());
}

#[test]
fn time_may_jump_and_nothing_is_lost() {
    let list = list([ban(As::ClientId, "c", None, Until::Moment(NOW))]);
    let who = client("::1", "c", None);
    let at = |millis: i64| list.check(&who, Timestamp::from_millis(millis)).is_some();
    assert_eq!(
        [at(NOW.as_millis() - 1), at(i64::MAX), at(0), at(NOW.as_millis())],
        [true, false, true, false]
    );
    let status = |now| list.get(&Who::ClientId("c".into())).map(|ban| ban.terms.status(now, Duration::MAX));
    assert_eq!(status(Timestamp::from_millis(i64::MAX)), Some(Status::DeletingSoon));
}

/// One rule of the whole truth in a loop.
struct Rule {
    ban: Ban,
    /// What a pattern says in the regex crate's words.
    regex: Option<regex::bytes::Regex>,
}

impl Rule {
    fn new(ban: Ban) -> Rule {
        let (source, full) = (ban.who.to_string(), ban.who.matching() == Some(Match::Full));
        let source = if full { format!("^(?:{source})$") } else { source };
        let regex = ban.who.pattern().map(|_| regex::bytes::Regex::new(&source).expect("a pattern"));
        Rule { ban, regex }
    }

    fn names(&self, client: &Client<'_>) -> bool {
        let matches = |text: &str| self.regex.as_ref().is_some_and(|regex| regex.is_match(text.as_bytes()));
        match &self.ban.who {
            Who::ClientId(id) => client.client_id() == Some(id),
            Who::Username(name) => client.username() == Some(name),
            Who::CertCn(cn) => client.tls().cert_cn == Some(cn),
            Who::CertSha256(digest) => client.tls().cert_sha256 == Some(digest),
            Who::TlsJa4(ja4) => client.tls().ja4 == Some(ja4),
            Who::PeerHost(peer) => client.peer() == Some(*peer),
            Who::PeerHostNet(net) => client.peer().is_some_and(|peer| net.contains(&peer)),
            Who::ClientIdRe(_) => client.client_id().is_some_and(matches),
            Who::UsernameRe(_) => client.username().is_some_and(matches),
            Who::PeerHostRe(_) => client.peer().is_some_and(|peer| matches(&peer.to_string())),
        }
    }
}

fn name() -> impl Strategy<Value = String> {
    "[ab]{1,3}"
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0_u8..4, 0_u8..4).prop_map(|(a, b)| IpAddr::from([10, 0, a, b])),
        (0_u16..4, 0_u16..4).prop_map(|(a, b)| IpAddr::from([0x2001, 0xdb8, a, 0, 0, 0, 0, b])),
        (0_u8..4, 0_u8..4).prop_map(|(a, b)| std::net::Ipv4Addr::new(10, 0, a, b).to_ipv6_mapped().into()),
    ]
}

const PATTERNS: &[As] = &[As::ClientIdRe, As::UsernameRe, As::PeerHostRe];

fn who() -> impl Strategy<Value = Who> {
    let pattern = prop_oneof![
        "[ab]{1,3}",
        Just("^a".to_owned()),
        Just("b$".to_owned()),
        Just("^(a|b)+$".to_owned()),
        Just("a.b".to_owned()),
        Just("aa|^b$".to_owned()),
        Just(r"^10\.0\.[12]\.".to_owned()),
        Just("::1$".to_owned()),
        Just("[0-9]3$".to_owned()),
    ];
    let matching = prop::sample::select(vec![Match::Search, Match::Full]);
    prop_oneof![
        name().prop_map(|id| Who::ClientId(id.into())),
        name().prop_map(|name| Who::Username(name.into())),
        address().prop_map(|addr| Who::PeerHost(addr.to_canonical())),
        (address(), 0_u8..=128).prop_map(|(addr, len)| {
            let len = if addr.is_ipv4() { len % 33 } else { len };
            Who::new(As::PeerHostNet, &format!("{addr}/{len}"), None).expect("a network")
        }),
        (prop::sample::select(PATTERNS), pattern, matching).prop_map(|(kind, source, matching)| Who::new(
            kind,
            &source,
            Some(matching)
        )
        .expect("a pattern")),
    ]
}

/// How many lists the model is compared on; each is asked about a thousand clients. `LISTS=3000` asks three million.
fn lists() -> u32 {
    std::env::var("LISTS").ok().and_then(|lists| lists.parse().ok()).unwrap_or(100)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: lists(), ..ProptestConfig::default() })]
    /// Each list has up to sixty rules of all kinds.
    #[test]
    fn the_list_agrees_with_a_loop_over_all_rules(
        changes in prop::collection::vec((who(), 0_u8..4, -1_i64..3), 0..60),
        clients in prop::collection::vec((address(), name(), prop::option::of(name())), 1000),
    ) {
        let list = BanList::default();
        let mut model: BTreeMap<(As, String), Rule> = BTreeMap::new();
        for (who, change, offset) in changes {
            let key = (who.kind(), who.to_string());
            match change {
                0 => prop_assert_eq!(list.remove(&who), model.remove(&key).map(|rule| rule.ban)),
                1 => list.compact(),
                _ => {
                    let until = Until::Moment(Timestamp::from_millis(NOW.as_millis() + offset));
                    let ban = Ban { who, terms: Terms { by: "".into(), reason: "".into(), at: NOW, until } };
                    let before = model.insert(key, Rule::new(ban.clone())).map(|rule| rule.ban);
                    prop_assert_eq!(list.insert(ban).expect("room"), before);
                }
            }
        }
        for (peer, id, username) in &clients {
            let client = Client::new(*peer, id, username.as_deref());
            let named: Vec<&Ban> =
                model.values().filter(|rule| rule.names(&client)).map(|rule| &rule.ban).collect();
            let verdict =
                named.iter().filter(|ban| ban.terms.is_active(NOW)).map(|ban| ban.who.kind()).min();
            prop_assert_eq!(refused_by(&list, &client), verdict, "{:?}", client);
            let key = |ban: &Ban| (ban.who.kind(), ban.who.to_string());
            let mut hits: Vec<_> = list.hits(&client).iter().map(key).collect();
            hits.sort();
            prop_assert_eq!(hits, named.into_iter().map(key).collect::<Vec<_>>());
        }
        let ended: usize = model.values().filter(|rule| !rule.ban.terms.is_active(NOW)).count();
        prop_assert_eq!(list.ended_by(NOW, usize::MAX).len(), ended);
    }
}
