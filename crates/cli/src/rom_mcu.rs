//! `sota mcu --protocol stm32`: a chip with its ROM loader and nothing of ours on it.

use crate::failure::Failure;
use crate::mcu::{Args, uart};
use crate::out::Out;
use crate::side;
use crate::stop::on_stop;
use serde_json::json;
use sha2::{Digest, Sha256};
use sota_errors::ProgramError;
use sota_host::rom_mcu::{Heard, RomMcu};
use sota_host::sim_rom::{CHIPS, Chip, Noise, SimRom, State};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Options that only this chip has.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// With stm32: which chip.
    #[arg(long, default_value = "f103", value_parser = ["f103", "f405", "g071"])]
    chip: String,
    /// With stm32: where the socket of the reset and boot lines is made (docs/stm32.md); without, BOOT0 is high for good.
    #[arg(long)]
    lines: Option<PathBuf>,
    /// With stm32: numbers of the flash pages that are write-protected.
    #[arg(long, value_delimiter = ',', value_name = "PAGES")]
    protect: Vec<u16>,
    /// With stm32 and smp: bytes of a million that are lost on the UART, each way.
    #[arg(long, default_value_t = 0, value_name = "PER MILLION", value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub(crate) lose: u32,
    /// With stm32 and smp: seed of what is lost.
    #[arg(long, default_value_t = 1)]
    pub(crate) lose_seed: u64,
}

/// The chip's flash inside its state folder.
pub(crate) fn flash_path(state: &Path) -> PathBuf {
    state.join("stm32-flash.bin")
}

/// What a new chip holds: a stack pointer, a reset vector and some bytes.
fn factory() -> Vec<u8> {
    let head = [0, 0x50, 0, 0x20, 0x01, 0x01, 0, 0x08];
    head.into_iter().chain(1..=248).cycle().take(4096).collect()
}

/// Runs until it is stopped.
pub(crate) fn run(args: &Args, out: Out, until_eof: bool) -> Result<(), Failure> {
    let options = &args.rom;
    let serial = side::serial(&args.uart, args.baud)?;
    let port = serial.path().to_owned();
    let path = flash_path(&args.state);
    let chip = chip(&options.chip)?;
    let mut rom = SimRom::open(chip, &path, &factory())
        .map_err(|e| Failure::new(ProgramError::FlashFile, format!("{}: {e}", path.display())))?;
    rom.protect(&options.protect);
    rom.slow(Duration::from_millis(args.page_ms));
    let noise = Noise::new(options.lose_seed, options.lose, 0);
    let (mut mcu, wake) = RomMcu::new(rom, noise, serial, options.lines.as_deref())?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    on_stop(until_eof, move || {
        asked.store(true, Ordering::SeqCst);
        wake.wake();
    })?;
    let uart_path = port.display().to_string();
    out.line(
        format_args!("{} {}, UART {uart_path}", args.component, chip.name),
        json!({ "ready": args.component, "chip": chip.name, "uart": uart_path }),
    );
    while !stop.load(Ordering::SeqCst) {
        let mut events = Vec::new();
        mcu.step(&mut |heard| events.push(heard));
        for heard in events {
            match heard {
                Heard::Uart(change) => uart(out, &port, change),
                Heard::State(state) => show(out, state, mcu.rom()),
            }
        }
    }
    Ok(())
}

fn chip(name: &str) -> Result<Chip, Failure> {
    let chip = CHIPS.iter().find(|chip| chip.name == name);
    chip.copied()
        .ok_or_else(|| Failure::new(ProgramError::NameUnusable, name))
}

fn show(out: Out, state: State, rom: &SimRom) {
    let (name, text) = match state {
        State::Off | State::Held => return,
        State::Waiting => ("loader", "reset into the ROM loader"),
        State::Loader => ("loader found", "the ROM loader has the baud rate"),
        State::Application => ("application", "the application runs"),
        State::Stuck => ("nothing", "the flash has nothing that can be started"),
    };
    let sha256 = hex::encode(Sha256::digest(rom.flash()));
    out.line(
        format_args!("{text}; {} flash operations so far", rom.operations()),
        json!({ "event": name, "operations": rom.operations(), "flash_sha256": sha256 }),
    );
}
