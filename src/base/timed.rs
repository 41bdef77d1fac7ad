//! Work with a time limit, for what may never answer: a resolver, a server.

use crate::base::interrupt::{self, Interrupted};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How often a wait looks for a signal.
const SLICE: Duration = Duration::from_millis(50);

/// What `work` comes to, in a thread of its own, so that it holds nobody up. `None` after `limit`; what is left of the
/// thread then ends by its own limits, or with the process.
pub fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Option<T>, Interrupted> {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(work()));
    let until = Instant::now() + limit;
    loop {
        match result.recv_timeout(SLICE) {
            Ok(value) => return Ok(Some(value)),
            // It panicked.
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Err(interrupted) = interrupt::check() {
            // A child is being ended for the same reason.
            let _ = result.recv_timeout(Duration::from_secs(1));
            return Err(interrupted);
        }
        if Instant::now() >= until {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_does_not_end_is_left_behind() {
        let start = Instant::now();
        let left = within(Duration::from_millis(200), || thread::sleep(Duration::from_secs(30)));
        assert!(left.unwrap().is_none());
        assert!(start.elapsed() < Duration::from_secs(5));
        assert_eq!(within(Duration::from_secs(30), || 7).unwrap(), Some(7));
    }
}
