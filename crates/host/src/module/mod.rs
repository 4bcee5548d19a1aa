//! A module on a PC: the three threads of the component as loops around its machines.
//!
//! | thread | file | sleeps until |
//! |---|---|---|
//! | cloud | `cloud_loop` | a datagram, a message of the engine, its deadline |
//! | engine | `engine_loop` | a message of cloud, a command, its deadline |
//! | bridge | `back_ends`: `bridge_loop` or `link_loop` on the module's UART, `side_loop`s on others | a byte of a UART, an event, an answer, a deadline |
//! | dispatcher | here | an event for the program: its callback runs on no machine's thread |
//!
//! The loops carry messages and hold no rule of the upgrade. A full mailbox keeps the message with its
//! sender, which tries again when the receiver has taken one.

mod back_ends;
mod bridge_loop;
mod cloud_loop;
mod engine_loop;
mod link_loop;
mod reconfigure;
mod settings_file;
mod side_loop;

use crate::clock::HostClock;
use crate::flash::{FileFlash, OpenError};
use crate::serial::{Change, Serial};
use crate::wake::{self, Sleeper, Wake};
use back_ends::BackEnds;
use bridge_loop::BridgeLoop;
use cloud_loop::CloudLoop;
use engine_loop::EngineLoop;
use link_loop::LinkLoop;
use reconfigure::Reconfigure;
use side_loop::{rom_loop, smp_loop};
use sota::bridge::route::{MAIN, Routes, Targets};
use sota::bridge::{ConnectMode, Settings};
use sota::mailbox::Mailbox;
use sota::message::{Command, Event, Reason, Reply, ToCloud, ToEngine, View};
use sota::platform::{Clock, Flash, Readings};
use sota::{cloud, engine};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

pub use reconfigure::cloud_config;
pub use settings_file::{load as load_settings, store as store_settings};
pub use side_loop::{Rom, SideConfig, SideProtocol};

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
    /// What is spoken on the module's own UART.
    pub main: Main,
    /// Back ends of components with a UART of their own: at most [`SIDES`](sota::bridge::route::SIDES), each component once.
    pub sides: Vec<SideConfig>,
}

/// What is spoken on the module's own UART.
#[derive(Debug)]
pub enum Main {
    /// There is none.
    None,
    /// AT commands.
    At(Serial),
    /// The binary link, which may switch to this baud rate; 0: to none.
    Link(Serial, u32),
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
    /// A UART was lost, or is back.
    Uart(PathBuf, crate::serial::Change),
    /// The binary link is up, down, or met something.
    Line(sota_link::Line),
    /// The ROM loader at this UART met something, or started the new image.
    Rom(PathBuf, sota::bridge::rom::Line),
    /// The SMP server at this UART met something, or the new image runs.
    Smp(PathBuf, sota::bridge::smp::Line),
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
    /// A command of the back end at this place, or of the program; the answer and the bytes read go back.
    Command(Option<usize>, Command, Sender<(Reply, Vec<u8>)>),
    /// Names and versions of the MCU components.
    Versions(Sender<Vec<(String, String)>>),
}

/// The mailboxes of the component. Leaked, because a mailbox wakes a `'static` receiver: a firmware has
/// them as statics, a PC makes one set per module it starts.
struct Boxes<const B: usize> {
    to_engine: Mailbox<ToEngine<B>, 4>,
    to_cloud: Mailbox<ToCloud, 4>,
    /// With whom each is for.
    events: Mailbox<(Targets, Event), 8>,
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
    /// The place of the back end that asks; `None`: the program.
    from: Option<usize>,
    to: Sender<Call>,
    engine: Wake,
}

impl Calls {
    /// For the back end at this place.
    fn of(&self, place: usize) -> Calls {
        Calls {
            from: Some(place),
            ..self.clone()
        }
    }

    /// The answer and the bytes of a read; `None` when the engine's thread has ended.
    fn command(&self, command: Command) -> Option<(Reply, Vec<u8>)> {
        self.ask(|to| Call::Command(self.from, command, to))
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

    fn uart(&self, serial: &Serial, change: Change) {
        self.tell(Heard::Uart(serial.path().to_owned(), change));
    }

    /// Tries a lost port again when its pause is over.
    fn reopen(&self, now: u64, serial: &mut Serial) {
        if let Some(change) = serial.reopen(now) {
            self.uart(serial, change);
        }
    }

    /// Bytes that are there now; a lost UART is told.
    fn read(&self, now: u64, serial: &mut Serial, bytes: &mut [u8]) -> usize {
        serial.read(now, bytes).unwrap_or_else(|change| {
            self.uart(serial, change);
            0
        })
    }

    /// Writes until the UART takes no more; whether anything went out. A lost UART is told.
    fn send(
        &self,
        now: u64,
        serial: &mut Serial,
        left: &mut Vec<u8>,
        next: impl FnMut(&mut [u8]) -> usize,
    ) -> bool {
        serial.send(now, left, next).unwrap_or_else(|change| {
            self.uart(serial, change);
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
    /// No sockets, descriptors or threads left, a port that does not take even parity, or a component twice.
    pub fn start<const B: usize>(
        config: Config,
        flash: ModuleFlash,
        heard: impl FnMut(Heard) + Send + 'static,
    ) -> io::Result<Module> {
        let stop = Arc::new(AtomicBool::new(false));
        let clock = HostClock::start();
        let (cloud, cloud_sleeper) = wake::pair()?;
        let (engine, engine_sleeper) = wake::pair()?;
        let (bridge, bridge_sleeper) = wake::pair()?;
        let (to, from_callers) = mpsc::channel();
        let calls = Calls {
            from: None,
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
        let mut routes = Routes::new(!matches!(config.main, Main::None));
        let mut sides = Vec::new();
        for side in config.sides {
            let place = routes.add(side.protocol.component().clone());
            let place = place.map_err(|reason| io::Error::other(reason.to_string()))?;
            let serial = match side.protocol {
                SideProtocol::Rom(_) => side.serial.even_parity()?,
                SideProtocol::Smp(_) => side.serial,
            };
            sides.push((place, serial, side.protocol));
        }
        let mut engine_loop = EngineLoop::new(
            common(engine_sleeper),
            config.engine,
            config.readings,
            flash,
            from_callers,
            room.clone(),
            routes,
        );
        let reconfigure = Reconfigure::new(config.cloud.clone(), config.defaults);
        let mut cloud_loop = CloudLoop::new(
            common(cloud_sleeper),
            config.cloud,
            config.readings,
            config.cell,
            room,
        )?;
        let connect = config.settings.connect == ConnectMode::Auto;
        let mut back_ends = BackEnds::new(common(bridge_sleeper), calls.clone(), connect);
        let main = calls.of(MAIN);
        match config.main {
            Main::None => {}
            Main::At(serial) => {
                let (settings, state) = (config.settings, config.state);
                back_ends.main(BridgeLoop::new(settings, reconfigure, state, serial, main));
            }
            Main::Link(serial, rate) => {
                back_ends.main(LinkLoop::new(clock.now(), serial, main, rate)?);
            }
        }
        let asked = calls.clone();
        let bridge = move || {
            for (place, serial, protocol) in sides {
                let (now, calls) = (clock.now(), asked.of(place));
                match protocol {
                    SideProtocol::Rom(rom) => {
                        back_ends.add(place, rom_loop(now, *rom, serial, calls));
                    }
                    SideProtocol::Smp(smp) => {
                        back_ends.add(place, smp_loop(now, *smp, serial, calls));
                    }
                }
            }
            back_ends.run();
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
