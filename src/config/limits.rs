//! `[limits]`, and the `limits` of a listener.

use super::document::Section;
use crate::proxy::{LimitSettings, Pacing, Rate, ThrottleSettings};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// What holds for all listeners together.
pub(super) fn read(section: Section<'_, '_>) -> Option<LimitSettings> {
    let throttle = read_throttle(&section);
    let max_wait = section.duration("max_wait", "\"5s\"", Duration::from_millis(1));
    let max_waiting = section.number("max_waiting", "10000", 1..1_000_001);
    let known_clients = section.number("known_clients", "100000", 0..100_000_001);
    let max_tracked = section.number("max_tracked", "100000", 1..100_000_001);
    section.finish();
    let pacing = Pacing { max_wait: max_wait?, max_waiting: usize::try_from(max_waiting?).ok()? };
    Some(LimitSettings {
        throttle: throttle?,
        pacing,
        known_clients: usize::try_from(known_clients?).ok()?,
        max_tracked: usize::try_from(max_tracked?).ok()?,
    })
}

/// What holds at one listener beside that; `label` is the name under which its options are listed. A listener without
/// the table has no limits of its own.
pub(super) fn read_own(mut section: Section<'_, '_>, label: Option<String>) -> Option<ThrottleSettings> {
    section.label(label);
    let throttle = read_throttle(&section);
    section.finish();
    throttle
}

fn read_throttle(section: &Section<'_, '_>) -> Option<ThrottleSettings> {
    let rate = |key| section.parsed::<OrOff<Rate>>(key, "\"off\"");
    let number = |key| section.parsed::<OrOff<Number>>(key, "\"off\"");
    let (all, per_address, per_network) = (rate("rate"), rate("per_address"), rate("per_network"));
    let (connections, sessions) = (number("connections_per_address"), number("sessions_per_username"));
    Some(ThrottleSettings {
        rate: all?.0,
        per_address: per_address?.0,
        per_network: per_network?.0,
        connections_per_address: connections?.0.map(|number| number.0),
        sessions_per_username: sessions?.0.map(|number| number.0),
    })
}

struct OrOff<T>(Option<T>);

impl<T: FromStr<Err: ToString>> FromStr for OrOff<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<OrOff<T>, String> {
        match text {
            "off" => Ok(OrOff(None)),
            _ => text
                .parse()
                .map(|value| OrOff(Some(value)))
                .map_err(|error: T::Err| error.to_string() + ", or \"off\""),
        }
    }
}

struct Number(NonZeroU32);

impl FromStr for Number {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Number, &'static str> {
        text.parse().map(Number).map_err(|_| "is not a number from 1 on; expected e.g. 100")
    }
}
