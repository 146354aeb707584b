//! How sessions that are ended from here take their leave: who is told what, and who first.

use super::connection::Connection;
use crate::net::linger;
use crate::net::relay::{Cause, End, Parting};
use crate::net::stream::Stream;
use crate::wire::mqtt::Version;
use crate::wire::mqtt::session::{Session, Will};
use std::pin::pin;
use std::time::Duration;
use tokio::time::timeout;

/// How sessions that are ended from here take their leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partings {
    /// What becomes of the will of a client that is kicked.
    pub will: Will,
    /// What becomes of the wills of those who are inside when the process ends.
    pub drain_will: Will,
    /// How long packets that are under way may take to pass.
    pub wait: Duration,
}

/// The longest that packets may take when the process ends, however long they may otherwise.
const LONGEST_AT_THE_END: Duration = Duration::from_secs(2);

/// How long a client is not told yet while its broker does not close.
const HEAD_START: Duration = Duration::from_millis(250);

/// What a client is told that is kicked, and one that is inside when the process ends: administrative action, server
/// shutting down. \[MQTT 5, section 3.14.2.1\]
const ADMINISTRATIVE_ACTION: u8 = 0x98;
const SERVER_SHUTTING_DOWN: u8 = 0x8B;

impl Partings {
    /// How a session of this version takes its leave when this ends it.
    pub(super) fn parting(&self, cause: &Cause, version: Version) -> Parting {
        let (wait, will) = match cause {
            Cause::Stopped => (self.wait.min(LONGEST_AT_THE_END), self.drain_will),
            _ => (self.wait, self.will),
        };
        Parting { wait, to_client: version == Version::V5, to_broker: will.disconnect(version).is_some() }
    }
}

/// What is said at the end of a session that was ended from here.
#[derive(Debug)]
pub(super) struct LastWords {
    pub(super) to_client: Option<[u8; 4]>,
    pub(super) to_broker: Option<&'static [u8]>,
    /// The process ends, and waits for this.
    is_hasty: bool,
}

impl Connection<'_> {
    /// What is to be said where this session was ended from here; `None` where somebody else has ended it.
    pub(super) fn last_words(&self, end: &End, session: &Session) -> Option<LastWords> {
        let partings = **self.proxy.partings.load();
        let (reason, will, is_hasty) = match end.cause {
            Cause::Kicked => (ADMINISTRATIVE_ACTION, partings.will, false),
            Cause::Stopped => (SERVER_SHUTTING_DOWN, partings.drain_will, true),
            _ => return None,
        };
        Some(LastWords {
            to_client: session.disconnect_to_client(reason).filter(|_| end.client_hears),
            to_broker: session.disconnect_to_broker(will).filter(|_| end.broker_hears),
            is_hasty,
        })
    }
}

impl LastWords {
    /// Says them, to the broker first: a client that comes back at once would have its old session taken over, and its
    /// will published, by a broker that has not heard of its end. \[MQTT-3.1.4-3; 3.1.1: MQTT-3.1.4-2\]
    pub(super) async fn say(self, client: Stream, broker: Stream) {
        let LastWords { to_client, to_broker, is_hasty } = self;
        let tell_broker = async {
            match to_broker {
                Some(words) => linger::close_broker(broker, words).await,
                None => drop(broker),
            }
        };
        let tell_client = async {
            match to_client {
                None if is_hasty => drop(client),
                words => linger::close(client, words.as_ref().map_or(&[], |words| words)).await,
            }
        };
        let mut tell_broker = pin!(tell_broker);
        let head_start = if is_hasty { Duration::ZERO } else { HEAD_START };
        match timeout(head_start, &mut tell_broker).await {
            Ok(()) => tell_client.await,
            Err(_) => drop(tokio::join!(tell_broker, tell_client)),
        }
    }
}
