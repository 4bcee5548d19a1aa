//! A product in Rust: its own work, and firmware over the air beside it. The component's threads run by themselves;
//! panic handler and critical section come from the crate `zephyr`.
#![no_std]

use sota_zephyr::product::{self, Command, Event};
use zephyr::printkln;
use zephyr::time::{Duration, sleep};

/// Runs on the component's dispatcher; every call of `product` is allowed here.
fn on_event(event: &Event) {
    printkln!("sota: {},{}", event.group(), event.code());
    if let Event::Plan(offer) = event {
        printkln!("plan to {}", offer.target.as_str());
        // A product that must not be disturbed now confirms later.
        product::command(Command::Action(1));
    }
}

#[unsafe(no_mangle)] // called by main.c of zephyr-lang-rust
extern "C" fn rust_main() {
    product::set_handler(on_event);
    loop {
        // The product's own work.
        sleep(Duration::millis_at_least(1000));
    }
}
