//! The threads of this process that step back behind those that clients wait for, and what they use.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Gives this thread the lowest priority, for what nobody's connection waits for. Elsewhere than on Linux, where a
/// priority is that of a whole process, does nothing.
///
/// # Errors
/// The system does not allow it. What the thread uses is counted all the same.
pub fn step_back() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        lock(&BACKGROUND).threads.push(Thread { id: thread, used: Duration::ZERO });
        rustix::process::setpriority_process(None, LOWEST)?;
    }
    Ok(())
}

/// As `nice` counts.
#[cfg(target_os = "linux")]
const LOWEST: i32 = 19;

/// The processor time that all threads have used that have stepped back, those that have ended included, as far as they
/// were seen; `None` where the system does not tell.
pub fn background_time() -> Option<Duration> {
    lock(&BACKGROUND).look(|thread| {
        let said = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
        time_of(&said)
    })
}

/// All of them; there is one process.
static BACKGROUND: Mutex<Background> = Mutex::new(Background { threads: Vec::new(), ended: Duration::ZERO });

#[derive(Debug)]
struct Background {
    threads: Vec<Thread>,
    /// What those have used that were seen before they ended.
    ended: Duration,
}

#[derive(Debug)]
struct Thread {
    id: i32,
    used: Duration,
}

impl Background {
    /// What all have used, where `time_of` says it of each that lives.
    fn look(&mut self, time_of: impl Fn(i32) -> Option<Duration>) -> Option<Duration> {
        let Background { threads, ended } = self;
        threads.retain_mut(|thread| match time_of(thread.id) {
            // A number that was given to another thread since starts from nothing.
            Some(used) if used >= thread.used => {
                thread.used = used;
                true
            }
            _ => {
                *ended += thread.used;
                false
            }
        });
        (!threads.is_empty()).then(|| *ended + threads.iter().map(|thread| thread.used).sum::<Duration>())
    }
}

/// The first number of `schedstat`: nanoseconds on a processor.
fn time_of(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Nothing panics while it holds this lock.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_threads_have_used_stays_counted() {
        let thread = |id| Thread { id, used: Duration::ZERO };
        let mut all = Background { threads: vec![thread(1), thread(2)], ended: Duration::ZERO };
        let seconds = |count| Some(Duration::from_secs(count));
        assert_eq!(all.look(|id| if id == 1 { seconds(5) } else { seconds(7) }), seconds(12));
        assert_eq!(all.look(|id| if id == 1 { None } else { seconds(8) }), seconds(13));
        assert_eq!(
            all.look(|_| seconds(1)),
            None,
            "another thread has its number, and there is no more of ours"
        );
        all.threads.push(thread(3));
        assert_eq!(all.look(|_| seconds(1)), seconds(14));
    }

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(time_of("1234 5 6\n"), Some(Duration::from_nanos(1_234)));
        assert_eq!(time_of(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_works_is_seen_to() {
        let worked = std::thread::spawn(|| {
            step_back().expect("anybody may step back");
            let before = background_time().expect("it is one of them");
            let mut sum = 0_u64;
            while background_time().expect("it lives") < before + Duration::from_millis(2) {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
        });
        worked.join().expect("no panic");
    }
}
