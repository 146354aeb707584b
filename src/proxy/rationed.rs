//! One connection and the limits on how many may come.

use super::connection::{Connection, Name};
use super::limits::{Excess, OnRateLimited, Throttle};
use super::refusal::Refusal;
use crate::admission::Client;
use crate::net::stream::Stream;
use ipnet::IpNet;
use std::net::IpAddr;
use tokio::time::Instant;

impl Connection<'_> {
    /// Counts a connection whose address is known by now. One that is over a limit goes on, so that the client can be
    /// told, or ends here, before it costs more.
    pub(super) fn ration(&mut self, client: Stream) -> Option<Stream> {
        // A load balancer that sees whether we live is not one client.
        if self.is_unnamed() {
            return Some(client);
        }
        // Whoever comes by a Unix socket shares no address with anybody.
        let Some(peer) = self.peer.ip() else { return Some(client) };
        for throttle in [self.door.throttle(), self.proxy.limits.throttle()] {
            let (seat, fits) = throttle.enter(peer);
            self.seats.extend(seat);
            if let Err(excess) = fits {
                self.excess = Some(excess);
                break;
            }
        }
        match self.excess {
            Some(excess) if self.close_at_once(excess) => None,
            _ => Some(client),
        }
    }

    /// True when that is what the listener does, and no exemption is about the address.
    fn close_at_once(&self, excess: Excess) -> bool {
        let nobody = Client::new(self.peer.ip(), "", None);
        if self.settings.on_rate_limited == OnRateLimited::Connack || self.proxy.bouncer.is_exempt(&nobody) {
            return false;
        }
        let refusal = Refusal::RateLimited(excess);
        self.log_refused(&refusal, None);
        self.note_refused(&refusal, None);
        self.tell_rate_limited();
        true
    }

    /// Waits until it is this client's turn. Why it may not enter, if it may not.
    pub(super) async fn await_turn(&mut self, name: &Name) -> Option<Refusal> {
        if self.is_proxys_own() {
            return None;
        }
        let is_exempt = self.proxy.bouncer.is_exempt(&self.client(name));
        if !is_exempt {
            if let Some(excess) = self.excess {
                return Some(Refusal::RateLimited(excess));
            }
            for throttle in [self.door.throttle(), self.proxy.limits.throttle()] {
                match name.username.as_deref().map(|username| throttle.enter_username(username)) {
                    Some(Ok(seat)) => self.seats.extend(seat),
                    Some(Err(excess)) => return Some(Refusal::RateLimited(excess)),
                    None => {}
                }
            }
        }
        let peer = self.peer.ip();
        let mut deadline = None;
        for throttle in [self.door.throttle(), self.proxy.limits.throttle()] {
            let Some(pacer) = throttle.pacer() else { continue };
            let is_known = is_exempt || self.is_known(name);
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + pacer.max_wait());
            let passed = match pacer.enter(peer, is_known) {
                Ok(None) => Ok(()),
                Ok(Some(turn)) => {
                    let now = self.proxy.bouncer.clock().moment().as_micros();
                    let _waits = self.door.metrics().waiting.begin(now);
                    turn.wait(deadline).await
                }
                Err(excess) => Err(excess),
            };
            if let Err(excess) = passed {
                return Some(Refusal::RateLimited(excess));
            }
        }
        None
    }

    /// A broker has accepted the client, which will not wait as long the next time.
    pub(super) fn remember(&self, name: &Name) {
        let is_paced = |throttle: &Throttle| throttle.pacer().is_some();
        if !name.client_id.is_empty()
            && (is_paced(&self.door.throttle()) || is_paced(&self.proxy.limits.throttle()))
        {
            self.proxy.limits.known().remember(&self.identity(name));
        }
    }

    fn is_known(&self, name: &Name) -> bool {
        !name.client_id.is_empty() && self.proxy.limits.known().contains(&self.identity(name))
    }

    /// What a client is known by: with the password that the broker has accepted, or by where it comes from, where it has
    /// none. Whoever has only heard of a client identifier is not taken for its owner.
    fn identity<'n>(&self, name: &'n Name) -> (&'n str, Option<&'n str>, Result<u64, Option<IpNet>>) {
        let network = |ip: IpAddr| {
            let prefix = if ip.is_ipv4() { 24 } else { 64 };
            IpNet::new(ip, prefix).unwrap_or_else(|_| ip.into()).trunc()
        };
        let home = || self.peer.ip().map(network);
        (&name.client_id, name.username.as_deref(), name.credentials.ok_or_else(home))
    }
}
