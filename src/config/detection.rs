//! Who is found out: `[flapping_detect]`, `[detection]`, and what each `[zones.NAME]` has of its own.
//!
//! A zone says only what is different there: what it leaves out, it has from the two sections above, option by option.

use super::document::{OrNone, Section};
use super::units;
use crate::admission::detection::{
    AuthFailures, ByClientId, ByJa4, ByNetwork, Churn, ConnectionRate, Duplicates, Escalation, Growth,
    Hammering, Nuisance, OnDuplicates, Settings, Threshold, ZonePolicy,
};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// The policies of all zones, by their names. There always is one that is called `default`.
pub(super) type Zones = BTreeMap<Arc<str>, Arc<ZonePolicy>>;

/// Reads what finds clients out. `None` only for what can be worth nothing; other mistakes are noted.
pub(super) fn read(root: &Section<'_, '_>) -> Option<(Settings, usize, Zones)> {
    let mut general = Draft::new();
    let is_old = read_old_form(root, &mut general);
    let flapping = root.section("flapping_detect");
    if !is_old {
        read_flat_form(&flapping, &mut general);
    }
    read_dimensions(&flapping, &mut general);
    flapping.finish();
    let detection = root.section("detection");
    let settings = read_settings(&detection);
    let replay_memory = detection.size("replay_memory", "\"16MB\"", 0..(1 << 30) + 1);
    read_detectors(&detection, &mut general);
    detection.finish();

    let zones = root.section("zones");
    let mut policies = Zones::new();
    policies.insert(DEFAULT.into(), Arc::new(general.clone().policy(DEFAULT)));
    for (name, section) in zones.named_sections() {
        let mut zone = general.clone();
        if let Some(enable) = section.optional_switch("enable_flapping_detect") {
            (zone.flat.enable, zone.by_clientid) = (enable, OrNone::Absent);
        }
        if let Some(shadow) = section.optional_switch("shadow") {
            zone.shadow = shadow;
        }
        let flapping = section.section("flapping_detect");
        read_zone_form(&flapping, &mut zone);
        read_dimensions(&flapping, &mut zone);
        flapping.finish();
        let detection = section.section("detection");
        read_detectors(&detection, &mut zone);
        detection.finish();
        section.finish();
        policies.insert(name.as_str().into(), Arc::new(zone.policy(&name)));
    }
    Some((settings?, usize::try_from(replay_memory?).ok()?, policies))
}

/// The zone of listeners that name none.
pub const DEFAULT: &str = "default";

/// For how long any zone remembers an offence after its ban is over. (One is remembered for as long as its ban was, at
/// least.)
pub(super) fn longest_memory(zones: &Zones) -> Duration {
    let memory = |policy: &Arc<ZonePolicy>| policy.escalation.memory.max(policy.escalation.max_ban_time);
    zones.values().map(memory).max().unwrap_or_default()
}

/// What was read so far.
#[derive(Clone)]
struct Draft {
    flat: Flat,
    /// EMQX 6.3's form; what it says wins over the flat one.
    by_clientid: OrNone<ByClientId>,
    /// Where the file says nothing, it is on when anything else looks at sessions.
    duplicates: OrNone<Duplicates>,
    shadow: bool,
    policy: ZonePolicy,
}

/// EMQX's form before 6.3.
#[derive(Clone, Copy)]
struct Flat {
    enable: bool,
    policy: ByClientId,
}

impl Draft {
    fn new() -> Draft {
        Draft {
            flat: Flat { enable: false, policy: ByClientId::default() },
            by_clientid: OrNone::Absent,
            duplicates: OrNone::Absent,
            shadow: false,
            policy: ZonePolicy::off(DEFAULT),
        }
    }

    fn policy(self, zone: &str) -> ZonePolicy {
        let Draft { flat, by_clientid, duplicates, shadow, mut policy } = self;
        policy.zone = zone.into();
        policy.by_clientid = by_clientid.or(|| flat.enable.then_some(flat.policy));
        let counts_sessions = policy.by_clientid.is_some()
            || policy.by_username.is_some()
            || policy.by_peerhost.is_some()
            || policy.by_network.is_some()
            || policy.by_ja4.is_some();
        policy.duplicates = duplicates.or(|| counts_sessions.then(Duplicates::default));
        if shadow { policy.shadowed() } else { policy }
    }
}

/// EMQX 4.x: `flapping_detect_policy = "30, 1m, 5m"` and `enable_flapping_detect`. True when the file has it.
fn read_old_form(root: &Section<'_, '_>, draft: &mut Draft) -> bool {
    let threshold: Option<OneLine> = root.optional("flapping_detect_policy");
    let enable = root.optional_switch("enable_flapping_detect");
    let is_old = threshold.is_some() || enable.is_some();
    if is_old && root.has("flapping_detect") {
        root.mistake("flapping_detect", "stands beside the options of EMQX 4; expected one of the two forms");
    }
    if let Some(OneLine(threshold)) = threshold {
        draft.flat.policy.threshold = threshold;
    }
    draft.flat.enable = enable.unwrap_or(draft.flat.enable);
    is_old
}

/// The flat form with its defaults, for all zones.
fn read_flat_form(section: &Section<'_, '_>, draft: &mut Draft) {
    if let Some(enable) = section.switch("enable", "false") {
        draft.flat.enable = enable;
    }
    let threshold = (
        section.number("max_count", "15", COUNTS),
        section.duration_within("window_time", "\"1m\"", WINDOWS),
        section.duration("ban_time", "\"5m\"", Duration::ZERO),
    );
    if let (Some(count), Some(window_time), Some(ban_time)) = threshold {
        let max_count = u32::try_from(count).unwrap_or(u32::MAX);
        let shadow = draft.flat.policy.threshold.shadow;
        draft.flat.policy.threshold = Threshold { max_count, window_time, ban_time, shadow };
    }
    if let Some(shadow) = section.switch("shadow", "false") {
        draft.flat.policy.threshold.shadow = shadow;
    }
    if let Some(count_refused) = section.switch("count_refused", "false") {
        draft.flat.policy.count_refused = count_refused;
    }
}

/// The flat form of a zone, which has what it leaves out from above.
fn read_zone_form(section: &Section<'_, '_>, draft: &mut Draft) {
    if let Some(enable) = section.optional_switch("enable") {
        (draft.flat.enable, draft.by_clientid) = (enable, OrNone::Absent);
    }
    draft.flat.policy.threshold = read_threshold(section, draft.flat.policy.threshold);
    set(&mut draft.flat.policy.count_refused, section.optional_switch("count_refused"));
}

/// The dimensions of flapping, each `"none"` or a table.
fn read_dimensions(section: &Section<'_, '_>, draft: &mut Draft) {
    let flat = draft.flat.policy;
    match section.section_or_none("by_clientid") {
        OrNone::Absent => {}
        OrNone::None => draft.by_clientid = OrNone::None,
        OrNone::Some(table) => {
            let mut policy = draft.by_clientid.some().unwrap_or(flat);
            policy.threshold = read_threshold(&table, policy.threshold);
            set(&mut policy.count_refused, table.optional_switch("count_refused"));
            table.finish();
            draft.by_clientid = OrNone::Some(policy);
        }
    }
    let policy = &mut draft.policy;
    read_detector(section, "by_username", &mut policy.by_username, read_churn);
    read_detector(section, "by_peerhost", &mut policy.by_peerhost, read_churn);
    read_detector(section, "by_network", &mut policy.by_network, |table, network: &mut ByNetwork| {
        read_churn(table, &mut network.churn);
        set_prefix(&mut network.ipv4_prefix, table.optional_or_off("ipv4_prefix", 8..33));
        let [wide, narrow] = &mut network.ipv6_prefixes;
        set_prefix(wide, table.optional_or_off("ipv6_prefix", 16..129));
        set_prefix(narrow, table.optional_or_off("ipv6_site_prefix", 16..129));
    });
    read_detector(section, "by_ja4", &mut policy.by_ja4, |table, by_ja4: &mut ByJa4| {
        read_weighed_churn(table, &mut by_ja4.churn);
        set(&mut by_ja4.max_residents, read_count(table, "max_residents"));
    });
}

fn read_detectors(section: &Section<'_, '_>, draft: &mut Draft) {
    set(&mut draft.shadow, section.optional_switch("shadow"));
    let policy = &mut draft.policy;
    read_detector(section, "auth_failures", &mut policy.auth_failures, |table, policy: &mut AuthFailures| {
        policy.threshold = read_threshold(table, policy.threshold);
        set(&mut policy.residents_per_count, read_count(table, "residents_per_count"));
        set(&mut policy.siege_count, read_count(table, "siege_count"));
        set(&mut policy.siege_max_count, read_count(table, "siege_max_count"));
    });
    read_detector(section, "malformed", &mut policy.malformed, read_nuisance);
    read_detector(section, "connect_timeouts", &mut policy.connect_timeouts, read_nuisance);
    read_detector(
        section,
        "connection_rate",
        &mut policy.connection_rate,
        |table, policy: &mut ConnectionRate| {
            policy.threshold = read_threshold(table, policy.threshold);
            set(&mut policy.per_client, read_count(table, "per_client"));
            set(&mut policy.residents_per_count, read_count(table, "residents_per_count"));
        },
    );
    read_detector(section, "hammering", &mut policy.hammering, |table, policy: &mut Hammering| {
        set(&mut policy.max_count, read_count(table, "max_count"));
        set(&mut policy.window_time, table.optional_duration("window_time", WINDOWS));
        set(&mut policy.hush_time, table.optional_duration("hush_time", ANY_TIME));
        set(&mut policy.shadow, table.optional_switch("shadow"));
    });
    let mut duplicates = draft.duplicates.some();
    let said = read_detector(section, "duplicates", &mut duplicates, |table, policy: &mut Duplicates| {
        let actions = [("warn", OnDuplicates::Warn), ("ban", OnDuplicates::Ban)];
        set(&mut policy.action, table.optional_choice("action", &actions));
        set(&mut policy.max_count, read_count(table, "max_count"));
        set(&mut policy.window_time, table.optional_duration("window_time", WINDOWS));
        set(&mut policy.ban_time, table.optional_duration("ban_time", ANY_TIME));
        set(&mut policy.shadow, table.optional_switch("shadow"));
    });
    if said {
        draft.duplicates = duplicates.into();
    }
    read_escalation(section.section("escalation"), &mut draft.policy.escalation);
}

/// Reads a detector that is `"none"` or a table; a table switches it on. True when the file says anything of it.
fn read_detector<'n, 'd, P: Default>(
    section: &Section<'n, 'd>,
    key: &'static str,
    policy: &mut Option<P>,
    read: impl Fn(&Section<'n, 'd>, &mut P),
) -> bool {
    match section.section_or_none(key) {
        OrNone::Absent => return false,
        OrNone::None => *policy = None,
        OrNone::Some(table) => {
            read(&table, policy.get_or_insert_default());
            table.finish();
        }
    }
    true
}

fn read_churn(table: &Section<'_, '_>, churn: &mut Churn) {
    set(&mut churn.count_refused, table.optional_switch("count_refused"));
    read_weighed_churn(table, churn);
}

fn read_weighed_churn(table: &Section<'_, '_>, churn: &mut Churn) {
    churn.threshold = read_threshold(table, churn.threshold);
    set(&mut churn.short_session, table.optional_duration("short_session", ANY_TIME));
    set(&mut churn.per_client, read_count(table, "per_client"));
    set(&mut churn.residents_per_count, read_count(table, "residents_per_count"));
}

fn read_nuisance(table: &Section<'_, '_>, nuisance: &mut Nuisance) {
    nuisance.threshold = read_threshold(table, nuisance.threshold);
    set(&mut nuisance.residents_per_count, read_count(table, "residents_per_count"));
}

fn read_threshold(table: &Section<'_, '_>, mut threshold: Threshold) -> Threshold {
    set(&mut threshold.max_count, read_count(table, "max_count"));
    set(&mut threshold.window_time, table.optional_duration("window_time", WINDOWS));
    set(&mut threshold.ban_time, table.optional_duration("ban_time", ANY_TIME));
    set(&mut threshold.shadow, table.optional_switch("shadow"));
    threshold
}

fn read_count(table: &Section<'_, '_>, key: &'static str) -> Option<u32> {
    table.optional_number(key, COUNTS).and_then(|count| u32::try_from(count).ok())
}

fn read_escalation(table: Section<'_, '_>, escalation: &mut Escalation) {
    let factor = read_count(&table, "factor");
    let steps: Option<Vec<Step>> =
        table.optional_list("steps", "numbers by which the ban time is multiplied");
    if factor.is_some() && steps.is_some() {
        table.mistake("steps", "stands beside factor; expected one of the two");
    }
    if let Some(factor) = factor {
        escalation.growth = if factor <= 1 { Growth::Off } else { Growth::Factor(factor) };
    }
    if let Some(steps) = steps {
        escalation.growth = Growth::Steps(steps.into_iter().map(|step| step.0).collect());
    }
    set(&mut escalation.max_ban_time, table.optional_duration("max_ban_time", ANY_TIME));
    set(&mut escalation.memory, table.optional_duration("memory", ANY_TIME));
    let percent = table.optional_number("jitter_percent", 0..101);
    set(&mut escalation.jitter_percent, percent.and_then(|percent| u8::try_from(percent).ok()));
    table.finish();
}

fn read_settings(section: &Section<'_, '_>) -> Option<Settings> {
    let tracked = section.number("max_tracked", "2097152", 1024..(1 << 28));
    let learning = section.duration("learning", "\"5m\"", Duration::ZERO);
    let memory = section.duration("memory", "\"1d\"", MILLISECOND);
    let resident_after = section.duration("resident_after", "\"1m\"", MILLISECOND);
    let patience = section.duration("patience", "\"3s\"", Duration::ZERO);
    let settle = section.duration("settle", "\"1m\"", Duration::ZERO);
    Some(Settings {
        max_tracked: usize::try_from(tracked?).ok()?,
        learning: learning?,
        memory: memory?,
        resident_after: resident_after?,
        patience: patience?,
        settle: settle?,
    })
}

/// Takes a prefix length that the file has, or its "off".
fn set_prefix(place: &mut Option<u8>, value: OrNone<u8>) {
    *place = value.or(|| *place);
}

/// Takes a value that the file has.
fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);
const COUNTS: std::ops::Range<u64> = 0..1_000_001;
/// From a millisecond to a month.
const WINDOWS: std::ops::RangeInclusive<Duration> = MILLISECOND..=Duration::from_hours(31 * 24);
const ANY_TIME: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::MAX;

/// EMQX 4's policy in one line: how many, within how long, banned for how long.
struct OneLine(Threshold);

impl FromStr for OneLine {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<OneLine, &'static str> {
        let fault = "is not a policy; expected COUNT, WINDOW, BAN, e.g. \"30, 1m, 5m\"";
        let parts: Vec<&str> =
            text.split([',', ' ']).map(str::trim).filter(|part| !part.is_empty()).collect();
        let [count, window, ban] = parts.as_slice() else { return Err(fault) };
        let max_count = count.parse().map_err(|_| fault)?;
        let time = |text| units::duration(text).map_err(|_| fault);
        let (window_time, ban_time) = (time(window)?, time(ban)?);
        if !WINDOWS.contains(&window_time) {
            return Err("has a window out of range; expected 1ms to 31d");
        }
        Ok(OneLine(Threshold { max_count, window_time, ban_time, shadow: false }))
    }
}

/// One step of an escalation.
struct Step(u32);

impl FromStr for Step {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Step, &'static str> {
        match text.parse() {
            Ok(0) | Err(_) => Err("is not a step; expected a number from 1"),
            Ok(step) => Ok(Step(step)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::Config;
    use super::*;

    /// The policy of a zone, when the file begins and ends like this.
    fn policy(head: &str, tail: &str, zone: &str) -> ZonePolicy {
        let config = parse(head, tail).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
        ZonePolicy::clone(&config.zones[zone])
    }

    fn parse(head: &str, tail: &str) -> Result<Config, Vec<String>> {
        let text = format!(
            "{head}\n[[listener]]\nname = \"a\"\nbind = \"127.0.0.1:0\"\n[upstream]\nservers = [\"127.0.0.1:1\"]\n{tail}\n"
        );
        let shown =
            |mistakes: Vec<crate::config::Mistake>| mistakes.iter().map(ToString::to_string).collect();
        Config::parse("test.toml", &text).map_err(shown)
    }

    fn threshold(max_count: u32, window: u64, ban: u64) -> Threshold {
        let (window_time, ban_time) = (Duration::from_secs(window), Duration::from_secs(ban));
        Threshold { max_count, window_time, ban_time, shadow: false }
    }

    #[test]
    fn nothing_is_detected_unless_it_is_switched_on() {
        assert!(policy("", "", "default").is_off());
        assert!(policy("", "[flapping_detect]\nmax_count = 3\n[zones.a]\n", "a").is_off());
    }

    #[test]
    fn the_flat_form_counts_by_client_identifier() {
        let on = policy("", "[flapping_detect]\nenable = true\nban_time = \"1h\"", "default");
        assert_eq!(on.by_clientid.map(|by| by.threshold), Some(threshold(15, 60, 3600)));
        assert_eq!((on.by_username, on.by_peerhost, on.by_network), (None, None, None));
        assert_eq!(
            on.duplicates,
            Some(Duplicates::default()),
            "whoever looks for flapping is told of duplicates"
        );
    }

    #[test]
    fn dimensions_are_on_when_they_are_there_and_win_over_the_flat_form() {
        let both = "[flapping_detect]\nenable = true\nmax_count = 9\nby_clientid = \"none\"\n\
                    [flapping_detect.by_peerhost]\nmax_count = 100\nwindow_time = \"30s\"\nban_time = \"10m\"\n";
        let policy_of = policy("", both, "default");
        assert_eq!(policy_of.by_clientid, None);
        assert_eq!(policy_of.by_peerhost.map(|by| by.threshold), Some(threshold(100, 30, 600)));
        let table = "[flapping_detect]\nmax_count = 9\n[flapping_detect.by_clientid]\nban_time = \"1m\"";
        assert_eq!(
            policy("", table, "default").by_clientid.map(|by| by.threshold),
            Some(threshold(9, 60, 60))
        );
    }

    #[test]
    fn fingerprints_are_weighed_and_never_counted_as_emqx_counts() {
        let table =
            "[flapping_detect.by_ja4]\nmax_count = 50\nmax_residents = 3\nper_client = 5\nshadow = true";
        let policy_of = policy("", table, "default");
        let by_ja4 = policy_of.by_ja4.expect("on");
        assert_eq!((by_ja4.max_residents, by_ja4.churn.per_client), (3, 5));
        assert_eq!((by_ja4.churn.threshold.max_count, by_ja4.churn.threshold.shadow), (50, true));
        assert!(!policy_of.is_off() && policy_of.duplicates.is_some());
        let mistakes =
            parse("", "[flapping_detect.by_ja4]\ncount_refused = true\n").expect_err("no such option");
        assert!(mistakes[0].contains("by_ja4.count_refused: is not an option"), "{mistakes:?}");
    }

    #[test]
    fn the_form_of_emqx_4_is_understood() {
        for text in ["30, 1m, 5m", "30,1m,5m", "30 1m 5m"] {
            let head = format!("flapping_detect_policy = \"{text}\"\nenable_flapping_detect = true");
            assert_eq!(
                policy(&head, "", "default").by_clientid.map(|by| by.threshold),
                Some(threshold(30, 60, 300))
            );
        }
        let zones = "[zones.external]\nenable_flapping_detect = true\n[zones.internal]\n";
        let head = "flapping_detect_policy = \"30, 1m, 5m\"";
        assert_eq!(
            policy(head, zones, "external").by_clientid.map(|by| by.threshold),
            Some(threshold(30, 60, 300))
        );
        assert!(policy(head, zones, "internal").is_off());
        assert!(policy(head, zones, "default").is_off());
    }

    #[test]
    fn a_zone_has_from_above_what_it_leaves_out_option_by_option() {
        let tail = "[flapping_detect]\nenable = true\nwindow_time = \"2m\"\n[flapping_detect.by_network]\nmax_count = 7\n\
                    [detection.malformed]\nmax_count = 5\n[detection.escalation]\nsteps = [1, 5]\n\
                    [zones.a.flapping_detect]\nmax_count = 20\n[zones.a.flapping_detect.by_network]\nipv4_prefix = \"off\"\n\
                    [zones.a.detection.malformed]\nban_time = \"0s\"\n[zones.b.flapping_detect]\nenable = false\nby_network = \"none\"\n\
                    [zones.b.detection]\nmalformed = \"none\"\n";
        let a = policy("", tail, "a");
        assert_eq!(&*a.zone, "a");
        assert_eq!(a.by_clientid.map(|by| by.threshold), Some(threshold(20, 120, 300)));
        assert_eq!(a.by_network.map(|by| (by.churn.threshold.max_count, by.ipv4_prefix)), Some((7, None)));
        assert_eq!(a.malformed.map(|by| by.threshold), Some(threshold(5, 60, 0)));
        assert_eq!(a.escalation.growth, Growth::Steps(vec![1, 5]));
        assert!(policy("", tail, "b").is_off());
    }

    #[test]
    fn shadows_fall_on_one_detector_or_on_all_of_a_zone() {
        let tail = "[flapping_detect]\nenable = true\n[flapping_detect.by_peerhost]\nshadow = true\n[zones.a]\nshadow = true\n";
        let general = policy("", tail, "default");
        let shadows = |policy: &ZonePolicy| {
            (
                policy.by_clientid.map(|by| by.threshold.shadow),
                policy.by_peerhost.map(|by| by.threshold.shadow),
            )
        };
        assert_eq!(shadows(&general), (Some(false), Some(true)));
        assert_eq!(shadows(&policy("", tail, "a")), (Some(true), Some(true)));
        assert_eq!(
            shadows(&policy("", "[flapping_detect]\nenable = true\nshadow = true", "default")).0,
            Some(true)
        );
    }

    #[test]
    fn limits_at_their_ends_are_taken_and_beyond_them_refused() {
        let ends =
            "[flapping_detect]\nenable = true\nmax_count = 0\nwindow_time = \"1ms\"\nban_time = \"0s\"";
        assert_eq!(
            policy("", ends, "default").by_clientid.map(|by| by.threshold.window_time),
            Some(Duration::from_millis(1))
        );
        for (tail, expected) in [
            (
                "[flapping_detect]\nwindow_time = \"0s\"",
                "flapping_detect.window_time: \"0s\" is too short; expected at least \"1ms\"",
            ),
            (
                "[flapping_detect]\nwindow_time = \"32d\"",
                "flapping_detect.window_time: \"32d\" is too long; expected at most \"31d\"",
            ),
            (
                "[flapping_detect]\nmax_count = 1000001",
                "flapping_detect.max_count: 1000001 is out of range; expected 0 to 1000000",
            ),
            (
                "[flapping_detect]\nby_peerhost = \"off\"",
                "flapping_detect.by_peerhost: \"off\" is not a table; expected [flapping_detect.by_peerhost] or \"none\"",
            ),
            (
                "[flapping_detect.by_ja4]\nmax_residents = 1000001",
                "flapping_detect.by_ja4.max_residents: 1000001 is out of range; expected 0 to 1000000",
            ),
            (
                "[detection.hammering]\nhush = \"1m\"",
                "detection.hammering.hush: is not an option; expected one of max_count, window_time, hush_time, shadow",
            ),
            (
                "[detection.escalation]\nfactor = 2\nsteps = [1]",
                "detection.escalation.steps: stands beside factor; expected one of the two",
            ),
            (
                "[detection.escalation]\nsteps = [0]",
                "detection.escalation.steps: 0 is not a step; expected a number from 1",
            ),
        ] {
            let mistakes = parse("", tail).expect_err(tail);
            assert!(mistakes.iter().any(|mistake| mistake.ends_with(expected)), "{mistakes:#?}");
        }
        let mistakes = parse("flapping_detect_policy = \"30, 1m\"", "").expect_err("too short");
        assert!(
            mistakes[0].contains("\"30, 1m\" is not a policy; expected COUNT, WINDOW, BAN"),
            "{mistakes:?}"
        );
        let mistakes = parse("enable_flapping_detect = true", "[flapping_detect]\n").expect_err("two forms");
        assert!(mistakes[0].contains("stands beside the options of EMQX 4"), "{mistakes:?}");
    }

    #[test]
    fn a_listener_names_a_zone_that_there_is() {
        let listener = "[[listener]]\nname = \"b\"\nbind = \"127.0.0.1:0\"\nzone = \"external\"\n";
        let config =
            parse("", &format!("{listener}[zones.external.flapping_detect]\nenable = true")).expect("a zone");
        assert_eq!(&*config.listeners[1].door.policy.zone, "external");
        assert!(config.listeners[0].door.policy.is_off());
        let mistakes = parse("", listener).expect_err("no zone");
        assert!(
            mistakes[0]
                .contains("\"external\" is no zone; expected \"default\" or the NAME of a [zones.NAME]")
        );
    }

    #[test]
    fn the_recommended_numbers_are_those_of_the_documented_file() {
        let text = std::fs::read_to_string("config/mqtt-bouncer.toml").expect("readable");
        let line = |line: &str| match line.strip_prefix('#') {
            Some(example) if !example.starts_with(' ') => example.to_owned(),
            _ => line.to_owned(),
        };
        let text = text.lines().map(line).collect::<Vec<_>>().join("\n");
        let config = Config::parse("test.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
        assert_eq!(*config.zones["default"], ZonePolicy::recommended("default"));
    }
}
