//! The way to clients without our Plan object: /9 Software Management for an MCU, /5 Firmware Update or /33629 for the
//! module, driven by the standard's own sequence.
//!
//! | phase | entered when | the Center then | state for the rules |
//! |---|---|---|---|
//! | Idle | no offer | reads versions after registration | |
//! | Offered | an offer came | takes it at once: the client has nobody to ask | 1, 2 |
//! | Writing | the download information came | writes the URI | |
//! | Downloading | the URI was taken (2.04) | observes and polls state and result | 4, 5 |
//! | Downloaded | state says so | executes Update or Install | 8 |
//! | Updating | that was taken (2.04) | waits for result or version, polls | 9 |
//! | Idle | the result is success and the version the target | | 11 |
//! | Idle | any other result | writes the empty URI (/5, /33629), which resets the client | 12 |
//! | Resuming | the client registered again after the URI was taken; or the Center restarted, the client asks and the rules say that its upgrade is under way | reads result, version and state, in this order, and observes the state | |
//!
//! Out of Resuming the client's own state leads: downloading -> Downloading; downloaded -> Update is executed (again);
//! updating, or idle without result when it was updating -> Updating; idle with a result -> Idle, as above; idle
//! without one -> the download is lost: state 6, so the rules send the download information again.

use sota_coap::Code;
use sota_errors::{CenterError, Reason};
use sota_lwm2m::objects::plan::{DownloadInfo, Offer, State};
use sota_lwm2m::{ContentFormat, Path, RawValue};

use super::border::StateReport;
use super::outgoing::{Outgoing, Purpose};
use crate::domain::{ComponentKind, DeviceFacts};

mod component;

use component::{
    ADVANCED_FIRMWARE_UPDATE, Component, FIRMWARE_UPDATE, SOFTWARE_MANAGEMENT, reason, reset,
};

/// Identifier of the module's firmware when the client gives none.
pub const FIRMWARE: &str = "firmware";

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
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    offer: String,
    target: String,
    /// Index of the component.
    component: usize,
    phase: Phase,
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

impl Standard {
    /// From the registered objects. /5 is left out when the client has /33629, which is the same with more parts.
    pub fn new(objects: &[Path]) -> Standard {
        let advanced = objects
            .iter()
            .any(|path| path.object_id() == Some(ADVANCED_FIRMWARE_UPDATE));
        let component = |path: &Path| {
            let object = path.object_id()?;
            let single = object == FIRMWARE_UPDATE && !advanced;
            let many = matches!(object, SOFTWARE_MANAGEMENT | ADVANCED_FIRMWARE_UPDATE);
            if !single && !many {
                return None;
            }
            // `</5>` without an instance still means /5/0.
            let instance = path.instance_id().or(single.then_some(0))?;
            Some(Component {
                object,
                instance,
                name: None,
                version: None,
            })
        };
        let mut components: Vec<Component> = objects.iter().filter_map(component).collect();
        components.sort_by_key(|c| (c.object, c.instance));
        components.dedup();
        let has = |id| objects.iter().any(|path| path.object_id() == Some(id));
        let (battery, signal) = (Path::resource(3, 0, 9), Path::resource(4, 0, 2));
        let readings = [(has(3), battery), (has(4), signal)];
        let readings = readings
            .into_iter()
            .filter(|(has, _)| *has)
            .map(|(_, path)| path);
        Standard {
            components,
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

    /// Keeps the upgrade under way over a new registration of the same client, which may have restarted: what it has
    /// and what it observes for us is asked anew.
    pub fn resume(&mut self, old: Standard) {
        let Some(mut job) = old.job else { return };
        let Some(before) = old.components.get(job.component) else {
            return;
        };
        let same = |c: &Component| (c.object, c.instance) == (before.object, before.instance);
        if let Some(component) = self.components.iter().position(same) {
            job.component = component;
            let updating = match job.phase {
                Phase::Offered | Phase::Writing => None,
                Phase::Downloading | Phase::Downloaded => Some(false),
                Phase::Updating => Some(true),
                Phase::Resuming { updating, .. } => Some(updating),
            };
            if let Some(updating) = updating {
                job.phase = Phase::Resuming {
                    updating,
                    result: 0,
                };
            }
            self.job = Some(job);
        }
    }

    /// Reads of every name and version, after a registration or when asked for.
    pub fn read_versions(&self) -> Vec<Outgoing> {
        let paths = self
            .components
            .iter()
            .flat_map(|c| c.name_path().into_iter().chain([c.version_path()]));
        let mut reads: Vec<Outgoing> = paths.map(Outgoing::read).collect();
        reads.extend(self.ask_anew());
        reads.extend(self.readings.iter().copied().map(Outgoing::read));
        reads
    }

    /// Reads of the upgrade's state and result; empty when none is under way.
    pub fn poll(&self) -> Vec<Outgoing> {
        let Some((job, component)) = self.job() else {
            return Vec::new();
        };
        match job.phase {
            Phase::Offered | Phase::Writing => Vec::new(),
            Phase::Downloading | Phase::Downloaded => {
                vec![
                    Outgoing::read(component.result()),
                    Outgoing::read(component.state()),
                ]
            }
            Phase::Resuming { .. } => vec![
                Outgoing::read(component.result()),
                Outgoing::read(component.version_path()),
                Outgoing::read(component.state()),
            ],
            Phase::Updating => vec![
                Outgoing::read(component.version_path()),
                Outgoing::read(component.state()),
                Outgoing::read(component.result()),
            ],
        }
    }

    /// [`Self::poll`], and in Resuming an Observe: the old one's token is not known any more.
    fn ask_anew(&self) -> Vec<Outgoing> {
        let mut send = self.poll();
        if let Some((job, component)) = self.job()
            && matches!(job.phase, Phase::Resuming { .. })
        {
            send.push(Outgoing::observe(component.state()));
        }
        send
    }

    /// An upgrade is under way, so the client is asked from time to time.
    pub fn active(&self) -> bool {
        self.job.is_some()
    }

    fn job(&self) -> Option<(&Job, &Component)> {
        let job = self.job.as_ref()?;
        Some((job, self.components.get(job.component)?))
    }

    /// The rules offer an upgrade.
    pub fn offer(&mut self, offer: &Offer) -> Step {
        let kind = match offer.kind {
            sota_lwm2m::objects::plan::ComponentType::Firmware => ComponentKind::Firmware,
            sota_lwm2m::objects::plan::ComponentType::Mcu => ComponentKind::Mcu,
        };
        let name = offer.plan.as_str().to_owned();
        if self.job.as_ref().is_some_and(|job| job.offer == name) {
            return Step::default();
        }
        let Some(component) = self.find(offer.component.as_str(), kind) else {
            return Step::report(
                &name,
                State::Failure,
                Some(Reason::UnknownComponent.number()),
            );
        };
        let target = offer.target.as_str().to_owned();
        self.job = Some(Job {
            offer: name.clone(),
            target,
            component,
            phase: Phase::Offered,
        });
        let mut step = Step::report(&name, State::PlanReceived, None);
        step.reports.push(StateReport {
            offer: name,
            component: None,
            state: State::Confirmed,
            reason: None,
        });
        step
    }

    /// The rules give the package's address.
    pub fn download(&mut self, component: &str, kind: ComponentKind, info: &DownloadInfo) -> Step {
        let name = info.plan.as_str();
        if self.job.as_ref().is_none_or(|job| job.offer != name) {
            // The Center restarted in between; the stored state is "confirmed", so go on from there.
            let Some(component) = self.find(component, kind) else {
                return Step::default();
            };
            let (offer, target) = (name.to_owned(), String::new());
            self.job = Some(Job {
                offer,
                target,
                component,
                phase: Phase::Offered,
            });
        }
        let Some(job) = &mut self.job else {
            return Step::default();
        };
        job.phase = Phase::Writing;
        let offer = job.offer.clone();
        let Some((_, component)) = self.job() else {
            return Step::default();
        };
        let uri = info.uri.as_bytes().to_vec();
        let purpose = Purpose::Download { offer };
        let send = vec![Outgoing::write(
            purpose,
            component.uri(),
            ContentFormat::Text,
            uri,
        )];
        Step {
            send,
            ..Step::default()
        }
    }

    fn find(&self, component: &str, kind: ComponentKind) -> Option<usize> {
        let wanted =
            |c: &Component| c.kind() == kind && c.identifier().is_some_and(|own| own == component);
        self.components.iter().position(wanted)
    }

    /// The rules say that this upgrade is under way; see the module's words on Resuming. Nothing happens when it is
    /// known already.
    pub fn go_on(
        &mut self,
        component: &str,
        kind: ComponentKind,
        offer: String,
        target: String,
        updating: bool,
    ) -> Step {
        let Some(component) = self.find(component, kind).filter(|_| self.job.is_none()) else {
            return Step::default();
        };
        self.job = Some(Job {
            offer,
            target,
            component,
            phase: Phase::Resuming {
                updating,
                result: 0,
            },
        });
        Step {
            send: self.ask_anew(),
            ..Step::default()
        }
    }

    /// The client's state, read in Resuming.
    fn resumed(&mut self, state: u64, updating: bool, result: u64) -> Step {
        let Some((job, component)) = self.job() else {
            return Step::default();
        };
        let name = job.offer.clone();
        let (downloaded, success) = (component.downloaded(), component.success());
        let mut step = Step::default();
        if component.downloading().contains(&state) {
            self.enter(Phase::Downloading);
            step.report_more(&name, State::Downloading, None);
        } else if state == downloaded {
            let execute = Outgoing::execute(Purpose::Update, component.update());
            step.send.push(execute);
            self.enter(Phase::Downloaded);
            if !updating {
                step.report_more(&name, State::Downloaded, None);
            }
        } else if result == success {
            self.job = None;
            step.report_more(&name, State::Success, None);
        } else if state != 0 || updating {
            self.enter(Phase::Updating);
            if !updating {
                step.report_more(&name, State::Updating, None);
            }
        } else {
            self.enter(Phase::Offered);
            let lost = Some(Reason::NetworkDown.number());
            step.report_more(&name, State::DownloadError, lost);
        }
        step
    }

    /// The rules cancel; `None` when the client is already updating.
    pub fn cancel(&mut self, component: &str, kind: ComponentKind, offer: &str) -> Option<Step> {
        let Some((job, component)) = self.job() else {
            // The Center restarted: the rules would not ask if it were updating.
            let component = self.find(component, kind);
            let component = component.and_then(|index| self.components.get(index));
            return Some(Step {
                send: component.map(reset).unwrap_or_default(),
                ..Step::default()
            });
        };
        if job.offer != offer {
            return Some(Step::default());
        }
        if job.phase == Phase::Updating {
            return None;
        }
        let step = Step {
            send: reset(component),
            ..Step::default()
        };
        self.job = None;
        Some(step)
    }

    /// The answer to one of our requests but Read.
    pub fn answered(&mut self, purpose: &Purpose, code: Code) -> Step {
        let Some((job, component)) = self.job() else {
            return Step::default();
        };
        let name = job.offer.clone();
        match (purpose, job.phase) {
            (Purpose::Download { offer }, Phase::Writing) if *offer == name => {
                if !code.is_success() {
                    return self.fail(CenterError::OfferRefused.number());
                }
                let mut send = vec![Outgoing::observe(component.state())];
                send.push(Outgoing::read(component.result()));
                self.enter(Phase::Downloading);
                Step {
                    send,
                    ..Step::report(&name, State::DownloadStarts, None)
                }
            }
            (Purpose::Update, Phase::Downloaded) => {
                if !code.is_success() {
                    return self.fail(CenterError::OfferRefused.number());
                }
                self.enter(Phase::Updating);
                Step::report(&name, State::Updating, None)
            }
            _ => Step::default(),
        }
    }

    /// A resource was read or notified.
    pub fn value(&mut self, path: Path, value: RawValue<'_>) -> Step {
        let mut step = Step::default();
        super::plan_door::device_fact(&mut step.facts, path, value);
        let text = value.as_str().map(str::to_owned);
        for component in &mut self.components {
            if component.name_path() == Some(path) {
                component.name.clone_from(&text);
            } else if component.version_path() == path {
                component.version.clone_from(&text);
            } else {
                continue;
            }
            step.facts.components.extend(component.reported());
        }
        let Some((job, component)) = self.job() else {
            return step;
        };
        let (name, software) = (job.offer.clone(), component.is_software());
        let number = value.as_u64();
        if path == component.state() {
            let (downloading, downloaded) = (component.downloading(), component.downloaded());
            let install = component.update();
            match (number, job.phase) {
                (Some(n), Phase::Resuming { updating, result }) => {
                    let resumed = self.resumed(n, updating, result);
                    step.send.extend(resumed.send);
                    step.reports.extend(resumed.reports);
                }
                (Some(n), Phase::Downloading) if downloading.contains(&n) => {
                    step.report_more(&name, State::Downloading, None);
                }
                (Some(n), Phase::Downloading) if n == downloaded => {
                    let execute = Outgoing::execute(Purpose::Update, install);
                    self.enter(Phase::Downloaded);
                    step.report_more(&name, State::Downloaded, None);
                    step.send.push(execute);
                }
                _ => {}
            }
        } else if path == component.result() {
            let success = component.success();
            match (number, job.phase) {
                (Some(n), Phase::Updating) if n == success => {
                    step.send.push(Outgoing::read(component.version_path()));
                    self.job = None;
                    step.report_more(&name, State::Success, None);
                }
                (Some(n), phase) if phase != Phase::Offered && phase != Phase::Writing => {
                    if let Some(reason) = reason(software, n) {
                        let failed = self.fail(reason);
                        step.send.extend(failed.send);
                        step.reports.extend(failed.reports);
                    } else if let Phase::Resuming { updating, .. } = phase {
                        self.enter(Phase::Resuming {
                            updating,
                            result: n,
                        });
                    }
                }
                _ => {}
            }
        } else if path == component.version_path()
            && matches!(
                job.phase,
                Phase::Updating | Phase::Resuming { updating: true, .. }
            )
            && !job.target.is_empty()
            && text.as_deref() == Some(job.target.as_str())
        {
            self.job = None;
            step.report_more(&name, State::Success, None);
        }
        step
    }

    fn enter(&mut self, phase: Phase) {
        if let Some(job) = &mut self.job {
            job.phase = phase;
        }
    }

    fn fail(&mut self, reason: u16) -> Step {
        let Some((job, component)) = self.job() else {
            return Step::default();
        };
        let mut step = Step::report(&job.offer, State::Failure, Some(reason));
        step.send = reset(component);
        self.job = None;
        step
    }
}

impl Step {
    fn report(offer: &str, state: State, reason: Option<u16>) -> Step {
        let mut step = Step::default();
        step.report_more(offer, state, reason);
        step
    }

    fn report_more(&mut self, offer: &str, state: State, reason: Option<u16>) {
        self.reports.push(StateReport {
            offer: offer.to_owned(),
            component: None,
            state,
            reason,
        });
    }
}
