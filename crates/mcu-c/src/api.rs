//! The functions of `include/sota/mcu.h`, which cbindgen writes from this file and `port.rs`.

use crate::cell::{Running, start, with};
use crate::port::{sota_mcu_layout, sota_mcu_port};
use crate::speaks;
use core::ffi::c_char;
use sota_errors::McuError;
use sota_link::field::Boot;
use sota_mcu::boot::{self, Rules};

/// Who the MCU is, and how it talks. Texts are UTF-8, ended by 0, and live on: they are not copied. A library with AT
/// commands takes no notice of hardware, bootloader, baud rates, window and session.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sota_mcu_config {
    /// Component identifier, 1 to 32 bytes.
    pub component: *const c_char,
    /// Version that runs, at most 64 bytes.
    pub version: *const c_char,
    /// Hardware identifier, at most 32 bytes; null: none.
    pub hardware: *const c_char,
    /// Bootloader identifier, at most 32 bytes; null: none.
    pub bootloader: *const c_char,
    /// The base baud rate, both ends' same.
    pub baud: u32,
    /// The greatest baud rate; 0: no other than the base.
    pub greatest_baud: u32,
    /// Blocks that may be on their way, 1 to 8; 0 counts as 8.
    pub window: u8,
    /// Session number: another than at the last start. 0: counted in flash.
    pub session: u16,
    /// How long an image on trial may take to confirm, ms; 0: for ever.
    pub confirm_within_ms: u32,
    /// Packages are MCUboot images; refused unless the library was built with that feature.
    pub mcuboot: bool,
    /// AT commands: how often an idle MCU announces its version and asks for a plan, ms; 0: at a start, and when the module
    /// connects.
    pub request_ms: u32,
    /// AT commands: the module has AT+SOTAREWIND and AT+SOTAERR, as one of ours.
    pub sota_commands: bool,
    /// AT commands: each range is read until two answers agree, for a line that harms bytes.
    pub reads_twice: bool,
}

/// Of sota_mcu_boot_state(): the running image is kept.
pub const SOTA_MCU_CONFIRMED: u8 = 0;
/// Of sota_mcu_boot_state(): it is on trial; sota_mcu_confirm() keeps it, else the next reset brings the old one back.
pub const SOTA_MCU_TRIAL: u8 = 1;
/// Of sota_mcu_boot_state(): a new image was reverted, and this is the old one.
pub const SOTA_MCU_REVERTED: u8 = 2;

/// Bytes of a text, without its 0; `None`: not UTF-8.
///
/// # Safety
/// `text` is null, or ended by 0 and lives on.
unsafe fn text(text: *const c_char) -> Option<&'static str> {
    if text.is_null() {
        return Some("");
    }
    // SAFETY: the caller says that it is ended by 0 and lives on.
    unsafe { core::ffi::CStr::from_ptr(text) }.to_str().ok()
}

/// The texts of a configuration.
pub(crate) struct Texts {
    pub(crate) component: &'static str,
    pub(crate) version: &'static str,
    #[cfg_attr(feature = "at", expect(dead_code))]
    pub(crate) hardware: &'static str,
    #[cfg_attr(feature = "at", expect(dead_code))]
    pub(crate) bootloader: &'static str,
}

/// # Safety
/// As of [`text`].
unsafe fn texts(config: &sota_mcu_config) -> Option<Texts> {
    // SAFETY: the caller says so of all four.
    let texts = unsafe {
        Texts {
            component: text(config.component)?,
            version: text(config.version)?,
            hardware: text(config.hardware)?,
            bootloader: text(config.bootloader)?,
        }
    };
    (!texts.component.is_empty()).then_some(texts)
}

/// Starts the agent after a reset. 0: it runs. Else a number of the catalogue (docs/errors.md): 404 the flash failed, 408
/// the layout is wrong, 411 the configuration or the port is.
///
/// # Safety
/// The three pointers are null or point to what their types say; texts are ended by 0 and live on, as do the port's functions,
/// which do what they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sota_mcu_start(
    config: *const sota_mcu_config,
    layout: *const sota_mcu_layout,
    port: *const sota_mcu_port,
) -> u16 {
    let wrong = McuError::McuConfig.number();
    // SAFETY: the caller says that they are null or good.
    let (config, layout, port) = unsafe { (config.as_ref(), layout.as_ref(), port.as_ref()) };
    let (Some(config), Some(layout), Some(port)) = (config, layout, port) else {
        return wrong;
    };
    // SAFETY: the caller says so of the texts.
    let Some(texts) = (unsafe { texts(config) }) else {
        return wrong;
    };
    if !port.is_whole(true) {
        return wrong;
    }
    let started = start(|running| {
        running.port = *port;
        running.now = port.now().into();
        speaks::start(running, config, &texts, &layout.layout())
    });
    started.map_or_else(McuError::number, |()| 0)
}

/// Does what is to be done: takes what the UART received, gives it what it can take, works. Call it when bytes came, when
/// the UART can take some, and after as many ms as it said; more often does no harm.
#[unsafe(no_mangle)]
pub extern "C" fn sota_mcu_step() -> u32 {
    with(step).unwrap_or(u32::MAX)
}

fn step(running: &mut Running) -> u32 {
    // The port's clock may wrap: what has passed since then is right all the same.
    let passed = running.port.now().wrapping_sub(running.now as u32);
    running.now += u64::from(passed);
    let mut bytes = [0; 16];
    loop {
        let n = running.port.receive(&mut bytes);
        let mut rest = bytes.get(..n).unwrap_or_default();
        loop {
            let taken = running.agent.on_bytes(rest);
            rest = rest.get(taken..).unwrap_or_default();
            while let Some(output) = running.agent.poll(running.now, &mut running.port) {
                speaks::act(running, output);
            }
            if rest.is_empty() {
                break;
            }
        }
        if running.waits && running.port.may_install() {
            running.waits = false;
            running.agent.install();
        }
        if !send(running) && n == 0 {
            break;
        }
    }
    let Some(at) = running.agent.deadline() else {
        return u32::MAX;
    };
    u32::try_from(at.saturating_sub(running.now)).unwrap_or(u32::MAX)
}

/// Gives the UART what it takes; `false`: nothing. When there is nothing more it does what waits for that: of a RateAnswer
/// whose end went out at the new rate the module would hear nothing.
fn send(running: &mut Running) -> bool {
    if running.from == running.to {
        running.from = 0;
        running.to = running.agent.next_tx(&mut running.left) as u8;
    }
    let (from, to) = (usize::from(running.from), usize::from(running.to));
    let bytes = running.left.get(from..to).unwrap_or_default();
    if bytes.is_empty() {
        match core::mem::take(&mut running.baud) {
            0 => {}
            baud => running.port.set_baud(baud),
        }
        if core::mem::take(&mut running.reset) {
            running.port.reset_now();
        }
        return false;
    }
    let sent = running.port.send(bytes);
    running.from += sent as u8;
    sent > 0
}

/// The port is asked for a plan to this version.
pub(crate) fn judge(running: &mut Running, target: &[u8], space: u32) {
    let mut ended = [0; 65];
    for (to, from) in ended.iter_mut().zip(target) {
        *to = *from;
    }
    match running.port.judge(&ended, space) {
        0 => running.agent.accept(),
        number => running.agent.refuse(number),
    }
}

/// The module answers: on trial, a good moment for sota_mcu_confirm().
#[unsafe(no_mangle)]
pub extern "C" fn sota_mcu_is_up() -> bool {
    with(|running| running.agent.is_up()).unwrap_or(false)
}

/// How the running image came to run, one of SOTA_MCU_CONFIRMED, SOTA_MCU_TRIAL, SOTA_MCU_REVERTED; `reason`, if not null,
/// gets why the new one was reverted.
///
/// # Safety
/// `reason` is null or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sota_mcu_boot_state(reason: *mut u16) -> u8 {
    let boot = with(|running| running.agent.boot()).unwrap_or_default();
    let (state, number) = match boot {
        Boot::Confirmed => (SOTA_MCU_CONFIRMED, 0),
        Boot::Trial => (SOTA_MCU_TRIAL, 0),
        Boot::Reverted(number) => (SOTA_MCU_REVERTED, number),
    };
    // SAFETY: the caller says that it is null or good.
    if let Some(reason) = unsafe { reason.as_mut() } {
        *reason = number;
    }
    state
}

/// The image on trial is good: it is kept, and the module told so. 0: done, or not on trial. 404: on trial still.
#[unsafe(no_mangle)]
pub extern "C" fn sota_mcu_confirm() -> u16 {
    let done = with(|running| running.agent.confirm(&mut running.port));
    done.map_or(0, |done| done.map_or_else(McuError::number, |()| 0))
}

/// The image on trial is bad, for this reason (409, or one of the product's own, 500 to 599): the next step resets, and the
/// old image comes back. Without effect when it is not on trial.
#[unsafe(no_mangle)]
pub extern "C" fn sota_mcu_revert(reason: u16) {
    with(|running| running.agent.revert(&mut running.port, reason));
}

/// Asks for a plan.
#[unsafe(no_mangle)]
pub extern "C" fn sota_mcu_ask_for_plan() {
    with(|running| running.agent.ask_for_plan());
}

/// Bytes of the image on its way that are durable; `length`, if not null, gets how many it has. 0 of 0: none.
///
/// # Safety
/// `length` is null or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sota_mcu_progress(length: *mut u32) -> u32 {
    let (done, of) = with(|running| running.agent.progress()).unwrap_or_default();
    // SAFETY: the caller says that it is null or good.
    if let Some(length) = unsafe { length.as_mut() } {
        *length = of;
    }
    done
}

/// The bootloader: does what the boot state asks for, the swap among it. 0: start the image in the active slot. 404: the
/// flash failed; reset, it goes on where it stood. 408 the layout is wrong, 411 a function of the port is missing (those of
/// the UART, `now_ms` and `reset` are not needed). `trial_boots`: starts that an image on trial has, 1 to 15; 0 counts as 1.
///
/// # Safety
/// As of sota_mcu_start().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sota_mcu_boot(
    layout: *const sota_mcu_layout,
    port: *const sota_mcu_port,
    trial_boots: u8,
) -> u16 {
    // SAFETY: the caller says that they are null or good.
    let (layout, port) = unsafe { (layout.as_ref(), port.as_ref()) };
    let (Some(layout), Some(port)) = (layout, port.filter(|port| port.is_whole(false))) else {
        return McuError::McuConfig.number();
    };
    let rules = Rules {
        trial_boots: trial_boots.max(1),
    };
    match boot::run(&mut { *port }, &layout.layout(), &rules) {
        Ok(_) => 0,
        Err(error) => error.number(),
    }
}
