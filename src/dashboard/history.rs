//! What the charts show: how many connections had which outcome, in steps, over three spans of time. Its size is fixed.

use crate::admission::Timestamp;
use std::collections::VecDeque;
use std::str::FromStr;
use std::time::Duration;

/// What is counted at one moment. What only grows is counted since the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// Connections that were let in.
    pub admitted: u64,
    /// Connections that a ban refused.
    pub banned: u64,
    /// Connections that a limit refused.
    pub rate_limited: u64,
    /// Connections that spoke something else, or spoke it wrongly.
    pub malformed: u64,
    /// Connections for which no broker could be reached.
    pub upstream_down: u64,
    /// Connections that ended otherwise before they were let in.
    pub other: u64,
    /// Findings of detection.
    pub detections: u64,
    /// Sessions that live at this moment.
    pub sessions: u64,
    /// Bans that hold at this moment.
    pub bans: u64,
}

/// What came in one step of a chart: of what grows, how much it grew; of the rest, the most that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// When the step began.
    pub at: Timestamp,
    /// How long the step was watched: its length, but for the first and the last of all.
    pub watched: Duration,
    /// What came.
    pub counts: Sample,
}

/// How far a chart looks back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Span {
    /// A quarter of an hour.
    Quarter,
    /// Six hours.
    SixHours,
    /// A day.
    Day,
}

/// A text that names no span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 15m, 6h or 24h")]
pub struct UnknownSpan;

impl Span {
    /// Every span.
    pub const ALL: [Span; 3] = [Span::Quarter, Span::SixHours, Span::Day];

    /// Its length.
    pub const fn length(self) -> Duration {
        match self {
            Span::Quarter => Duration::from_mins(15),
            Span::SixHours => Duration::from_hours(6),
            Span::Day => Duration::from_hours(24),
        }
    }

    /// The length of its steps.
    pub const fn step(self) -> Duration {
        match self {
            Span::Quarter => Duration::from_secs(5),
            Span::SixHours => Duration::from_mins(2),
            Span::Day => Duration::from_mins(8),
        }
    }

    fn steps(self) -> i64 {
        millis(self.length()) / millis(self.step())
    }
}

impl FromStr for Span {
    type Err = UnknownSpan;

    fn from_str(text: &str) -> Result<Span, UnknownSpan> {
        match text {
            "15m" => Ok(Span::Quarter),
            "6h" => Ok(Span::SixHours),
            "24h" => Ok(Span::Day),
            _ => Err(UnknownSpan),
        }
    }
}

/// The history of all spans. It never has more than 540 points.
#[derive(Debug, Default)]
pub struct History {
    last: Option<(Timestamp, Sample)>,
    quarter: VecDeque<Point>,
    six_hours: VecDeque<Point>,
    day: VecDeque<Point>,
}

/// After a longer silence than this nobody knows when it was that something came.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

impl History {
    /// Adds what is counted at `now` to the step of each span that `now` lies in. To be called about once a second. The
    /// first sample, and one after a long silence, only begins the counting.
    pub fn record(&mut self, now: Timestamp, sample: Sample) {
        let last = self.last.replace((now, sample));
        let Some((then, before)) = last else { return };
        let passed = now.as_millis().saturating_sub(then.as_millis());
        if passed < 0 {
            // The clock was set back: what is said of the future is not so.
            for span in Span::ALL {
                self.points_mut(span).retain(|point| point.at <= now);
            }
            return;
        }
        let passed = Duration::from_millis(passed.unsigned_abs());
        if passed > LONGEST_SILENCE {
            return;
        }
        let grown = sample.since(&before);
        for span in Span::ALL {
            let at = beginning(now, span);
            let points = self.points_mut(span);
            match points.back_mut() {
                Some(point) if point.at == at => point.add(passed, &grown),
                _ => points.push_back(Point { at, watched: passed, counts: grown }),
            }
            let oldest = at.as_millis().saturating_sub(millis(span.length()));
            while points.front().is_some_and(|point| point.at.as_millis() <= oldest) {
                points.pop_front();
            }
        }
    }

    /// The points of a span, the oldest first; steps in which nobody watched are left out. What is older at `now` than
    /// the span is long is not among them.
    pub fn points(&self, span: Span, now: Timestamp) -> Vec<Point> {
        let oldest = beginning(now, span).as_millis() - (span.steps() - 1) * millis(span.step());
        self.of(span).iter().filter(|point| point.at.as_millis() >= oldest).copied().collect()
    }

    fn of(&self, span: Span) -> &VecDeque<Point> {
        match span {
            Span::Quarter => &self.quarter,
            Span::SixHours => &self.six_hours,
            Span::Day => &self.day,
        }
    }

    fn points_mut(&mut self, span: Span) -> &mut VecDeque<Point> {
        match span {
            Span::Quarter => &mut self.quarter,
            Span::SixHours => &mut self.six_hours,
            Span::Day => &mut self.day,
        }
    }
}

impl Point {
    fn add(&mut self, passed: Duration, grown: &Sample) {
        let counts = &mut self.counts;
        self.watched += passed;
        counts.admitted += grown.admitted;
        counts.banned += grown.banned;
        counts.rate_limited += grown.rate_limited;
        counts.malformed += grown.malformed;
        counts.upstream_down += grown.upstream_down;
        counts.other += grown.other;
        counts.detections += grown.detections;
        counts.sessions = counts.sessions.max(grown.sessions);
        counts.bans = counts.bans.max(grown.bans);
    }
}

impl Sample {
    /// What has come since; what is of the moment stays. A count that has become less belongs to a listener that is gone.
    #[must_use]
    pub fn since(&self, before: &Sample) -> Sample {
        Sample {
            admitted: self.admitted.saturating_sub(before.admitted),
            banned: self.banned.saturating_sub(before.banned),
            rate_limited: self.rate_limited.saturating_sub(before.rate_limited),
            malformed: self.malformed.saturating_sub(before.malformed),
            upstream_down: self.upstream_down.saturating_sub(before.upstream_down),
            other: self.other.saturating_sub(before.other),
            detections: self.detections.saturating_sub(before.detections),
            sessions: self.sessions,
            bans: self.bans,
        }
    }
}

/// When the step began that `now` lies in.
fn beginning(now: Timestamp, span: Span) -> Timestamp {
    let step = millis(span.step());
    Timestamp::from_millis(now.as_millis().div_euclid(step).saturating_mul(step))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A moment at which steps of every span begin.
    const START: i64 = 1_920_000_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(START + second * 1000)
    }

    fn sample(admitted: u64, sessions: u64) -> Sample {
        Sample { admitted, sessions, ..Sample::default() }
    }

    /// One connection each second.
    fn watched(seconds: std::ops::Range<i64>) -> History {
        let mut history = History::default();
        for second in seconds {
            history.record(at(second), sample(second.unsigned_abs(), second.unsigned_abs() % 7));
        }
        history
    }

    #[test]
    fn a_step_has_what_came_in_it_and_the_most_that_there_was() {
        let history = watched(0..11);
        let points = history.points(Span::Quarter, at(10));
        let told: Vec<_> = points.iter().map(|point| (point.at, point.watched.as_secs())).collect();
        assert_eq!(told, [(at(0), 4), (at(5), 5), (at(10), 1)]);
        assert_eq!(points.iter().map(|point| point.counts.admitted).collect::<Vec<_>>(), [4, 5, 1]);
        assert_eq!(points.iter().map(|point| point.counts.sessions).collect::<Vec<_>>(), [4, 6, 3]);
    }

    #[test]
    fn a_day_is_kept_and_no_more() {
        let end = 3 * 86_400;
        let history = watched(0..end);
        for (span, steps) in [(Span::Quarter, 180), (Span::SixHours, 180), (Span::Day, 180)] {
            let points = history.points(span, at(end - 1));
            assert_eq!(points.len(), steps, "{span:?}");
            let length = i64::try_from(span.length().as_secs()).expect("short");
            assert!(points.iter().all(|point| point.at > at(end - 1 - length)), "{span:?}");
        }
    }

    #[test]
    fn what_is_too_old_is_not_told_when_nobody_has_recorded_since() {
        let history = watched(0..100);
        assert!(history.points(Span::Quarter, at(99 + 900)).is_empty());
        assert_eq!(history.points(Span::Day, at(99 + 900)).len(), 1);
    }

    #[test]
    fn a_silence_leaves_a_gap_and_no_peak() {
        let mut history = watched(0..11);
        history.record(at(300), sample(1_000_000, 0));
        history.record(at(301), sample(1_000_001, 0));
        let counts: Vec<_> =
            history.points(Span::Quarter, at(301)).iter().map(|point| point.counts.admitted).collect();
        assert_eq!(counts, [4, 5, 1, 1]);
    }

    #[test]
    fn a_clock_that_is_set_back_takes_back_what_was_said_of_the_future() {
        let mut history = watched(0..100);
        history.record(at(50), sample(100, 0));
        history.record(at(51), sample(101, 0));
        let points = history.points(Span::Quarter, at(51));
        assert_eq!(points.last().map(|point| (point.at, point.counts.admitted)), Some((at(50), 6)));
        assert!(points.iter().all(|point| point.at <= at(51)));
    }

    #[test]
    fn counts_of_a_listener_that_is_gone_count_for_nothing() {
        let mut history = History::default();
        history.record(at(0), sample(100, 0));
        history.record(at(1), sample(40, 0));
        history.record(at(2), sample(42, 0));
        assert_eq!(history.points(Span::Quarter, at(2))[0].counts.admitted, 2);
    }

    #[test]
    fn spans_have_names() {
        assert_eq!(["15m", "6h", "24h"].map(str::parse), Span::ALL.map(Ok));
        assert_eq!("1h".parse::<Span>(), Err(UnknownSpan));
    }
}
