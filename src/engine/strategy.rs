//! The plan's strategy, judged on the device: at confirm time and before each piece.

use super::Config;
use crate::{
    message::{Offer, Reason},
    platform::Readings,
};

/// Battery and signal against the limits of the plan and of the product, whichever is stricter; 0 is no limit.
pub(super) fn judge(offer: &Offer, config: &Config, readings: Readings) -> Result<(), Reason> {
    let least = offer.battery_limit_percent.max(config.min_battery_percent);
    if least > 0 {
        let battery = readings.battery_percent.ok_or(Reason::BatteryUnknown)?;
        if battery < least {
            return Err(Reason::BatteryTooLow);
        }
    }
    let weakest = match (offer.min_signal_dbm, config.min_rsrp_dbm) {
        (plan, 0) => plan,
        (0, own) => own,
        (plan, own) => plan.max(own),
    };
    if weakest != 0 {
        let signal = readings.rsrp_dbm.ok_or(Reason::SignalUnknown)?;
        if signal < weakest {
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
            assert_eq!(judge(&offer, &Config::default(), readings), expected);
            // The product's own limits do the same, and cannot be relaxed by a plan.
            let own = Config {
                min_battery_percent: battery,
                min_rsrp_dbm: signal,
                ..Config::default()
            };
            assert_eq!(judge(&Offer::default(), &own, readings), expected);
            let lax = Offer {
                battery_limit_percent: 1,
                min_signal_dbm: -150,
                ..Offer::default()
            };
            if battery > 0 && signal != 0 {
                assert_eq!(judge(&lax, &own, readings), expected);
            }
        }
    }
}
