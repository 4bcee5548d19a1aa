//! The plan's strategy, judged on the device: at confirm time and before each piece.

use crate::{
    message::{Offer, Reason},
    platform::Readings,
};

/// Battery and signal against the plan's limits; 0 is no limit.
pub(super) fn judge(offer: &Offer, readings: Readings) -> Result<(), Reason> {
    if offer.battery_limit_percent > 0 {
        let battery = readings.battery_percent.ok_or(Reason::BatteryUnknown)?;
        if battery < offer.battery_limit_percent {
            return Err(Reason::BatteryTooLow);
        }
    }
    if offer.min_signal_dbm != 0 {
        let signal = readings.rsrp_dbm.ok_or(Reason::SignalUnknown)?;
        if signal < offer.min_signal_dbm {
            return Err(Reason::SignalTooWeak);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        use Reason::*;
        let r = |battery_percent, rsrp_dbm| Readings {
            battery_percent,
            rsrp_dbm,
        };
        for (battery, signal, readings, expected) in [
            (0, 0, r(None, None), Ok(())),
            (30, 0, r(None, None), Err(BatteryUnknown)),
            (30, 0, r(Some(29), None), Err(BatteryTooLow)),
            (30, 0, r(Some(30), None), Ok(())),
            (0, -113, r(None, None), Err(SignalUnknown)),
            (0, -113, r(None, Some(-114)), Err(SignalTooWeak)),
            (0, -113, r(None, Some(-113)), Ok(())),
        ] {
            let offer = Offer {
                battery_limit_percent: battery,
                min_signal_dbm: signal,
                ..Offer::default()
            };
            assert_eq!(judge(&offer, readings), expected);
        }
    }
}
