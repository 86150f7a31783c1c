//! How good a connection is: the round trip, smoothed. Pure.

use std::time::Duration;

/// How a connection feels to the one who uses it, by the smoothed round trip.
///
/// The bounds are those of the TypeScript client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quality {
    /// Not connected.
    #[default]
    Offline,
    /// 800 ms or more.
    Poor,
    /// Below 800 ms.
    Fair,
    /// Below 200 ms, or connected and not measured yet.
    Good,
}

/// The round trip, smoothed as TCP does it: an eighth of each new measurement (RFC 6298, section 2).
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    smoothed: Option<Duration>,
}

impl Latency {
    /// Takes a measurement.
    pub fn measured(&mut self, round_trip: Duration) {
        self.smoothed = Some(match self.smoothed {
            Some(smoothed) => smoothed.saturating_mul(7).saturating_add(round_trip) / 8,
            None => round_trip,
        });
    }

    /// The smoothed round trip.
    pub fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// What that means on a connection.
    pub fn quality(&self) -> Quality {
        match self.smoothed.map_or(0, |smoothed| smoothed.as_millis()) {
            ..200 => Quality::Good,
            200..800 => Quality::Fair,
            _ => Quality::Poor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_200_and_800_milliseconds() {
        for (millis, quality) in
            [(0, Quality::Good), (199, Quality::Good), (200, Quality::Fair), (799, Quality::Fair), (800, Quality::Poor)]
        {
            let mut latency = Latency::default();
            latency.measured(Duration::from_millis(millis));
            assert_eq!(latency.quality(), quality, "{millis}");
        }
        assert_eq!(Latency::default().quality(), Quality::Good);
        assert!(Quality::Good > Quality::Fair && Quality::Poor > Quality::Offline);
    }

    #[test]
    fn one_slow_answer_is_not_a_slow_connection_and_many_are() {
        let mut latency = Latency::default();
        latency.measured(Duration::from_millis(80));
        latency.measured(Duration::from_millis(880));
        assert_eq!(latency.smoothed(), Some(Duration::from_millis(180)));
        for _ in 0..40 {
            latency.measured(Duration::from_millis(880));
        }
        assert_eq!(latency.quality(), Quality::Poor);
        latency.measured(Duration::MAX);
        assert_eq!(latency.quality(), Quality::Poor);
    }
}
