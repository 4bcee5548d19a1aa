//! A module on a PC: the three threads of the component as loops around its machines.
//!
//! | thread | file | sleeps until |
//! |---|---|---|
//! | cloud | `cloud_loop` | a datagram, a message of the engine, its deadline |
//! | engine | `engine_loop` | a message of cloud, a command, its deadline |
//! | bridge | `bridge_loop`, `link_loop`, `rom_loop` or `smp_loop` | a byte of the UART, an event, an answer, the link's deadline |
//! | dispatcher | here | an event for the program: its callback runs on no machine's thread |
//!
//! The loops carry messages and hold no rule of the upgrade. A full mailbox keeps the message with its
//! sender, which tries again when the receiver has taken one.

mod bridge_loop;
mod cloud_loop;
mod engine_loop;
mod link_loop;
mod reconfigure;
mod rom_loop;
mod settings_file;
mod smp_loop;

use crate::clock::HostClock;
use crate::flash::{FileFlash, OpenError};
use crate::serial::Serial;
use crate::wake::{self, Sleeper, Wake};
use bridge_loop::BridgeLoop;
use cloud_loop::CloudLoop;
use engine_loop::EngineLoop;
use link_loop::LinkLoop;
use reconfigure::Reconfigure;
use rom_loop::RomLoop;
use smp_loop::SmpLoop;
use sota::bridge::{ConnectMode, Settings};
use sota::mailbox::Mailbox;
use sota::message::{Command, Event, Reason, Reply, ToCloud, ToEngine, View};
use sota::platform::{Flash, Readings};
use sota::{cloud, engine};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

pub use reconfigure::cloud_config;
pub use rom_loop::Rom;
pub use settings_file::{load as load_settings, store as store_settings};

/// Erase page of staging and journal in bytes.
pub const PAGE: usize = 4096;
/// Write size of staging and journal in bytes.
pub const WRITE: usize = 8;
/// Bytes of the journal partition.
pub const JOURNAL: u32 = 4 * PAGE as u32;

/// Both partitions as files.
pub struct ModuleFlash {
    staging: FileFlash<PAGE, WRITE>,
    journal: FileFlash<PAGE, WRITE>,
}

impl ModuleFlash {
    /// Opens or makes both in the folder `state`; `staging` is in bytes, whole pages.
    ///
    /// # Errors
    /// The file that failed, and why.
    pub fn open(state: &Path, staging: u32) -> Result<Self, (PathBuf, OpenError)> {
        let open = |name: &str, size| {
            let path = state.join(name);
            FileFlash::open(&path, size).map_err(|e| (path, e))
        };
        Ok(ModuleFlash {
            staging: open("staging.bin", staging)?,
            journal: open("journal.bin", JOURNAL)?,
        })
    }
}

impl Flash for ModuleFlash {
    type Staging = FileFlash<PAGE, WRITE>;
    type Journal = FileFlash<PAGE, WRITE>;

    fn staging(&mut self) -> &mut Self::Staging {
        &mut self.staging
    }

    fn journal(&mut self) -> &mut Self::Journal {
        &mut self.journal
    }
}

/// What a module is made with.
pub struct Config {
    /// The cloud machine's; server, endpoint and lifetime as [`cloud_config`] makes them from `settings`.
    pub cloud: cloud::Config,
    /// The engine's.
    pub engine: engine::Config,
    /// The AT command server's.
    pub settings: Settings,
    /// What counts where AT commands have set nothing; its device key is the one of the port.
    pub defaults: Settings,
    /// Battery and signal, fixed on a PC.
    pub readings: Readings,
    /// Radio cell, fixed too; 0: not known.
    pub cell: u32,
    /// Where settings changed by AT commands are kept.
    pub state: PathBuf,
    /// How the MCU is spoken to.
    pub backend: Backend,
}

/// What is spoken on the UART.
#[derive(Clone, Debug, Default)]
pub enum Backend {
    /// AT commands.
    #[default]
    At,
    /// The binary link, which may switch to this baud rate; 0: to none.
    Link(u32),
    /// The ROM loader of an STM32.
    Rom(Box<Rom>),
    /// The SMP server of an MCU with MCUboot.
    Smp(Box<sota::bridge::smp::Config>),
}

/// What the program hears, on the dispatcher's thread.
#[derive(Clone, Debug)]
pub enum Heard {
    /// An event of the component, as the host application would get it.
    Event(Box<Event>),
    /// The engine's view changed.
    View(Box<View>),
    /// The cloud's counters changed.
    Net(Net),
    /// Bytes of the package that are durable on the module, and its length.
    Progress(u32, u32),
    /// The UART was lost, or is back.
    Uart(crate::serial::Change),
    /// The binary link is up, down, or met something.
    Line(sota_link::Line),
    /// The ROM loader's side met something, or started the new image.
    Rom(sota::bridge::rom::Line),
    /// The SMP server's side met something, or the new image runs.
    Smp(sota::bridge::smp::Line),
    /// The flash of the settings failed.
    SettingsNotStored(String),
}

/// Counters of the network side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Net {
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams received.
    pub received: u64,
    /// Messages sent again because no answer came.
    pub retransmissions: u64,
}

/// To the engine's thread from others than cloud.
enum Call {
    /// A command; the answer and the bytes read go back.
    Command(Command, Sender<(Reply, Vec<u8>)>),
    /// Names and versions of the MCU components.
    Versions(Sender<Vec<(String, String)>>),
}

/// The mailboxes of the component. Leaked, because a mailbox wakes a `'static` receiver: a firmware has
/// them as statics, a PC makes one set per module it starts.
struct Boxes<const B: usize> {
    to_engine: Mailbox<ToEngine<B>, 4>,
    to_cloud: Mailbox<ToCloud, 4>,
    events: Mailbox<Event, 8>,
    /// What the cloud's thread is to go on with; a newer one replaces it.
    config: Mutex<Option<cloud::Config>>,
    cloud: Wake,
    engine: Wake,
    bridge: Wake,
}

impl<const B: usize> Boxes<B> {
    fn new(cloud: Wake, engine: Wake, bridge: Wake) -> &'static Boxes<B> {
        let boxes: &'static Boxes<B> = Box::leak(Box::new(Boxes {
            to_engine: Mailbox::new(),
            to_cloud: Mailbox::new(),
            events: Mailbox::new(),
            config: Mutex::new(None),
            cloud,
            engine,
            bridge,
        }));
        boxes.to_engine.set_wake(&boxes.engine);
        boxes.to_cloud.set_wake(&boxes.cloud);
        boxes.events.set_wake(&boxes.bridge);
        boxes
    }
}

/// To the engine's thread from any other; it answers between two steps.
#[derive(Clone)]
struct Calls {
    to: Sender<Call>,
    engine: Wake,
}

impl Calls {
    /// The answer and the bytes of a read; `None` when the engine's thread has ended.
    fn command(&self, command: Command) -> Option<(Reply, Vec<u8>)> {
        self.ask(|to| Call::Command(command, to))
    }

    /// The same with the bytes of a read in `out`.
    fn answer(&self, command: Command, out: &mut [u8]) -> Reply {
        let Some((reply, bytes)) = self.command(command) else {
            return Reply::Refused(Reason::AtNotAllowedNow);
        };
        let count = out.len().min(bytes.len());
        out[..count].copy_from_slice(&bytes[..count]);
        reply
    }

    fn versions(&self) -> Vec<(String, String)> {
        self.ask(Call::Versions).unwrap_or_default()
    }

    fn ask<T>(&self, call: impl FnOnce(Sender<T>) -> Call) -> Option<T> {
        let (to, from) = mpsc::channel();
        self.to.send(call(to)).ok()?;
        self.engine.wake();
        from.recv().ok()
    }
}

/// Whether the engine takes a block now: the back-pressure towards the network.
#[derive(Clone, Default)]
struct Room(Arc<AtomicBool>);

impl Room {
    fn set(&self, free: bool) -> bool {
        self.0.swap(free, Ordering::SeqCst) != free
    }

    /// The engine clears it before it takes a message, so an empty mailbox and a set flag together mean
    /// that the last block is done with.
    fn is_free<const B: usize>(&self, common: &Common<B>) -> bool {
        common.boxes.to_engine.is_empty() && self.0.load(Ordering::SeqCst)
    }
}

/// What every loop has.
struct Common<const B: usize> {
    stop: Arc<AtomicBool>,
    clock: HostClock,
    sleeper: Sleeper,
    boxes: &'static Boxes<B>,
    dispatch: Sender<Heard>,
}

impl<const B: usize> Common<B> {
    fn ended(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// To the program. One that listens no more is no reason to stop.
    fn tell(&self, heard: Heard) {
        let _ = self.dispatch.send(heard);
    }

    /// Whether anything went out; a lost UART is told.
    fn moved(&self, sent: Result<bool, crate::serial::Change>) -> bool {
        sent.unwrap_or_else(|change| {
            self.tell(Heard::Uart(change));
            false
        })
    }
}

/// A running module.
pub struct Module {
    stop: Arc<AtomicBool>,
    wakes: [Wake; 3],
    threads: Vec<JoinHandle<()>>,
    calls: Calls,
}

impl Module {
    /// Starts the threads; `B` is the greatest block in bytes, a power of two from 16 to 1024. `heard`
    /// is called on the dispatcher's thread.
    ///
    /// # Errors
    /// No sockets, descriptors or threads left.
    pub fn start<const B: usize>(
        config: Config,
        flash: ModuleFlash,
        serial: Serial,
        heard: impl FnMut(Heard) + Send + 'static,
    ) -> io::Result<Module> {
        let stop = Arc::new(AtomicBool::new(false));
        let clock = HostClock::start();
        let (cloud, cloud_sleeper) = wake::pair()?;
        let (engine, engine_sleeper) = wake::pair()?;
        let (bridge, bridge_sleeper) = wake::pair()?;
        let (to, from_callers) = mpsc::channel();
        let calls = Calls {
            to,
            engine: engine.clone(),
        };
        let wakes = [cloud.clone(), engine.clone(), bridge.clone()];
        let boxes = Boxes::<B>::new(cloud, engine, bridge);
        let room = Room::default();
        let (dispatch, to_program) = mpsc::channel();
        let common = |sleeper| Common {
            stop: stop.clone(),
            clock,
            sleeper,
            boxes,
            dispatch: dispatch.clone(),
        };
        let mut engine_loop = EngineLoop::new(
            common(engine_sleeper),
            config.engine,
            config.readings,
            flash,
            from_callers,
            room.clone(),
        );
        let reconfigure = Reconfigure::new(config.cloud.clone(), config.defaults);
        let mut cloud_loop = CloudLoop::new(
            common(cloud_sleeper),
            config.cloud,
            config.readings,
            config.cell,
            room,
        )?;
        let common = common(bridge_sleeper);
        let bridge: Box<dyn FnOnce() + Send> = match config.backend {
            Backend::At => {
                let (settings, state) = (config.settings, config.state);
                let calls = calls.clone();
                let mut at = BridgeLoop::new(common, settings, reconfigure, state, serial, calls);
                Box::new(move || at.run())
            }
            Backend::Link(rate) => {
                let connect = config.settings.connect == ConnectMode::Auto;
                let mut link = LinkLoop::new(common, serial, calls.clone(), rate, connect)?;
                Box::new(move || link.run())
            }
            Backend::Rom(rom) => {
                let connect = config.settings.connect == ConnectMode::Auto;
                let serial = serial.even_parity()?;
                let mut rom = RomLoop::new(common, serial, calls.clone(), *rom, connect);
                Box::new(move || rom.run())
            }
            Backend::Smp(smp) => {
                let connect = config.settings.connect == ConnectMode::Auto;
                let mut smp = SmpLoop::new(common, serial, calls.clone(), *smp, connect);
                Box::new(move || smp.run())
            }
        };
        drop(dispatch);
        let threads = vec![
            spawn("dispatcher", move || to_program.into_iter().for_each(heard))?,
            spawn("engine", move || engine_loop.run())?,
            spawn("cloud", move || cloud_loop.run())?,
            spawn("bridge", bridge)?,
        ];
        Ok(Module {
            stop,
            wakes,
            threads,
            calls,
        })
    }

    /// A command of the program, answered by the engine between two of its steps; the bytes are those
    /// of a read. `None` when the engine has ended.
    pub fn command(&self, command: Command) -> Option<(Reply, Vec<u8>)> {
        self.calls.command(command)
    }

    /// Says good-bye to the server and ends the threads.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.wakes.iter().for_each(Wake::wake);
        // The dispatcher (first) ends when the others have dropped their senders.
        while let Some(thread) = self.threads.pop() {
            let _ = thread.join();
        }
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(run)
}
