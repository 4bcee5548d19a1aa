//! The way to clients without our Plan object: [`Sequence`] drives /5, /9 or /33629; here are the parts' names and
//! versions as the rules know them, and requests and reports as the endpoint queues them.

use sota_coap::Code;
use sota_errors::Reason;
use sota_lwm2m::objects::plan::{ComponentType, DownloadInfo, Offer, State};
use sota_lwm2m::server::component::{self, components};
use sota_lwm2m::server::sequence::{self, Action, Sequence};
use sota_lwm2m::{Path, RawValue};

use super::border::StateReport;
use super::outgoing::{Outgoing, Purpose};
use crate::domain::{ComponentKind, DeviceFacts, ReportedComponent};

/// Identifier of the module's firmware when the client gives none.
pub const FIRMWARE: &str = "firmware";

/// One part of such a client.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Component {
    part: component::Component,
    name: Option<String>,
    version: Option<String>,
}

impl Component {
    fn kind(&self) -> ComponentKind {
        match self.part.kind() {
            ComponentType::Firmware => ComponentKind::Firmware,
            ComponentType::Mcu => ComponentKind::Mcu,
        }
    }

    fn identifier(&self) -> Option<&str> {
        match self.part.is_nameless() {
            true => Some(FIRMWARE),
            false => self.name.as_deref().filter(|name| !name.is_empty()),
        }
    }

    fn reported(&self) -> Option<ReportedComponent> {
        Some(ReportedComponent {
            identifier: self.identifier()?.to_owned(),
            kind: self.kind(),
            version: self.version.clone()?,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    offer: String,
    sequence: Sequence,
}

/// What such a client is and where its upgrade stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standard {
    components: Vec<Component>,
    job: Option<Job>,
    /// Battery and signal, if it has them: such a client does not judge a plan's conditions itself.
    readings: Vec<Path>,
    /// It has just registered: when its versions are read, the rules are asked for a plan in its place.
    asks: bool,
}

/// What follows from an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Requests to send.
    pub send: Vec<Outgoing>,
    /// States for the rules.
    pub reports: Vec<StateReport>,
    /// Versions read.
    pub facts: DeviceFacts,
}

impl Step {
    fn add(&mut self, offer: &str, part: component::Component, uri: &str, step: sequence::Step) {
        let request = |action: Action| {
            let offer = offer.to_owned();
            let purpose = match action {
                Action::WriteUri => Purpose::Download { offer },
                Action::Reset => Purpose::Cancel {
                    offer: String::new(),
                },
                Action::Update => Purpose::Update,
                Action::Observe => Purpose::Observe,
                Action::ReadState | Action::ReadResult | Action::ReadVersion => Purpose::Read,
            };
            Outgoing::new(purpose, &action.request(part, uri))
        };
        self.send.extend(step.actions.into_iter().map(request));
        let report = |reached: sequence::Reached| StateReport {
            offer: offer.to_owned(),
            component: None,
            state: reached.state,
            reason: reached.reason,
        };
        self.reports.extend(step.reached.into_iter().map(report));
    }
}

impl Standard {
    /// From the registered objects.
    pub fn new(objects: &[Path]) -> Standard {
        let mut parts: Vec<_> = components(objects.iter().copied()).collect();
        parts.sort_unstable();
        parts.dedup();
        let component = |part| Component {
            part,
            name: None,
            version: None,
        };
        let has = |id| objects.iter().any(|path| path.object_id() == Some(id));
        let (battery, signal) = (Path::resource(3, 0, 9), Path::resource(4, 0, 2));
        let cell = Path::resource(4, 0, 8);
        let readings = [(has(3), battery), (has(4), signal), (has(4), cell)];
        let readings = readings
            .into_iter()
            .filter(|(has, _)| *has)
            .map(|(_, path)| path);
        Standard {
            components: parts.into_iter().map(component).collect(),
            job: None,
            readings: readings.collect(),
            asks: true,
        }
    }

    /// Its versions were not read yet.
    pub fn asks(&self) -> bool {
        self.asks
    }

    /// Whether the rules are to be asked for a plan now; once per registration.
    pub fn take_ask(&mut self) -> bool {
        std::mem::take(&mut self.asks) && self.job.is_none()
    }

    /// Keeps the upgrade under way over a new registration of the same client, which may have restarted.
    pub fn resume(&mut self, old: Standard) {
        let Some(mut job) = old.job else { return };
        let part = job.sequence.component();
        if self.components.iter().any(|own| own.part == part) {
            job.sequence.registered_again();
            self.job = Some(job);
        }
    }

    /// Reads of every name and version, after a registration or when asked for.
    pub fn read_versions(&self) -> Vec<Outgoing> {
        let parts = self.components.iter().map(|own| own.part);
        let paths = parts.flat_map(|part| part.name().into_iter().chain([part.version()]));
        let mut reads: Vec<Outgoing> = paths.map(Outgoing::read).collect();
        reads.extend(self.asked(Sequence::ask_anew));
        reads.extend(self.readings.iter().copied().map(Outgoing::read));
        reads
    }

    /// Reads of the upgrade's state and result; empty when none is under way.
    pub fn poll(&self) -> Vec<Outgoing> {
        self.asked(Sequence::poll)
    }

    fn asked(&self, ask: impl FnOnce(&Sequence) -> sequence::Step) -> Vec<Outgoing> {
        let mut step = Step::default();
        if let Some(Job { offer, sequence }) = &self.job {
            step.add(offer, sequence.component(), "", ask(sequence));
        }
        step.send
    }

    /// An upgrade is under way, so the client is asked from time to time.
    pub fn active(&self) -> bool {
        self.job.is_some()
    }

    fn find(&self, component: &str, kind: ComponentKind) -> Option<component::Component> {
        let wanted = |own: &&Component| own.kind() == kind && own.identifier() == Some(component);
        self.components.iter().find(wanted).map(|own| own.part)
    }

    /// Lets something happen to the upgrade under way, and forgets it when it is over.
    fn happen(&mut self, uri: &str, event: impl FnOnce(&mut Sequence) -> sequence::Step) -> Step {
        let mut step = Step::default();
        if let Some(Job { offer, sequence }) = &mut self.job {
            let next = event(sequence);
            step.add(offer, sequence.component(), uri, next);
            if sequence.is_over() {
                self.job = None;
            }
        }
        step
    }

    /// The rules offer an upgrade.
    pub fn offer(&mut self, offer: &Offer) -> Step {
        let kind = match offer.kind {
            ComponentType::Firmware => ComponentKind::Firmware,
            ComponentType::Mcu => ComponentKind::Mcu,
        };
        let name = offer.plan.as_str().to_owned();
        if self.job.as_ref().is_some_and(|job| job.offer == name) {
            return Step::default();
        }
        let Some(part) = self.find(offer.component.as_str(), kind) else {
            let report = StateReport {
                offer: name,
                component: None,
                state: State::Failure,
                reason: Some(Reason::UnknownComponent.number()),
            };
            return Step {
                reports: vec![report],
                ..Step::default()
            };
        };
        self.job = Some(Job {
            offer: name,
            sequence: Sequence::new(part, offer.target.as_str()),
        });
        self.happen("", |sequence| sequence.confirm())
    }

    /// The rules give the package's address.
    pub fn download(&mut self, component: &str, kind: ComponentKind, info: &DownloadInfo) -> Step {
        let name = info.plan.as_str();
        if self.job.as_ref().is_none_or(|job| job.offer != name) {
            // The Center restarted in between; the stored state is "confirmed", so go on from there.
            let Some(part) = self.find(component, kind) else {
                return Step::default();
            };
            self.job = Some(Job {
                offer: name.to_owned(),
                sequence: Sequence::new(part, ""),
            });
        }
        self.happen(info.uri.as_str(), Sequence::download)
    }

    /// The rules say that this upgrade is under way. Nothing happens when it is known already.
    pub fn go_on(
        &mut self,
        component: &str,
        kind: ComponentKind,
        offer: String,
        target: String,
        updating: bool,
    ) -> Step {
        let Some(part) = self.find(component, kind).filter(|_| self.job.is_none()) else {
            return Step::default();
        };
        let (sequence, first) = Sequence::resume(part, &target, updating);
        self.job = Some(Job { offer, sequence });
        self.happen("", |_| first)
    }

    /// The rules cancel; `None` when the client is already updating.
    pub fn cancel(&mut self, component: &str, kind: ComponentKind, offer: &str) -> Option<Step> {
        let mut step = Step::default();
        match &mut self.job {
            Some(job) if job.offer != offer => {}
            Some(job) => {
                let cancelled = job.sequence.cancel()?;
                step.add(offer, job.sequence.component(), "", cancelled);
                self.job = None;
            }
            // The Center restarted: the rules would not ask if it were updating.
            None => {
                if let Some(part) = self.find(component, kind) {
                    let cancelled = Sequence::new(part, "").cancel()?;
                    step.add(offer, part, "", cancelled);
                }
            }
        }
        Some(step)
    }

    /// The answer to one of our requests but Read.
    pub fn answered(&mut self, purpose: &Purpose, code: Code) -> Step {
        let action = match purpose {
            Purpose::Download { offer }
                if self.job.as_ref().is_some_and(|job| job.offer == *offer) =>
            {
                Action::WriteUri
            }
            Purpose::Update => Action::Update,
            _ => return Step::default(),
        };
        self.happen("", |sequence| sequence.answered(action, code))
    }

    /// A resource was read or notified.
    pub fn value(&mut self, path: Path, value: RawValue<'_>) -> Step {
        let mut facts = DeviceFacts::default();
        super::plan_door::device_fact(&mut facts, path, value);
        let text = value.as_str();
        for own in &mut self.components {
            if own.part.name() == Some(path) {
                own.name = text.map(str::to_owned);
            } else if own.part.version() == path {
                own.version = text.map(str::to_owned);
            } else {
                continue;
            }
            facts.components.extend(own.reported());
        }
        Step {
            facts,
            ..self.happen("", |sequence| sequence.value(path, &value))
        }
    }
}
