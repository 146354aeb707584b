//! No text makes the config reader panic, and what it says of a text holds together.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt_bouncer::config::{Config, ConfigError, Orders, diff};

fuzz_target!(|text: &str| {
    match Config::parse(FILE, text) {
        Ok(config) => is_usable(&config, text),
        Err(mistakes) => {
            assert!(!mistakes.is_empty(), "refused without a mistake");
            assert!(mistakes.is_sorted_by_key(|mistake| mistake.line));
            // A mistake may be found at the end of the text, behind its last line break.
            let lines = 1 + text.matches('\n').count();
            assert!(mistakes.iter().all(|mistake| (1..=lines).contains(&mistake.line)));
            assert!(mistakes.iter().all(|mistake| mistake.file == FILE && !mistake.problem.is_empty()));
            let told = ConfigError::Mistakes(mistakes).to_string();
            assert!(told.lines().next().is_some_and(|line| line.starts_with(FILE)));
        }
    }
});

const FILE: &str = "fuzz.toml";

fn is_usable(config: &Config, text: &str) {
    assert!(!config.listeners.is_empty());
    assert!(!config.upstream.servers.is_empty());
    for listener in &config.listeners {
        assert!(config.settings.contains_key(&format!("listener.{}.bind", listener.name)));
    }
    for route in &config.routes {
        assert!(&*route.upstream == "default" || config.upstreams.contains_key(&*route.upstream));
        assert!(route.when.versions.as_ref().is_none_or(|versions| !versions.is_empty()));
    }
    assert_eq!(Config::parse(FILE, text).as_ref(), Ok(config), "read otherwise the second time");
    let nothing = Orders { keep: config.listeners.clone(), ..Orders::default() };
    assert_eq!(diff(config, config), nothing);
}
