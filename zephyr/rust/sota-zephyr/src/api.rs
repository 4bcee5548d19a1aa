//! What C calls (`zephyr/shim.h`): the thread entries and the functions behind `sota/sota.h`.
//!
//! An `i32` result is 0 or the number of a [`Reason`] (docs/errors.md).
#![allow(unsafe_code)] // the C border

#[cfg(not(any(sota_mcu_link, sota_sides)))]
use crate::bridge_loop::BridgeLoop;
use crate::calls::Status;
use crate::engine_loop::EngineLoop;
use crate::flash::Partitions;
#[cfg(feature = "log")]
use crate::logger;
use crate::sys::{self, Who};
use crate::{BLOCK, boxes, calls, cloud_loop, config, product};
use core::ffi::c_char;
#[cfg(not(any(sota_mcu_link, sota_sides)))]
use sota::bridge::{Bridge, Settings};
use sota::cloud::OVERHEAD;
use sota::engine::Engine;
use sota::event::Payload;
use sota::message::{Command, ComponentName, Reason, Reply, Version};
use sota::platform::Readings;
use static_cell::ConstStaticCell;

/// Before everything else; the shim then loads the settings and starts the threads.
#[unsafe(no_mangle)]
extern "C" fn sota_rs_init() {
    #[cfg(feature = "log")]
    logger::start(config::log_level());
    config::start();
    boxes::start();
}

// Each machine lives on the stack of its thread, where it is made in its place. In a static it would be made on the
// stack and moved: the stack would need it a second time.

/// Entry of the thread `engine`.
#[unsafe(no_mangle)]
extern "C" fn sota_rs_engine() {
    // The slot's size is known when staging is open.
    let flash = Partitions::open();
    EngineLoop {
        engine: &mut Engine::new(config::engine(), sys::now()),
        flash,
        readings: Readings::default(),
        #[cfg(sota_sides)]
        routes: crate::sides::routes(),
    }
    .run()
}

/// Entry of the thread `cloud`.
#[unsafe(no_mangle)]
extern "C" fn sota_rs_cloud() {
    static DATAGRAM: ConstStaticCell<[u8; BLOCK + OVERHEAD]> =
        ConstStaticCell::new([0; BLOCK + OVERHEAD]);
    cloud_loop::run(DATAGRAM.take())
}

/// Entry of the thread `bridge`.
#[unsafe(no_mangle)]
extern "C" fn sota_rs_bridge() {
    #[cfg(sota_sides)]
    crate::sides::run();
    #[cfg(all(sota_mcu_link, not(sota_sides)))]
    crate::link_loop::run();
    #[cfg(not(any(sota_mcu_link, sota_sides)))]
    {
        let mut bridge = Bridge::new(Settings::new());
        config::settings(bridge.settings_mut());
        BridgeLoop::new(&mut bridge).run()
    }
}

/// A kept setting; `key` as in `setting_keys` of the shim.
///
/// # Safety
/// `value` points to `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn sota_rs_setting_loaded(key: u8, value: *const u8, len: u32) {
    // SAFETY: the caller's promise.
    let value = unsafe { slice(value, len) };
    config::loaded(key.into(), value);
}

/// Copies a text setting with its NUL into `to`; the length without NUL, or a negative number when `key` is no text
/// or the text does not fit.
///
/// # Safety
/// `to` points to `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn sota_rs_setting_text(key: u8, to: *mut u8, len: u32) -> i32 {
    // SAFETY: the caller's promise.
    let to = unsafe { slice_mut(to, len) };
    let found = config::with_settings(|settings| {
        config::text_of(settings, key.into()).and_then(|text| copy(text, to))
    });
    found.map_or(-1, |n| n as i32)
}

/// Lifetime in seconds.
#[unsafe(no_mangle)]
extern "C" fn sota_rs_lifetime() -> u32 {
    config::with_settings(|settings| settings.lifetime_s)
}

/// Connection mode 0..=2.
#[unsafe(no_mangle)]
extern "C" fn sota_rs_connect_mode() -> u8 {
    config::with_settings(|settings| settings.connect as u8)
}

/// Sets and keeps a setting (bytes as they are kept); used from the next connect on.
///
/// # Safety
/// `value` points to `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn sota_rs_setting_set(key: u8, value: *const u8, len: u32) -> bool {
    // SAFETY: the caller's promise.
    let value = unsafe { slice(value, len) };
    let done = config::set(key.into(), value);
    boxes::settings_changed();
    done
}

/// Connects or leaves; the settings that count are the present ones.
#[unsafe(no_mangle)]
extern "C" fn sota_rs_connect(on: bool) -> i32 {
    number(connect(on))
}

/// The network came up or went down.
#[unsafe(no_mangle)]
extern "C" fn sota_rs_network(up: bool) {
    if up {
        boxes::network_is_up();
    }
}

pub(crate) fn connect(on: bool) -> Reply {
    match use_settings(on) {
        Ok(()) => calls::command(&Command::Connect(on), &mut []),
        Err(reason) => Reply::Refused(reason),
    }
}

/// Gives the present settings to the cloud's thread before it connects.
pub(crate) fn use_settings(on: bool) -> Result<(), Reason> {
    if on {
        let mut wanted = sota::cloud::Config::default();
        config::wanted(&mut wanted)?;
        boxes::use_config(&wanted);
    }
    Ok(())
}

fn number(reply: Reply) -> i32 {
    match reply {
        Reply::Refused(reason) => reason.number().into(),
        _ => 0,
    }
}

/// The number of what a command is answered with.
fn told(command: &Command) -> i32 {
    number(calls::command(command, &mut []))
}

/// SetMcuVersion.
///
/// # Safety
/// Both are NULL or strings that end with NUL.
#[unsafe(no_mangle)]
unsafe extern "C" fn sota_rs_set_version(name: *const c_char, version: *const c_char) -> i32 {
    // SAFETY: the caller's promise.
    let (name, version) = unsafe { (sys::text(name), sys::text(version)) };
    let (mut component, mut new) = (ComponentName::new(), Version::new());
    match config::put(&mut component, name) && config::put(&mut new, version) {
        true => told(&Command::SetMcuVersion(component, new)),
        false => Reason::NameTooLong.number().into(),
    }
}

/// OtaRequest.
#[unsafe(no_mangle)]
extern "C" fn sota_rs_request(mode: u32) -> i32 {
    told(&Command::Request(mode))
}

/// OtaAction.
#[unsafe(no_mangle)]
extern "C" fn sota_rs_action(action: u8) -> i32 {
    told(&Command::Action(action))
}

/// Fetch again from the piece boundary at or below.
#[unsafe(no_mangle)]
extern "C" fn sota_rs_rewind(offset: u32) -> i32 {
    told(&Command::Rewind(offset))
}

/// 10701 and 10703 again.
#[unsafe(no_mangle)]
extern "C" fn sota_rs_announce() -> i32 {
    told(&Command::Announce)
}

/// The host gives the upgrade up.
#[unsafe(no_mangle)]
extern "C" fn sota_rs_cancel() -> i32 {
    told(&Command::Cancel(Reason::RefusedByHost))
}

/// DataRead: bytes read, or the negative number of a reason.
///
/// # Safety
/// `to` points to `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn sota_rs_read(start: u32, to: *mut u8, len: u32) -> i32 {
    // SAFETY: the caller's promise.
    let to = unsafe { slice_mut(to, len) };
    match calls::read(start, to) {
        Reply::Read(n) => n as i32,
        Reply::Refused(reason) => -i32::from(reason.number()),
        Reply::Ok => 0,
    }
}

/// False: the component does not run.
///
/// # Safety
/// `to` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn sota_rs_status(to: *mut Status) -> bool {
    let Some(status) = calls::status() else {
        return false;
    };
    // SAFETY: the caller's promise.
    unsafe { to.write(status) };
    true
}

/// Name and version (with NUL) of the MCU component in a place of the list; false behind the last.
///
/// # Safety
/// `name` points to 33, `version` to 65 bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn sota_rs_component(place: u8, name: *mut u8, version: *mut u8) -> bool {
    // SAFETY: the caller's promise.
    let (to_name, to_version) = unsafe { (slice_mut(name, 33), slice_mut(version, 65)) };
    let mut found = false;
    calls::ask(&mut |engine| {
        found = engine
            .engine
            .versions()
            .nth(place.into())
            .is_some_and(|(name, version)| {
                copy(name, to_name).is_some() && copy(version, to_version).is_some()
            });
    });
    found
}

/// `struct sota_rs_event` of the shim.
#[repr(C)]
struct CEvent {
    code: u16,
    kind: u8,
    payload: [u8; sota::event::PAYLOAD_LEN + 1],
    length: u16,
}

/// The next event for the application; false: none.
///
/// # Safety
/// `to` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn sota_rs_event(to: *mut CEvent) -> bool {
    let event = loop {
        let Some(event) = boxes::TO_APP.try_recv() else {
            return false;
        };
        sys::wake(Who::Engine);
        match product::handler() {
            Some(handler) => handler(&event),
            None => break event,
        }
    };
    let mut payload = Payload::new();
    event.write_payload(&mut payload);
    // SAFETY: the caller's promise; every field is written before it is read.
    let to = unsafe {
        to.write_bytes(0, 1);
        &mut *to
    };
    to.kind = event.group();
    to.code = event.code();
    to.length = copy(&payload, &mut to.payload).unwrap_or(0) as u16;
    true
}

/// Whether events are for the application too.
#[unsafe(no_mangle)]
extern "C" fn sota_rs_set_app(listens: bool) {
    boxes::set_app(listens);
}

/// Name (`what` 0), meaning (1) or remedy (2) of an error with its NUL into `to`; the length, negative when there is
/// no such error.
///
/// # Safety
/// `to` points to `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn sota_rs_error_text(error: u16, to: *mut u8, len: u32) -> i32 {
    // SAFETY: the caller's promise.
    let to = unsafe { slice_mut(to, len) };
    let found = Reason::ALL.iter().find(|reason| reason.number() == error);
    found
        .and_then(|reason| copy(reason.name(), to))
        .map_or(-1, |n| n as i32)
}

/// With NUL; the length without it, `None` if it does not fit.
fn copy(text: &str, to: &mut [u8]) -> Option<usize> {
    let n = text.len();
    to.get_mut(..n)?.copy_from_slice(text.as_bytes());
    *to.get_mut(n)? = 0;
    Some(n)
}

/// # Safety
/// `from` is NULL or points to `len` bytes that do not change during `'a`.
unsafe fn slice<'a>(from: *const u8, len: u32) -> &'a [u8] {
    if from.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(from, len as usize) }
}

/// # Safety
/// `to` is NULL or points to `len` bytes that nobody else uses during `'a`.
unsafe fn slice_mut<'a>(to: *mut u8, len: u32) -> &'a mut [u8] {
    if to.is_null() {
        return &mut [];
    }
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts_mut(to, len as usize) }
}
