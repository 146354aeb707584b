use super::*;
use governor::state::StateStore;

fn limits(throttle: ThrottleSettings, max_tracked: usize) -> LimitSettings {
    LimitSettings {
        throttle,
        pacing: Pacing { max_wait: Duration::from_secs(5), max_waiting: 10 },
        known_clients: 10,
        max_tracked,
    }
}

fn throttle(settings: ThrottleSettings) -> Throttle {
    Throttle::new(&limits(settings, 10_000), None)
}

fn rate(text: &str) -> Rate {
    text.parse().expect("a rate")
}

fn addr(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn enter(throttle: &Throttle, peer: &str) -> Result<(), Excess> {
    throttle.enter(addr(peer)).1
}

#[tokio::test(start_paused = true)]
async fn an_address_that_comes_too_often_is_over_its_limit_until_time_has_passed() {
    let throttle =
        throttle(ThrottleSettings { per_address: Some(rate("2/s, burst 3")), ..Default::default() });
    for _ in 0..3 {
        assert_eq!(enter(&throttle, "192.0.2.1"), Ok(()));
    }
    assert_eq!(enter(&throttle, "192.0.2.1"), Err(Excess::AddressRate));
    assert_eq!(enter(&throttle, "192.0.2.2"), Ok(()));
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(enter(&throttle, "192.0.2.1"), Ok(()));
    assert_eq!(enter(&throttle, "192.0.2.1"), Err(Excess::AddressRate));
}

#[tokio::test(start_paused = true)]
async fn a_network_is_counted_together_whatever_addresses_it_makes_up() {
    let throttle =
        throttle(ThrottleSettings { per_network: Some(rate("1/m, burst 2")), ..Default::default() });
    for (first, second, third, other) in [
        ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.3.1"),
        ("2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::", "2001:db8:0:1::"),
    ] {
        assert_eq!((enter(&throttle, first), enter(&throttle, second)), (Ok(()), Ok(())));
        assert_eq!(enter(&throttle, third), Err(Excess::NetworkRate));
        assert_eq!(enter(&throttle, other), Ok(()));
    }
}

#[tokio::test]
async fn an_address_has_as_many_connections_as_it_may_and_a_place_that_is_left_is_free() {
    let max = NonZeroU32::new(2);
    let throttle = throttle(ThrottleSettings { connections_per_address: max, ..Default::default() });
    let peer = addr("192.0.2.1");
    let ((first, _), (_second, fits)) = (throttle.enter(peer), throttle.enter(peer));
    assert_eq!(fits, Ok(()));
    assert_eq!(enter(&throttle, "192.0.2.1"), Err(Excess::Connections));
    assert_eq!(enter(&throttle, "192.0.2.2"), Ok(()));
    drop(first);
    assert_eq!(enter(&throttle, "192.0.2.1"), Ok(()));
}

#[tokio::test]
async fn a_user_name_has_as_many_sessions_as_it_may_even_when_the_limits_change() {
    let settings = ThrottleSettings { sessions_per_username: NonZeroU32::new(1), ..Default::default() };
    let throttle = throttle(settings);
    let seat = throttle.enter_username("eve").expect("the first");
    assert_eq!(throttle.enter_username("eve").map(drop), Err(Excess::Sessions));
    assert!(throttle.enter_username("mallory").is_ok());
    let changed = Throttle::new(&limits(settings, 5), Some(&throttle));
    assert_eq!(changed.enter_username("eve").map(drop), Err(Excess::Sessions));
    drop(seat);
    assert!(changed.enter_username("eve").is_ok());
}

#[tokio::test(start_paused = true)]
async fn made_up_addresses_fill_no_memory_and_free_nobody_who_is_over_the_limit() {
    let settings = ThrottleSettings { per_address: Some(rate("1/h, burst 5")), ..Default::default() };
    let throttle = Throttle::new(&limits(settings, 1_000), None);
    while enter(&throttle, "192.0.2.1").is_ok() {}
    for stranger in 0..100_000_u32 {
        let _ = throttle.enter(IpAddr::V4((0x0A00_0000 + stranger).into()));
    }
    assert_eq!(enter(&throttle, "192.0.2.1"), Err(Excess::AddressRate));
    assert!(throttle.addresses.expect("limited").into_state_store().len() <= 1_008);
}

#[test]
fn a_refusal_leaves_the_table_as_it_is() {
    let table = Table::new(1);
    let refused = table.measure_and_replace(&addr("::1"), |_| Err::<((), _), _>("no"));
    assert_eq!((refused, table.len()), (Err("no"), 0));
}

#[tokio::test]
async fn without_limits_nobody_is_counted() {
    let throttle = throttle(ThrottleSettings::default());
    let (seat, fits) = throttle.enter(addr("::1"));
    assert!(seat.is_none() && fits.is_ok() && throttle.pacer().is_none());
    assert!(throttle.enter_username("eve").expect("no limit").is_none());
}
