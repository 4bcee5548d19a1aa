//! The application: load, ask the domain, commit, tell the device.
//!
//! The REST API and the device endpoint call the same functions. Each takes the present [`Time`]: nothing here
//! reads a clock, so the simulator can run it. A commit that meets another's change is repeated from the reading on.
//!
//! | file | from |
//! |---|---|
//! | `device` | the device endpoint: register, update, request, report, facts, answers; see [`crate::commands`] |
//! | `filters` | tags, saved filters, devices found by one |
//! | `offers` | who is offered what now; what a device is owed |
//! | `manage` | projects, products, models, packages, disabled devices |
//! | `plans` | plans, cancel, retry, why |
//! | `rollout` | groups opened, plans paused, places that became free, the user's word in manual mode |
//! | `sweep` | all devices of a product, a page at a time: enrolled, offered what they may have |
//! | `renewals` | registrations that are only prolonged: from memory, without the store |
//! | `webhooks` | who is told what happens |
//! | `time` | ends, deadlines, the push every 10 minutes, lazily flushed expiries |

#[cfg(test)]
mod clock_tests;
mod device;
mod filters;
mod manage;
mod offers;
mod plans;
mod renewals;
mod rollout;
#[cfg(test)]
mod rollout_tests;
#[cfg(test)]
mod set_tests;
mod sweep;
#[cfg(test)]
mod sweep_tests;
#[cfg(test)]
mod tests;
mod time;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use tokio::sync::broadcast;

pub use device::{Register, Registered, RegistrationUpdate};
pub use filters::{NewFilter, TagsImported};
pub use manage::{NewModel, NewPackage, NewProduct, NewProject};
pub use plans::{NewPlan, PlanStatus, Why};
pub use rollout::GroupStatus;
pub use webhooks::{NewWebhook, WebhookInfo};

use crate::commands::{DeviceCommand, DeviceCommands};
use crate::domain::{
    Action, AuditEntry, Deadlines, DeviceState, Endpoint, Event, LogLine, Plan, PlanDevice, PlanId,
    Problem, ProjectId, StepPlan, Time,
};
use crate::store::{Change, Scope, Store, StoreError};

/// How often a commit that met another's change is tried again.
const ATTEMPTS: usize = 16;
/// Cells with devices that wait are looked at this often, in ms.
const CELLS_INTERVAL: Time = 5_000;
/// Devices read or changed in one transaction.
const BATCH: usize = 200;
/// Events that one who listens may be behind.
const HEARD: usize = 1024;

/// What can be chosen about the rules' pace.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Deadlines per step.
    pub deadlines: Deadlines,
    /// Id of the Plan object: a device that has it is offered the components of a plan together.
    pub plan_object: u16,
    /// The Center pushes to connected devices this often, in ms.
    pub push_interval: Time,
    /// Expiries of registrations are written this often, in ms.
    pub flush_interval: Time,
    /// A webhook that failed once is tried again after this, in ms.
    pub webhook_first_wait: Time,
    /// Mixed into registration ids, so that a stranger cannot guess them.
    pub secret: [u8; 16],
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            deadlines: Deadlines::default(),
            plan_object: sota_lwm2m::objects::plan::DEFAULT_OBJECT_ID,
            push_interval: 600_000,
            flush_interval: 60_000,
            webhook_first_wait: 10_000,
            secret: [0; 16],
        }
    }
}

/// Blocks of one package file that were served, as the device endpoint counts them.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    utoipa::ToSchema,
)]
pub struct Served {
    /// Answers that carried a block.
    pub blocks: u64,
    /// Of these: the same device had fetched the block before, by another request.
    pub again: u64,
    /// Of these: the same request came again because a datagram was lost.
    pub duplicates: u64,
}

/// Datagrams of the device port that were not what they should be, since the Center's start.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    utoipa::ToSchema,
)]
pub struct Trouble {
    /// Bytes that are no CoAP message.
    pub malformed_messages: u64,
    /// Messages whose payload or options could not be understood (4.00, 4.02).
    pub malformed_payloads: u64,
    /// Datagrams dropped because the endpoint was busy.
    pub dropped: u64,
    /// Registrations refused because the table is full.
    pub refused_registrations: u64,
    /// Registrations that were not stored: unknown product, or trouble of the Center's own.
    pub failed_registrations: u64,
}

/// What the application asks the running device endpoint; must not block.
pub trait DevicePort: Send + Sync {
    /// Counters of blocks of the file with this SHA-256.
    fn served(&self, sha256: &[u8; 32]) -> Served;
    /// Counters of trouble.
    fn trouble(&self) -> Trouble;
    /// The file was deleted: it is served no more.
    fn forget(&self, sha256: &[u8; 32]);
}

/// The application, see the module's words.
pub struct Service {
    store: Arc<dyn Store>,
    settings: Settings,
    commands: RwLock<Option<Arc<dyn DeviceCommands>>>,
    port: RwLock<Option<Arc<dyn DevicePort>>>,
    memory: Mutex<Memory>,
    events: broadcast::Sender<Event>,
}

/// What need not survive a restart.
#[derive(Default)]
struct Memory {
    /// Steps of plans that can no longer be edited.
    steps: HashMap<PlanId, Arc<Vec<StepPlan>>>,
    /// Expiry by registration id, newer than the store's.
    expiry: HashMap<String, renewals::Expiry>,
    /// Moved when a device in a plan is changed.
    marks: renewals::Marks,
    /// Passes over a product's devices that are not at their end.
    sweeps: VecDeque<sweep::Sweep>,
    /// When to offer again after a failure; after a restart the push does it.
    wake: BTreeSet<(Time, Endpoint)>,
    /// Plans with devices that wait until others are done.
    full: BTreeSet<PlanId>,
    /// Devices that wait until others of their radio cell have loaded.
    cells: BTreeMap<(ProjectId, u64), BTreeSet<Endpoint>>,
    next_cells: Time,
    next_samples: Time,
    next_push: Time,
    next_flush: Time,
}

impl Service {
    /// The application over this store.
    pub fn new(store: Arc<dyn Store>, settings: Settings) -> Service {
        Service {
            store,
            settings,
            commands: RwLock::default(),
            port: RwLock::default(),
            memory: Mutex::default(),
            events: broadcast::channel(HEARD).0,
        }
    }

    /// What happens from now on, in every project.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// The store, for reading.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The store, to share.
    pub(crate) fn shared_store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Where commands for devices go from now on; before that they are dropped and sent at the next contact.
    pub fn set_commands(&self, commands: Arc<dyn DeviceCommands>) {
        *self.commands.write().unwrap_or_else(|e| e.into_inner()) = Some(commands);
    }

    /// The device endpoint that runs from now on.
    pub fn set_port(&self, port: Arc<dyn DevicePort>) {
        *self.port.write().unwrap_or_else(|e| e.into_inner()) = Some(port);
    }

    /// Blocks served of the file with this SHA-256; zeros without a device endpoint.
    pub fn served(&self, sha256: &[u8; 32]) -> Served {
        self.at_port(|port| port.served(sha256)).unwrap_or_default()
    }

    /// What the device port met; zeros without a device endpoint.
    pub fn trouble(&self) -> Trouble {
        self.at_port(|port| port.trouble()).unwrap_or_default()
    }

    fn at_port<T>(&self, ask: impl FnOnce(&dyn DevicePort) -> T) -> Option<T> {
        let port = self.port.read().unwrap_or_else(|e| e.into_inner());
        port.as_deref().map(ask)
    }

    /// The file was removed: what the device endpoint keeps of it is dropped.
    pub fn file_removed(&self, sha256: &str) {
        let mut digest = [0; 32];
        if hex::decode_to_slice(sha256, &mut digest).is_ok() {
            self.at_port(|port| port.forget(&digest));
        }
    }

    fn send(&self, command: DeviceCommand) {
        let commands = self.commands.read().unwrap_or_else(|e| e.into_inner());
        if let Some(commands) = commands.as_ref() {
            commands.send(command);
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Commits; `false` = someone else changed it, read again.
    async fn try_commit(&self, scope: &Scope, changes: Vec<Change>) -> Result<bool, Problem> {
        let in_plans: Vec<Endpoint> = changes.iter().filter_map(in_plan).cloned().collect();
        let told: Vec<Event> = changes.iter().filter_map(event).cloned().collect();
        match self.store.commit(scope, changes).await {
            Ok(()) => {
                let mut memory = self.memory();
                in_plans.iter().for_each(|e| memory.marks.moved(e));
                drop(memory);
                for event in told {
                    // an error: nobody listens
                    let _ = self.events.send(event);
                }
                Ok(true)
            }
            Err(StoreError::Conflict) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

/// What a change tells others.
fn event(change: &Change) -> Option<&Event> {
    match change {
        Change::Event(event) => Some(event),
        _ => None,
    }
}

/// The device that a change of a device in a plan is about.
fn in_plan(change: &Change) -> Option<&Endpoint> {
    match change {
        Change::PlanDevice(entry) => Some(&entry.endpoint),
        _ => None,
    }
}

/// A line of the audit log in the name of the scope's caller, to be committed with what it tells of.
pub(crate) fn audit(
    scope: &Scope,
    project: ProjectId,
    at: Time,
    action: Action,
    object: impl Into<String>,
    detail: impl Into<String>,
) -> Change {
    Change::Audit(AuditEntry {
        id: 0,
        project: Some(project),
        account: None,
        at,
        actor: scope.actor(),
        action,
        object: object.into(),
        detail: detail.into(),
    })
}

/// The same about a plan.
fn audit_plan(
    scope: &Scope,
    plan: &Plan,
    at: Time,
    action: Action,
    more: impl core::fmt::Display,
) -> Change {
    let object = format!("plan/{}", plan.id);
    let detail = format!("{}{more}", plan.name);
    audit(scope, plan.project, at, action, object, detail)
}

/// The same about a device, in a plan or by itself.
fn audit_device(
    scope: &Scope,
    project: ProjectId,
    endpoint: &Endpoint,
    at: Time,
    action: Action,
    detail: impl Into<String>,
) -> Change {
    let Endpoint {
        product_key,
        device_key,
    } = endpoint;
    let object = format!("device/{product_key}/{device_key}");
    audit(scope, project, at, action, object, detail)
}

/// What webhooks are told when a device has left state `before` of its plan.
fn moved(before: DeviceState, entry: &PlanDevice, now: Time) -> Option<Change> {
    Event::device_state(before, entry, now).map(Change::Event)
}

/// A log line of the catalogue or of words.
fn line(
    plan: Option<PlanId>,
    endpoint: &Endpoint,
    at: Time,
    number: Option<u16>,
    text: impl Into<String>,
) -> Change {
    let text = text.into();
    tracing::info!(device = %endpoint, plan = plan.map(|p| p.0), number, "{text}");
    Change::Log(LogLine {
        plan,
        endpoint: endpoint.clone(),
        at,
        number,
        text,
    })
}
