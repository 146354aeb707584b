mod choice;

use super::*;
use crate::net::options::TcpOptions;
use socket2::{Domain, Socket, Type};
use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;

async fn broker() -> (TcpListener, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let server = listener.local_addr().expect("bound").to_string().parse().expect("a server");
    (listener, server)
}

async fn dead() -> Server {
    broker().await.1
}

fn settings(servers: impl IntoIterator<Item = Server>) -> UpstreamSettings {
    UpstreamSettings {
        servers: servers.into_iter().map(ServerSettings::from).collect(),
        backup: None,
        balance: Balance::RoundRobin,
        connect_timeout: Duration::from_secs(5),
        max_tries: 5,
        total_timeout: Duration::from_secs(10),
        ejection: Ejection { after: 3, time: Duration::from_secs(5), max_time: Duration::from_mins(1) },
        slow_start: Duration::ZERO,
        tls: None,
        websocket: None,
        check: None,
        resolve_interval: Duration::from_mins(1),
        tcp: TcpOptions::default(),
        proxy_protocol: None,
    }
}

fn group(settings: UpstreamSettings) -> Arc<Upstream> {
    Arc::new(Upstream::new(DEFAULT.into(), settings, None).expect("no files"))
}

/// Who a client is taken to, and who was tried on the way.
async fn reach(group: &Arc<Upstream>, client_id: &str) -> (Result<Connected, DialError>, Vec<Server>) {
    let mut tried = Vec::new();
    let connected = group.dial(client_id).next(|attempt| tried.push(attempt.server.clone())).await;
    (connected, tried)
}

async fn reached(group: &Arc<Upstream>) -> Server {
    reach(group, "").await.0.expect("a live server").server
}

#[tokio::test]
async fn servers_take_turns_and_a_dead_one_is_passed_over() {
    let ((_first, a), (_second, b), c) = (broker().await, broker().await, dead().await);
    let group = group(settings([a.clone(), b.clone(), c]));
    let mut servers = Vec::new();
    for _ in 0..4 {
        servers.push(reached(&group).await);
    }
    assert_eq!(servers, [a.clone(), b.clone(), a, b]);
}

#[tokio::test]
async fn a_group_of_dead_servers_says_which_and_why() {
    let server = dead().await;
    let error = reach(&group(settings([server.clone()])), "").await.0.expect_err("nobody listens");
    assert_eq!(error.to_string(), format!("cannot connect to {server}"));
    let DialError::Failed { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn no_more_servers_are_tried_than_the_group_allows() {
    let servers = [dead().await, dead().await, dead().await];
    let group = group(UpstreamSettings { max_tries: 2, ..settings(servers) });
    let (outcome, tried) = reach(&group, "").await;
    assert!(outcome.is_err());
    assert_eq!(tried.iter().collect::<HashSet<_>>().len(), 2, "{tried:?}");
}

/// A server whose kernel does not answer, because its queue is full; it is as long as this lives.
fn silent() -> (Vec<Socket>, Server) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    listener.listen(0).expect("bound");
    let addr = listener.local_addr().expect("bound");
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let waiting = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        waiting.set_nonblocking(true).expect("open");
        // Whether this one still finds a place or not.
        let _ = waiting.connect(&addr);
        sockets.push(waiting);
    }
    let server = addr.as_socket().expect("an address").to_string();
    (sockets, server.parse().expect("a server"))
}

#[tokio::test(start_paused = true)]
async fn all_attempts_together_end_at_their_deadline() {
    let ((_a, a), (_b, b), (_c, c)) = (silent(), silent(), silent());
    let group = group(UpstreamSettings {
        connect_timeout: Duration::from_secs(4),
        total_timeout: Duration::from_secs(6),
        ..settings([a, b, c])
    });
    let began = Instant::now();
    let (outcome, tried) = reach(&group, "").await;
    let Err(DialError::Failed { source, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(source.kind(), io::ErrorKind::TimedOut);
    assert_eq!((began.elapsed(), tried.len()), (Duration::from_secs(6), 2));
}

#[tokio::test]
async fn an_ejected_server_is_not_tried_and_is_never_the_last_hope_of_nobody() {
    let ((listener, alive), dead) = (broker().await, dead().await);
    let group = group(settings([dead.clone(), alive.clone()]));
    let mut events = Vec::new();
    for _ in 0..6 {
        let mut dialling = group.dial("");
        let connected = dialling.next(|attempt| events.extend(attempt.event.clone())).await;
        assert_eq!(connected.expect("a live server").server, alive);
    }
    assert_eq!(events, [Event::Ejected { failures: 3, time: Duration::from_secs(5) }]);
    let (_, tried) = reach(&group, "").await;
    assert_eq!(tried, [alive]);
    assert_eq!(group.member(dead.as_str()).map(Member::ejections), Some(1));

    // With the other one gone too, both are tried for everybody, ejected or not.
    drop(listener);
    for _ in 0..10 {
        let (outcome, tried) = reach(&group, "").await;
        assert!(outcome.is_err());
        assert_eq!(tried.iter().collect::<HashSet<_>>().len(), 2, "{tried:?}");
    }
}

#[tokio::test]
async fn backups_serve_only_while_nobody_else_can() {
    let ((listener, first), (_second, second)) = (broker().await, broker().await);
    let mut settings = settings([second.clone(), first.clone()]);
    settings.servers[0].is_backup = true;
    let group = group(settings);
    for _ in 0..3 {
        assert_eq!(reached(&group).await, first);
    }
    drop(listener);
    for _ in 0..3 {
        assert_eq!(reached(&group).await, second);
    }
}

#[tokio::test]
async fn a_spare_group_serves_while_nobody_of_the_group_can_and_no_longer() {
    let ((listener, first), (_second, second)) = (broker().await, broker().await);
    let main = UpstreamSettings {
        backup: Some("spare".to_owned()),
        ejection: Ejection { after: 1, time: Duration::from_millis(1), max_time: Duration::from_millis(1) },
        ..settings([first.clone()])
    };
    let groups = [(Arc::from(DEFAULT), main), (Arc::from("spare"), settings([second.clone()]))];
    let groups = Groups::new(groups, None).expect("no files");
    let group = groups.get(DEFAULT).expect("a group");
    assert_eq!(reached(group).await, first);
    let addr = listener.local_addr().expect("bound");
    drop(listener);
    for _ in 0..3 {
        assert_eq!(reached(group).await, second);
    }
    let _back = TcpListener::bind(addr).await.expect("it was ours");
    // A millisecond later the first client that comes tries it again.
    while reached(group).await != first {}
    assert_eq!(reached(group).await, first);
}

#[test]
fn groups_that_spare_each_other_are_refused() {
    let server = || settings(["a:1".parse().expect("a server")]);
    let spared = |by: &str| UpstreamSettings { backup: Some(by.to_owned()), ..server() };
    let groups = [(Arc::from("a"), spared("b")), (Arc::from("b"), spared("a"))];
    let error = Groups::new(groups, None).expect_err("a circle");
    assert_eq!(
        error.to_string(),
        "upstream \"a\": backup: there is no group \"b\" that could stand in for it"
    );
}

#[tokio::test]
async fn a_drained_server_gets_nobody_new_even_where_there_is_no_other() {
    let ((_first, a), (_second, b)) = (broker().await, broker().await);
    let group = group(settings([a.clone(), b.clone()]));
    let kept = reach(&group, "").await.0.expect("a live server");
    let drained = group.member(kept.server.as_str()).expect("a member");
    drained.drain(true);
    let other = if kept.server == a { b } else { a };
    for _ in 0..3 {
        assert_eq!(reached(&group).await, other);
    }
    assert_eq!(drained.live(), 1);
    group.member(other.as_str()).expect("a member").drain(true);
    assert!(matches!(reach(&group, "").await.0, Err(DialError::Drained)));
    drained.drain(false);
    assert_eq!(reached(&group).await, kept.server);
    drop(kept);
    assert_eq!(drained.live(), 0);
}

#[tokio::test]
async fn the_least_busy_server_is_chosen_and_a_place_is_free_when_its_client_goes() {
    let ((_first, a), (_second, b)) = (broker().await, broker().await);
    let group =
        group(UpstreamSettings { balance: Balance::LeastConnections, ..settings([a.clone(), b.clone()]) });
    let stays = reach(&group, "").await.0.expect("a live server");
    let goes = reach(&group, "").await.0.expect("a live server");
    assert_ne!(stays.server, goes.server);
    let server = goes.server.clone();
    drop(goes);
    for _ in 0..3 {
        assert_eq!(reached(&group).await, server);
    }
}

#[tokio::test]
async fn a_client_returns_to_its_server_and_only_those_of_a_dead_one_move() {
    let brokers = [broker().await, broker().await, broker().await];
    let servers = brokers.each_ref().map(|(_, server)| server.clone());
    let group = group(UpstreamSettings { balance: Balance::Hash, ..settings(servers) });
    let mut homes = Vec::new();
    for number in 0..60 {
        let name = format!("device-{number}");
        let home = reach(&group, &name).await.0.expect("a live server").server;
        assert_eq!(reach(&group, &name).await.0.expect("a live server").server, home);
        homes.push((name, home));
    }
    let [(listener, gone), ..] = brokers;
    drop(listener);
    for (name, home) in homes {
        let now = reach(&group, &name).await.0.expect("a live server").server;
        assert!(now == home || home == gone, "{name}");
        assert_ne!(now, gone);
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_before_it_had_a_byte_is_one_more_failed_attempt() {
    let ((_first, a), (_second, b)) = (broker().await, broker().await);
    let group = group(settings([a.clone(), b.clone()]));
    let mut dialling = group.dial("");
    let connected = dialling.next(|_| {}).await.expect("a live server");
    assert_eq!(connected.server, a);
    let mut failed = 0;
    dialling.rejected(connected, io::ErrorKind::BrokenPipe.into(), |attempt| {
        failed += u32::from(attempt.error.is_some());
    });
    assert_eq!(dialling.next(|_| {}).await.expect("the other").server, b);
    assert_eq!(failed, 1);
    let failure = group.member(a.as_str()).and_then(Member::last_failure).expect("it is known");
    assert_eq!(failure.problem, "broken pipe");
}

#[tokio::test]
async fn what_is_known_of_a_server_survives_a_reload_and_goes_with_the_server() {
    let ((_first, a), b) = (broker().await, dead().await);
    let before =
        Groups::new([(Arc::from(DEFAULT), settings([a.clone(), b.clone()]))], None).expect("no files");
    let group = before.get(DEFAULT).expect("a group");
    let kept = reach(group, "").await.0.expect("a live server");
    for _ in 0..5 {
        reach(group, "").await.0.expect("a live server");
    }
    group.member(a.as_str()).expect("a member").drain(true);

    let after = Groups::new([(Arc::from(DEFAULT), settings([b.clone(), a.clone()]))], Some(&before))
        .expect("no files");
    let (group, now) = (after.get(DEFAULT).expect("a group"), Instant::now());
    let [same_b, same_a] = group.members() else { panic!("two members") };
    assert_eq!(same_b.condition(now, Duration::ZERO), Condition::Ejected);
    assert!(same_a.is_drained());
    assert_eq!(same_a.live(), 1);

    // The file says something else than it did: that holds.
    let mut drained = settings([a.clone()]);
    drained.servers[0].is_drained = true;
    let third = Groups::new([(Arc::from(DEFAULT), drained)], Some(&after)).expect("no files");
    let last = Groups::new([(Arc::from(DEFAULT), settings([a.clone(), b.clone()]))], Some(&third))
        .expect("no files");
    let [same_a, new_b] = last.get(DEFAULT).expect("a group").members() else { panic!("two members") };
    assert!(!same_a.is_drained());
    assert_eq!(same_a.live(), 1);
    assert_eq!(new_b.condition(now, Duration::ZERO), Condition::Up);
    drop(kept);
    assert_eq!(same_a.live(), 0);
}

fn check(kind: CheckKind) -> CheckSettings {
    let thresholds = Thresholds { rise: 1, fall: 2 };
    CheckSettings { kind, interval: Duration::from_secs(1), timeout: Duration::from_secs(1), thresholds }
}

#[tokio::test]
async fn a_server_whose_checks_fail_gets_no_clients_until_they_succeed() {
    let ((listener, a), (_second, b)) = (broker().await, broker().await);
    let tcp = check(CheckKind::Tcp);
    let group = group(UpstreamSettings { check: Some(tcp.clone()), ..settings([a.clone(), b.clone()]) });
    let member = group.member(a.as_str()).expect("a member");
    let addr = listener.local_addr().expect("bound");
    drop(listener);
    for expected in
        [None, Some(Event::Down { problem: "cannot connect: Connection refused (os error 111)".into() })]
    {
        let Checked { outcome, event } = group.check(member, &tcp).await;
        assert!(matches!(outcome, Err(CheckError::Connect(_))), "{outcome:?}");
        assert_eq!(event, expected);
    }
    for _ in 0..3 {
        assert_eq!(reach(&group, "").await.1, std::slice::from_ref(&b));
    }
    let _listener = TcpListener::bind(addr).await.expect("it was ours");
    let Checked { outcome, event } = group.check(member, &tcp).await;
    assert!(outcome.is_ok());
    assert_eq!((event, member.checks()), (Some(Event::Up), (1, 2)));
    let servers = [reached(&group).await, reached(&group).await];
    assert!(servers.contains(&a), "{servers:?}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_connections_and_says_nothing_is_not_well() {
    let (_listener, server) = broker().await;
    let mqtt = MqttCheck {
        version: crate::wire::mqtt::Version::V5,
        client_id: String::new(),
        username: None,
        password_file: None,
    };
    let settings = UpstreamSettings { check: Some(check(CheckKind::Mqtt(mqtt))), ..settings([server]) };
    let group = group(settings.clone());
    let check = settings.check.expect("just set");
    let Checked { outcome, .. } = group.check(&group.members()[0], &check).await;
    assert_eq!(outcome.expect_err("silence").to_string(), "no answer to CONNECT and PINGREQ in time");
}

#[tokio::test]
async fn a_server_without_checks_is_not_down_for_what_they_found() {
    let server = dead().await;
    let tcp = check(CheckKind::Tcp);
    let checked = UpstreamSettings { check: Some(tcp.clone()), ..settings([server.clone()]) };
    let before = Groups::new([(Arc::from(DEFAULT), checked)], None).expect("no files");
    let group = before.get(DEFAULT).expect("a group");
    for _ in 0..2 {
        group.check(&group.members()[0], &tcp).await;
    }
    let now = Instant::now();
    assert_eq!(group.members()[0].condition(now, Duration::ZERO), Condition::Down);
    let after = Groups::new([(Arc::from(DEFAULT), settings([server]))], Some(&before)).expect("no files");
    let group = after.get(DEFAULT).expect("a group");
    assert_eq!(group.members()[0].condition(now, Duration::ZERO), Condition::Up);
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_clients_are_taken_to_what_it_leads_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let group = group(settings([format!("localhost:{port}").parse().expect("a server")]));
    for _ in 0..2 {
        let connected = reach(&group, "").await.0.expect("this machine");
        assert_eq!(connected.server.host(), "localhost");
    }
    assert!(group.members()[0].addresses().iter().any(|addr| addr.ip().is_loopback()));
}

#[test]
fn a_group_whose_password_cannot_be_read_says_so() {
    let mqtt = MqttCheck {
        version: crate::wire::mqtt::Version::V5,
        client_id: String::new(),
        username: Some("check".to_owned()),
        password_file: Some("/nowhere/password".into()),
    };
    let settings = UpstreamSettings {
        check: Some(check(CheckKind::Mqtt(mqtt))),
        ..settings(["a:1".parse().expect("a server")])
    };
    let error = Upstream::new("blue".into(), settings, None).expect_err("no such file");
    assert_eq!(
        error.to_string(),
        "upstream \"blue\": health_check.password_file: cannot read /nowhere/password"
    );
}
