//! `sota module`.

use crate::failure::Failure;
use crate::names;
use crate::out::Out;
use crate::protocol::Protocol;
use crate::side;
use crate::stop::on_stop;
use clap::ValueEnum;
use serde_json::json;
use sota::bridge::{ConnectMode, Settings};
use sota::cloud::{self, Link};
use sota::engine;
use sota::message::{Event, View};
use sota::platform::Readings;
use sota_errors::{Entry, LinkError, McuError, ProgramError, Reason};
use sota_host::module::{
    Config, Heard, Main, Module, ModuleFlash, PAGE, SideConfig, cloud_config, load_settings,
};
use sota_host::serial::Change;
use sota_link::Line;
use std::path::PathBuf;
use std::sync::mpsc;

/// Options of `sota module`. Server, keys and lifetime are defaults: what the MCU has set with AT+QIOTCFG is kept in
/// the state folder and wins.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The LwM2M server: coap://HOST[:PORT], unless AT+QIOTCFG has set another (kept in --state).
    #[arg(long)]
    server: String,
    /// Product key: first half of the endpoint name, unless AT+QIOTCFG has set another.
    #[arg(long)]
    product_key: String,
    /// Device key: second half of the endpoint name, unless AT+QIOTCFG has set another.
    #[arg(long)]
    device_key: String,
    /// Folder of staging, journal and settings; made if it is not there.
    #[arg(long)]
    state: PathBuf,
    /// The serial port to the MCU, or `pty` for a new pseudo-terminal whose path is printed.
    #[arg(long)]
    uart: String,
    /// Bits per second of a real serial port.
    #[arg(long, default_value_t = 115_200)]
    baud: u32,
    /// What is spoken with the MCU.
    #[arg(long, value_enum, default_value = "at")]
    protocol: Protocol,
    /// Greatest bits per second that the binary link may change to while a package goes over it; 0: no change.
    #[arg(long, default_value_t = 0)]
    link_baud: u32,
    /// Bytes of the staging partition: a multiple of 4096, one page of it is kept for repairs.
    #[arg(long, default_value_t = 1 << 20)]
    staging: u32,
    /// Greatest piece in bytes, rounded down to 1024 (default: what staging holds).
    #[arg(long)]
    piece: Option<u32>,
    /// Block size asked for, in bytes.
    #[arg(long, value_enum, default_value = "1024")]
    block: Block,
    /// Identifier of the module's own component.
    #[arg(long, default_value = "MODULE")]
    component: String,
    /// Version the module's own component runs.
    #[arg(long, default_value = "1.0.0")]
    version: String,
    /// Behave as QuecThing to the letter: its timers, restarts and version rule.
    #[arg(long)]
    strict: bool,
    /// Confirm offers without asking the MCU.
    #[arg(long)]
    auto_confirm: bool,
    /// Battery in % that this module shows.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(0..=100))]
    battery: u8,
    /// Signal strength in dBm (RSRP) that this module shows.
    #[arg(long, default_value_t = -80, allow_negative_numbers = true, value_parser = clap::value_parser!(i16).range(-156..=-31))]
    rsrp: i16,
    /// Radio cell that this module shows; 0: not known.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..1 << 28))]
    cell: u32,
    /// Transmission parameters for NB-IoT (ACK time-out 15 s) instead of RFC 7252's.
    #[arg(long)]
    nbiot: bool,
    /// Queue mode: say that the module sleeps between its messages.
    #[arg(long)]
    queue_mode: bool,
    /// Registration lifetime in seconds, unless AT+QIOTCFG has set another.
    #[arg(long, default_value_t = 86_400, value_parser = clap::value_parser!(u32).range(1..=864_000))]
    lifetime: u32,
    /// Id of the Plan object.
    #[arg(long, default_value_t = sota_center::DEFAULT_PLAN_OBJECT)]
    plan_object: u16,
    /// Offer /33629 (Advanced Firmware Update) instead of /9.
    #[arg(long)]
    advanced_firmware_update: bool,
    #[command(flatten)]
    rom: crate::rom_module::Options,
    #[command(flatten)]
    smp: crate::smp_module::Options,
    #[arg(long, value_name = "KEY=VALUE,…", help = side::HELP)]
    mcu: Vec<String>,
}

/// Block sizes of RFC 7959 that a module is built with.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Block {
    #[value(name = "64")]
    B64,
    #[value(name = "128")]
    B128,
    #[value(name = "256")]
    B256,
    #[value(name = "512")]
    B512,
    #[value(name = "1024")]
    B1024,
}

impl Block {
    /// Its size in bytes.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Block::B64 => 64,
            Block::B128 => 128,
            Block::B256 => 256,
            Block::B512 => 512,
            Block::B1024 => 1024,
        }
    }
}

/// Runs until it is stopped.
pub(crate) fn run(args: Args, out: Out, until_eof: bool) -> Result<(), Failure> {
    let mut config = config(&args)?;
    let flash = open_flash(&args)?;
    let uart = back_ends(&args, &mut config)?;
    let (stop, stopped) = mpsc::channel();
    on_stop(until_eof, move || {
        let _ = stop.send(());
    })?;
    out.line(
        format_args!(
            "module {} for {}, UART {uart}",
            config.cloud.endpoint, config.settings.server
        ),
        json!({
            "uart": uart,
            "endpoint": config.cloud.endpoint.as_str(),
            "server": config.settings.server.as_str(),
        }),
    );
    for side in &config.sides {
        let component = side.protocol.component().as_str();
        let uart = side.serial.path().display().to_string();
        out.line(
            format_args!("component {component} at UART {uart}"),
            json!({ "component": component, "side_uart": uart }),
        );
    }
    let port = uart.clone();
    let heard = move |heard| show(out, &port, heard);
    let start = match args.block {
        Block::B64 => Module::start::<64>,
        Block::B128 => Module::start::<128>,
        Block::B256 => Module::start::<256>,
        Block::B512 => Module::start::<512>,
        Block::B1024 => Module::start::<1024>,
    };
    let module = start(config, flash, Box::new(heard))
        .map_err(|e| Failure::new(ProgramError::SocketFailed, e))?;
    // The sender lives on the signals' thread, which never ends.
    let _ = stopped.recv();
    module.stop();
    Ok(())
}

fn config(args: &Args) -> Result<Config, Failure> {
    names::key("product key", &args.product_key)?;
    names::key("device key", &args.device_key)?;
    names::component(&args.component)?;
    names::version(&args.version)?;
    names::folder(&args.state)?;
    let defaults = defaults(args)?;
    let settings = settings(args, &defaults)?;
    let base = cloud::Config {
        queue_mode: args.queue_mode,
        link: if args.nbiot {
            Link::NbIot
        } else {
            Link::Rfc7252
        },
        plan_object: args.plan_object,
        advanced_firmware_update: args.advanced_firmware_update,
        ..cloud::Config::default()
    };
    let cloud = cloud_config(&base, &settings, &defaults).map_err(|reason| match reason {
        Reason::NoServerAddress => Failure::new(ProgramError::ServerAddress, &settings.server),
        _ => Failure::new(
            ProgramError::KeysUnusable,
            format!("{}:{}", settings.product_key, settings.device_key),
        ),
    })?;
    let base = match args.strict {
        true => engine::Config::strict(),
        false => engine::Config::default(),
    };
    let name = |text: &str| Failure::new(ProgramError::NameUnusable, text);
    let engine = engine::Config {
        auto_confirm: args.auto_confirm,
        piece_limit: args.piece,
        own_component: args
            .component
            .as_str()
            .try_into()
            .map_err(|_| name(&args.component))?,
        own_version: args
            .version
            .as_str()
            .try_into()
            .map_err(|_| name(&args.version))?,
        ..base
    };
    let readings = Readings {
        battery_percent: Some(args.battery),
        rsrp_dbm: Some(args.rsrp),
    };
    Ok(Config {
        cloud,
        engine,
        settings,
        defaults,
        readings,
        cell: args.cell,
        state: args.state.clone(),
        main: Main::None,
        sides: Vec::new(),
    })
}

/// Opens every UART; the path of the module's own.
fn back_ends(args: &Args, config: &mut Config) -> Result<String, Failure> {
    config.sides = side::open(&args.mcu)?;
    let serial = side::serial(args.uart.as_ref(), args.baud)?;
    let uart = serial.path().display().to_string();
    config.main = match args.protocol {
        Protocol::At => Main::At(serial),
        Protocol::Link => Main::Link(serial, args.link_baud),
        Protocol::Stm32 | Protocol::Smp => {
            let protocol = match args.protocol {
                Protocol::Smp => args.smp.smp(&args.rom, args.baud)?,
                _ => args.rom.rom(args.baud)?,
            };
            side::add(&mut config.sides, SideConfig { serial, protocol })?;
            Main::None
        }
    };
    Ok(uart)
}

/// What the command line says: counts where AT commands have set nothing.
fn defaults(args: &Args) -> Result<Settings, Failure> {
    let mut settings = Settings::new();
    settings.connect = ConnectMode::Auto;
    settings.lifetime_s = args.lifetime;
    for (field, value) in [
        (&mut settings.product_key, &args.product_key),
        (&mut settings.device_key, &args.device_key),
    ] {
        *field = value
            .as_str()
            .try_into()
            .map_err(|_| Failure::new(ProgramError::KeysUnusable, value))?;
    }
    settings.server = args
        .server
        .as_str()
        .try_into()
        .map_err(|_| Failure::new(ProgramError::ServerAddress, &args.server))?;
    Ok(settings)
}

/// What AT commands set before, else `defaults`. The program always connects at its start: it may have no MCU
/// that asks for it.
fn settings(args: &Args, defaults: &Settings) -> Result<Settings, Failure> {
    let mut settings = load_settings(&args.state, defaults).map_err(|e| {
        Failure::new(
            ProgramError::StateFolder,
            format!("{}: {e}", args.state.display()),
        )
    })?;
    settings.connect = ConnectMode::Auto;
    Ok(settings)
}

fn open_flash(args: &Args) -> Result<ModuleFlash, Failure> {
    check_staging(args.staging)?;
    ModuleFlash::open(&args.state, args.staging).map_err(|(path, e)| {
        Failure::new(ProgramError::FlashFile, format!("{}: {e}", path.display()))
    })
}

/// Staging: whole pages, at least three.
pub(crate) fn check_staging(staging: u32) -> Result<(), Failure> {
    let page = PAGE as u32;
    if staging < 3 * page || !staging.is_multiple_of(page) {
        return Err(Failure::new(
            ProgramError::StagingUnusable,
            format!("{staging} bytes"),
        ));
    }
    Ok(())
}

fn show(out: Out, uart: &str, heard: Heard) {
    match heard {
        Heard::Event(event) => show_event(out, &event),
        Heard::View(view) => show_view(out, &view),
        Heard::Progress(progress, length) => {
            out.object(json!({ "progress": progress, "length": length }));
        }
        Heard::Net(net) => out.object(json!({
            "sent": net.sent, "received": net.received, "retransmissions": net.retransmissions,
        })),
        Heard::Uart(uart, Change::Lost) => {
            let uart = uart.display().to_string();
            let reason = Reason::UartLost;
            out.line(
                format_args!("warning {reason} ({uart}); {}", reason.remedy()),
                json!({
                    "warning": reason.number(), "name": reason.name(),
                    "uart": uart, "remedy": reason.remedy(),
                }),
            );
        }
        Heard::Uart(uart, Change::Back) => out.line(
            format_args!("the UART {} is back", uart.display()),
            json!({ "event": "uart back" }),
        ),
        Heard::Line(line) => show_line(out, uart, line),
        Heard::Rom(uart, line) => crate::rom_module::show(out, &uart, line),
        Heard::Smp(uart, line) => crate::smp_module::show(out, &uart, line),
        Heard::SettingsNotStored(error) => {
            let e = ProgramError::StateFolder;
            out.line(
                format_args!("warning {e}: {error}; {}", e.remedy()),
                json!({
                    "warning": e.number(), "name": e.name(),
                    "message": error, "remedy": e.remedy(),
                }),
            );
        }
    }
}

fn show_line(out: Out, uart: &str, line: Line) {
    match line {
        Line::Up => out.line("the MCU answers on the link", json!({ "event": "link up" })),
        Line::Down => out.line(
            "the MCU is silent on the link",
            json!({ "event": "link down" }),
        ),
        Line::Baud(baud) => out.object(json!({ "baud": baud })),
        Line::Fault(number) => told(out, uart, "", number),
        Line::PeerError(number) => told(out, uart, "the MCU says: ", number),
    }
}

/// An error of the link or of the MCU, by its number.
fn told(out: Out, uart: &str, who: &str, number: u16) {
    let link = || LinkError::from_number(number).map(LinkError::entry);
    match McuError::from_number(number).map_or_else(link, |e| Some(e.entry())) {
        Some(entry) => warn(out, uart, who, &entry),
        // of the product's own, or of a later version
        None => out.line(
            format_args!("warning {number}: {who}see the MCU's product ({uart})"),
            json!({ "warning": number, "name": "", "uart": uart }),
        ),
    }
}

fn warn(out: Out, uart: &str, who: &str, e: &Entry) {
    out.line(
        format_args!(
            "warning {} {}: {who}{} ({uart}); {}",
            e.number, e.name, e.meaning, e.remedy
        ),
        json!({
            "warning": e.number, "name": e.name, "message": format!("{who}{}", e.meaning),
            "uart": uart, "remedy": e.remedy,
        }),
    );
}

fn show_event(out: Out, event: &Event) {
    let mut text = sota::event::Payload::new();
    event.write_payload(&mut text);
    let (group, code) = (event.group(), event.code());
    let comma = if text.is_empty() { "" } else { "," };
    out.line(
        format_args!("event {group},{code}{comma}{text}"),
        json!({ "event": format!("{group},{code}"), "payload": text.as_str() }),
    );
    if let Event::UpdateFail(reason) = event {
        out.line(
            format_args!("  {reason}; {}", reason.remedy()),
            json!({ "reason": reason.number(), "name": reason.name() }),
        );
    }
}

fn show_view(out: Out, view: &View) {
    out.object(json!({
        "state": view.state.number(),
        "target": view.target.as_str(),
        "reason": view.reason.map(|reason| reason.number()),
    }));
}
