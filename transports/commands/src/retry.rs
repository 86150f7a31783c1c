//! When to try again, and how long to wait before. Pure.

use std::time::Duration;

/// What an answer of the back end means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It took the command.
    Taken,
    /// It may take it later; after so many seconds at the earliest, where it says so.
    Again(Option<Duration>),
    /// It will never take it.
    Never,
}

/// The verdict of a status, and of the header `Retry-After` in seconds (CMD-13).
pub(crate) fn verdict(status: u16, retry_after: Option<u64>) -> Verdict {
    match status {
        200..=299 => Verdict::Taken,
        429 | 500..=599 => Verdict::Again(retry_after.map(Duration::from_secs)),
        // A redirection is not followed: what was signed for one address is not for another.
        _ => Verdict::Never,
    }
}

/// How long to wait after the `failed`th attempt, from 1: doubled each time, up to `most`, and of that between a half and
/// the whole, as `draw` says. At least what the back end asked for, within `most`.
pub(crate) fn wait(failed: u32, first: Duration, most: Duration, asked: Option<Duration>, draw: u32) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX)).min(most);
    let drawn = doubled.mul_f64(0.5 + 0.5 * f64::from(draw) / f64::from(u32::MAX));
    drawn.max(asked.unwrap_or_default().min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cmd_13_what_may_pass_is_tried_again_and_what_was_refused_is_not() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(verdict(status, None), Verdict::Taken, "{status}");
        }
        for status in [429, 500, 502, 503, 599] {
            assert_eq!(verdict(status, Some(7)), Verdict::Again(Some(Duration::from_secs(7))), "{status}");
        }
        for status in [100, 301, 307, 400, 401, 404, 409, 410, 422, 600] {
            assert_eq!(verdict(status, None), Verdict::Never, "{status}");
        }
    }

    #[test]
    fn cmd_13_waits_are_doubled_drawn_and_bounded() {
        let (first, most) = (Duration::from_millis(250), Duration::from_secs(10));
        let between = |failed| (wait(failed, first, most, None, 0), wait(failed, first, most, None, u32::MAX));
        let millis = Duration::from_millis;
        assert_eq!(between(1), (millis(125), millis(250)));
        assert_eq!(between(4), (millis(1_000), millis(2_000)));
        for failed in [7, 32, 33, 1_000, u32::MAX] {
            assert_eq!(between(failed), (millis(5_000), millis(10_000)));
        }
        let asked = |seconds| wait(1, first, most, Some(Duration::from_secs(seconds)), 0);
        assert_eq!((asked(0), asked(3), asked(3_600)), (millis(125), millis(3_000), most));
    }
}
