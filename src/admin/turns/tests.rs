use super::*;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::{advance, sleep};

/// A machine that a test makes up; in microseconds.
#[derive(Debug, Clone, Default)]
struct Machine(Arc<[AtomicU64; 2]>);

impl Machine {
    fn work(&self, time: Duration) {
        self.add(0, time);
    }

    fn use_up(&self, time: Duration) {
        self.add(1, time);
    }

    fn add(&self, at: usize, time: Duration) {
        let count = u64::try_from(time.as_micros()).expect("it is short");
        self.0.get(at).expect("one of both").fetch_add(count, Ordering::Relaxed);
    }

    fn sum(&self, at: usize) -> Duration {
        Duration::from_micros(self.0.get(at).expect("one of both").load(Ordering::Relaxed))
    }
}

impl Gauge for Machine {
    fn servants(&self) -> u32 {
        2
    }

    fn at_work(&self) -> Duration {
        self.sum(0)
    }

    fn used(&self) -> Option<Duration> {
        Some(self.sum(1))
    }
}

const MS: Duration = Duration::from_millis(1);

fn machine() -> (Machine, Turns) {
    let machine = Machine::default();
    (machine.clone(), Turns::new(machine, 2))
}

/// For as long as the test goes on, both threads serve connections for this part of the time.
fn keep_busy(machine: &Machine, percent: u32) {
    let machine = machine.clone();
    tokio::spawn(async move {
        loop {
            sleep(10 * MS).await;
            machine.work(10 * MS * 2 * percent / 100);
        }
    });
}

/// How long it takes until so many callers, who all come at once, are answered; each call uses a millisecond.
async fn answer(machine: &Machine, turns: &Turns, callers: u32, line: Line) -> Duration {
    let began = Instant::now();
    let calls = (0..callers).map(|_| turns.take(line, async { machine.use_up(MS) }));
    futures_util::future::join_all(calls).await;
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_while_it_is_quiet() {
    let (machine, turns) = machine();
    keep_busy(&machine, 9);
    sleep(200 * MS).await;
    assert_eq!(answer(&machine, &turns, 1_000, Line::Stranger).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn while_it_is_busy_calls_have_a_fiftieth_of_the_processors() {
    let (machine, turns) = machine();
    // What was used in quiet times is nobody's debt.
    machine.use_up(Duration::from_hours(1));
    keep_busy(&machine, 11);
    sleep(200 * MS).await;
    let taken = answer(&machine, &turns, 101, Line::Owner).await;
    // A hundred pauses, 25 ms each: 1 ms is a fiftieth of what two processors have in 25.
    assert!((2_500 * MS..2_600 * MS).contains(&taken), "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_used_much_keeps_the_next_waiting_for_a_second_and_no_longer() {
    let (machine, turns) = machine();
    keep_busy(&machine, 90);
    sleep(200 * MS).await;
    turns.take(Line::Owner, async { machine.use_up(Duration::from_mins(1)) }).await;
    let taken = answer(&machine, &turns, 1, Line::Owner).await;
    assert_eq!(taken.as_millis(), MAX_PAUSE.as_millis());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_goes_on_keeps_nobody_waiting() {
    let (machine, turns) = machine();
    keep_busy(&machine, 90);
    sleep(200 * MS).await;
    let long = tokio::spawn({
        let turns = turns.clone();
        async move { turns.take(Line::Stranger, sleep(Duration::from_hours(1))).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(answer(&machine, &turns, 1, Line::Stranger).await.as_millis(), LONG.as_millis());
    long.abort();
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_answered_when_it_gets_quiet() {
    let (machine, turns) = machine();
    machine.work(Duration::from_secs(1));
    advance(LOOK).await;
    turns.take(Line::Owner, async { machine.use_up(Duration::from_secs(1)) }).await;
    // No connection has been served since.
    let taken = answer(&machine, &turns, 100, Line::Owner).await;
    assert!(taken <= 2 * LOOK, "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_alone_in_a_line_waits_for_one_of_each_other_and_no_crowd() {
    let lines = [Line::Owner, Line::Known, Line::Stranger];
    let pairs = lines.into_iter().flat_map(|one| lines.map(|other| (one, other)));
    // Who wakes first is chance.
    for (alone, others) in std::iter::repeat_n(pairs, 5).flatten() {
        if alone == others {
            continue;
        }
        let (machine, turns) = machine();
        keep_busy(&machine, 90);
        sleep(200 * MS).await;
        let crowd = answer(&machine, &turns, 1_000, others);
        let one = async {
            sleep(100 * MS).await;
            answer(&machine, &turns, 1, alone).await
        };
        let waited = tokio::select! {
            waited = one => waited,
            crowd = crowd => panic!("the crowd was done in {crowd:?}"),
        };
        // Two pauses, 25 ms each, and what the timers round up.
        assert!(waited <= 55 * MS, "{alone:?} beside {others:?}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn callers_who_leave_keep_nobody_waiting() {
    let (machine, turns) = machine();
    keep_busy(&machine, 90);
    sleep(200 * MS).await;
    for _ in 0..100 {
        let call = turns.take(Line::Owner, std::future::pending::<()>());
        assert!(timeout(MS, call).await.is_err());
    }
    assert_eq!(answer(&machine, &turns, 1, Line::Owner).await, Duration::ZERO);
}

#[tokio::test]
async fn the_runtime_says_how_long_it_was_at_work() {
    let front = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let gauge = System(front.handle().clone());
    assert_eq!(gauge.servants(), 1);
    let before = gauge.at_work();
    front.spawn(async { (0..1_000_000_u64).fold(0, |sum, one| std::hint::black_box(sum + one)) });
    while gauge.at_work() == before {
        tokio::task::yield_now().await;
    }
    front.shutdown_background();
}
