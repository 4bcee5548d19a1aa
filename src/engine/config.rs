//! What a product sets.

use crate::message::{ComponentName, Version};

/// What a product sets. Times in milliseconds.
#[derive(Clone, Debug)]
pub struct Config {
    /// QuecThing to the letter: its timers, restarts and version rule.
    pub strict: bool,
    /// Offers are confirmed without the host.
    pub auto_confirm: bool,
    /// Greatest piece in bytes; rounded down to a multiple of 1024. `None`: what staging holds.
    pub piece_limit: Option<u32>,
    /// Identifier of the module's own component.
    pub own_component: ComponentName,
    /// Version the module runs.
    pub own_version: Version,
    /// Bytes of the module's firmware slot; `None`: the module cannot be upgraded.
    pub firmware_slot: Option<u32>,
    /// Least battery in %, also where the plan asks for less; 0: the plan's limit alone.
    pub min_battery_percent: u8,
    /// Least RSRP in dBm, also where the plan asks for less; 0: the plan's limit alone.
    pub min_rsrp_dbm: i16,
    /// A new image of the module counts as good when it has registered, not when it runs: until then the bootloader
    /// would revert it.
    pub confirm_after_link: bool,
    /// State 2: longest wait for the download information.
    pub info_wait_ms: u32,
    /// State 4: longest wait for the first block.
    pub start_ms: u32,
    /// State 5: time between two events 10702; also how often a suspended download is judged again.
    pub tick_ms: u32,
    /// State 8: longest time between two reads of the MCU.
    pub read_ms: u32,
    /// State 9: longest time until the MCU reports its new version.
    pub update_ms: u32,
    /// State 9: how long an MCU that announced its source version may still come with the target.
    pub revert_grace_ms: u32,
    /// Download errors in a row that are forgiven.
    pub failures_max: u8,
}

impl Default for Config {
    /// Not strict, times for NB-IoT.
    fn default() -> Self {
        Config {
            strict: false,
            auto_confirm: false,
            piece_limit: None,
            own_component: ComponentName::new(),
            own_version: Version::new(),
            firmware_slot: None,
            confirm_after_link: false,
            min_battery_percent: 0,
            min_rsrp_dbm: 0,
            info_wait_ms: 697_500,
            start_ms: 552_500,
            tick_ms: 5_000,
            read_ms: 60_000,
            update_ms: 1_200_000,
            revert_grace_ms: 180_000,
            failures_max: 5,
        }
    }
}

impl Config {
    /// QuecThing to the letter.
    pub fn strict() -> Self {
        Config {
            strict: true,
            info_wait_ms: 30_000,
            start_ms: 5_000,
            ..Config::default()
        }
    }
}
