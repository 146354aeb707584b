//! Who is logged in: random tokens, of which only digests are kept, in memory alone.

use super::secret::Digest;
use super::user::UserName;
use crate::admission::detection::Moment;
use std::collections::HashMap;
use std::time::Duration;

/// The tokens that hold, and those that have ended lately.
#[derive(Debug)]
pub struct Tokens {
    /// How long a token holds after it was last used.
    ttl: Duration,
    /// At most [`PER_USER`] of each user.
    sessions: HashMap<Digest, Session>,
}

#[derive(Debug)]
struct Session {
    user: UserName,
    began: Moment,
    used: Moment,
}

/// Why a token opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// Nobody has been given it, or it was taken back.
    Unknown,
    /// It has ended.
    Ended,
}

/// How many tokens one user has at most. Whoever logs in once more loses the one that was unused for longest.
const PER_USER: usize = 32;

/// How long a token holds at most, however often it is used, unless the time to live is longer.
const LONGEST: Duration = Duration::from_hours(24);

impl Tokens {
    /// No tokens yet; each will hold for `ttl` after it was last used.
    pub fn new(ttl: Duration) -> Tokens {
        Tokens { ttl, sessions: HashMap::new() }
    }

    /// Changes how long tokens hold, those that are there included.
    pub fn adjust(&mut self, ttl: Duration) {
        self.ttl = ttl;
    }

    /// How long a token holds that is not used.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Gives a token to a user.
    pub fn give(&mut self, user: UserName, token: Digest, now: Moment) {
        let (ttl, longest) = (self.ttl, self.longest());
        // Those that have just ended stay, so that their users are told why.
        self.sessions
            .retain(|_, session| !session.has_ended(ttl, longest, now) || now.since(session.used) < LONGEST);
        let own = self.sessions.iter().filter(|(_, session)| session.user == user);
        if own.clone().count() >= PER_USER
            && let Some(oldest) = own.min_by_key(|(_, session)| session.used).map(|(token, _)| *token)
        {
            self.sessions.remove(&oldest);
        }
        self.sessions.insert(token, Session { user, began: now, used: now });
    }

    /// Whose token this is. Using it makes it hold on.
    ///
    /// # Errors
    /// It opens nothing.
    pub fn check(&mut self, token: &Digest, now: Moment) -> Result<UserName, TokenError> {
        let (ttl, longest) = (self.ttl, self.longest());
        let session = self.sessions.get_mut(token).ok_or(TokenError::Unknown)?;
        if session.has_ended(ttl, longest, now) {
            return Err(TokenError::Ended);
        }
        session.used = now;
        Ok(session.user.clone())
    }

    /// Takes a token back.
    pub fn take_back(&mut self, token: &Digest) {
        self.sessions.remove(token);
    }

    /// Takes all tokens of a user back.
    pub fn take_back_all(&mut self, user: &str) {
        self.sessions.retain(|_, session| session.user.as_str() != user);
    }

    fn longest(&self) -> Duration {
        self.ttl.max(LONGEST)
    }
}

impl Session {
    fn has_ended(&self, ttl: Duration, longest: Duration, now: Moment) -> bool {
        now.since(self.used) >= ttl || now.since(self.began) >= longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(minutes: u64) -> Moment {
        Moment::from_millis(minutes * 60_000)
    }

    fn user(name: &str) -> UserName {
        name.parse().expect("a name")
    }

    fn token(number: u32) -> Digest {
        Digest::of(&number.to_string())
    }

    #[test]
    fn a_token_holds_while_it_is_used_and_no_longer_than_a_day() {
        let mut tokens = Tokens::new(HOUR);
        tokens.give(user("eve"), token(1), at(0));
        for minutes in (0..24 * 60).step_by(59) {
            assert_eq!(tokens.check(&token(1), at(minutes)), Ok(user("eve")), "{minutes}");
        }
        assert_eq!(tokens.check(&token(1), at(24 * 60)), Err(TokenError::Ended));
        assert_eq!(tokens.check(&token(2), at(0)), Err(TokenError::Unknown));
    }

    #[test]
    fn a_token_that_is_not_used_ends_and_its_user_is_told() {
        let mut tokens = Tokens::new(HOUR);
        tokens.give(user("eve"), token(1), at(0));
        tokens.give(user("bob"), token(2), at(60));
        assert_eq!(tokens.check(&token(1), at(60)), Err(TokenError::Ended));
        tokens.adjust(HOUR * 2);
        assert_eq!(tokens.check(&token(1), at(61)), Ok(user("eve")), "a longer life is for all of them");
        tokens.give(user("bob"), token(3), at(60 * 60));
        assert_eq!(
            tokens.check(&token(1), at(60 * 60)),
            Err(TokenError::Unknown),
            "long ended ones are forgotten"
        );
    }

    #[test]
    fn a_user_has_so_many_tokens_and_others_lose_none_for_it() {
        let mut tokens = Tokens::new(HOUR);
        tokens.give(user("bob"), token(9999), at(0));
        for number in 0..100 {
            tokens.give(user("eve"), token(number), at(1));
        }
        assert_eq!(tokens.sessions.len(), PER_USER + 1);
        assert_eq!(tokens.check(&token(9999), at(1)), Ok(user("bob")));
    }

    #[test]
    fn tokens_are_taken_back_one_by_one_or_all_of_a_user() {
        let mut tokens = Tokens::new(HOUR);
        for number in 0..3 {
            tokens.give(user("eve"), token(number), at(0));
        }
        tokens.give(user("bob"), token(9), at(0));
        tokens.take_back(&token(0));
        assert_eq!(tokens.check(&token(0), at(0)), Err(TokenError::Unknown));
        assert_eq!(tokens.check(&token(1), at(0)), Ok(user("eve")));
        tokens.take_back_all("eve");
        assert_eq!(tokens.check(&token(1), at(0)), Err(TokenError::Unknown));
        assert_eq!(tokens.check(&token(9), at(0)), Ok(user("bob")));
    }
}
