//! Where the Center's entities live: one trait, several stores, one suite of contract tests.
//!
//! **Reads** give values. **Writes** all go through [`Store::commit`]: a list of [`Change`]s that is done as a whole or
//! not at all, in one short transaction, durable when the future is ready. Each entity carries the revision it
//! was read at; a commit whose entity was changed meanwhile fails with [`StoreError::Conflict`] and the caller
//! reads again, asks the domain again and repeats. So no lock is held while anyone thinks, and any number of
//! Center processes can share a store.
//!
//! [`Counters`] of a plan are moved by the store in the same transaction as the device in it.
//!
//! | store | for |
//! |---|---|
//! | [`MemoryStore`] | tests and the simulator: none of its futures ever waits, and it can be cut at every commit |
//! | [`SqliteStore`] | one machine |

#[cfg(test)]
mod access_contract;
#[cfg(test)]
mod contract;
mod memory;
#[cfg(test)]
pub(crate) mod samples;
mod scope;
mod sqlite;
#[cfg(test)]
mod webhook_contract;

pub use crate::domain::Role;
pub use memory::{Cut, CutPoint, MemoryStore};
pub use scope::Scope;
pub use sqlite::SqliteStore;
pub(crate) use sqlite::snapshot;

use async_trait::async_trait;
use sota_errors::CenterError;

use crate::domain::{
    Account, ApiToken, AuditEntry, AuditFilter, Counters, Delivery, Device, DeviceState, Endpoint,
    Event, FilterId, Invitation, LogLine, Membership, Model, ModelId, Package, PackageId,
    PasswordReset, Plan, PlanDevice, PlanId, Problem, Product, ProductId, Project, ProjectId,
    Sample, SavedFilter, Session, Time, Webhook, WebhookId,
};

/// What a store can answer instead of a value.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An entity was changed, made or deleted since it was read. Read again and repeat.
    #[error("changed meanwhile")]
    Conflict,
    /// A name or key that must be unique is taken; the field.
    #[error("{0} is taken")]
    Taken(&'static str),
    /// Outside the scope, or the role does not allow it.
    #[error("outside the scope")]
    Forbidden,
    /// No room; nothing was changed.
    #[error("disk full")]
    Full,
    /// The store itself failed; nothing was changed.
    #[error("store: {0}")]
    Failed(String),
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        match error {
            StoreError::Conflict => CenterError::Conflict.into(),
            StoreError::Taken(field) => Problem::of(CenterError::NameTaken, field, ""),
            StoreError::Forbidden => CenterError::Forbidden.into(),
            StoreError::Full => CenterError::StorageFull.into(),
            StoreError::Failed(detail) => Problem::new(CenterError::Internal, detail),
        }
    }
}

/// One change. An entity with revision 0 is made, with another one replaces the stored one of that revision; the
/// stored revision is then one more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, clippy::large_enum_variant)] // a handful per commit
pub enum Change {
    Project(Project),
    Product(Product),
    Device(Device),
    Model(Model),
    Package(Package),
    Plan(Plan),
    PlanDevice(PlanDevice),
    Log(LogLine),
    DeleteModel(ModelId, u64),
    DeletePackage(PackageId, u64),
    /// The plan and everything about its devices.
    DeletePlan(PlanId, u64),
    /// A sample of a plan; of those before it one in each interval of this length (ms, from the plan's activation at the
    /// second number on) stays. By the Center itself.
    Sample(Sample, Time, Time),
    /// A saved filter.
    Filter(SavedFilter),
    /// The saved filter; plans keep its expression.
    DeleteFilter(FilterId, u64),
    /// By an owner of its project, as the next.
    Webhook(Webhook),
    /// The webhook and its deliveries.
    DeleteWebhook(WebhookId, u64),
    /// Is put into the outbox of each webhook of its project that wants it. By who may change something there.
    Event(Event),
    /// A delivery by itself (number 0: a new one), or what became of one. By an owner of its project.
    Delivery(Delivery),
    /// Deliveries that were over long before go, and of those that wait the oldest are given up where there are too many.
    /// By the Center itself.
    TrimDeliveries(Time),
    /// By the Center itself only, as the next eight.
    Account(Account),
    /// The account of this revision, with its memberships, sessions, tokens and links.
    DeleteAccount(i64, u64),
    /// A new log-in.
    Session(Session),
    /// The end of a log-in; one that is not there is no error.
    DeleteSession(String),
    /// The end of all log-ins of an account but the one of this digest.
    DeleteSessions(i64, Option<String>),
    /// A link for a new password; it replaces the account's older one.
    PasswordReset(PasswordReset),
    /// A link of this digest is used: it must be there.
    DeletePasswordReset(String),
    /// A link of this digest is used: it must be there.
    DeleteInvitation(String),
    /// Sessions, tokens and links that ended before.
    DropExpired(Time),
    /// By an owner of the project. It is made or replaced.
    Membership(Membership),
    /// By an owner of the project, or by the account itself.
    DeleteMembership(i64, ProjectId),
    /// By an owner of its project; the set-up's by the Center itself.
    Invitation(Invitation),
    /// A line of the audit log, for the same changes that it tells of; the store gives it its number. By who may change
    /// something in its project; without a project by the account it is about.
    Audit(AuditEntry),
    /// By its account.
    Token(ApiToken),
    /// By its account.
    DeleteToken(i64),
}

/// Which devices of a plan to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Only after this device key, in byte order.
    pub after: Option<String>,
    /// At most this many.
    pub limit: usize,
    /// Only in this state.
    pub state: Option<DeviceState>,
}

/// A store, see the module's words.
#[async_trait]
pub trait Store: Send + Sync {
    /// A new id, never given before, for any kind of entity.
    async fn next_id(&self, scope: &Scope) -> Result<i64, StoreError>;
    /// Does all changes or none.
    async fn commit(&self, scope: &Scope, changes: Vec<Change>) -> Result<(), StoreError>;

    /// Projects by id.
    async fn projects(&self, scope: &Scope) -> Result<Vec<Project>, StoreError>;
    /// One project.
    async fn project(&self, scope: &Scope, id: ProjectId) -> Result<Option<Project>, StoreError>;
    /// Products by id.
    async fn products(&self, scope: &Scope) -> Result<Vec<Product>, StoreError>;
    /// One product.
    async fn product(&self, scope: &Scope, id: ProductId) -> Result<Option<Product>, StoreError>;
    /// The product with this key.
    async fn product_by_key(&self, scope: &Scope, key: &str)
    -> Result<Option<Product>, StoreError>;
    /// Models by id.
    async fn models(&self, scope: &Scope) -> Result<Vec<Model>, StoreError>;
    /// One model.
    async fn model(&self, scope: &Scope, id: ModelId) -> Result<Option<Model>, StoreError>;
    /// Packages by id.
    async fn packages(&self, scope: &Scope) -> Result<Vec<Package>, StoreError>;
    /// One package.
    async fn package(&self, scope: &Scope, id: PackageId) -> Result<Option<Package>, StoreError>;
    /// Plans by id.
    async fn plans(&self, scope: &Scope) -> Result<Vec<Plan>, StoreError>;
    /// One plan.
    async fn plan(&self, scope: &Scope, id: PlanId) -> Result<Option<Plan>, StoreError>;
    /// Plans that are Activated, Upgrading or Suspended, of one product or of all, by id.
    async fn running_plans(
        &self,
        scope: &Scope,
        product_key: Option<&str>,
    ) -> Result<Vec<Plan>, StoreError>;

    /// Devices of a product in order of their keys.
    async fn devices(
        &self,
        scope: &Scope,
        product_key: &str,
        page: &Page,
    ) -> Result<Vec<Device>, StoreError>;
    /// One device.
    async fn device(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
    ) -> Result<Option<Device>, StoreError>;
    /// The device with this registration id.
    async fn device_by_registration(
        &self,
        scope: &Scope,
        registration: &str,
    ) -> Result<Option<Device>, StoreError>;

    /// Devices of a plan in order of their keys.
    async fn plan_devices(
        &self,
        scope: &Scope,
        plan: PlanId,
        page: &Page,
    ) -> Result<Vec<PlanDevice>, StoreError>;
    /// One device of a plan.
    async fn plan_device(
        &self,
        scope: &Scope,
        plan: PlanId,
        endpoint: &Endpoint,
    ) -> Result<Option<PlanDevice>, StoreError>;
    /// A device in all its plans, by plan.
    async fn plans_of_device(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
    ) -> Result<Vec<PlanDevice>, StoreError>;
    /// The devices of a product whose keys come after `after`, up to and with `through`, in all their plans, by key and
    /// plan.
    async fn plans_of_devices(
        &self,
        scope: &Scope,
        product_key: &str,
        after: Option<&str>,
        through: &str,
    ) -> Result<Vec<PlanDevice>, StoreError>;
    /// Devices whose deadline is at or before `now`, the earliest first, at most `limit`.
    async fn past_deadline(
        &self,
        scope: &Scope,
        now: Time,
        limit: usize,
    ) -> Result<Vec<PlanDevice>, StoreError>;
    /// Samples of a plan, oldest first.
    async fn samples(&self, scope: &Scope, plan: PlanId) -> Result<Vec<Sample>, StoreError>;
    /// Devices of a project that load in this radio cell, of whatever plan.
    async fn loading_in_cell(
        &self,
        scope: &Scope,
        project: ProjectId,
        cell: u64,
    ) -> Result<u64, StoreError>;
    /// How many devices of a plan have an offer that they have not taken yet: not begun, with a deadline.
    async fn untaken_offers(&self, scope: &Scope, plan: PlanId) -> Result<u64, StoreError>;
    /// Devices of a plan by state, for each group of its rollout up to the last that has devices.
    async fn group_counters(
        &self,
        scope: &Scope,
        plan: PlanId,
    ) -> Result<Vec<Counters>, StoreError>;
    /// Devices of a plan by state.
    async fn counters(&self, scope: &Scope, plan: PlanId) -> Result<Counters, StoreError> {
        Ok(Counters::sum(&self.group_counters(scope, plan).await?))
    }
    /// Log of a device, oldest first, of one plan or of all; the last `limit` lines.
    async fn log(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
        plan: Option<PlanId>,
        limit: usize,
    ) -> Result<Vec<LogLine>, StoreError>;

    /// Log of a plan's devices, oldest first: at most `limit` lines after the one of this number, each with its number.
    async fn plan_log(
        &self,
        scope: &Scope,
        plan: PlanId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, LogLine)>, StoreError>;

    /// Saved filters by id.
    async fn filters(&self, scope: &Scope) -> Result<Vec<SavedFilter>, StoreError>;
    /// Webhooks of the projects that the caller owns, by id.
    async fn webhooks(&self, scope: &Scope) -> Result<Vec<Webhook>, StoreError>;
    /// Deliveries of a webhook, the newest first, only those before this number; for an owner, as the next two.
    async fn deliveries(
        &self,
        scope: &Scope,
        webhook: WebhookId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError>;
    /// One delivery.
    async fn delivery(&self, scope: &Scope, id: i64) -> Result<Option<Delivery>, StoreError>;
    /// How many deliveries of a webhook wait.
    async fn waiting_deliveries(
        &self,
        scope: &Scope,
        webhook: WebhookId,
    ) -> Result<u64, StoreError>;
    /// Of the deliveries of a webhook that are due the one that was due first. For the Center itself.
    async fn due_delivery(
        &self,
        scope: &Scope,
        webhook: WebhookId,
        now: Time,
    ) -> Result<Option<Delivery>, StoreError>;

    /// Audit log, the newest first, at most `limit` entries. Those without a project: about the caller's own account,
    /// unless it is the Center itself.
    async fn audit(
        &self,
        scope: &Scope,
        filter: &AuditFilter,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError>;

    /// Whether there is any account. For the Center itself, as the next seven.
    async fn any_account(&self, scope: &Scope) -> Result<bool, StoreError>;
    /// The account with this name (in its kept form).
    async fn account_by_name(
        &self,
        scope: &Scope,
        name: &str,
    ) -> Result<Option<Account>, StoreError>;
    /// Every account, by id.
    async fn accounts(&self, scope: &Scope) -> Result<Vec<Account>, StoreError>;
    /// The link for a new password of this digest.
    async fn password_reset(
        &self,
        scope: &Scope,
        digest: &str,
    ) -> Result<Option<PasswordReset>, StoreError>;
    /// The session of this digest.
    async fn session(&self, scope: &Scope, digest: &str) -> Result<Option<Session>, StoreError>;
    /// The API token of this digest.
    async fn token(&self, scope: &Scope, digest: &str) -> Result<Option<ApiToken>, StoreError>;
    /// The invitation of this digest.
    async fn invitation(
        &self,
        scope: &Scope,
        digest: &str,
    ) -> Result<Option<Invitation>, StoreError>;
    /// An account; the caller's own, unless it is the Center itself.
    async fn account(&self, scope: &Scope, id: i64) -> Result<Option<Account>, StoreError>;
    /// Roles of an account, by project; the caller's own, unless it is the Center itself.
    async fn memberships(&self, scope: &Scope, account: i64)
    -> Result<Vec<Membership>, StoreError>;
    /// API tokens of an account, by id; the caller's own, unless it is the Center itself.
    async fn tokens(&self, scope: &Scope, account: i64) -> Result<Vec<ApiToken>, StoreError>;
    /// Members of a project and their names, by account. Nameless: nobody has set the Center up yet.
    async fn members(
        &self,
        scope: &Scope,
        project: ProjectId,
    ) -> Result<Vec<(Membership, String)>, StoreError>;
}
