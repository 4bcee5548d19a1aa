//! The upgrade of one part of a client without Plan object, by the standard's own sequence (OMA's state machines of
//! /5, /9 and /33629), judged by resources 3 and 5 of /5 and /33629, or 7 and 9 of /9.
//!
//! | phase | entered when | the server then | state for the rules |
//! |---|---|---|---|
//! | Offered | [`Sequence::new`] | takes it at once: the client has nobody to ask | 1, 2 |
//! | Writing | [`Sequence::download`] | writes the URI | |
//! | Downloading | the URI was taken (2.04) | observes and polls state and result | 4, 5 |
//! | Downloaded | state says so | executes Update or Install | 8 |
//! | Updating | that was taken (2.04) | waits for result or version, polls | 9 |
//! | Over | the result is success or the version the target | | 11 |
//! | Over | any other result | writes the empty URI (/5, /33629), which resets the client | 12 |
//! | Resuming | the client registered again after the URI was taken; or [`Sequence::resume`]: the server restarted | reads result, version and state, in this order, and observes the state | |
//!
//! Out of Resuming the client's own state leads: downloading -> Downloading; downloaded -> Update is executed (again);
//! updating, or idle without result when it was updating -> Updating; idle with a result -> Over, as above; idle
//! without one -> Offered, the download is lost: state 6, so the rules send the download information again.
//!
//! One sequence is under 128 bytes. It keeps no URI and sends nothing: each event gives a [`Step`], and what is
//! asked is written by [`Action::request`].

use heapless::Vec;
use sota_coap::Code;
use sota_errors::{CenterError, Reason};

use super::component::Component;
use super::request::Request;
use crate::objects::plan::{State, Version};
use crate::{ContentFormat, Path, RawValue};

/// The table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Offered,
    Writing,
    Downloading,
    Downloaded,
    Updating,
    /// With what the rules and the client's result say so far.
    Resuming {
        updating: bool,
        result: u64,
    },
    Over,
}

/// One thing to ask of the client. The answers to Reads and the notifications go to [`Sequence::value`], those to the
/// others to [`Sequence::answered`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write of the package's URI, which starts the download.
    WriteUri,
    /// Write of the empty URI, which resets /5 and /33629 to idle; its answer means nothing.
    Reset,
    /// Execute of Update or Install.
    Update,
    /// Observe of the state.
    Observe,
    /// Read of the state.
    ReadState,
    /// Read of the result.
    ReadResult,
    /// Read of the version.
    ReadVersion,
}

impl Action {
    /// The request; `uri` is the package's, `coap://host[:port]/path`.
    pub const fn request<'a>(self, component: Component, uri: &'a str) -> Request<'a> {
        let text = ContentFormat::Text;
        match self {
            Action::WriteUri => Request::write(component.uri(), text, uri.as_bytes()),
            Action::Reset => Request::write(component.uri(), text, b""),
            Action::Update => Request::execute(component.update()),
            Action::Observe => Request::observe(component.state()),
            Action::ReadState => Request::read(component.state()),
            Action::ReadResult => Request::read(component.result()),
            Action::ReadVersion => Request::read(component.version()),
        }
    }
}

/// A state that the upgrade reached, as a client with Plan object would tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The state.
    pub state: State,
    /// In states 6 and 12 the number in `docs/errors.md`.
    pub reason: Option<u16>,
}

/// What follows from an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// To ask of the client, in this order.
    pub actions: Vec<Action, 4>,
    /// For the rules, in this order; a state that they know already may come again.
    pub reached: Vec<Reached, 2>,
}

impl Step {
    fn ask(actions: &[Action]) -> Step {
        let mut step = Step::default();
        step.and_ask(actions);
        step
    }

    fn reach(state: State) -> Step {
        let mut step = Step::default();
        step.and_reach(state, None);
        step
    }

    /// No event gives more than there is place for: [`Sequence::ask_anew`] fills it.
    fn and_ask(&mut self, actions: &[Action]) {
        let _ = self.actions.extend_from_slice(actions);
    }

    fn and_reach(&mut self, state: State, reason: Option<u16>) {
        let _ = self.reached.push(Reached { state, reason });
    }
}

/// The upgrade of one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    component: Component,
    target: Version,
    phase: Phase,
}

const _: () = assert!(size_of::<Sequence>() < 128);

impl Sequence {
    /// An offer to this part. With the target `""` (or one that is longer than a version can be) only the client's
    /// result tells success.
    pub fn new(component: Component, target: &str) -> Sequence {
        Sequence {
            component,
            target: Version::try_from(target).unwrap_or_default(),
            phase: Phase::Offered,
        }
    }

    /// The server restarted, and its rules say that this upgrade is under way or, with `updating`, that the client
    /// was told to update.
    pub fn resume(component: Component, target: &str, updating: bool) -> (Sequence, Step) {
        let mut sequence = Sequence::new(component, target);
        sequence.phase = Phase::Resuming {
            updating,
            result: 0,
        };
        let step = sequence.ask_anew();
        (sequence, step)
    }

    /// Which part.
    pub const fn component(&self) -> Component {
        self.component
    }

    /// It ended, either way: nothing is asked any more.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// The client was told to update: it cannot be stopped any more.
    pub fn is_updating(&self) -> bool {
        self.phase == Phase::Updating
    }

    /// The offer is taken: the client has nobody to ask.
    pub fn confirm(&self) -> Step {
        let mut step = Step::reach(State::PlanReceived);
        step.and_reach(State::Confirmed, None);
        step
    }

    /// The package can be fetched: its URI is written.
    pub fn download(&mut self) -> Step {
        self.phase = Phase::Writing;
        Step::ask(&[Action::WriteUri])
    }

    /// The client registered again, it may have restarted: what it has and what it observes for us is asked anew with
    /// [`Sequence::ask_anew`].
    pub fn registered_again(&mut self) {
        let updating = match self.phase {
            Phase::Offered | Phase::Writing | Phase::Over => return,
            Phase::Downloading | Phase::Downloaded => false,
            Phase::Updating => true,
            Phase::Resuming { updating, .. } => updating,
        };
        self.phase = Phase::Resuming {
            updating,
            result: 0,
        };
    }

    /// Asks for state and result; nothing before the URI was taken. To be done from time to time: notifications are
    /// lost with a restart of the client.
    pub fn poll(&self) -> Step {
        use Action::{ReadResult, ReadState, ReadVersion};
        match self.phase {
            Phase::Offered | Phase::Writing | Phase::Over => Step::default(),
            Phase::Downloading | Phase::Downloaded => Step::ask(&[ReadResult, ReadState]),
            // The state is judged with the result and the version known, so it comes last.
            Phase::Resuming { .. } => Step::ask(&[ReadResult, ReadVersion, ReadState]),
            Phase::Updating => Step::ask(&[ReadVersion, ReadState, ReadResult]),
        }
    }

    /// [`Self::poll`], and in Resuming an Observe: the old one's token is not known any more.
    pub fn ask_anew(&self) -> Step {
        let mut step = self.poll();
        if let Phase::Resuming { .. } = self.phase {
            step.and_ask(&[Action::Observe]);
        }
        step
    }

    /// Stops the upgrade and resets the client; `None` when it is updating already.
    pub fn cancel(&mut self) -> Option<Step> {
        if self.is_updating() {
            return None;
        }
        self.phase = Phase::Over;
        Some(Step::ask(reset(self.component)))
    }

    /// The client answered [`Action::WriteUri`] or [`Action::Update`].
    pub fn answered(&mut self, action: Action, code: Code) -> Step {
        match (action, self.phase) {
            (Action::WriteUri, Phase::Writing) if code.is_success() => {
                self.phase = Phase::Downloading;
                let mut step = Step::reach(State::DownloadStarts);
                step.and_ask(&[Action::Observe, Action::ReadResult]);
                step
            }
            (Action::Update, Phase::Downloaded) if code.is_success() => {
                self.phase = Phase::Updating;
                Step::reach(State::Updating)
            }
            (Action::WriteUri, Phase::Writing) | (Action::Update, Phase::Downloaded) => {
                self.fail(CenterError::OfferRefused.number())
            }
            _ => Step::default(),
        }
    }

    /// A resource was read or notified; one that is not of this part changes nothing.
    pub fn value(&mut self, path: Path, value: &RawValue<'_>) -> Step {
        let part = self.component;
        if path == part.state() {
            value.as_u64().map_or_else(Step::default, |n| self.state(n))
        } else if path == part.result() {
            value
                .as_u64()
                .map_or_else(Step::default, |n| self.result(n))
        } else if path == part.version() {
            self.version(value.as_str())
        } else {
            Step::default()
        }
    }

    fn state(&mut self, state: u64) -> Step {
        let part = self.component;
        match self.phase {
            Phase::Resuming { updating, result } => self.resumed(state, updating, result),
            Phase::Downloading if part.downloading().contains(&state) => {
                Step::reach(State::Downloading)
            }
            Phase::Downloading if state == part.downloaded() => {
                self.phase = Phase::Downloaded;
                let mut step = Step::reach(State::Downloaded);
                step.and_ask(&[Action::Update]);
                step
            }
            _ => Step::default(),
        }
    }

    fn result(&mut self, result: u64) -> Step {
        let part = self.component;
        match self.phase {
            Phase::Offered | Phase::Writing | Phase::Over => Step::default(),
            Phase::Updating if result == part.success() => {
                let mut step = self.succeed();
                step.and_ask(&[Action::ReadVersion]);
                step
            }
            phase => match (part.failure(result), phase) {
                (Some(reason), _) => self.fail(reason.number()),
                (None, Phase::Resuming { updating, .. }) => {
                    self.phase = Phase::Resuming { updating, result };
                    Step::default()
                }
                (None, _) => Step::default(),
            },
        }
    }

    fn version(&mut self, version: Option<&str>) -> Step {
        let updating = matches!(
            self.phase,
            Phase::Updating | Phase::Resuming { updating: true, .. }
        );
        if updating && !self.target.is_empty() && version == Some(self.target.as_str()) {
            return self.succeed();
        }
        Step::default()
    }

    /// The client's state, read in Resuming.
    fn resumed(&mut self, state: u64, updating: bool, result: u64) -> Step {
        let part = self.component;
        let mut step = Step::default();
        let reached = if part.downloading().contains(&state) {
            self.phase = Phase::Downloading;
            State::Downloading
        } else if state == part.downloaded() {
            self.phase = Phase::Downloaded;
            step.and_ask(&[Action::Update]);
            if updating {
                return step;
            }
            State::Downloaded
        } else if result == part.success() {
            return self.succeed();
        } else if state != 0 || updating {
            self.phase = Phase::Updating;
            if updating {
                return step;
            }
            State::Updating
        } else {
            self.phase = Phase::Offered;
            step.and_reach(State::DownloadError, Some(Reason::NetworkDown.number()));
            return step;
        };
        step.and_reach(reached, None);
        step
    }

    fn succeed(&mut self) -> Step {
        self.phase = Phase::Over;
        Step::reach(State::Success)
    }

    fn fail(&mut self, reason: u16) -> Step {
        self.phase = Phase::Over;
        let mut step = Step::ask(reset(self.component));
        step.and_reach(State::Failure, Some(reason));
        step
    }
}

/// What resets a part: /5 and /33629 are idle after the empty URI; /9 has no such thing.
const fn reset(component: Component) -> &'static [Action] {
    match component.is_software() {
        true => &[],
        false => &[Action::Reset],
    }
}
