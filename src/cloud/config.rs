//! What the port tells the cloud machine once, and what the two say to each other.

use heapless::String;
use sota_lwm2m::objects::plan::DEFAULT_OBJECT_ID;

use super::uri::{COAP_PORT, Uri};
use crate::bridge::Settings;
use crate::message::Reason;
use crate::text::put;

/// Greatest length of the server's host name, in bytes.
pub const HOST_LEN: usize = 64;
/// Greatest length of the endpoint name `<productKey>:<deviceKey>`, in bytes.
pub const ENDPOINT_LEN: usize = 96;

/// Which transmission parameters the link needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// RFC 7252's defaults: ACK_TIMEOUT 2 s.
    #[default]
    Rfc7252,
    /// NB-IoT: ACK_TIMEOUT 15 s.
    NbIot,
}

/// Configuration of the cloud machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name or address literal of the LwM2M server.
    pub host: String<HOST_LEN>,
    /// Its UDP port.
    pub port: u16,
    /// `<productKey>:<deviceKey>`.
    pub endpoint: String<ENDPOINT_LEN>,
    /// Registration lifetime in seconds, 1..=864000.
    pub lifetime_s: u32,
    /// Queue mode: between its own messages the module may sleep.
    pub queue_mode: bool,
    /// In queue mode, how long the module stays reachable after a message, in milliseconds.
    pub awake_ms: u32,
    /// After this much silence a registration Update goes before any other message, in milliseconds: the
    /// address translation on the path may have forgotten us, and only an Update tells the server our
    /// new address. 0 = never.
    pub nat_idle_ms: u32,
    /// The link's transmission parameters.
    pub link: Link,
    /// Id of the Plan object.
    pub plan_object: u16,
    /// /33629 Advanced Firmware Update instead of /9.
    pub advanced_firmware_update: bool,
    /// /4/0/0 Network Bearer: 7 NB-IoT, 6 LTE-FDD, 41 Ethernet …
    pub bearer: u8,
}

impl Config {
    /// These with server, endpoint and lifetime of `settings`. An empty device key is the one of `defaults`.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn with(&self, settings: &Settings, defaults: &Settings) -> Result<Config, Reason> {
        let mut config = self.clone();
        config.take(settings, &defaults.device_key)?;
        Ok(config)
    }

    /// Takes server, endpoint and lifetime of `settings`. An empty device key is `device_key`.
    ///
    /// # Errors
    /// What of the settings cannot be used: [`Reason::NoServerAddress`] the server's address,
    /// [`Reason::NoProductInfo`] the keys, which are empty or together too long. Some may have been taken then.
    pub fn take(&mut self, settings: &Settings, device_key: &str) -> Result<(), Reason> {
        let uri = Uri::parse(&settings.server).map_err(|_| Reason::NoServerAddress)?;
        let key = match settings.device_key.as_str() {
            "" => device_key,
            key => key,
        };
        if settings.product_key.is_empty() || key.is_empty() {
            return Err(Reason::NoProductInfo);
        }
        put(&mut self.host, uri.host).ok_or(Reason::NoServerAddress)?;
        self.port = uri.port;
        self.endpoint.clear();
        for part in [settings.product_key.as_str(), ":", key] {
            self.endpoint
                .push_str(part)
                .map_err(|_| Reason::NoProductInfo)?;
        }
        self.lifetime_s = settings.lifetime_s;
        Ok(())
    }
}

impl Default for Config {
    /// No server and no endpoint yet; a day's lifetime, awake for 93 s in queue mode, NAT memory 30 s.
    fn default() -> Self {
        Config {
            host: String::new(),
            port: COAP_PORT,
            endpoint: String::new(),
            lifetime_s: 86_400,
            queue_mode: false,
            awake_ms: 93_000,
            nat_idle_ms: 30_000,
            link: Link::Rfc7252,
            plan_object: DEFAULT_OBJECT_ID,
            advanced_firmware_update: false,
            bearer: 7,
        }
    }
}

/// The two peers the machine talks to; the port keeps their socket addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The LwM2M server.
    Server,
    /// The host of the package's URI. The port says [`Peer::Server`] for datagrams from an address that
    /// is both; they are paired by their tokens.
    Source,
}

/// What the port must look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup<'a> {
    /// Whose address: pass it back to `on_resolved`.
    pub peer: Peer,
    /// Name or address literal (IPv6 without brackets).
    pub host: &'a str,
    /// UDP port.
    pub port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_a_configuration() {
        let mut settings = Settings::new();
        settings.product_key = "p".try_into().unwrap();
        settings.server = "coap://h:99".try_into().unwrap();
        settings.lifetime_s = 60;
        let base = Config::default();
        assert_eq!(base.with(&settings, &settings), Err(Reason::NoProductInfo));
        let mut defaults = Settings::new();
        defaults.device_key = "d".try_into().unwrap();
        let made = base.with(&settings, &defaults).unwrap();
        assert_eq!((&*made.host, made.port, made.lifetime_s), ("h", 99, 60));
        assert_eq!(made.endpoint, "p:d");
        settings.device_key = "e".try_into().unwrap();
        assert_eq!(base.with(&settings, &defaults).unwrap().endpoint, "p:e");
        settings.server = "http://x".try_into().unwrap();
        assert_eq!(
            base.with(&settings, &defaults),
            Err(Reason::NoServerAddress)
        );
    }
}
