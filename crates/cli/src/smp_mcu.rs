//! `sota mcu --protocol smp`: an MCU with MCUmgr and MCUboot and nothing of ours on it.

use crate::failure::Failure;
use crate::mcu::{Args, uart};
use crate::out::Out;
use crate::side;
use crate::stop::on_stop;
use serde_json::json;
use sota_errors::ProgramError;
use sota_host::sim_rom::Noise;
use sota_host::sim_smp::{Mode, Options as Kind, SimSmp, State, build};
use sota_host::smp_mcu::{Heard, SmpMcu};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Options that only this MCU has.
#[derive(clap::Args)]
#[group(id = "smp")]
pub(crate) struct Options {
    /// With smp: bytes of the server's buffers.
    #[arg(long, default_value_t = 384, value_parser = clap::value_parser!(u32).range(64..=65_535))]
    buf_size: u32,
    /// With smp: how many buffers it has.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    buf_count: u32,
    /// With smp: milliseconds from a reset until the image runs.
    #[arg(long, default_value_t = 200, value_name = "MS")]
    boot_ms: u64,
    /// With smp: milliseconds for a request.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    work_ms: u64,
    /// With smp: milliseconds for the erase of a slot.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    erase_ms: u64,
    /// With smp: milliseconds after which the watchdog resets an image that hangs (its body begins with HANG); 0: never.
    #[arg(long, default_value_t = 5_000, value_name = "MS")]
    watchdog_ms: u64,
    /// With smp: its log goes to the same UART, between frames, between their lines and now and then into one.
    #[arg(long)]
    logs: bool,
    /// With smp: the flash fails at the erase or write that comes after so many others.
    #[arg(long, value_name = "OPERATIONS")]
    flash_error: Option<u32>,
    /// With smp: the server knows SMP version 1 alone.
    #[arg(long)]
    old_smp: bool,
}

/// The MCU's flash inside its state folder.
pub(crate) fn flash_path(state: &Path) -> PathBuf {
    state.join("smp-flash.bin")
}

/// The numbers of a version: `V1_0` is 1.0.0, `1.2.3+4` is 1.2.3.4.
pub(crate) fn image_version(text: &str) -> [u32; 4] {
    let mut version = [0; 4];
    let numbers = text.split(|c: char| !c.is_ascii_digit());
    let numbers = numbers.filter_map(|number| number.parse().ok());
    for (place, number) in version.iter_mut().zip(numbers) {
        *place = number;
    }
    version
}

/// What a new MCU holds.
fn factory(version: &str) -> Vec<u8> {
    let body: Vec<u8> = (0..=255).cycle().take(2000).collect();
    build(image_version(version), &body)
}

fn kind(args: &Args) -> Kind {
    let options = &args.smp;
    Kind {
        slot: args.slot as usize,
        buf_size: options.buf_size,
        buf_count: options.buf_count,
        boot_ms: options.boot_ms,
        work_ms: options.work_ms,
        erase_ms: options.erase_ms,
        watchdog_ms: options.watchdog_ms,
        logs: options.logs,
        is_old: options.old_smp,
    }
}

fn broken(path: &Path, e: std::io::Error) -> Failure {
    Failure::new(ProgramError::FlashFile, format!("{}: {e}", path.display()))
}

/// The image that an MCU which was switched off would start and keep, from its flash.
pub(crate) fn kept_image(state: &Path, slot: u32) -> Result<Vec<u8>, Failure> {
    let path = flash_path(state);
    let slot = slot as usize;
    let kind = Kind {
        slot,
        ..Kind::DEFAULT
    };
    let smp = SimSmp::open(kind, &path, &[]).map_err(|e| broken(&path, e))?;
    let kept = usize::from(smp.mode() == Mode::Trial);
    Ok(smp.image(kept).unwrap_or_default().to_vec())
}

/// Runs until it is stopped.
pub(crate) fn run(args: &Args, out: Out, until_eof: bool) -> Result<(), Failure> {
    let serial = side::serial(&args.uart, args.baud)?;
    let port = serial.path().to_owned();
    let path = flash_path(&args.state);
    let factory = factory(&args.version);
    let mut smp = SimSmp::open(kind(args), &path, &factory).map_err(|e| broken(&path, e))?;
    smp.slow(Duration::from_millis(args.page_ms));
    if let Some(count) = args.smp.flash_error {
        smp.fail_in(count);
    }
    let noise = Noise::new(args.rom.lose_seed, args.rom.lose, 0);
    let (mut mcu, wake) = SmpMcu::new(smp, noise, serial)?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    on_stop(until_eof, move || {
        asked.store(true, Ordering::SeqCst);
        wake.wake();
    })?;
    let uart_path = port.display().to_string();
    out.line(
        format_args!("{} with MCUmgr, UART {uart_path}", args.component),
        json!({ "ready": args.component, "uart": uart_path }),
    );
    while !stop.load(Ordering::SeqCst) {
        let mut events = Vec::new();
        mcu.step(&mut |heard| events.push(heard));
        for heard in events {
            match heard {
                Heard::Uart(change) => uart(out, &port, change),
                Heard::State(state) => show(out, state, mcu.smp()),
            }
        }
    }
    Ok(())
}

fn show(out: Out, state: State, smp: &SimSmp) {
    let (name, text) = match state {
        State::Off => return,
        State::Booting => ("booting", "MCUboot runs"),
        State::Running => ("running", "the image runs"),
        State::Hung => ("hung", "the image hangs"),
        State::Stuck => ("nothing", "there is no image to start"),
    };
    let info = smp.info(0);
    let version = info.map(|info| info.version).unwrap_or_default();
    let mode = format!("{:?}", smp.mode()).to_lowercase();
    out.line(
        format_args!(
            "{text}: {version}, {mode}; {} flash operations so far",
            smp.operations()
        ),
        json!({ "event": name, "version": version, "mode": mode, "operations": smp.operations() }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_version() {
        assert_eq!(image_version("V1_0"), [1, 0, 0, 0]);
        assert_eq!(image_version("1.2.3+45"), [1, 2, 3, 45]);
        assert_eq!(image_version("none"), [0; 4]);
    }
}
