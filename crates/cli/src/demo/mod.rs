//! `sota demo`: one whole upgrade on this machine.
//!
//! ```text
//!  this process: REST client, lossy proxy, wire, this report
//!  center (process) <--UDP--> proxy <--UDP--> module (process) <--pty, wire, pty--> mcu (process)
//! ```
//!
//! | file | does |
//! |---|---|
//! | `process` | starts, kills, restarts and ends the parts |
//! | `qemu` | an emulated MCU in the MCU process's place |
//! | `network` | the proxy, and the moments at which the module is killed |
//! | `setup` | project, product, model, package, plan over REST |
//! | `follow` | waits for the plan's end, shows progress |
//! | `report` | the judgement and the table |

mod follow;
mod network;
mod process;
mod qemu;
mod report;
mod setup;

use crate::failure::Failure;
use crate::module::{Block, check_staging};
use crate::names;
use crate::out::Out;
use crate::protocol::Protocol;
use crate::rest::Rest;
use crate::smp_mcu::image_version;
use crate::stop::on_stop;
use follow::Follow;
use network::Network;
use process::{Message, Parts};
use qemu::{Board, Mcu};
use report::Report;
use sota_errors::ProgramError;
use sota_host::sim_smp::build;
use sota_host::wire::{Line, Wire};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Instant;

/// Greatest package of the Center, in bytes.
const PACKAGE_LIMIT: u64 = 104_857_600;

/// Options of `sota demo`. With the defaults it takes about ten seconds.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The package; default: a made one of --size bytes. Its bytes are carried as they are: convert Intel HEX
    /// first, with `objcopy -I ihex -O binary image.hex image.bin` or with `hex2bin.py image.hex image.bin` of
    /// the PyPI package intelhex.
    #[arg(long)]
    package: Option<PathBuf>,
    /// Bytes of the made package; with smp it is the body of an MCUboot image.
    #[arg(long, default_value_t = 96 * 1024, conflicts_with = "package", value_parser = clap::value_parser!(u32).range(1..))]
    size: u32,
    /// Component identifier of the MCU.
    #[arg(long, default_value = "STM32")]
    component: String,
    /// Version before.
    #[arg(long, default_value = "V1_0")]
    from: String,
    /// Version after.
    #[arg(long, default_value = "V2_0")]
    to: String,
    /// Greatest piece in bytes, rounded down to 1024 (default: what staging holds).
    #[arg(long)]
    piece: Option<u32>,
    /// Bytes of the module's staging partition: a multiple of 4096, one page of it is kept for repairs.
    #[arg(long, default_value_t = 1 << 20)]
    staging: u32,
    /// Block size in bytes.
    #[arg(long, value_enum, default_value = "1024")]
    block: Block,
    /// What module and MCU speak on the UART.
    #[arg(long, value_enum, default_value = "at")]
    protocol: Protocol,
    /// Bits per second of the UART between module and MCU, both directions paced to it.
    #[arg(long, default_value_t = 230_400, value_parser = clap::value_parser!(u32).range(300..))]
    baud: u32,
    /// Greatest bits per second that the binary link may change to; 0: no change. The line then has the speed that its
    /// ends have set.
    #[arg(long, default_value_t = 0)]
    link_baud: u32,
    /// Bytes of a million that arrive on the UART with a wrong bit, in each direction.
    #[arg(long, default_value_t = 0, value_name = "PER MILLION", value_parser = clap::value_parser!(u32).range(..=100_000))]
    corrupt: u32,
    /// Milliseconds that the MCU's flash takes to erase a page; not in QEMU, whose flash has a time of its own.
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=10_000))]
    page_ms: u64,
    /// Datagrams lost between Center and module, in % of each direction.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=60))]
    loss: u8,
    /// Seed of what is lost and corrupted.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The MCU: a process of this program on the PC, or an emulated one (needs qemu-system-arm).
    #[arg(long, value_enum, conflicts_with_all = ["package", "size", "component", "from", "to", "protocol"])]
    mcu: Option<Mcu>,
    /// With --mcu qemu: the folder that samples/mcu_qemu/build made.
    #[arg(long, default_value = "target/mcu_qemu", value_name = "DIR")]
    mcu_images: PathBuf,
    /// Cut the MCU's power (kill -9) this many times and start it again, spread over the download; in QEMU
    /// the last time while it installs.
    #[arg(long, default_value_t = 0, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(0..=100))]
    kill_mcu: u32,
    /// Kill the module (kill -9) this many times in mid-download and start it again.
    #[arg(long, default_value_t = 0, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(0..=100))]
    kill_module: u32,
    /// Seconds after which an upgrade that has not ended has failed.
    #[arg(long, default_value_t = 900)]
    timeout: u64,
    /// Keep the folder with the database and the flash files, and say where it is.
    #[arg(long)]
    keep: bool,
}

/// Runs the upgrade and judges it.
pub(crate) fn run(mut args: Args, out: Out) -> Result<(), Failure> {
    if args.mcu == Some(Mcu::Qemu) {
        args.protocol = Protocol::Link;
        (args.from, args.to) = ("1_0_0".into(), "2_0_0".into());
    }
    names::component(&args.component)?;
    names::version(&args.from)?;
    names::version(&args.to)?;
    check_staging(args.staging)?;
    let package = package(&args)?;
    let folder = tempfile::Builder::new()
        .prefix("sota-demo-")
        .disable_cleanup(args.keep)
        .tempdir()
        .map_err(|e| Failure::new(ProgramError::StateFolder, e))?;
    if args.keep {
        eprintln!("everything is kept in {}", folder.path().display());
    }
    let report = upgrade(&args, out, folder.path(), package)?;
    report.show(out);
    report.judge()
}

fn upgrade(args: &Args, out: Out, folder: &Path, package: Vec<u8>) -> Result<Report, Failure> {
    let began = Instant::now();
    let broken = |e| Failure::new(ProgramError::SocketFailed, e);
    let (tell, told) = mpsc::channel();
    let interrupt = tell.clone();
    on_stop(false, move || {
        let _ = interrupt.send(Message::Stop);
    })?;
    let network = Network::new(args, package.len()).map_err(broken)?;
    let line = Line {
        baud: args.baud,
        follows: args.link_baud > 0,
        corrupt: args.corrupt,
        seed: args.seed,
    };
    let wire = Wire::new(line).map_err(broken)?;
    let mut parts = Parts::new(args, folder, &network, &wire, package.len(), tell, told)?;
    let (http, token) = parts.start_center()?;
    let rest = Rest::new(&format!("http://{http}"), &token);
    let center = parts.coap_address();
    network.carry_to(center);
    let mut follow = Follow::new(out, package.len(), args);
    follow.say(format_args!(
        "Center, module and MCU{} are processes of their own; UART at {} baud ({}), {} % of the datagrams lost",
        if args.mcu.is_some() { " (in QEMU)" } else { "" },
        args.baud,
        args.protocol.name(),
        args.loss
    ));
    let made = setup::make(&rest, args, &package)?;
    parts.start_module()?;
    parts.start_mcu()?;
    follow.until_connected(&mut parts, &rest)?;
    let plan = setup::activate(&rest, args, &made)?;
    follow.until_done(&mut parts, &rest, plan)?;
    let served = setup::served(&rest, made.package)?;
    parts.end();
    Report::new(report::Facts {
        args,
        package,
        folder,
        slot: parts.slot(),
        board: Board::new(args, folder),
        follow,
        served,
        network: network.passed(),
        wire: wire.carried(),
        kills: network.kills_done(),
        mcu_kills: parts.mcu_kills(),
        seconds: began.elapsed().as_secs_f64(),
    })
}

fn package(args: &Args) -> Result<Vec<u8>, Failure> {
    if args.mcu == Some(Mcu::Qemu) {
        return Board::package(&args.mcu_images);
    }
    let Some(path) = &args.package else {
        let made = made_package(args.size);
        return Ok(match args.protocol {
            Protocol::Smp => build(image_version(&args.to), &made),
            _ => made,
        });
    };
    let shown = path.display();
    let unreadable = |e| Failure::new(ProgramError::PackageUnreadable, format!("{shown}: {e}"));
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > PACKAGE_LIMIT {
        return Err(Failure::new(
            ProgramError::PackageOversized,
            format!("{shown}: {length} bytes"),
        ));
    }
    let package = std::fs::read(path).map_err(unreadable)?;
    if package.is_empty() {
        return Err(Failure::new(ProgramError::PackageEmpty, shown));
    }
    Ok(package)
}

/// The same bytes for the same size: Knuth's multiplicative hash of the position.
fn made_package(size: u32) -> Vec<u8> {
    (0..size)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_made_package_is_the_same_each_time() {
        assert_eq!(made_package(5), [0, 158, 60, 218, 120]);
        assert_eq!(made_package(70_000)[..1_000], made_package(1_000));
    }
}
