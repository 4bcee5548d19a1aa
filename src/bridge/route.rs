//! Several back ends of one module: the main one on the module's UART (AT commands, the link, or none), and others at the
//! sides, each with a component and a UART of its own.
//!
//! A port asks twice: [`Routes::targets`] before it takes an event from the engine, and [`Routes::command`] in place of
//! [`Engine::command`] for what a back end wants. Nothing is kept here; the engine knows whose turn it is.
//!
//! | event | goes to |
//! |---|---|
//! | 10700, 10701, 10703, and the end of a component's upgrade | the back end that serves the component, else the main one |
//! | 10702, 10704 | the one whose component is under upgrade |
//! | 10707 | each that serves a component of the plan |
//! | the network's | the main one |
//!
//! | command | taken from |
//! |---|---|
//! | action, read, rewind, cancel | the one whose component has its turn |
//! | answer to a plan | the main one if any component of the plan is its own, else any that serves one. An answer counts for the whole plan |
//! | 10701 and 10703 again | those whom they concern; from others it does nothing |
//! | a version | the one that serves the component |
//! | connect, request | all |
//!
//! The rest is refused with 203 (AtNotAllowedNow), a version with 19 (UnknownComponent). What the application does by the C API
//! is asked of the engine itself: it may answer for every component.

use crate::engine::{Engine, Whose};
use crate::message::{Command, ComponentName, Event, Millis, Reason, Reply};
use crate::platform::{Flash, Readings};
use heapless::Vec;

/// Back ends beside the main one, at the most.
pub const SIDES: usize = 4;
/// Place of the main back end; those at the sides follow from 1.
pub const MAIN: usize = 0;

/// A back end with a component and a UART of its own.
pub trait Side {
    /// What the caller has to do, or logs.
    type Line;
    /// Takes received bytes.
    fn on_bytes(&mut self, now: Millis, bytes: &[u8]);
    /// Moves bytes for the UART into `out` and says how many.
    fn next_bytes(&mut self, out: &mut [u8]) -> usize;
    /// When to poll at the latest.
    fn deadline(&self) -> Option<Millis>;
    /// Takes an event of the engine.
    fn on_event(&mut self, now: Millis, event: &Event);
    /// Works on what came and on what time does; `engine` answers at once. `Some`: for the caller; call again.
    fn poll<F>(&mut self, now: Millis, engine: &mut F) -> Option<Self::Line>
    where
        F: FnMut(Command, &mut [u8]) -> Reply;
}

/// A set of back ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Targets(u8);

impl Targets {
    /// The back end at this place is one of them.
    pub fn has(self, place: usize) -> bool {
        place <= SIDES && self.0 & 1 << place != 0
    }

    /// Nobody.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn add(&mut self, place: usize) {
        self.0 |= 1 << place;
    }
}

/// Who serves what.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    main: bool,
    sides: Vec<ComponentName, SIDES>,
}

impl Routes {
    /// `main`: there is a main back end.
    pub fn new(main: bool) -> Self {
        Routes {
            main,
            sides: Vec::new(),
        }
    }

    /// One more at the side, for this component; its place.
    ///
    /// # Errors
    /// There are [`SIDES`] already ([`Reason::ComponentTableFull`]), or the component is empty or has one
    /// ([`Reason::UnknownComponent`]).
    pub fn add(&mut self, component: ComponentName) -> Result<usize, Reason> {
        if component.is_empty() || self.sides.contains(&component) {
            return Err(Reason::UnknownComponent);
        }
        let full = |_| Reason::ComponentTableFull;
        self.sides.push(component).map_err(full)?;
        Ok(self.sides.len())
    }

    /// Who serves the component.
    fn serves(&self, component: &str) -> usize {
        let side = self.sides.iter().position(|name| name == component);
        side.map_or(MAIN, |side| side + 1)
    }

    /// Those that serve any of them and are there.
    fn all<'a>(&self, components: impl Iterator<Item = &'a str>) -> Targets {
        let mut all = Targets::default();
        for place in components.map(|component| self.serves(component)) {
            if place != MAIN || self.main {
                all.add(place);
            }
        }
        all
    }

    /// Whom the engine's next event is for; nobody too if there is none.
    pub fn targets<const BLOCK: usize>(&self, engine: &mut Engine<BLOCK>) -> Targets {
        // what has become old is passed over
        if engine.first_event().is_none() {
            return Targets::default();
        }
        match engine.whose() {
            Whose::Component(name) => self.all([name].into_iter()),
            Whose::Plan => self.all(engine.in_plan()),
            Whose::Module => self.all([""].into_iter()),
        }
    }

    /// [`Engine::command`] for the back end at place `from`.
    #[allow(clippy::too_many_arguments)] // those of the engine, and from whom
    pub fn command<const BLOCK: usize, F: Flash>(
        &self,
        from: usize,
        engine: &mut Engine<BLOCK>,
        now: Millis,
        readings: Readings,
        flash: &mut F,
        command: &Command,
        out: &mut [u8],
    ) -> Reply {
        let may = match command {
            Command::Connect(_) | Command::Request(_) => true,
            Command::SetMcuVersion(component, _) => {
                if self.serves(component) != from {
                    return Reply::Refused(Reason::UnknownComponent);
                }
                true
            }
            Command::Announce => {
                if !self.concerned(engine).has(from) {
                    return Reply::Ok;
                }
                true
            }
            #[cfg(any(feature = "link", feature = "stm32", feature = "smp"))]
            Command::AnnounceAll => {
                if !self.concerned(engine).has(from) {
                    return Reply::Ok;
                }
                true
            }
            _ => self.decides(engine).has(from),
        };
        match may {
            true => engine.command(now, readings, flash, command, out),
            false => Reply::Refused(Reason::AtNotAllowedNow),
        }
    }

    /// Whose turn it is, or whom the plan concerns that has none yet.
    fn concerned<const BLOCK: usize>(&self, engine: &Engine<BLOCK>) -> Targets {
        match engine.has_turn() {
            Some(component) => self.all([component].into_iter()),
            None => self.all(engine.planned()),
        }
    }

    /// Who may act.
    fn decides<const BLOCK: usize>(&self, engine: &Engine<BLOCK>) -> Targets {
        let concerned = self.concerned(engine);
        let mut main = Targets::default();
        main.add(MAIN);
        // with nothing under way the engine itself says why not
        match self.main && (concerned.is_empty() || concerned.has(MAIN)) {
            true => main,
            false => concerned,
        }
    }
}
