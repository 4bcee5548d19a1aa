//! From what AT commands set to what the cloud machine runs with.

use sota::bridge::Settings;
use sota::cloud::Config;
use sota::message::Reason;

/// `base` with server, endpoint and lifetime of `settings`. An empty device key is the one of `defaults`.
///
/// # Errors
/// What of the settings cannot be used: [`Reason::NoServerAddress`] the server's address,
/// [`Reason::NoProductInfo`] the keys, which are empty or together too long.
pub fn cloud_config(
    base: &Config,
    settings: &Settings,
    defaults: &Settings,
) -> Result<Config, Reason> {
    base.with(settings, defaults)
}

/// Notices at `AT+QIOTREG` that the settings are others than the cloud machine runs with.
pub(super) struct Reconfigure {
    running: Config,
    pub(super) defaults: Settings,
}

impl Reconfigure {
    pub(super) fn new(running: Config, defaults: Settings) -> Reconfigure {
        Reconfigure { running, defaults }
    }

    /// The new configuration, if it is another.
    pub(super) fn on_connect(&mut self, settings: &Settings) -> Result<Option<Config>, Reason> {
        let wanted = cloud_config(&self.running, settings, &self.defaults)?;
        if wanted == self.running {
            return Ok(None);
        }
        self.running = wanted.clone();
        Ok(Some(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            product_key: "p".try_into().unwrap(),
            device_key: "d".try_into().unwrap(),
            server: "coap://10.0.0.1".try_into().unwrap(),
            ..Settings::new()
        }
    }

    #[test]
    fn settings_become_a_configuration_once() {
        let defaults = settings();
        let first = cloud_config(&Config::default(), &defaults, &defaults).unwrap();
        assert_eq!(first.endpoint, "p:d");
        let mut reconfigure = Reconfigure::new(first, defaults);
        assert_eq!(reconfigure.on_connect(&settings()), Ok(None));
        let mut other = settings();
        other.server = "coap://h:99".try_into().unwrap();
        other.device_key = "e".try_into().unwrap();
        other.lifetime_s = 60;
        let made = reconfigure.on_connect(&other).unwrap().unwrap();
        assert_eq!((&*made.host, made.port, made.lifetime_s), ("h", 99, 60));
        assert_eq!(made.endpoint, "p:e");
        assert_eq!(reconfigure.on_connect(&other), Ok(None));
        other.device_key.clear();
        let made = reconfigure.on_connect(&other).unwrap().unwrap();
        assert_eq!(made.endpoint, "p:d");
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let mut reconfigure = Reconfigure::new(Config::default(), settings());
        let mut bad = settings();
        bad.server = "http://x".try_into().unwrap();
        assert_eq!(reconfigure.on_connect(&bad), Err(Reason::NoServerAddress));
        let mut bad = settings();
        bad.product_key.clear();
        assert_eq!(reconfigure.on_connect(&bad), Err(Reason::NoProductInfo));
    }
}
