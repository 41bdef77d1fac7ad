//! Work that several threads share.

use super::{Error, Result};
use crate::base::fault::Fault;

/// Runs `work` on several threads at once and gives what each returned; the first error wins.
pub fn parallel<T: Send>(threads: usize, work: impl Fn() -> Result<T> + Sync) -> Result<Vec<T>> {
    if threads < 2 {
        return Ok(vec![work()?]);
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        let panicked = || Error::new(Fault::Unexpected, "a worker thread panicked");
        let ends: Vec<_> =
            workers.into_iter().map(|w| w.join().unwrap_or_else(|_| Err(panicked()))).collect();
        ends.into_iter().collect()
    })
}
