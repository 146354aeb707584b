//! The dashboard in a browser: Chromium, without a screen, drives every flow against the binary, a broker and clients that
//! are refused. What is seen is kept as pictures in `target/tmp/dashboard`.

use crate::harness::Broker;
use crate::suites::{folder, python, transcript};
use std::path::Path;

fn play(flow: &str) {
    let broker = Broker::start();
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard");
    let mut command = python("dashboard/run.py");
    command.args(["--binary", env!("CARGO_BIN_EXE_mqtt-bouncer"), "--chromium", "/usr/bin/chromium"]);
    command.args(["--broker", &broker.addr.to_string()]);
    command.arg("--axe").arg(folder().join("js/node_modules/axe-core/axe.min.js"));
    command.arg("--shots").arg(pictures);
    let told = transcript(command.arg(flow));
    assert!(told.contains(&format!("{flow}: done")), "{told}");
}

/// One test for each flow, of its name.
macro_rules! flows {
    ($($(#[$doc:meta])* $name:ident = $flow:literal,)*) => {
        $($(#[$doc])* #[test] fn $name() { play($flow); })*
    };
}

flows! {
    a_login_gives_a_cookie_that_no_script_sees_and_no_other_site_can_use = "login",
    a_viewer_sees_no_buttons_and_is_refused_by_the_server = "viewer",
    the_page_weighs_no_more_than_promised = "weight",
    the_viewer_of_the_api_s_document_works_without_the_internet = "document",
    nothing_serious_is_found_in_any_view_light_dark_or_narrow = "accessible",
    everything_is_reached_without_a_mouse = "keyboard",
    a_ban_is_tried_before_it_is_made = "create",
    bans_are_edited_extended_and_lifted_one_by_one_and_together = "change",
    a_filtered_page_can_be_shared = "find",
    a_file_is_tried_out_before_it_is_taken_in = "exchange",
    names_that_strangers_choose_are_shown_and_never_run = "hostile",
    refused_clients_appear_with_their_cause_and_its_cure = "refused",
    clients_inside_are_found_kicked_and_banned = "inside",
    whoever_is_near_a_limit_is_seen_before_it_is_banned = "watch",
    other_limits_are_tried_on_what_has_happened = "what_if",
    a_reload_is_foretold_and_its_mistakes_are_shown = "settings",
    the_door_is_seen_live = "overview",
    a_form_survives_the_end_of_its_login = "expired",
    two_operators_at_one_ban_lose_nothing = "two_operators",
    a_page_survives_a_restart_of_the_proxy = "restarted",
}
