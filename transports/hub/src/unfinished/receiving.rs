//! The body of a request that is being received: within the budget, and not too slowly (LIMIT-08, LIMIT-09).

use std::{pin::pin, time::Duration};

use eventwire_protocol::{ErrorBody, ErrorCode};
use tokio::time::{Instant, sleep_until};

use super::{Budget, Evicted, Pace, Progress, Reservation};
use crate::holder::Holder;

/// Bytes of each body that its connection has room for anyway.
const OWN_BYTES: u64 = 8 * 1024;

/// One body that is being received. Dropping it gives its bytes back.
pub struct Receiving {
    reservation: Reservation,
    progress: Progress,
    received: u64,
    began: Instant,
}

impl Receiving {
    /// A body of this holder that begins now.
    pub fn begin(budget: &Budget, holder: Holder, pace: Pace) -> Self {
        let progress = Progress::begin(pace, Duration::ZERO);
        Self { reservation: budget.reader(holder), progress, received: 0, began: Instant::now() }
    }

    /// Waits for the next part of the body, whatever it is to the caller.
    ///
    /// # Errors
    /// `timeout` when the body comes too slowly; `unavailable` when it is given up to make room.
    pub async fn next<T>(&mut self, part: impl Future<Output = T>) -> Result<T, ErrorBody> {
        let mut part = pin!(part);
        loop {
            let deadline = self.began + self.progress.deadline();
            tokio::select! {
                biased;
                part = &mut part => return Ok(part),
                evicted = self.reservation.evicted() => return Err(given_up(evicted)),
                () = sleep_until(deadline) => {
                    if self.progress.is_too_slow(self.began.elapsed()) {
                        let message = "the body came too slowly; send it at 8 KiB a second or faster";
                        return Err(ErrorBody::new(ErrorCode::Timeout, message));
                    }
                }
            }
        }
    }

    /// Reserves what a part holds, before it is kept.
    ///
    /// # Errors
    /// `unavailable` when the body is given up to make room.
    pub async fn keep(&mut self, bytes: usize) -> Result<(), ErrorBody> {
        let before = self.received.saturating_sub(OWN_BYTES);
        self.received = self.received.saturating_add(bytes as u64);
        self.progress.add(bytes as u64);
        let more = self.received.saturating_sub(OWN_BYTES) - before;
        if more == 0 {
            return Ok(());
        }
        self.progress.pause(self.began.elapsed());
        let grown = self.reservation.grow(more).await;
        self.progress.resume(self.began.elapsed());
        grown.map_err(given_up)
    }
}

fn given_up(evicted: Evicted) -> ErrorBody {
    ErrorBody::new(ErrorCode::Unavailable, evicted.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        Pace::default()
    }

    async fn receive(budget: &Budget, parts: u32, bytes: usize, every: Duration) -> Result<(), ErrorCode> {
        let mut receiving = Receiving::begin(budget, Holder::of_peer(None), pace());
        for _ in 0..parts {
            receiving.next(tokio::time::sleep(every)).await.map_err(|error| error.code)?;
            receiving.keep(bytes).await.map_err(|error| error.code)?;
        }
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn limit_09_a_large_body_over_a_slow_line_passes_and_a_trickle_does_not() {
        let budget = Budget::new(64 << 20);
        // 8 MiB over 1 Mbit/s take 67 s.
        assert_eq!(receive(&budget, 67, 125_000, Duration::from_secs(1)).await, Ok(()));
        assert_eq!(receive(&budget, 100, 8_000, Duration::from_secs(1)).await, Err(ErrorCode::Timeout));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn limit_08_bodies_count_in_the_budget_and_one_that_is_given_up_says_so() {
        let budget = Budget::new(1 << 20);
        let stranger = |last: u8| Holder::of_peer(Some([10, 0, 0, last].into()));
        let mut small = Receiving::begin(&budget, stranger(3), pace());
        small.keep(8 * 1024).await.unwrap();
        assert_eq!(budget.used(), 0);
        let mut large = Receiving::begin(&budget, stranger(1), pace());
        large.keep(900 * 1024).await.unwrap();
        assert_eq!(budget.used(), 892 * 1024);
        let mut other = Receiving::begin(&budget, stranger(2), pace());
        let given_up = async move {
            let error = large.next(std::future::pending::<()>()).await.unwrap_err();
            drop(large);
            error.code
        };
        let (given_up, kept) = tokio::join!(given_up, other.keep(300 * 1024));
        assert_eq!((given_up, kept), (ErrorCode::Unavailable, Ok(())));
    }
}
