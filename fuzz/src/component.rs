//! A component of one package as the engine shows it to a bridge, as small as can be: which commands are taken when, and which events
//! follow.

use std::collections::VecDeque;

use sota::message::{
    Command, ComponentName, Event, Millis, Offer, Package, Piece, Reason, Reply, Version,
};

/// How far the upgrade is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The plan was offered.
    Offered,
    /// This piece waits for the MCU.
    Holding(u32),
    /// State 9.
    Installing,
    /// State 11.
    Updated,
    /// State 12, or refused.
    Failed,
}

/// The component.
pub struct Component {
    /// How far the upgrade is.
    pub stage: Stage,
    /// The package.
    pub bytes: Vec<u8>,
    /// Bytes of a piece.
    pub piece: u32,
    /// What the bridge has not heard yet.
    pub events: VecDeque<Event>,
    /// Commands that were given.
    pub commands: u32,
}

/// The component's name.
pub fn name() -> ComponentName {
    "MCU".try_into().expect("short")
}

/// The version before.
pub fn old() -> Version {
    "1_0".try_into().expect("short")
}

fn target() -> Version {
    "2_0".try_into().expect("short")
}

impl Component {
    /// Nothing is offered.
    pub fn new(bytes: Vec<u8>, piece: u32) -> Component {
        Component {
            stage: Stage::Failed,
            bytes,
            piece,
            events: VecDeque::new(),
            commands: 0,
        }
    }

    fn length(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn piece_end(&self, start: u32) -> u32 {
        self.length().min(start + self.piece)
    }

    /// The plan is offered, once more.
    pub fn offer(&mut self) {
        self.enter(Stage::Offered);
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.announce();
    }

    /// What the bridge is told of the stage.
    pub fn announce(&mut self) {
        let package = Event::DownloadStart(Some(Package {
            component: name(),
            target: target(),
            length: self.length(),
            md5: None,
            crc32: None,
            sha256: Some(
                sha2::Digest::finalize(sha2::Digest::chain_update(
                    <sha2::Sha256 as sha2::Digest>::new(),
                    &self.bytes,
                ))
                .into(),
            ),
        }));
        match self.stage {
            Stage::Offered => self.events.push_back(Event::Plan(Offer {
                component: name(),
                target: target(),
                ..Offer::default()
            })),
            Stage::Holding(start) => {
                let piece = Event::Downloaded(Some(Piece {
                    component: name(),
                    length: self.length(),
                    start,
                    piece_length: self.piece_end(start) - start,
                }));
                self.events.extend([package, piece]);
            }
            Stage::Installing => self.events.extend([package, Event::Updating]),
            Stage::Updated => self.events.push_back(Event::UpdateOk),
            Stage::Failed => {
                let reason = Reason::McuStillRunsSource;
                self.events.push_back(Event::UpdateFail(reason));
            }
        }
    }

    /// What the engine answers.
    pub fn answer(&mut self, command: Command, out: &mut [u8]) -> Reply {
        self.commands += 1;
        let refused = Reply::Refused(Reason::AtNotAllowedNow);
        let next = match (command, self.stage) {
            (Command::Read { start, len }, Stage::Holding(_) | Stage::Installing) => {
                let from = match self.stage {
                    Stage::Holding(from) => from,
                    _ => (self.length() - 1) / self.piece * self.piece,
                };
                let end = start.saturating_add(len);
                if start < from || end > self.piece_end(from) || out.len() < len as usize {
                    return refused;
                }
                let bytes = &self.bytes[start as usize..end as usize];
                out[..bytes.len()].copy_from_slice(bytes);
                return Reply::Read(bytes.len());
            }
            (Command::AnnounceAll, Stage::Updated | Stage::Failed) => return Reply::Ok,
            (Command::AnnounceAll, _) => {
                self.announce();
                return Reply::Ok;
            }
            (Command::SetMcuVersion(_, version), Stage::Installing) if version == target() => {
                Stage::Updated
            }
            (Command::SetMcuVersion(..), _) => return Reply::Ok,
            (Command::Action(1), Stage::Offered) => Stage::Holding(0),
            (Command::Action(2), Stage::Holding(at)) if self.piece_end(at) < self.length() => {
                Stage::Holding(self.piece_end(at))
            }
            (Command::Action(3), Stage::Holding(at)) if self.piece_end(at) == self.length() => {
                Stage::Installing
            }
            (Command::Rewind(to), Stage::Holding(at)) if to <= self.piece_end(at) => {
                Stage::Holding(at.min(to / self.piece * self.piece))
            }
            (Command::Cancel(_), Stage::Offered | Stage::Holding(_)) => Stage::Failed,
            (Command::NotInstalled(_), Stage::Installing) => Stage::Failed,
            _ => return refused,
        };
        self.enter(next);
        Reply::Ok
    }

    /// The server does something: installs, fails, tells again.
    pub fn server(&mut self, what: u8) {
        match what % 4 {
            0 => self.announce(),
            1 => self.enter(Stage::Failed),
            2 if matches!(self.stage, Stage::Holding(_)) => self.enter(Stage::Installing),
            _ => self.offer(),
        }
    }
}

/// A bridge that is called again and again must come to rest.
pub fn is_at_rest(deadline: Option<Millis>, now: Millis) {
    assert!(
        deadline.is_none_or(|at| at > now),
        "it wants to be called at once, again and again"
    );
}
