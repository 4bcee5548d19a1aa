//! The binary link to an MCU in place of AT commands (`docs/link.md`, "What becomes what").
//!
//! [`LinkBridge`] stands where [`Bridge`](super::Bridge) does: bytes and [`Event`]s come in, bytes go out, and what the MCU wants
//! of the component is asked of the engine. The link serves one component, the one that the MCU's hello names; events of
//! others are not for it. Nothing of an upgrade is kept here: the engine's state and the MCU's flash are all there is.
//!
//! ```text
//! taken = bridge.on_bytes(received)                 // what is not taken is offered again
//! bridge.on_event(..)                               // every event of the engine, in order
//! while let Some(line) = bridge.poll(now, engine)   // asks the engine through the closure
//!     Line::Baud(rate): once all has left, change to it; the others are for the log
//! n = bridge.next_bytes(&mut out)                   // as many as the UART takes; poll again when all have left
//! wait for bytes, room, an event, or until bridge.deadline()
//! ```

use super::source::Source;
use crate::message::{Command, ComponentName, Event, Millis, Reply, Version};
use sota_errors::{LinkError, Reason};
use sota_link::Line;
use sota_link::field::{Boot, Image, Package, Plan};
use sota_link::module::{Input, Link, Output};

/// The module's end of the link and whose component it serves. `FRAME` is
/// [`frame_len`](sota_link::frame::frame_len) of its greatest block, which must divide the page of the staging flash.
pub struct LinkBridge<const FRAME: usize> {
    link: Link<FRAME>,
    /// What is under way is for this MCU's component.
    mine: bool,
}

const NOT_READY: u16 = LinkError::LinkNotReady.number();

/// Why the MCU did not install, by its own number and for the Center. Whatever it is, the MCU runs what it ran. One that
/// reverted has no such image any more (611), and says why in its hello.
fn uninstalled(number: u16, boot: Boot) -> (u16, Reason) {
    let (number, other) = match (number, boot) {
        (NOT_READY, Boot::Reverted(0)) => return (number, Reason::McuReverted),
        (NOT_READY, Boot::Reverted(why)) => (why, Reason::McuReverted),
        _ => (number, Reason::McuStillRunsSource),
    };
    match Reason::of_mcu(number) {
        Reason::RefusedByHost => (number, other),
        reason => (number, reason),
    }
}

/// A text of the component in the link's own type; both have the same greatest length.
fn text<const N: usize, L: heapless::LenType>(words: &str) -> heapless::String<N, L> {
    heapless::String::try_from(words).unwrap_or_default()
}

impl<const FRAME: usize> LinkBridge<FRAME> {
    /// A link that knows nothing; the engine's events fill it.
    pub fn new(now: Millis, config: sota_link::Config) -> Self {
        LinkBridge {
            link: Link::new(now, config),
            mine: false,
        }
    }

    /// Takes received bytes and says how many.
    pub fn on_bytes(&mut self, bytes: &[u8]) -> usize {
        self.link.on_bytes(bytes)
    }

    /// Moves bytes for the UART into `out` and says how many.
    pub fn next_bytes(&mut self, out: &mut [u8]) -> usize {
        self.link.next_tx(out)
    }

    /// When to poll at the latest.
    pub fn deadline(&self) -> Option<Millis> {
        self.link.deadline()
    }

    /// The link itself, to look at.
    pub fn link(&self) -> &Link<FRAME> {
        &self.link
    }

    /// Takes an event of the engine. Those of other components and of the network are not for the MCU.
    pub fn on_event(&mut self, event: &Event) {
        let input = match event {
            Event::Plan(offer) => {
                self.mine = self.serves(&offer.component);
                Input::Plan(Plan {
                    component: text(&offer.component),
                    source: text(&offer.source),
                    target: text(&offer.target),
                    use_space: offer.use_space,
                    battery_limit_percent: offer.battery_limit_percent,
                    min_signal_dbm: offer.min_signal_dbm,
                })
            }
            Event::DownloadStart(Some(package)) => {
                self.mine = self.serves(&package.component);
                Input::Package(Package {
                    component: text(&package.component),
                    hardware: Default::default(),
                    target: text(&package.target),
                    image: Image {
                        length: package.length,
                        sha256: package.sha256,
                        md5: package.md5,
                        crc32: package.crc32,
                    },
                })
            }
            Event::Downloaded(Some(piece)) => Input::Piece {
                start: piece.start,
                length: piece.piece_length,
            },
            Event::Downloading => Input::Downloading,
            Event::Updating => Input::Installing,
            Event::UpdateOk => Input::Updated,
            Event::UpdateFail(reason) => Input::Failed(reason.number()),
            // the module's own firmware
            Event::DownloadStart(None) | Event::Downloaded(None) => {
                self.mine = false;
                return;
            }
            _ => return,
        };
        if self.mine {
            self.link.input(input);
        }
    }

    /// Works on what came and on what time does; `engine` answers at once. `Some`: something about the line; call again.
    pub fn poll<F>(&mut self, now: Millis, engine: &mut F) -> Option<Line>
    where
        F: FnMut(Command, &mut [u8]) -> Reply,
    {
        loop {
            let output = self.link.poll(now, &mut Source::new(engine))?;
            let mut said = None;
            let command = match output {
                Output::Line(line) => return Some(line),
                Output::Running => match self.running() {
                    Some(command) => command,
                    None => continue,
                },
                Output::Request => Command::Request(1),
                // on trial it has begun what would be said again
                Output::Announce if self.is_on_trial() => Command::Announce,
                Output::Announce => Command::AnnounceAll,
                Output::Confirm => Command::Action(1),
                Output::Refuse(number) | Output::Cancel(number) => {
                    said = Some(number);
                    Command::Cancel(Reason::of_mcu(number))
                }
                Output::Uninstalled(number) => {
                    let (number, reason) = uninstalled(number, self.link.peer().boot);
                    said = Some(number);
                    Command::NotInstalled(reason)
                }
                Output::Release => Command::Action(2),
                Output::Rewind(offset) => Command::Rewind(offset),
                Output::Install => Command::Action(3),
            };
            // what the engine refuses the link asks again, as long as both ends still want it
            let taken = engine(command, &mut []) == Reply::Ok;
            if let Some(number) = said.filter(|_| taken) {
                return Some(Line::PeerError(number));
            }
        }
    }

    /// What the MCU runs, once it is not on trial any more.
    fn running(&self) -> Option<Command> {
        let peer = self.link.peer();
        let named = !peer.component.is_empty() && !peer.version.is_empty();
        (named && !self.is_on_trial()).then(|| {
            let component: ComponentName = text(&peer.component);
            let version: Version = text(&peer.version);
            Command::SetMcuVersion(component, version)
        })
    }

    fn is_on_trial(&self) -> bool {
        self.link.peer().boot == Boot::Trial
    }

    /// The component is the MCU's. Before the MCU has said who it is none is: everything is announced when it does.
    fn serves(&self, component: &str) -> bool {
        let own = self.link.peer().component.as_str();
        !own.is_empty() && own == component
    }
}
