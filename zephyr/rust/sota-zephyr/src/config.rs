//! What Kconfig and the kept settings give to the machines.

use crate::firmware::Bootloader;
use crate::sys;
use core::cell::RefCell;
use core::ffi::c_char;
use critical_section::Mutex;
use sota::bridge::{ConnectMode, LIFETIME_MAX, Settings};
use sota::cloud::{self, Link};
use sota::engine;
use sota::message::Reason;
use sota::platform::FirmwareSlot;

/// A decimal number of the build.
///
/// # Panics
/// While the image is built: the text is no number.
pub(crate) const fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    assert!(!bytes.is_empty(), "an empty number of the build");
    let (mut at, mut value) = (0, 0);
    while at < bytes.len() {
        assert!(
            bytes[at].is_ascii_digit(),
            "a number of the build has another letter"
        );
        value = value * 10 + (bytes[at] - b'0') as usize;
        at += 1;
    }
    value
}

/// `struct sota_kconfig` of `zephyr/shim.h`: what Kconfig set, in the units of the options.
#[repr(C)]
pub(crate) struct Kconfig {
    server: *const c_char,
    product_key: *const c_char,
    product_secret: *const c_char,
    device_key: *const c_char,
    device_secret: *const c_char,
    own_component: *const c_char,
    own_version: *const c_char,
    piece_limit: u32,
    info_wait_s: u32,
    start_wait_s: u32,
    downloading_period_s: u32,
    read_timeout_s: u32,
    update_timeout_s: u32,
    revert_grace_s: u32,
    lifetime_s: u32,
    awake_s: u32,
    nat_idle_s: u32,
    plan_object: u16,
    min_rsrp_dbm: i16,
    min_battery_percent: u8,
    download_retries: u8,
    connect_mode: u8,
    log_level: u8,
    bearer: u8,
    strict: bool,
    auto_confirm: bool,
    queue_mode: bool,
    nb_iot: bool,
    advanced_firmware_update: bool,
}

#[allow(unsafe_code)] // the C border
mod border {
    use super::Kconfig;
    use crate::sys;
    use core::ffi::c_char;

    // SAFETY: constant, as are the strings it points to.
    unsafe impl Sync for Kconfig {}

    pub(super) fn text(text: *const c_char) -> &'static str {
        // SAFETY: the strings of `Kconfig` are literals of the shim.
        unsafe { sys::text(text) }
    }
}

/// Sets a text; false: it is too long, and nothing changed.
fn put<'a, T: TryFrom<&'a str>>(to: &mut T, from: &'a str) -> bool {
    T::try_from(from).map(|value| *to = value).is_ok()
}

/// What counts where nothing was set at run time.
pub(crate) fn defaults() -> Settings {
    let k = sys::kconfig();
    let mut settings = Settings::new();
    put(&mut settings.server, border::text(k.server));
    put(&mut settings.product_key, border::text(k.product_key));
    put(&mut settings.product_secret, border::text(k.product_secret));
    put(&mut settings.device_key, border::text(k.device_key));
    put(&mut settings.device_secret, border::text(k.device_secret));
    settings.lifetime_s = k.lifetime_s;
    settings.connect = mode(k.connect_mode).unwrap_or_default();
    settings
}

/// The mode with this number.
pub(crate) fn mode(number: u8) -> Option<ConnectMode> {
    Some(match number {
        0 => ConnectMode::Idle,
        1 => ConnectMode::Request,
        2 => ConnectMode::Auto,
        _ => return None,
    })
}

pub(crate) fn engine() -> engine::Config {
    let k = sys::kconfig();
    let ms = |s: u32| s.saturating_mul(1000);
    let mut config = engine::Config {
        strict: k.strict,
        auto_confirm: k.auto_confirm,
        piece_limit: Some(k.piece_limit).filter(|limit| *limit > 0),
        confirm_after_link: true,
        info_wait_ms: ms(k.info_wait_s),
        start_ms: ms(k.start_wait_s),
        tick_ms: ms(k.downloading_period_s),
        read_ms: ms(k.read_timeout_s),
        update_ms: ms(k.update_timeout_s),
        revert_grace_ms: ms(k.revert_grace_s),
        failures_max: k.download_retries,
        min_battery_percent: k.min_battery_percent,
        min_rsrp_dbm: k.min_rsrp_dbm,
        firmware_slot: Bootloader { length: 0 }.slot_size(),
        ..engine::Config::default()
    };
    put(&mut config.own_component, border::text(k.own_component));
    put(&mut config.own_version, border::text(k.own_version));
    config
}

#[cfg(feature = "log")]
pub(crate) fn log_level() -> u8 {
    sys::kconfig().log_level
}

/// What the settings do not reach.
fn cloud() -> cloud::Config {
    let k = sys::kconfig();
    cloud::Config {
        queue_mode: k.queue_mode,
        awake_ms: k.awake_s.saturating_mul(1000),
        nat_idle_ms: k.nat_idle_s.saturating_mul(1000),
        link: if k.nb_iot { Link::NbIot } else { Link::Rfc7252 },
        plan_object: k.plan_object,
        advanced_firmware_update: k.advanced_firmware_update,
        bearer: k.bearer,
        ..cloud::Config::default()
    }
}

/// The present settings: AT commands, the C API and the shell change them.
static SETTINGS: Mutex<RefCell<Settings>> = Mutex::new(RefCell::new(Settings::new()));

pub(crate) fn settings() -> Settings {
    critical_section::with(|cs| SETTINGS.borrow_ref(cs).clone())
}

/// Changes the present settings without keeping them.
pub(crate) fn with_settings<T>(change: impl FnOnce(&mut Settings) -> T) -> T {
    critical_section::with(|cs| change(&mut SETTINGS.borrow_ref_mut(cs)))
}

/// What the cloud's machine is to run with.
pub(crate) fn wanted() -> Result<cloud::Config, Reason> {
    cloud().with(&settings(), &defaults())
}

/// Names of the settings below `sota/`; `setting_keys` of the shim has the same order.
#[derive(Clone, Copy)]
pub(crate) enum Setting {
    ProductKey,
    ProductSecret,
    DeviceKey,
    DeviceSecret,
    Server,
    Lifetime,
    Connect,
}

const KEYS: [Setting; 7] = [
    Setting::ProductKey,
    Setting::ProductSecret,
    Setting::DeviceKey,
    Setting::DeviceSecret,
    Setting::Server,
    Setting::Lifetime,
    Setting::Connect,
];

/// A value that was kept, as bytes. One that cannot be used is passed over.
pub(crate) fn loaded(key: usize, value: &[u8]) {
    with_settings(|settings| apply(settings, key, value));
}

/// Sets and keeps one value; false: it cannot be used or not be kept.
pub(crate) fn set(key: usize, value: &[u8]) -> bool {
    let mut new = settings();
    apply(&mut new, key, value) && keep(new)
}

fn apply(settings: &mut Settings, key: usize, value: &[u8]) -> bool {
    // What is no text is of no use as one; numbers are bytes.
    let text = core::str::from_utf8(value).unwrap_or("\u{fffd}");
    match KEYS.get(key) {
        Some(Setting::ProductKey) => put(&mut settings.product_key, text),
        Some(Setting::ProductSecret) => put(&mut settings.product_secret, text),
        Some(Setting::DeviceKey) => put(&mut settings.device_key, text),
        Some(Setting::DeviceSecret) => put(&mut settings.device_secret, text),
        Some(Setting::Server) => put(&mut settings.server, text),
        Some(Setting::Lifetime) => value
            .try_into()
            .ok()
            .map(u32::from_le_bytes)
            .filter(|seconds| (1..=LIFETIME_MAX).contains(seconds))
            .map(|seconds| settings.lifetime_s = seconds)
            .is_some(),
        Some(Setting::Connect) => value
            .first()
            .and_then(|number| mode(*number))
            .map(|mode| settings.connect = mode)
            .is_some(),
        None => false,
    }
}

/// A setting that is a text.
pub(crate) fn text_of(settings: &Settings, key: usize) -> Option<&str> {
    Some(match KEYS.get(key)? {
        Setting::ProductKey => &settings.product_key,
        Setting::ProductSecret => &settings.product_secret,
        Setting::DeviceKey => &settings.device_key,
        Setting::DeviceSecret => &settings.device_secret,
        Setting::Server => &settings.server,
        Setting::Lifetime | Setting::Connect => return None,
    })
}

/// Keeps what differs from before, and takes `new` as the present ones. False: the storage failed; they count
/// until the next start.
pub(crate) fn keep(new: Settings) -> bool {
    let old = settings();
    let mut kept = true;
    let mut save = |key: Setting, changed: bool, value: &[u8]| {
        if changed {
            kept &= sys::setting_save(key as u8, value);
        }
    };
    for (key, new, old) in [
        (Setting::ProductKey, &new.product_key, &old.product_key),
        (
            Setting::ProductSecret,
            &new.product_secret,
            &old.product_secret,
        ),
        (Setting::DeviceKey, &new.device_key, &old.device_key),
        (
            Setting::DeviceSecret,
            &new.device_secret,
            &old.device_secret,
        ),
    ] {
        save(key, new != old, new.as_bytes());
    }
    save(
        Setting::Server,
        new.server != old.server,
        new.server.as_bytes(),
    );
    let lifetime = new.lifetime_s.to_le_bytes();
    save(
        Setting::Lifetime,
        new.lifetime_s != old.lifetime_s,
        &lifetime,
    );
    save(
        Setting::Connect,
        new.connect != old.connect,
        &[new.connect as u8],
    );
    with_settings(|settings| *settings = new);
    kept
}
