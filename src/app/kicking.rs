//! Ends the sessions of those whom a ban names that has come in force, where `[banned] kick` has its kind.
//!
//! Names, addresses, certificates and fingerprints are looked up. For networks and patterns all sessions are asked about, in
//! pieces, by a thread that may block: neither whoever made the ban nor the connections wait for that.

use crate::admission::{As, Kinds, Who};
use crate::bouncer::Bouncer;
use crate::sessions::{Live, Sessions};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::info;

/// The task that does it; it ends with this.
#[derive(Debug)]
pub(super) struct Kicking {
    bouncer: Bouncer,
    kinds: Arc<ArcSwap<Kinds>>,
    following: JoinHandle<()>,
}

impl Kicking {
    /// Follows the bans of `bouncer` from now on. Must be called inside a tokio runtime.
    pub(super) fn start(bouncer: Bouncer, sessions: Sessions, kinds: Kinds) -> Kicking {
        bouncer.want_news(kinds);
        let kinds = Arc::new(ArcSwap::from_pointee(kinds));
        let following = tokio::spawn(follow(bouncer.clone(), sessions, Arc::clone(&kinds)));
        Kicking { bouncer, kinds, following }
    }

    /// Changes which kinds of bans kick, for bans that come in force from now on.
    pub(super) fn adjust(&self, kinds: Kinds) {
        self.kinds.store(Arc::new(kinds));
        self.bouncer.want_news(kinds);
    }
}

impl Drop for Kicking {
    fn drop(&mut self) {
        self.following.abort();
    }
}

async fn follow(bouncer: Bouncer, sessions: Sessions, kinds: Arc<ArcSwap<Kinds>>) {
    let Some(mut news) = bouncer.news() else { return };
    let mut bans = Vec::new();
    while news.recv_many(&mut bans, AT_ONCE).await > 0 {
        let batch = std::mem::take(&mut bans);
        let (bouncer, sessions, kinds) = (bouncer.clone(), sessions.clone(), **kinds.load());
        // It fails only when the runtime ends.
        let _ = spawn_blocking(move || kick(&bouncer, &sessions, kinds, &batch)).await;
    }
}

/// How many bans are seen to together. They are all in one walk.
const AT_ONCE: usize = 256;

/// Ends the sessions that these bans name, and says in the log how many they were.
fn kick(bouncer: &Bouncer, sessions: &Sessions, kinds: Kinds, bans: &[Who]) {
    let is_to_go = |live: &Live| bouncer.is_to_go(&live.client(), kinds);
    let kicked = if bouncer.take_missed_news() || bans.iter().any(|who| !is_exact(who.kind())) {
        let walk = sessions.walk();
        walk.flatten().filter(|live| is_to_go(live) && live.kick()).count()
    } else {
        let named = bans.iter().flat_map(|who| sessions_of(sessions, who));
        named.filter(|live| is_to_go(live) && live.kick()).count()
    };
    if kicked > 0 {
        info!(sessions = kicked, "kicked by a ban");
    }
}

fn is_exact(kind: As) -> bool {
    !matches!(kind, As::PeerHostNet | As::ClientIdRe | As::UsernameRe | As::PeerHostRe)
}

/// The sessions that an exact ban names; none for others.
fn sessions_of(sessions: &Sessions, who: &Who) -> Vec<Arc<Live>> {
    match who {
        Who::ClientId(client_id) => sessions.of_client_id(client_id).collect(),
        Who::Username(username) => sessions.of_username(username).collect(),
        Who::PeerHost(peer) => sessions.of_peer(*peer).collect(),
        Who::CertCn(cn) => sessions.of_cert_cn(cn).collect(),
        Who::CertSha256(digest) => sessions.of_cert_sha256(digest).collect(),
        Who::TlsJa4(ja4) => sessions.of_ja4(ja4).collect(),
        Who::PeerHostNet(_) | Who::ClientIdRe(_) | Who::UsernameRe(_) | Who::PeerHostRe(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Ban, List, Terms, Timestamp, Until};
    use crate::sessions::{Entered, Guest};
    use crate::wire::mqtt::Version;

    fn enter(sessions: &Sessions, client_id: &str) -> Entered {
        sessions.enter(Guest {
            client_id,
            username: Some("eve"),
            peer: std::net::SocketAddr::from(([10, 0, 0, 1], 4000)).into(),
            listener: "mqtt".into(),
            zone: "default".into(),
            upstream: "127.0.0.1:1884",
            version: Version::V5,
            clean_start: true,
            keep_alive: 60,
            via: None,
            is_tls: false,
            tls: None,
            cert_cn: Some("sensor"),
            since: Timestamp::from_millis(0),
            received: 20,
        })
    }

    fn put(bouncer: &Bouncer, list: List, kind: As, who: &str) -> Who {
        let terms = Terms {
            by: "ops".into(),
            reason: "".into(),
            at: Timestamp::from_millis(0),
            until: Until::Infinity,
        };
        let who = Who::new(kind, who, None).expect("a name");
        bouncer.put(list, Ban { who: who.clone(), terms }).expect("room");
        who
    }

    #[test]
    fn each_kind_of_ban_ends_the_sessions_that_it_names() {
        for (kind, who) in [
            (As::ClientId, "bot-1"),
            (As::Username, "eve"),
            (As::PeerHost, "10.0.0.1"),
            (As::CertCn, "sensor"),
            (As::PeerHostNet, "10.0.0.0/8"),
            (As::ClientIdRe, "^bot-1$"),
            (As::UsernameRe, "^e"),
            (As::PeerHostRe, r"\.1$"),
        ] {
            let (bouncer, sessions) = (Bouncer::default(), Sessions::default());
            let (named, exempt) = (enter(&sessions, "bot-1"), enter(&sessions, "pump"));
            put(&bouncer, List::Exemptions, As::ClientId, "pump");
            let ban = put(&bouncer, List::Bans, kind, who);
            let others: Kinds = As::ALL.into_iter().filter(|other| *other != kind).collect();
            kick(&bouncer, &sessions, others, std::slice::from_ref(&ban));
            assert!(!named.is_kicked(), "{kind}");
            kick(&bouncer, &sessions, [kind].into_iter().collect(), &[ban]);
            assert!(named.is_kicked() && !exempt.is_kicked(), "{kind}");
        }
    }

    #[tokio::test]
    async fn whoever_a_batch_that_was_too_long_names_is_kicked_all_the_same() {
        let (bouncer, sessions) = (Bouncer::default(), Sessions::default());
        let (last, stays) = (enter(&sessions, "bot-9999"), enter(&sessions, "pump"));
        let _kicking = Kicking::start(bouncer.clone(), sessions, [As::ClientId].into_iter().collect());
        // The follower does not run before this test waits.
        for number in 0..10_000 {
            put(&bouncer, List::Bans, As::ClientId, &format!("bot-{number}"));
        }
        while !last.is_kicked() {
            tokio::task::yield_now().await;
        }
        assert!(!stays.is_kicked());
    }

    #[tokio::test]
    async fn what_kicks_can_be_changed() {
        let (bouncer, sessions) = (Bouncer::default(), Sessions::default());
        let (first, second) = (enter(&sessions, "a"), enter(&sessions, "b"));
        let kicking = Kicking::start(bouncer.clone(), sessions.clone(), Kinds::default());
        put(&bouncer, List::Bans, As::ClientId, "a");
        kicking.adjust([As::ClientId].into_iter().collect());
        put(&bouncer, List::Bans, As::ClientId, "b");
        while !second.is_kicked() {
            tokio::task::yield_now().await;
        }
        assert!(!first.is_kicked(), "its ban came before");
    }
}
