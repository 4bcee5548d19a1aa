//! A plan's devices by state over time, as SVG and as a table.

use crate::domain::{DeviceState, Sample};

/// Size of the drawing; the page stretches it.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 200.0;
/// From the ground up.
const ORDER: [DeviceState; 5] = [
    DeviceState::Upgraded,
    DeviceState::NoUpdateRequired,
    DeviceState::UpgradeFailed,
    DeviceState::InUpgrade,
    DeviceState::NotUpgraded,
];

/// One state's area.
pub(super) struct Area {
    pub(super) tone: &'static str,
    pub(super) path: String,
}

/// A line of the table: when, and the devices in the order of [`Chart::states`].
pub(super) struct Row {
    pub(super) at: i64,
    pub(super) devices: Vec<u64>,
}

/// The drawing and its table.
pub(super) struct Chart {
    pub(super) areas: Vec<Area>,
    pub(super) rows: Vec<Row>,
    pub(super) states: [DeviceState; 5],
    pub(super) from: i64,
    pub(super) to: i64,
    /// Devices at the top of the drawing.
    pub(super) most: u64,
}

impl Chart {
    /// Of samples, oldest first; none when there is nothing to show.
    pub(super) fn of(samples: &[Sample]) -> Option<Chart> {
        let (first, last) = (samples.first()?, samples.last()?);
        let most = samples.iter().map(|s| s.counters.total()).max()?;
        if most == 0 || last.at <= first.at {
            return None;
        }
        let x = |at: i64| (at - first.at) as f64 * WIDTH / (last.at - first.at) as f64;
        let y = |devices: u64| HEIGHT - devices as f64 * HEIGHT / most as f64;
        let stacked = |sample: &Sample, upto: usize| -> u64 {
            let mut counters = sample.counters;
            let states = ORDER.iter().take(upto);
            states.map(|state| *counters.of(*state)).sum()
        };
        // steps: a sample holds until the next one
        let edge = |upto: usize| -> Vec<(f64, f64)> {
            let mut points = Vec::new();
            for (i, sample) in samples.iter().enumerate() {
                let height = y(stacked(sample, upto));
                if i > 0 {
                    let before = samples.get(i - 1).map_or(0, |s| stacked(s, upto));
                    points.push((x(sample.at), y(before)));
                }
                points.push((x(sample.at), height));
            }
            points
        };
        let mut areas = Vec::new();
        for (i, state) in ORDER.iter().enumerate() {
            let anyone = samples.iter().any(|s| {
                let mut counters = s.counters;
                *counters.of(*state) > 0
            });
            if !anyone {
                continue;
            }
            let (mut lower, upper) = (edge(i), edge(i + 1));
            lower.reverse();
            let points = upper.into_iter().chain(lower);
            let points: Vec<_> = points.map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
            areas.push(Area {
                tone: super::show::device_tone(state),
                path: format!("M{}Z", points.join("L")),
            });
        }
        let row = |sample: &Sample| {
            let mut counters = sample.counters;
            Row {
                at: sample.at,
                devices: ORDER.map(|state| *counters.of(state)).into(),
            }
        };
        Some(Chart {
            areas,
            rows: samples.iter().rev().map(row).collect(),
            states: ORDER,
            from: first.at,
            to: last.at,
            most,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Counters, PlanId};

    #[test]
    fn areas_are_steps_over_each_other() {
        let sample = |at, upgraded, not_upgraded| Sample {
            plan: PlanId(5),
            at,
            counters: Counters {
                upgraded,
                not_upgraded,
                ..Counters::default()
            },
        };
        let samples = [sample(0, 0, 4), sample(50, 2, 2), sample(100, 4, 0)];
        let chart = Chart::of(&samples).expect("a chart");
        assert_eq!((chart.most, chart.areas.len(), chart.rows.len()), (4, 2, 3));
        assert_eq!(chart.areas[0].tone, "ok");
        assert_eq!(
            chart.areas[0].path,
            "M0.0 200.0L500.0 200.0L500.0 100.0L1000.0 100.0L1000.0 0.0\
             L1000.0 200.0L1000.0 200.0L500.0 200.0L500.0 200.0L0.0 200.0Z"
        );
        assert_eq!(chart.rows[0].devices, [4, 0, 0, 0, 0], "the newest first");
        assert!(Chart::of(&[]).is_none() && Chart::of(&samples[..1]).is_none());
        assert!(Chart::of(&[sample(0, 0, 0), sample(9, 0, 0)]).is_none());
    }
}
