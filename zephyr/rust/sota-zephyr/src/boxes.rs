//! The mailboxes and who is woken.

use crate::BLOCK;
use crate::sys::{self, Who};
use core::cell::RefCell;
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use critical_section::Mutex;
use heapless::Vec;
use sota::cloud::Config;
use sota::mailbox::{Mailbox, Wake};
use sota::message::{Event, Reason, ToCloud, ToEngine};

impl Wake for Who {
    fn wake(&self) {
        sys::wake(*self);
    }
}

// One message each: a message has up to 700 bytes, and its sender makes the next one only when there is room.
pub(crate) static TO_ENGINE: Mailbox<ToEngine<BLOCK>, 1> = Mailbox::new();
pub(crate) static TO_CLOUD: Mailbox<ToCloud, 1> = Mailbox::new();
/// Events for the MCU.
#[cfg(not(sota_sides))]
pub(crate) static TO_BRIDGE: Mailbox<Event, 1> = Mailbox::new();
/// Events for the MCUs, with whom each is for.
#[cfg(sota_sides)]
pub(crate) static TO_BRIDGE: Mailbox<(sota::bridge::route::Targets, Event), 1> = Mailbox::new();
/// Events for the application's callback.
pub(crate) static TO_APP: Mailbox<Event, 1> = Mailbox::new();
/// What the cloud's thread runs with, or is to go on with while the flag is set.
// A list of one: empty it is zero, and takes no flash.
static CONFIG: Mutex<RefCell<(Vec<Config, 1>, bool)>> =
    Mutex::new(RefCell::new((Vec::new(), false)));
/// The engine takes a block now: the back-pressure towards the network.
static ROOM: AtomicBool = AtomicBool::new(false);
/// The bridge's settings are older than the present ones.
static SETTINGS: AtomicBool = AtomicBool::new(false);
/// The cloud's machine is new and wants what the engine shows.
static VIEW: AtomicBool = AtomicBool::new(false);
/// The network came up since the cloud's thread looked.
static NETWORK: AtomicBool = AtomicBool::new(false);
/// A callback is set.
static APP: AtomicBool = AtomicBool::new(false);
/// The number of the engine's last error, for `AT+SOTAERR?`; 0: none.
static LAST_ERROR: AtomicU16 = AtomicU16::new(0);

/// Before the threads run.
pub(crate) fn start() {
    TO_ENGINE.set_wake(&Who::Engine);
    TO_CLOUD.set_wake(&Who::Cloud);
    TO_BRIDGE.set_wake(&Who::Bridge);
    TO_APP.set_wake(&Who::Dispatcher);
}

/// Whether it changed.
pub(crate) fn set_room(free: bool) -> bool {
    ROOM.swap(free, Ordering::SeqCst) != free
}

/// The engine clears the flag before it takes a message, so an empty mailbox and a set flag together mean
/// that the last block is done with.
pub(crate) fn has_room() -> bool {
    TO_ENGINE.is_empty() && ROOM.load(Ordering::SeqCst)
}

/// The cloud's thread goes on with these, if they are others.
pub(crate) fn use_config(config: &Config) {
    let new = critical_section::with(|cs| {
        let mut slot = CONFIG.borrow_ref_mut(cs);
        // The other fields are Kconfig's, and the same in all.
        let new = slot.0.first().is_none_or(|old| {
            old.host != config.host
                || old.port != config.port
                || old.endpoint != config.endpoint
                || old.lifetime_s != config.lifetime_s
        });
        if new {
            slot.0.clear();
            let _ = slot.0.push(config.clone());
            slot.1 = true;
        }
        new
    });
    if new {
        sys::wake(Who::Cloud);
    }
}

pub(crate) fn has_new_config() -> bool {
    critical_section::with(|cs| CONFIG.borrow_ref(cs).1)
}

/// Into `to`; false: they are not new.
pub(crate) fn take_new_config(to: &mut Config) -> bool {
    critical_section::with(|cs| {
        let mut slot = CONFIG.borrow_ref_mut(cs);
        let new = core::mem::take(&mut slot.1);
        if let Some(config) = slot.0.first().filter(|_| new) {
            to.clone_from(config);
        }
        new
    })
}

/// Something else than an AT command changed the settings.
pub(crate) fn settings_changed() {
    SETTINGS.store(true, Ordering::SeqCst);
    sys::wake(Who::Bridge);
}

/// Whether they were changed since the last question.
#[cfg(not(any(sota_mcu_link, sota_no_main)))]
pub(crate) fn take_settings_changed() -> bool {
    SETTINGS.swap(false, Ordering::SeqCst)
}

/// The engine shows once more what there is.
pub(crate) fn want_view() {
    VIEW.store(true, Ordering::SeqCst);
    sys::wake(Who::Engine);
}

pub(crate) fn take_view_wanted() -> bool {
    VIEW.swap(false, Ordering::SeqCst)
}

pub(crate) fn network_is_up() {
    NETWORK.store(true, Ordering::SeqCst);
    sys::wake(Who::Cloud);
}

pub(crate) fn take_network_is_up() -> bool {
    NETWORK.swap(false, Ordering::SeqCst)
}

pub(crate) fn set_app(listens: bool) {
    APP.store(listens, Ordering::SeqCst);
}

pub(crate) fn app_listens() -> bool {
    APP.load(Ordering::SeqCst)
}

pub(crate) fn set_last_error(reason: Option<Reason>) {
    LAST_ERROR.store(reason.map_or(0, Reason::number), Ordering::SeqCst);
}

#[cfg(not(any(sota_mcu_link, sota_no_main)))]
pub(crate) fn last_error() -> Option<Reason> {
    Reason::from_number(LAST_ERROR.load(Ordering::SeqCst))
}
