//! The options of a listener's socket.

use super::document::Section;
use crate::net::listener::ListenOptions;

pub(super) fn read(section: &Section<'_, '_>) -> Option<ListenOptions> {
    let backlog = section.number("backlog", "4096", 1..65_536);
    let ipv6_only = section.switch("ipv6_only", "false");
    let reuse_port = section.switch("reuse_port", "false");
    let mark = section.number("mark", "0", 0..1 << 32);
    let transparent = section.switch("transparent", "false");
    Some(ListenOptions {
        backlog: i32::try_from(backlog?).ok()?,
        ipv6_only: ipv6_only?,
        reuse_port: reuse_port?,
        mark: u32::try_from(mark?).ok().filter(|mark| *mark != 0),
        transparent: transparent?,
    })
}
