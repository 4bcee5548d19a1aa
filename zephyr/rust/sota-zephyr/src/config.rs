//! What Kconfig and the kept settings give to the machines.

use crate::firmware::Bootloader;
use crate::sys;
use core::cell::RefCell;
use core::ffi::c_char;
use critical_section::Mutex;
use heapless::string::StringView;
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
#[inline(never)]
pub(crate) fn put(to: &mut StringView, from: &str) -> bool {
    let fits = from.len() <= to.capacity();
    if fits {
        to.clear();
        let _ = to.push_str(from);
    }
    fits
}

/// What counts where nothing was set at run time.
fn defaults(settings: &mut Settings) {
    let k = sys::kconfig();
    put(&mut settings.server, border::text(k.server));
    put(&mut settings.product_key, border::text(k.product_key));
    put(&mut settings.product_secret, border::text(k.product_secret));
    put(&mut settings.device_key, border::text(k.device_key));
    put(&mut settings.device_secret, border::text(k.device_secret));
    settings.lifetime_s = k.lifetime_s;
    settings.connect = mode(k.connect_mode).unwrap_or_default();
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

/// Every range in Kconfig ends at 86,400 s or before.
const fn ms(s: u32) -> u32 {
    s.wrapping_mul(1000)
}

pub(crate) fn engine() -> engine::Config {
    let k = sys::kconfig();
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
fn cloud(to: &mut cloud::Config) {
    let k = sys::kconfig();
    to.queue_mode = k.queue_mode;
    to.awake_ms = ms(k.awake_s);
    to.nat_idle_ms = ms(k.nat_idle_s);
    to.link = if k.nb_iot { Link::NbIot } else { Link::Rfc7252 };
    to.plan_object = k.plan_object;
    to.advanced_firmware_update = k.advanced_firmware_update;
    to.bearer = k.bearer;
}

/// Nothing but zeros, so that it takes no flash; [`start`] sets the defaults.
const NONE: Settings = {
    let mut none = Settings::new();
    none.lifetime_s = 0;
    none
};

/// The present settings: AT commands, the C API and the shell change them.
static SETTINGS: Mutex<RefCell<Settings>> = Mutex::new(RefCell::new(NONE));

/// Before the kept settings are loaded: the defaults count.
pub(crate) fn start() {
    with(&mut defaults);
}

/// The present settings into `to`.
pub(crate) fn settings(to: &mut Settings) {
    with(&mut |settings| to.copy(settings));
}

/// Looks at the present settings, or changes them without keeping them.
#[inline(never)]
fn with(change: &mut dyn FnMut(&mut Settings)) {
    critical_section::with(|cs| change(&mut SETTINGS.borrow_ref_mut(cs)));
}

/// As [`with`], with a result.
pub(crate) fn with_settings<T: Default>(look: impl FnOnce(&mut Settings) -> T) -> T {
    let (mut look, mut found) = (Some(look), T::default());
    with(&mut |settings| {
        if let Some(look) = look.take() {
            found = look(settings);
        }
    });
    found
}

/// What the cloud's machine is to run with, into `to`.
pub(crate) fn wanted(to: &mut cloud::Config) -> Result<(), Reason> {
    cloud(to);
    let mut done = Ok(());
    let device_key = border::text(sys::kconfig().device_key);
    with(&mut |settings| done = to.take(settings, device_key));
    done
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
    let mut new = NONE;
    settings(&mut new);
    apply(&mut new, key, value) && keep(&new)
}

fn apply(settings: &mut Settings, key: usize, value: &[u8]) -> bool {
    // What is no text is of no use as one; numbers are bytes.
    let text = sota::utf8(value).unwrap_or("\u{fffd}");
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
#[inline(never)]
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
pub(crate) fn keep(new: &Settings) -> bool {
    let mut kept = true;
    for key in KEYS {
        let lifetime = new.lifetime_s.to_le_bytes();
        let connect = [new.connect as u8];
        let text = text_of(new, key as usize);
        let value = match key {
            Setting::Lifetime => &lifetime,
            Setting::Connect => connect.as_slice(),
            _ => text.unwrap_or_default().as_bytes(),
        };
        let mut differs = false;
        with(&mut |old| {
            differs = match key {
                Setting::Lifetime => old.lifetime_s != new.lifetime_s,
                Setting::Connect => old.connect != new.connect,
                _ => text_of(old, key as usize) != text,
            };
        });
        if differs {
            kept &= sys::setting_save(key as u8, value);
        }
    }
    with(&mut |settings| settings.copy(new));
    kept
}
