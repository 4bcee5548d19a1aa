//! A product in Rust: its own work, and firmware over the air beside it. The component's threads run by themselves;
//! panic handler and critical section come from the crate `zephyr`. The MCU behind the UART speaks AT commands.
#![no_std]

use sota_zephyr::product::{self, Command, Event, Reply, State};
use zephyr::printkln;
use zephyr::time::{Duration, sleep};

/// Runs on the component's dispatcher; every call of `product` is allowed here.
fn on_event(event: &Event) {
    printkln!("sota: {},{}", event.group(), event.code());
    match event {
        Event::Plan(offer) => {
            let (component, target) = (&offer.component, &offer.target);
            printkln!("plan: {component} to {target}");
        }
        Event::UpdateFail(reason) => printkln!("failed: {}", reason.name()),
        _ => {}
    }
}

/// A plan that waits is confirmed between two jobs, so that the MCU never restarts in the middle of one. The component
/// refuses while battery or signal are below the limits of plan and product: then it is tried again after the next job.
fn decide() {
    if !matches!(product::progress(), Some((State::PlanReceived, ..))) {
        return;
    }
    match product::command(Command::Action(1)) {
        Reply::Refused(reason) => printkln!("not yet: {}", reason.name()),
        _ => printkln!("confirmed"),
    }
}

#[unsafe(no_mangle)] // called by main.c of zephyr-lang-rust
extern "C" fn rust_main() {
    product::set_handler(on_event);
    loop {
        // The product's own work.
        sleep(Duration::millis_at_least(1000));
        decide();
    }
}
