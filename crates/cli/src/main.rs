#![forbid(unsafe_code)]
//! The one program: `sota center`, `sota module`, `sota mcu`, `sota demo`, `sota sim`, and for scripts at a Center
//! `sota package`, `sota plan`, `sota device`.
//!
//! Exit status: 0 only if the thing asked for is true, 1 with an error of `docs/errors.md`, 2 when the
//! command line cannot be understood.

mod center;
mod demo;
mod failure;
mod mcu;
mod module;
mod names;
mod out;
mod protocol;
mod remote;
mod rest;
mod rom_mcu;
mod rom_module;
mod side;
mod sim;
mod smp_mcu;
mod smp_module;
mod stop;

use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::process::ExitCode;

/// Firmware from a Center over the air into a module, and on over a UART into its MCU.
#[derive(Parser)]
#[command(name = "sota", version, max_term_width = 100)]
struct Cli {
    /// One JSON object a line on standard output instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// End when standard input ends (for a part started by another program).
    #[arg(long, global = true, hide = true)]
    until_eof: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One whole upgrade on this machine: Center, module, UART and MCU as processes of their own.
    Demo(Box<demo::Args>),
    /// The Developer Center: REST for people and scripts, LwM2M over CoAP/UDP for devices.
    Center(Box<center::Args>),
    /// Packages at a Center, for scripts: list, show, upload, delete.
    Package(remote::package::Args),
    /// Plans at a Center, for scripts: create, activate, wait until all is done.
    Plan(remote::plan::Args),
    /// Devices at a Center, for scripts: list, show, why it gets no plan, log, disable.
    Device(remote::device::Args),
    /// A module on this PC: LwM2M client, staging flash in a file, AT commands on a UART.
    Module(Box<module::Args>),
    /// An MCU on this PC: two slots in a file, pulls packages over a UART by AT commands.
    Mcu(mcu::Args),
    /// The deterministic world: the whole relay on virtual time, from a seed, and everything that can go wrong.
    Sim(sim::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A simulated Center's warnings are what the faults are for; the story tells what happened.
    let level = match cli.command {
        Command::Sim(_) => "off",
        _ => "warn",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("SOTA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let out = out::Out { json: cli.json };
    let result = match cli.command {
        Command::Demo(args) => demo::run(*args, out),
        Command::Center(args) => center::run(*args, out, cli.until_eof),
        Command::Package(args) => remote::package::run(args, out),
        Command::Plan(args) => remote::plan::run(args, out),
        Command::Device(args) => remote::device::run(args, out),
        Command::Module(args) => module::run(*args, out, cli.until_eof),
        Command::Mcu(args) => mcu::run(args, out, cli.until_eof),
        Command::Sim(args) => sim::run(args, out),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(cli.json),
    }
}
