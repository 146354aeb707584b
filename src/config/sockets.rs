//! Where a listener listens, and the options of its sockets.

use super::document::Section;
use crate::net::address::Address;
use crate::net::listener::ListenOptions;
use crate::net::unix::FileOptions;
use std::str::FromStr;
use std::sync::Arc;

/// The addresses of a listener: one, or a list of them.
pub(super) fn read_addresses(section: &Section<'_, '_>) -> Option<Vec<Address>> {
    let addresses = section.one_or_more("bind", "IP:PORT, e.g. \"0.0.0.0:1883\"")?;
    let fixed = |count: usize| addresses.iter().take(count).filter(|address: &&Address| address.is_fixed());
    for (index, address) in addresses.iter().enumerate() {
        if fixed(index).any(|earlier| earlier == address) {
            section.mistake("bind", format!("{address} stands there twice; expected once"));
        }
    }
    Some(addresses)
}

/// How its sockets listen.
pub(super) fn read(section: &Section<'_, '_>) -> Option<ListenOptions> {
    let backlog = section.number("backlog", "4096", 1..65_536);
    let ipv6_only = section.switch("ipv6_only", "false");
    let reuse_port = section.switch("reuse_port", "false");
    let mark = section.number("mark", "0", 0..1 << 32);
    let transparent = section.switch("transparent", "false");
    let mode: Option<Mode> = section.parsed("unix_mode", "\"0660\"");
    let owner: Option<Account> = section.optional("unix_owner");
    let group: Option<Account> = section.optional("unix_group");
    Some(ListenOptions {
        backlog: i32::try_from(backlog?).ok()?,
        ipv6_only: ipv6_only?,
        reuse_port: reuse_port?,
        mark: u32::try_from(mark?).ok().filter(|mark| *mark != 0),
        transparent: transparent?,
        file: FileOptions {
            mode: mode?.0,
            owner: owner.map(|owner| owner.0),
            group: group.map(|group| group.0),
        },
    })
}

/// The mode of a file.
struct Mode(u32);

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Mode, &'static str> {
        let mode = u32::from_str_radix(text, 8).ok();
        mode.filter(|mode| *mode <= 0o777 && (3..=4).contains(&text.len()))
            .map(Mode)
            .ok_or("is not a mode; expected three or four octal digits, e.g. \"0660\"")
    }
}

/// A user or a group, by name or number. Whether there is one is seen where the socket is made.
struct Account(Arc<str>);

impl FromStr for Account {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Account, &'static str> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b':' | b'/');
        if (1..=256).contains(&text.len()) && text.bytes().all(is_plain) {
            Ok(Account(text.into()))
        } else {
            Err("is no user or group; expected a name or a number")
        }
    }
}
