//! What C gives: `zephyr/shim.h`. Each wrapper says why its call is sound.
#![allow(unsafe_code)] // the C border

use crate::config::Kconfig;
use core::ffi::{CStr, c_char};
use sota::cloud::Peer;
use sota::message::Millis;
use sota::platform::Readings;

/// A partition as `shim.c` opened it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Area {
    /// Bytes the component may use; 0: not usable, and the shim has logged why.
    pub(crate) size: u32,
    /// What an erased byte reads as.
    pub(crate) erased: u8,
}

/// Who can be woken.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Who {
    Cloud,
    Engine,
    Bridge,
    Dispatcher,
}

unsafe extern "C" {
    // The kernel counts in an i64 from 0: never negative.
    safe fn sota_shim_uptime_ms() -> Millis;
    safe fn sota_shim_random() -> u32;
    safe fn sota_shim_wake(who: u8);
    safe fn sota_shim_sleep(who: u8, ms: i32);
    safe fn sota_shim_sleep_net(ms: i32);
    safe fn sota_shim_call_begin() -> bool;
    safe fn sota_shim_call_wait();
    safe fn sota_shim_call_done();
    safe fn sota_shim_call_end();
    safe fn sota_shim_battery() -> i32;
    safe fn sota_shim_rsrp() -> i32;
    safe fn sota_shim_cell() -> u32;
    safe fn sota_shim_firmware_slot() -> u32;
    safe fn sota_shim_boot_trial(length: u32);
    safe fn sota_shim_firmware_confirm() -> bool;
    safe fn sota_shim_reboot();
    fn sota_shim_flash_open(id: u8, page: u32, write: u32, area: *mut Area);
    fn sota_shim_flash_read(id: u8, at: u32, to: *mut u8, len: u32) -> i32;
    fn sota_shim_flash_write(id: u8, at: u32, from: *const u8, len: u32) -> i32;
    safe fn sota_shim_flash_erase(id: u8, at: u32, len: u32) -> i32;
    fn sota_shim_net_resolve(peer: u8, host: *const u8, len: u32, port: u16) -> bool;
    fn sota_shim_net_send(peer: u8, from: *const u8, len: u32);
    fn sota_shim_net_recv(peer: *mut u8, to: *mut u8, len: u32) -> i32;
    #[cfg(not(sota_no_main))]
    fn sota_shim_uart_read(to: *mut u8, len: u32) -> u32;
    #[cfg(not(sota_no_main))]
    fn sota_shim_uart_write(from: *const u8, len: u32) -> u32;
    #[cfg(sota_mcu_link)]
    safe fn sota_shim_uart_speed() -> u32;
    #[cfg(sota_mcu_link)]
    safe fn sota_shim_uart_set_speed(baud: u32);
    #[cfg(sota_mcu_link)]
    safe fn sota_shim_uart_is_idle() -> bool;
    #[cfg(sota_mcu_link)]
    safe fn sota_shim_link_baud() -> u32;
    #[cfg(sota_mcu_link)]
    fn sota_shim_link_fault(number: u16, text: *const u8, len: u32);
    fn sota_shim_warn(text: *const u8, len: u32);
    #[cfg(any(feature = "log", sota_mcu_link))]
    fn sota_shim_log(level: u8, text: *const u8, len: u32);
    safe fn sota_shim_event(kind: u8, code: u16, reason: u16, bytes: u32);
    fn sota_shim_setting_save(key: u8, value: *const u8, len: u32) -> bool;
    #[cfg(sota_sides)]
    fn sota_shim_side_fault(side: u8, fault: *const CFault);
    #[cfg(sota_sides)]
    fn sota_shim_side_started(side: u8);
    #[cfg(sota_sides)]
    fn sota_shim_side_read(side: u8, to: *mut u8, len: u32) -> u32;
    #[cfg(sota_sides)]
    fn sota_shim_side_write(side: u8, from: *const u8, len: u32) -> u32;
    safe fn sota_shim_kconfig() -> &'static Kconfig;
}

pub(crate) fn now() -> Millis {
    sota_shim_uptime_ms()
}

pub(crate) fn random() -> u32 {
    sota_shim_random()
}

pub(crate) fn wake(who: Who) {
    sota_shim_wake(who as u8);
}

#[inline(never)]
fn limit(until: Option<Millis>) -> i32 {
    match until {
        // A thread looks at its clock at least once a minute.
        None => 60_000,
        Some(at) => at.saturating_sub(now()).min(60_000) as i32,
    }
}

/// Until woken or until `until`.
pub(crate) fn sleep(who: Who, until: Option<Millis>) {
    sota_shim_sleep(who as u8, limit(until));
}

/// As `sleep` for the cloud's thread; also a datagram ends it.
pub(crate) fn sleep_net(until: Option<Millis>) {
    sota_shim_sleep_net(limit(until));
}

/// Makes the caller the only one that asks the engine; false: the component does not run.
pub(crate) fn call_begin() -> bool {
    sota_shim_call_begin()
}

/// The asker waits for [`call_done`].
pub(crate) fn call_wait() {
    sota_shim_call_wait();
}

/// The engine has answered.
pub(crate) fn call_done() {
    sota_shim_call_done();
}

/// The next one may ask.
pub(crate) fn call_end() {
    sota_shim_call_end();
}

/// An error of the catalogue on the link, for the log.
#[cfg(sota_mcu_link)]
pub(crate) fn link_fault(number: u16, text: &str) {
    // SAFETY: reads `len` bytes of a string of that length.
    unsafe { sota_shim_link_fault(number, text.as_ptr(), text.len() as u32) }
}

/// Bits per second of the UART as the devicetree says.
#[cfg(sota_mcu_link)]
pub(crate) fn uart_speed() -> u32 {
    sota_shim_uart_speed()
}

/// Changes them; the UART is idle.
#[cfg(sota_mcu_link)]
pub(crate) fn uart_set_speed(baud: u32) {
    sota_shim_uart_set_speed(baud);
}

/// Everything that was written has left.
#[cfg(sota_mcu_link)]
pub(crate) fn uart_is_idle() -> bool {
    sota_shim_uart_is_idle()
}

/// Greatest rate that the link may change to; 0: none.
#[cfg(sota_mcu_link)]
pub(crate) fn link_baud() -> u32 {
    sota_shim_link_baud()
}

pub(crate) fn cell() -> u32 {
    sota_shim_cell()
}

pub(crate) fn readings() -> Readings {
    let (battery, rsrp) = (sota_shim_battery(), sota_shim_rsrp());
    Readings {
        battery_percent: u8::try_from(battery).ok().filter(|percent| *percent <= 100),
        rsrp_dbm: i16::try_from(rsrp).ok().filter(|dbm| *dbm < 0),
    }
}

/// Bytes of the module's firmware slot, 0: no bootloader.
pub(crate) fn firmware_slot() -> u32 {
    sota_shim_firmware_slot()
}

/// Marks the image for one trial boot and restarts; returns only on failure.
pub(crate) fn boot_trial(length: u32) {
    sota_shim_boot_trial(length);
}

/// The bootloader keeps the image that runs.
pub(crate) fn firmware_confirm() -> bool {
    sota_shim_firmware_confirm()
}

pub(crate) fn reboot() {
    sota_shim_reboot();
}

pub(crate) fn flash_open(id: u8, page: u32, write: u32) -> Area {
    let mut area = Area::default();
    // SAFETY: `area` outlives the call, which writes to nothing else.
    unsafe { sota_shim_flash_open(id, page, write, &mut area) };
    area
}

pub(crate) fn flash_read(id: u8, at: u32, to: &mut [u8]) -> bool {
    // SAFETY: writes at most `len` bytes to a slice of that length.
    unsafe { sota_shim_flash_read(id, at, to.as_mut_ptr(), to.len() as u32) == 0 }
}

pub(crate) fn flash_write(id: u8, at: u32, from: &[u8]) -> bool {
    // SAFETY: reads `len` bytes of a slice of that length.
    unsafe { sota_shim_flash_write(id, at, from.as_ptr(), from.len() as u32) == 0 }
}

pub(crate) fn flash_erase(id: u8, at: u32, len: u32) -> bool {
    sota_shim_flash_erase(id, at, len) == 0
}

const fn index(peer: Peer) -> u8 {
    match peer {
        Peer::Server => 0,
        Peer::Source => 1,
    }
}

/// Looks up the peer's address and keeps it in the shim; may take as long as the name service does.
pub(crate) fn net_resolve(peer: Peer, host: &str, port: u16) -> bool {
    // SAFETY: reads `len` bytes of a string of that length and keeps no pointer.
    unsafe { sota_shim_net_resolve(index(peer), host.as_ptr(), host.len() as u32, port) }
}

/// A failed send is a lost datagram.
pub(crate) fn net_send(peer: Peer, from: &[u8]) {
    // SAFETY: reads `len` bytes of a slice of that length.
    unsafe { sota_shim_net_send(index(peer), from.as_ptr(), from.len() as u32) }
}

/// A datagram of one of the two peers; those of others are dropped.
pub(crate) fn net_recv(to: &mut [u8]) -> Option<(Peer, usize)> {
    let mut peer = 0;
    // SAFETY: writes at most `len` bytes to a slice of that length, and one byte to `peer`.
    let n = unsafe { sota_shim_net_recv(&mut peer, to.as_mut_ptr(), to.len() as u32) };
    let n = usize::try_from(n).ok().filter(|n| *n <= to.len())?;
    let peer = match peer {
        0 => Peer::Server,
        _ => Peer::Source,
    };
    Some((peer, n))
}

#[cfg(not(sota_no_main))]
pub(crate) fn uart_read(to: &mut [u8]) -> usize {
    // SAFETY: writes at most `len` bytes to a slice of that length.
    let n = unsafe { sota_shim_uart_read(to.as_mut_ptr(), to.len() as u32) } as usize;
    n.min(to.len())
}

#[cfg(not(sota_no_main))]
pub(crate) fn uart_write(from: &[u8]) -> usize {
    // SAFETY: reads at most `len` bytes of a slice of that length.
    let n = unsafe { sota_shim_uart_write(from.as_ptr(), from.len() as u32) } as usize;
    n.min(from.len())
}

/// What a back end at the side met, for the log.
#[cfg(sota_sides)]
pub(crate) struct Trouble {
    pub(crate) number: u16,
    pub(crate) name: &'static str,
    pub(crate) command: u32,
    pub(crate) detail: u32,
    /// The upgrade was given up for it.
    pub(crate) failed: bool,
}

/// `struct sota_side_fault` of `zephyr/shim.h`.
#[cfg(sota_sides)]
#[repr(C)]
struct CFault {
    name: *const u8,
    length: u32,
    command: u32,
    detail: u32,
    number: u16,
    failed: bool,
}

/// Each `side` is one that was started.
#[cfg(sota_sides)]
pub(crate) fn side_fault(side: u8, trouble: &Trouble) {
    let fault = CFault {
        name: trouble.name.as_ptr(),
        length: trouble.name.len() as u32,
        command: trouble.command,
        detail: trouble.detail,
        number: trouble.number,
        failed: trouble.failed,
    };
    // SAFETY: the shim has this side; the fault and its name outlive the call, which keeps no pointer.
    unsafe { sota_shim_side_fault(side, &fault) }
}

#[cfg(sota_sides)]
pub(crate) fn side_started(side: u8) {
    // SAFETY: the shim has this side.
    unsafe { sota_shim_side_started(side) }
}

#[cfg(sota_sides)]
pub(crate) fn side_read(side: u8, to: &mut [u8]) -> usize {
    // SAFETY: the shim has this side; writes at most `len` bytes to a slice of that length.
    let n = unsafe { sota_shim_side_read(side, to.as_mut_ptr(), to.len() as u32) } as usize;
    n.min(to.len())
}

#[cfg(sota_sides)]
pub(crate) fn side_write(side: u8, from: &[u8]) -> usize {
    // SAFETY: the shim has this side; reads at most `len` bytes of a slice of that length.
    let n = unsafe { sota_shim_side_write(side, from.as_ptr(), from.len() as u32) } as usize;
    n.min(from.len())
}

/// One line of the product or the link for the log; `level` 1 error … 4 debug, what Kconfig left out is not said.
#[cfg(any(feature = "log", sota_mcu_link))]
pub(crate) fn log(level: u8, text: &str) {
    // SAFETY: reads `len` bytes of a string of that length.
    unsafe { sota_shim_log(level, text.as_ptr(), text.len() as u32) }
}

/// One warning for the log.
pub(crate) fn warn(text: &str) {
    // SAFETY: reads `len` bytes of a string of that length.
    unsafe { sota_shim_warn(text.as_ptr(), text.len() as u32) }
}

/// An event for the log; `reason` 0: none.
pub(crate) fn event(kind: u8, code: u16, reason: u16, bytes: u32) {
    sota_shim_event(kind, code, reason, bytes);
}

/// Keeps a setting; an empty value deletes it.
pub(crate) fn setting_save(key: u8, value: &[u8]) -> bool {
    // SAFETY: reads `len` bytes of a slice of that length.
    unsafe { sota_shim_setting_save(key, value.as_ptr(), value.len() as u32) }
}

/// What Kconfig set; constant.
pub(crate) fn kconfig() -> &'static Kconfig {
    sota_shim_kconfig()
}

/// A C string as text; `""` for NULL and for what is no UTF-8.
///
/// # Safety
/// `text` is NULL or points to a string that ends with NUL and does not change during `'a`.
pub(crate) unsafe fn text<'a>(text: *const c_char) -> &'a str {
    if text.is_null() {
        return "";
    }
    // SAFETY: the caller's promise.
    sota::utf8(unsafe { CStr::from_ptr(text) }.to_bytes()).unwrap_or_default()
}
