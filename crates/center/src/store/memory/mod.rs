//! The deterministic store: maps behind a mutex. No future of it ever waits, so a simulator can poll each once.

mod tables;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;

use tables::Tables;

use super::{Change, Page, Scope, Store, StoreError};
use crate::domain::{
    Account, ApiToken, AuditEntry, AuditFilter, Counters, Delivery, Device, DeviceState, Endpoint,
    Invitation, LogLine, Membership, Model, ModelId, Package, PackageId, PasswordReset, Plan,
    PlanDevice, PlanId, PlanState, Product, ProductId, Project, ProjectId, Role, Sample,
    SavedFilter, Session, Time, Webhook, WebhookId,
};

/// Called before a commit and after it; `false` cuts there: the commit answers an error, and whether it was
/// done depends on the side of the cut, as with a machine that loses power.
pub type CutPoint = Box<dyn FnMut(Cut) -> bool + Send>;

/// Where a cut point stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing of the commit is done yet.
    Before,
    /// The commit is durable, its caller does not know.
    After,
}

/// Entities in memory.
#[derive(Default)]
pub struct MemoryStore {
    inner: Mutex<Tables>,
    cut: Mutex<Option<CutPoint>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// Sets or removes what is called around every commit.
    pub fn set_cut_point(&self, cut: Option<CutPoint>) {
        *self.cut.lock().unwrap_or_else(|e| e.into_inner()) = cut;
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // a panic while it was held cannot have left half a commit: commits work on a copy
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn goes_on(&self, at: Cut) -> Result<(), StoreError> {
        let mut cut = self.cut.lock().unwrap_or_else(|e| e.into_inner());
        match cut.as_mut().is_none_or(|cut| cut(at)) {
            true => Ok(()),
            false => Err(StoreError::Failed(format!("cut {at:?} the commit"))),
        }
    }
}

fn page_fits(page: &Page, key: &str) -> bool {
    page.after.as_deref().is_none_or(|after| key > after)
}

/// Where an entity belongs.
trait Owned: Clone {
    fn place(&self) -> ProjectId;
}

macro_rules! owned {
    ($($entity:ty: $project:ident),*) => {$(
        impl Owned for $entity {
            fn place(&self) -> ProjectId {
                self.$project
            }
        }
    )*};
}
owned!(Project: id, Product: project, Model: project, Package: project, Plan: project);
owned!(Device: project, PlanDevice: project, SavedFilter: project);

fn seen<'a, E: Owned + 'a>(
    scope: &'a Scope,
    entities: impl Iterator<Item = &'a E> + 'a,
) -> impl Iterator<Item = &'a E> + 'a {
    entities.filter(|e| scope.role(e.place()).is_some())
}

fn all<K, E: Owned>(scope: &Scope, map: &BTreeMap<K, E>) -> Result<Vec<E>, StoreError> {
    Ok(seen(scope, map.values()).cloned().collect())
}

fn one<K: Ord, E: Owned>(
    scope: &Scope,
    map: &BTreeMap<K, E>,
    key: &K,
) -> Result<Option<E>, StoreError> {
    Ok(seen(scope, map.get(key).into_iter()).next().cloned())
}

#[async_trait]
impl Store for MemoryStore {
    async fn next_id(&self, scope: &Scope) -> Result<i64, StoreError> {
        if !scope.somewhere(Role::Operator) {
            return Err(StoreError::Forbidden);
        }
        let mut tables = self.tables();
        tables.last_id += 1;
        Ok(tables.last_id)
    }

    async fn commit(&self, scope: &Scope, changes: Vec<Change>) -> Result<(), StoreError> {
        self.goes_on(Cut::Before)?;
        {
            let mut tables = self.tables();
            // The log only grows, but for a deleted plan: copied at each commit it would make a long life quadratic. What a
            // commit that fails has put at its end is cut off again.
            let shrinks = |change: &Change| matches!(change, Change::DeletePlan(..));
            let kept = match changes.iter().any(shrinks) {
                true => None,
                false => Some(std::mem::take(&mut tables.log)),
            };
            let audit = std::mem::take(&mut tables.audit);
            let entries = audit.len();
            let mut next = tables.clone();
            next.audit = audit;
            let lines = kept.as_ref().map(Vec::len);
            next.log = kept.unwrap_or(next.log);
            let mut changes = changes.into_iter();
            if let Err(error) = changes.try_for_each(|change| next.apply(scope, change)) {
                next.audit.truncate(entries);
                tables.audit = next.audit;
                if let Some(lines) = lines {
                    next.log.truncate(lines);
                    tables.log = next.log;
                }
                return Err(error);
            }
            *tables = next;
        }
        self.goes_on(Cut::After)
    }

    async fn projects(&self, scope: &Scope) -> Result<Vec<Project>, StoreError> {
        all(scope, &self.tables().projects)
    }

    async fn project(&self, scope: &Scope, id: ProjectId) -> Result<Option<Project>, StoreError> {
        one(scope, &self.tables().projects, &id)
    }

    async fn products(&self, scope: &Scope) -> Result<Vec<Product>, StoreError> {
        all(scope, &self.tables().products)
    }

    async fn product(&self, scope: &Scope, id: ProductId) -> Result<Option<Product>, StoreError> {
        one(scope, &self.tables().products, &id)
    }

    async fn product_by_key(
        &self,
        scope: &Scope,
        key: &str,
    ) -> Result<Option<Product>, StoreError> {
        let tables = self.tables();
        Ok(seen(scope, tables.products.values())
            .find(|p| p.product_key == key)
            .cloned())
    }

    async fn models(&self, scope: &Scope) -> Result<Vec<Model>, StoreError> {
        all(scope, &self.tables().models)
    }

    async fn model(&self, scope: &Scope, id: ModelId) -> Result<Option<Model>, StoreError> {
        one(scope, &self.tables().models, &id)
    }

    async fn packages(&self, scope: &Scope) -> Result<Vec<Package>, StoreError> {
        all(scope, &self.tables().packages)
    }

    async fn package(&self, scope: &Scope, id: PackageId) -> Result<Option<Package>, StoreError> {
        one(scope, &self.tables().packages, &id)
    }

    async fn plans(&self, scope: &Scope) -> Result<Vec<Plan>, StoreError> {
        all(scope, &self.tables().plans)
    }

    async fn plan(&self, scope: &Scope, id: PlanId) -> Result<Option<Plan>, StoreError> {
        one(scope, &self.tables().plans, &id)
    }

    async fn running_plans(
        &self,
        scope: &Scope,
        product_key: Option<&str>,
    ) -> Result<Vec<Plan>, StoreError> {
        let tables = self.tables();
        let running = |p: &&Plan| p.state.active() || p.state == PlanState::Suspended;
        Ok(seen(scope, tables.plans.values())
            .filter(|p| product_key.is_none_or(|key| p.product_key == key))
            .filter(running)
            .cloned()
            .collect())
    }

    async fn devices(
        &self,
        scope: &Scope,
        product_key: &str,
        page: &Page,
    ) -> Result<Vec<Device>, StoreError> {
        let tables = self.tables();
        Ok(seen(scope, tables.devices.values())
            .filter(|d| d.endpoint.product_key == product_key)
            .filter(|d| page_fits(page, &d.endpoint.device_key))
            .take(page.limit)
            .cloned()
            .collect())
    }

    async fn device(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
    ) -> Result<Option<Device>, StoreError> {
        one(scope, &self.tables().devices, endpoint)
    }

    async fn device_by_registration(
        &self,
        scope: &Scope,
        registration: &str,
    ) -> Result<Option<Device>, StoreError> {
        let tables = self.tables();
        let named = |d: &&Device| {
            d.registration
                .as_ref()
                .is_some_and(|r| r.id == registration)
        };
        Ok(seen(scope, tables.devices.values()).find(named).cloned())
    }

    async fn plan_devices(
        &self,
        scope: &Scope,
        plan: PlanId,
        page: &Page,
    ) -> Result<Vec<PlanDevice>, StoreError> {
        let tables = self.tables();
        Ok(seen(scope, tables.plan_devices.values())
            .filter(|d| d.plan == plan && page.state.is_none_or(|s| s == d.state))
            .filter(|d| page_fits(page, &d.endpoint.device_key))
            .take(page.limit)
            .cloned()
            .collect())
    }

    async fn plan_device(
        &self,
        scope: &Scope,
        plan: PlanId,
        endpoint: &Endpoint,
    ) -> Result<Option<PlanDevice>, StoreError> {
        one(
            scope,
            &self.tables().plan_devices,
            &(plan, endpoint.clone()),
        )
    }

    async fn plans_of_device(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
    ) -> Result<Vec<PlanDevice>, StoreError> {
        let tables = self.tables();
        let own = |d: &&PlanDevice| d.endpoint == *endpoint;
        Ok(seen(scope, tables.plan_devices.values())
            .filter(own)
            .cloned()
            .collect())
    }

    async fn plans_of_devices(
        &self,
        scope: &Scope,
        product_key: &str,
        after: Option<&str>,
        through: &str,
    ) -> Result<Vec<PlanDevice>, StoreError> {
        let tables = self.tables();
        let fits = |d: &&PlanDevice| {
            let Endpoint {
                product_key: product,
                device_key: key,
            } = &d.endpoint;
            product == product_key
                && after.is_none_or(|a| key.as_str() > a)
                && key.as_str() <= through
        };
        let found = seen(scope, tables.plan_devices.values()).filter(fits);
        let mut found: Vec<PlanDevice> = found.cloned().collect();
        found.sort_by(|a, b| (&a.endpoint, a.plan).cmp(&(&b.endpoint, b.plan)));
        Ok(found)
    }

    async fn past_deadline(
        &self,
        scope: &Scope,
        now: Time,
        limit: usize,
    ) -> Result<Vec<PlanDevice>, StoreError> {
        let tables = self.tables();
        let mut past: Vec<PlanDevice> = seen(scope, tables.plan_devices.values())
            .filter(|d| d.deadline.is_some_and(|deadline| deadline <= now))
            .cloned()
            .collect();
        past.sort_by_key(|d| d.deadline);
        past.truncate(limit);
        Ok(past)
    }

    async fn samples(&self, scope: &Scope, plan: PlanId) -> Result<Vec<Sample>, StoreError> {
        let tables = self.tables();
        if one(scope, &tables.plans, &plan)?.is_none() {
            return Ok(Vec::new());
        }
        let own = tables.samples.values().filter(|s| s.plan == plan);
        Ok(own.copied().collect())
    }

    async fn loading_in_cell(
        &self,
        scope: &Scope,
        project: ProjectId,
        cell: u64,
    ) -> Result<u64, StoreError> {
        if scope.role(project).is_none() {
            return Ok(0);
        }
        let tables = self.tables();
        let own = tables
            .plan_devices
            .values()
            .filter(|d| d.project == project);
        Ok(own.filter(|d| d.loading_cell() == Some(cell)).count() as u64)
    }

    async fn untaken_offers(&self, scope: &Scope, plan: PlanId) -> Result<u64, StoreError> {
        let tables = self.tables();
        let untaken = |d: &&PlanDevice| {
            d.plan == plan && d.state == DeviceState::NotUpgraded && d.deadline.is_some()
        };
        let all = seen(scope, tables.plan_devices.values());
        Ok(all.filter(untaken).count() as u64)
    }

    async fn group_counters(
        &self,
        scope: &Scope,
        plan: PlanId,
    ) -> Result<Vec<Counters>, StoreError> {
        let tables = self.tables();
        let visible = seen(scope, tables.plans.get(&plan).into_iter())
            .next()
            .is_some();
        Ok(tables
            .counters
            .get(&plan)
            .filter(|_| visible)
            .cloned()
            .unwrap_or_default())
    }

    async fn log(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
        plan: Option<PlanId>,
        limit: usize,
    ) -> Result<Vec<LogLine>, StoreError> {
        let tables = self.tables();
        let device = tables.devices.get(endpoint);
        if !scope.everything() && device.is_none_or(|d| scope.role(d.project).is_none()) {
            return Ok(Vec::new());
        }
        let lines = tables.log.iter().map(|(_, line)| line).rev();
        let mut last: Vec<LogLine> = lines
            .filter(|l| l.endpoint == *endpoint && (plan.is_none() || l.plan == plan))
            .take(limit)
            .cloned()
            .collect();
        last.reverse();
        Ok(last)
    }

    async fn plan_log(
        &self,
        scope: &Scope,
        plan: PlanId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, LogLine)>, StoreError> {
        let tables = self.tables();
        if one(scope, &tables.plans, &plan)?.is_none() {
            return Ok(Vec::new());
        }
        let lines = tables.log.iter();
        let lines = lines.filter(|(number, l)| l.plan == Some(plan) && *number > after);
        Ok(lines.take(limit).cloned().collect())
    }

    async fn filters(&self, scope: &Scope) -> Result<Vec<SavedFilter>, StoreError> {
        all(scope, &self.tables().filters)
    }

    async fn webhooks(&self, scope: &Scope) -> Result<Vec<Webhook>, StoreError> {
        let tables = self.tables();
        let owned = |w: &&Webhook| scope.need(w.project, Role::Owner).is_ok();
        Ok(tables.webhooks.values().filter(owned).cloned().collect())
    }

    async fn deliveries(
        &self,
        scope: &Scope,
        webhook: WebhookId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let tables = self.tables();
        let owned = |d: &&Delivery| scope.need(d.project, Role::Owner).is_ok();
        let own = tables.deliveries.values().rev().filter(owned);
        let fits = own.filter(|d| d.webhook == webhook && before.is_none_or(|b| d.id < b));
        Ok(fits.take(limit).cloned().collect())
    }

    async fn delivery(&self, scope: &Scope, id: i64) -> Result<Option<Delivery>, StoreError> {
        let tables = self.tables();
        let found = tables.deliveries.get(&id);
        Ok(found
            .filter(|d| scope.need(d.project, Role::Owner).is_ok())
            .cloned())
    }

    async fn waiting_deliveries(
        &self,
        scope: &Scope,
        webhook: WebhookId,
    ) -> Result<u64, StoreError> {
        let all = self.deliveries(scope, webhook, None, usize::MAX).await?;
        Ok(all.iter().filter(|d| d.waits()).count() as u64)
    }

    async fn due_delivery(
        &self,
        scope: &Scope,
        webhook: WebhookId,
        now: Time,
    ) -> Result<Option<Delivery>, StoreError> {
        scope.need_everything()?;
        let tables = self.tables();
        let own = tables.deliveries.values().filter(|d| d.webhook == webhook);
        let due = own.filter(|d| d.next_at.is_some_and(|at| at <= now));
        Ok(due.min_by_key(|d| (d.next_at, d.id)).cloned())
    }

    async fn audit(
        &self,
        scope: &Scope,
        filter: &AuditFilter,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let tables = self.tables();
        let seen = |e: &&AuditEntry| match e.project {
            Some(project) => scope.role(project).is_some(),
            None => scope.everything() || e.account == Some(scope.account),
        };
        let entries = tables.audit.iter().rev().filter(seen);
        let fits = entries.filter(|e| filter.takes(e));
        Ok(fits.take(limit).cloned().collect())
    }

    async fn any_account(&self, scope: &Scope) -> Result<bool, StoreError> {
        scope.need_everything()?;
        Ok(!self.tables().access.accounts.is_empty())
    }

    async fn account_by_name(
        &self,
        scope: &Scope,
        name: &str,
    ) -> Result<Option<Account>, StoreError> {
        scope.need_everything()?;
        let tables = self.tables();
        let mut accounts = tables.access.accounts.values();
        Ok(accounts.find(|a| a.name == name).cloned())
    }

    async fn accounts(&self, scope: &Scope) -> Result<Vec<Account>, StoreError> {
        scope.need_everything()?;
        let tables = self.tables();
        Ok(tables.access.accounts.values().cloned().collect())
    }

    async fn password_reset(
        &self,
        scope: &Scope,
        digest: &str,
    ) -> Result<Option<PasswordReset>, StoreError> {
        scope.need_everything()?;
        let tables = self.tables();
        let mut resets = tables.access.resets.values();
        Ok(resets.find(|r| r.digest == digest).cloned())
    }

    async fn session(&self, scope: &Scope, digest: &str) -> Result<Option<Session>, StoreError> {
        scope.need_everything()?;
        Ok(self.tables().access.sessions.get(digest).cloned())
    }

    async fn token(&self, scope: &Scope, digest: &str) -> Result<Option<ApiToken>, StoreError> {
        scope.need_everything()?;
        let tables = self.tables();
        let mut tokens = tables.access.tokens.values();
        Ok(tokens.find(|t| t.digest == digest).cloned())
    }

    async fn invitation(
        &self,
        scope: &Scope,
        digest: &str,
    ) -> Result<Option<Invitation>, StoreError> {
        scope.need_everything()?;
        Ok(self.tables().access.invitations.get(digest).cloned())
    }

    async fn account(&self, scope: &Scope, id: i64) -> Result<Option<Account>, StoreError> {
        scope.need_own(id)?;
        Ok(self.tables().access.accounts.get(&id).cloned())
    }

    async fn memberships(
        &self,
        scope: &Scope,
        account: i64,
    ) -> Result<Vec<Membership>, StoreError> {
        scope.need_own(account)?;
        let tables = self.tables();
        let all = tables.access.memberships.values();
        Ok(all.filter(|m| m.account == account).copied().collect())
    }

    async fn tokens(&self, scope: &Scope, account: i64) -> Result<Vec<ApiToken>, StoreError> {
        scope.need_own(account)?;
        let tables = self.tables();
        let all = tables.access.tokens.values();
        Ok(all.filter(|t| t.account == account).cloned().collect())
    }

    async fn members(
        &self,
        scope: &Scope,
        project: ProjectId,
    ) -> Result<Vec<(Membership, String)>, StoreError> {
        if scope.role(project).is_none() {
            return Ok(Vec::new());
        }
        let tables = self.tables();
        let access = &tables.access;
        let name = |id| access.accounts.get(&id).map(|a: &Account| a.name.clone());
        let of = access.memberships.values().filter(|m| m.project == project);
        Ok(of
            .map(|m| (*m, name(m.account).unwrap_or_default()))
            .collect())
    }
}
