//! What `AT+QIOTCFG` and `AT+QIOTREG` set. The port keeps it in its own storage.

use crate::text::put;
use heapless::String;

/// Greatest length of a product key, product secret, device key or device secret, in bytes.
pub const KEY_LEN: usize = 64;
/// Greatest length of the server's address, in bytes.
pub const SERVER_LEN: usize = 128;
/// Greatest lifetime in seconds (`Ql_iotConfigSetLifetime`); the least is 1.
pub const LIFETIME_MAX: u32 = 864_000;

/// `AT+QIOTREG`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ConnectMode {
    /// Not connected.
    #[default]
    Idle = 0,
    /// Connected because the host asked; not again after a restart.
    Request = 1,
    /// Connects by itself after each start.
    Auto = 2,
}

/// The device's configuration as the host sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Product key.
    pub product_key: String<KEY_LEN>,
    /// Product secret.
    pub product_secret: String<KEY_LEN>,
    /// Device key; empty = the port's own (an IMEI).
    pub device_key: String<KEY_LEN>,
    /// Device secret; empty = none.
    pub device_secret: String<KEY_LEN>,
    /// `coap://host[:port]`; empty = none.
    pub server: String<SERVER_LEN>,
    /// Registration lifetime in seconds, 1..=864000.
    pub lifetime_s: u32,
    /// Connection mode.
    pub connect: ConnectMode,
}

impl Settings {
    /// Nothing configured; lifetime 86400 s.
    pub const fn new() -> Self {
        Settings {
            product_key: String::new(),
            product_secret: String::new(),
            device_key: String::new(),
            device_secret: String::new(),
            server: String::new(),
            lifetime_s: 86_400,
            connect: ConnectMode::Idle,
        }
    }

    /// Takes what `other` has, in place: a clone would stand on the stack first.
    pub fn copy(&mut self, other: &Settings) {
        let _ = put(&mut self.product_key, &other.product_key);
        let _ = put(&mut self.product_secret, &other.product_secret);
        let _ = put(&mut self.device_key, &other.device_key);
        let _ = put(&mut self.device_secret, &other.device_secret);
        let _ = put(&mut self.server, &other.server);
        self.lifetime_s = other.lifetime_s;
        self.connect = other.connect;
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}
