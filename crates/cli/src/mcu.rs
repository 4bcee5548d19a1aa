//! `sota mcu`.

use crate::failure::Failure;
use crate::names;
use crate::out::Out;
use crate::protocol::Protocol;
use crate::stop::on_stop;
use serde_json::json;
use sota_errors::{McuError, ProgramError};
use sota_host::link_mcu::{self, Identity, LinkMcu};
use sota_host::mcu::{Config, McuEvent, Status};
use sota_host::mcu_port::{Heard, McuPort, flash_path, open_flash};
use sota_host::serial::{Change, Serial, Source};
use sota_host::wake::Wake;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Options of `sota mcu`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The serial port to the module; with --protocol stm32 or smp also `pty` for a new pseudo-terminal whose path is printed.
    #[arg(long)]
    pub(crate) uart: PathBuf,
    /// Bits per second of a real serial port.
    #[arg(long, default_value_t = 115_200)]
    pub(crate) baud: u32,
    /// What is spoken with the module: by AT commands the simulated MCU pulls; over the link it is the library for MCUs; with stm32 it is a chip with its ROM loader, with smp one with Zephyr's MCUmgr and MCUboot.
    #[arg(long, value_enum, default_value = "at")]
    protocol: Protocol,
    /// Greatest bits per second that the binary link may change to while a package comes; 0: no change.
    #[arg(long, default_value_t = 0)]
    link_baud: u32,
    /// Folder of the MCU's flash; made if it is not there.
    #[arg(long)]
    pub(crate) state: PathBuf,
    /// Component identifier.
    #[arg(long)]
    pub(crate) component: String,
    /// Version of the factory's image; counts until the first upgrade.
    #[arg(long)]
    pub(crate) version: String,
    /// Bytes of one of its two slots.
    #[arg(long, default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(4096..=1 << 28))]
    pub(crate) slot: u32,
    /// Milliseconds that the erase of a flash page takes.
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=10_000))]
    pub(crate) page_ms: u64,
    /// End, with status 0, when the module said success for a new image.
    #[arg(long)]
    exit_when_updated: bool,
    #[command(flatten)]
    pub(crate) rom: crate::rom_mcu::Options,
    #[command(flatten)]
    pub(crate) smp: crate::smp_mcu::Options,
}

/// An MCU of either kind.
enum Port {
    At(Box<McuPort>),
    Link(Box<LinkMcu>),
}

impl Port {
    fn start(args: &Args, serial: Serial) -> Result<(Port, Wake), Failure> {
        let at = args.protocol == Protocol::At;
        let path = match at {
            true => flash_path(&args.state),
            false => link_mcu::flash_path(&args.state),
        };
        let opened = match at {
            true => open_flash(&args.state, args.slot),
            false => link_mcu::open_flash(&args.state, args.slot),
        };
        let flash = opened.map_err(|e| {
            Failure::new(ProgramError::FlashFile, format!("{}: {e}", path.display()))
        })?;
        let flash = flash.slow(Duration::from_millis(args.page_ms));
        let started = if at {
            let config = Config::new(&args.component, &args.version, args.slot);
            McuPort::new(config, flash, serial).map(|(port, wake)| (Port::At(port.into()), wake))
        } else {
            let identity = Identity {
                component: args.component.clone(),
                version: args.version.clone(),
                slot_size: args.slot,
                greatest_baud: args.link_baud,
            };
            LinkMcu::new(identity, &args.state, flash, serial)
                .map(|(port, wake)| (Port::Link(port.into()), wake))
        };
        Ok(started?)
    }

    fn status(&self) -> Status {
        match self {
            Port::At(port) => port.status(),
            Port::Link(port) => port.status(),
        }
    }

    fn running_sha256(&mut self) -> Result<[u8; 32], McuError> {
        match self {
            Port::At(port) => port.running_sha256(),
            Port::Link(port) => port.running_sha256(),
        }
    }

    fn step(&mut self, heard: &mut dyn FnMut(Heard)) {
        match self {
            Port::At(port) => port.step(heard),
            Port::Link(port) => port.step(heard),
        }
    }
}

/// Runs until it is stopped.
pub(crate) fn run(args: Args, out: Out, until_eof: bool) -> Result<(), Failure> {
    names::component(&args.component)?;
    names::version(&args.version)?;
    names::folder(&args.state)?;
    match args.protocol {
        Protocol::Stm32 => return crate::rom_mcu::run(&args, out, until_eof),
        Protocol::Smp => return crate::smp_mcu::run(&args, out, until_eof),
        Protocol::At | Protocol::Link => {}
    }
    let serial = Serial::open(Source::Path(args.uart.clone()), args.baud).map_err(|e| {
        Failure::new(
            ProgramError::UartNotOpened,
            format!("{}: {e}", args.uart.display()),
        )
    })?;
    let (mut port, wake) = Port::start(&args, serial)?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    on_stop(until_eof, move || {
        asked.store(true, Ordering::SeqCst);
        wake.wake();
    })?;
    let status = port.status();
    out.line(
        format_args!("MCU {} runs {}", args.component, status.version),
        json!({ "ready": args.component, "version": status.version }),
    );
    let mut updated = false;
    let mut told = (0, 0);
    let ended = |updated| stop.load(Ordering::SeqCst) || (updated && args.exit_when_updated);
    while !ended(updated) {
        let mut events = Vec::new();
        port.step(&mut |heard| events.push(heard));
        for heard in events {
            match heard {
                Heard::Uart(change) => uart(out, &args.uart, change),
                Heard::Mcu(event) => {
                    updated |= event == McuEvent::Success && port.status().upgrades > 0;
                    show(out, &mut port, &event)?;
                }
            }
        }
        let status = port.status();
        let now = (status.progress, status.package_length);
        if now != told {
            told = now;
            out.object(json!({
                "progress": now.0, "length": now.1,
                "pieces": status.pieces, "retries": status.retries,
            }));
        }
    }
    Ok(())
}

fn show(out: Out, port: &mut Port, event: &McuEvent) -> Result<(), Failure> {
    match event {
        McuEvent::Announced(version) => out.line(
            format_args!("said to the module that it runs {version}"),
            json!({ "event": "announced", "version": version }),
        ),
        McuEvent::Plan(target) => out.line(
            format_args!("a plan to version {target}"),
            json!({ "event": "plan", "target": target }),
        ),
        McuEvent::Answered(yes) => out.line(
            format_args!("{} the plan", if *yes { "confirmed" } else { "refused" }),
            json!({ "event": "answered", "confirmed": yes }),
        ),
        McuEvent::Download { length, from } => out.line(
            format_args!("package of {length} bytes, from byte {from} on"),
            json!({ "event": "download", "length": length, "from": from }),
        ),
        McuEvent::Piece { start, length } => out.line(
            format_args!("piece of {length} bytes at {start}"),
            json!({ "event": "piece", "start": start, "piece_length": length }),
        ),
        McuEvent::Rewind(place) => out.line(
            format_args!("asked the module to go back to {place}"),
            json!({ "event": "rewind", "place": place }),
        ),
        McuEvent::Verified => out.line(
            "what is in the flash matches every digest that was told",
            json!({ "event": "verified" }),
        ),
        McuEvent::Booted(version) => {
            let sha256 = hex::encode(port.running_sha256()?);
            out.line(
                format_args!("booted {version}, SHA-256 {sha256}"),
                json!({ "updated": version, "sha256": sha256 }),
            );
        }
        McuEvent::Success => out.line("the module says success", json!({ "event": "success" })),
        McuEvent::Failure => out.line("the module says failure", json!({ "event": "failure" })),
        McuEvent::Error(error) => warn(out, *error),
    }
    Ok(())
}

fn warn(out: Out, error: McuError) {
    out.line(
        format_args!("warning {error}; {}", error.remedy()),
        json!({ "warning": error.number(), "name": error.name(), "remedy": error.remedy() }),
    );
}

pub(crate) fn uart(out: Out, path: &std::path::Path, change: Change) {
    let path = path.display().to_string();
    let error = ProgramError::UartVanished;
    match change {
        Change::Lost => out.line(
            format_args!("warning {error} ({path}); {}", error.remedy()),
            json!({
                "warning": error.number(), "name": error.name(),
                "uart": path, "remedy": error.remedy(),
            }),
        ),
        Change::Back => out.line(
            format_args!("the UART {path} is back"),
            json!({ "event": "uart back" }),
        ),
    }
}
