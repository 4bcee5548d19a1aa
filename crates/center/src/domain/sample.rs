//! Samples of a plan's counters over time, at a bounded cost: at most one a minute, and when the plan has run for longer
//! one in a longer interval, so that there are never more than some 120.
//!
//! | the plan has run for | interval |
//! |---|---|
//! | up to 2 hours | 1 minute |
//! | up to 4 hours, 8 hours … | 2 minutes, 4 minutes … |
//!
//! When the interval grows, of the older samples the first in each interval stays. A sample is written only when
//! something changed: between two of them the earlier one holds.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Counters, PlanId, Time};

/// Shortest interval, in ms.
pub const SAMPLE_INTERVAL: Time = 60_000;
/// Intervals that a plan is divided into at most.
const INTERVALS: Time = 120;

/// Devices of a plan by state at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sample {
    /// The plan.
    pub plan: PlanId,
    /// When, in ms since 1970.
    pub at: Time,
    /// Devices by state.
    pub counters: Counters,
}

/// The interval of a plan that has run for so long.
pub fn sample_interval(elapsed: Time) -> Time {
    let mut interval = SAMPLE_INTERVAL;
    while elapsed > interval.saturating_mul(INTERVALS) {
        interval = interval.saturating_mul(2);
    }
    interval
}

/// Which interval a time is in.
pub fn sample_slot(start: Time, at: Time, interval: Time) -> Time {
    at.saturating_sub(start).div_euclid(interval.max(1))
}

/// Whether another sample is to be written. `last` is the newest one.
pub fn sample_due(start: Time, last: Option<&Sample>, counters: &Counters, now: Time) -> bool {
    let Some(last) = last else { return true };
    let interval = sample_interval(now.saturating_sub(start));
    let slot = |at| sample_slot(start, at, interval);
    last.counters != *counters && slot(now) > slot(last.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_stay_few_however_long_a_plan_runs() {
        let counters = |n: u64| Counters {
            upgraded: n,
            ..Counters::default()
        };
        let mut samples: Vec<Sample> = Vec::new();
        let start = 12_345;
        for minute in 0..200_000 {
            let at = start + minute * SAMPLE_INTERVAL;
            let now = counters(minute as u64 / 3);
            if sample_due(start, samples.last(), &now, at) {
                let interval = sample_interval(at - start);
                let mut slots = std::collections::BTreeSet::new();
                samples.retain(|s| slots.insert(sample_slot(start, s.at, interval)));
                samples.push(Sample {
                    plan: PlanId(5),
                    at,
                    counters: now,
                });
            }
            assert!(samples.len() <= 122, "{} after {minute}", samples.len());
        }
        assert_eq!(samples[0].at, start, "the first stays");
        assert!(samples.len() > 55, "{}", samples.len());
    }

    #[test]
    fn what_does_not_change_is_not_written() {
        let sample = Sample {
            plan: PlanId(5),
            at: 0,
            counters: Counters::default(),
        };
        assert!(!sample_due(
            0,
            Some(&sample),
            &Counters::default(),
            10 * SAMPLE_INTERVAL
        ));
        let other = Counters {
            upgraded: 1,
            ..Counters::default()
        };
        assert!(!sample_due(0, Some(&sample), &other, SAMPLE_INTERVAL - 1));
        assert!(sample_due(0, Some(&sample), &other, SAMPLE_INTERVAL));
        assert!(sample_due(0, None, &Counters::default(), 0));
    }
}
