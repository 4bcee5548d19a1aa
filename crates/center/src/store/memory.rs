//! The deterministic store: maps behind a mutex. No future of it ever waits, so a simulator can poll each once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;

use super::{Change, Page, Scope, Store, StoreError};
use crate::domain::{
    Account, ApiToken, Counters, Device, DeviceState, Endpoint, Invitation, LogLine, Membership,
    Model, ModelId, Package, PackageId, Plan, PlanDevice, PlanId, PlanState, Product, ProductId,
    Project, ProjectId, Role, Session, Time,
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

#[derive(Clone, Default)]
struct Tables {
    last_id: i64,
    projects: BTreeMap<ProjectId, Project>,
    products: BTreeMap<ProductId, Product>,
    models: BTreeMap<ModelId, Model>,
    packages: BTreeMap<PackageId, Package>,
    plans: BTreeMap<PlanId, Plan>,
    devices: BTreeMap<Endpoint, Device>,
    plan_devices: BTreeMap<(PlanId, Endpoint), PlanDevice>,
    counters: BTreeMap<PlanId, Vec<Counters>>,
    log: Vec<LogLine>,
    access: Access,
}

/// Who may call.
#[derive(Clone, Default)]
struct Access {
    accounts: BTreeMap<i64, Account>,
    memberships: BTreeMap<(i64, ProjectId), Membership>,
    sessions: BTreeMap<String, Session>,
    tokens: BTreeMap<i64, ApiToken>,
    invitations: BTreeMap<String, Invitation>,
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

/// Checks the revision and stores the next one.
macro_rules! put {
    ($scope:expr, $map:expr, $key:expr, $entity:expr, $project:expr) => {{
        let (key, project) = ($key, $project);
        let mut entity = $entity;
        $scope.need(project, Role::Operator)?;
        put!($map, key, entity);
    }};
    ($map:expr, $key:ident, $entity:ident) => {{
        let key = $key;
        let stored = $map.get(&key);
        if stored.map_or(0, |s| s.revision) != $entity.revision
            || stored.is_some_and(|s| s.account != $entity.account)
        {
            return Err(StoreError::Conflict);
        }
        $entity.revision += 1;
        $map.insert(key, $entity);
    }};
}

/// Refuses a name that another entity of the same place has.
macro_rules! unique {
    ($map:expr, $entity:expr, $place:ident, $field:ident) => {
        if $map.values().any(|other| {
            other.id != $entity.id
                && other.$place == $entity.$place
                && other.$field == $entity.$field
        }) {
            return Err(StoreError::Taken(stringify!($field)));
        }
    };
}

macro_rules! delete {
    ($scope:expr, $map:expr, $id:expr, $revision:expr) => {
        match $map.get(&$id) {
            Some(e) if $scope.need(e.project, Role::Operator).is_err() => {
                return Err(StoreError::Forbidden);
            }
            Some(e) if e.revision == $revision => drop($map.remove(&$id)),
            _ => return Err(StoreError::Conflict),
        }
    };
}

impl Tables {
    fn apply(&mut self, scope: &Scope, change: Change) -> Result<(), StoreError> {
        match change {
            Change::Project(mut e) => {
                unique!(self.projects, e, account, name);
                scope.need_project(&e)?;
                let id = e.id;
                put!(self.projects, id, e);
            }
            Change::Product(e) => {
                unique!(self.products, e, project, name);
                let taken = |o: &&Product| o.id != e.id && o.product_key == e.product_key;
                if self.products.values().find(taken).is_some() {
                    return Err(StoreError::Taken("product_key"));
                }
                put!(scope, self.products, e.id, e, e.project);
            }
            Change::Model(e) => {
                unique!(self.models, e, project, name);
                put!(scope, self.models, e.id, e, e.project);
            }
            Change::Package(e) => {
                unique!(self.packages, e, project, name);
                put!(scope, self.packages, e.id, e, e.project);
            }
            Change::Plan(e) => {
                unique!(self.plans, e, project, name);
                put!(scope, self.plans, e.id, e, e.project);
            }
            Change::Device(e) => {
                put!(scope, self.devices, e.endpoint.clone(), e, e.project);
            }
            Change::PlanDevice(e) => {
                let key = (e.plan, e.endpoint.clone());
                let from = self.plan_devices.get(&key).map(|old| old.state);
                let (plan, group, to) = (e.plan, e.group, e.state);
                if !self.plans.contains_key(&plan) {
                    return Err(StoreError::Conflict);
                }
                put!(scope, self.plan_devices, key, e, e.project);
                let groups = self.counters.entry(plan).or_default();
                Counters::of_group(groups, group).moved(from, to);
            }
            Change::Log(line) => {
                if !scope.everything() {
                    let device = self.devices.get(&line.endpoint);
                    let device = device.ok_or(StoreError::Forbidden)?;
                    scope.need(device.project, Role::Operator)?;
                }
                self.log.push(line);
            }
            Change::DeleteModel(id, revision) => delete!(scope, self.models, id, revision),
            Change::DeletePackage(id, revision) => delete!(scope, self.packages, id, revision),
            Change::DeletePlan(id, revision) => {
                delete!(scope, self.plans, id, revision);
                self.plan_devices.retain(|(plan, _), _| *plan != id);
                self.counters.remove(&id);
                self.log.retain(|line| line.plan != Some(id));
            }
            other => self.apply_access(scope, other)?,
        }
        Ok(())
    }
}

impl Tables {
    /// The changes of who may call.
    fn apply_access(&mut self, scope: &Scope, change: Change) -> Result<(), StoreError> {
        let projects = &self.projects;
        let owner = |project: ProjectId| {
            let own = |p: &Project| scope.makes_projects() && p.account == scope.account;
            match projects.get(&project).is_some_and(own) {
                true => Ok(()),
                false => scope.need(project, Role::Owner),
            }
        };
        let access = &mut self.access;
        match change {
            Change::Account(mut e) => {
                scope.need_everything()?;
                let taken = |o: &Account| o.id != e.id && o.name == e.name;
                if access.accounts.values().any(taken) {
                    return Err(StoreError::Taken("name"));
                }
                if access.accounts.get(&e.id).map_or(0, |s| s.revision) != e.revision {
                    return Err(StoreError::Conflict);
                }
                e.revision += 1;
                access.accounts.insert(e.id, e);
            }
            Change::Session(e) => {
                scope.need_everything()?;
                access.sessions.insert(e.digest.clone(), e);
            }
            Change::DeleteSession(digest) => {
                scope.need_everything()?;
                access.sessions.remove(&digest);
            }
            Change::DeleteInvitation(digest) => {
                scope.need_everything()?;
                let there = access.invitations.remove(&digest);
                there.ok_or(StoreError::Conflict)?;
            }
            Change::DropExpired(now) => {
                scope.need_everything()?;
                access.sessions.retain(|_, e| e.expires_at > now);
                access.tokens.retain(|_, e| e.expires_at > now);
                access.invitations.retain(|_, e| e.expires_at > now);
            }
            Change::Membership(e) => {
                owner(e.project)?;
                access.memberships.insert((e.account, e.project), e);
            }
            Change::DeleteMembership(account, project) => {
                if account != scope.account {
                    owner(project)?;
                }
                let there = access.memberships.remove(&(account, project));
                there.ok_or(StoreError::Conflict)?;
            }
            Change::Invitation(e) => {
                match e.project {
                    Some(project) => scope.need(project, Role::Owner)?,
                    None => scope.need_everything()?,
                }
                access.invitations.insert(e.digest.clone(), e);
            }
            Change::Token(e) => {
                if e.account != scope.account {
                    scope.need_everything()?;
                }
                let taken = |o: &ApiToken| o.account == e.account && o.name == e.name;
                if access.tokens.values().any(taken) {
                    return Err(StoreError::Taken("name"));
                }
                access.tokens.insert(e.id, e);
            }
            Change::DeleteToken(id) => {
                let token = access.tokens.get(&id).ok_or(StoreError::Conflict)?;
                if token.account != scope.account {
                    scope.need_everything()?;
                }
                access.tokens.remove(&id);
            }
            _ => {}
        }
        Ok(())
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
owned!(Device: project, PlanDevice: project);

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
            let mut next = tables.clone();
            let lines = kept.as_ref().map(Vec::len);
            next.log = kept.unwrap_or(next.log);
            let mut changes = changes.into_iter();
            if let Err(error) = changes.try_for_each(|change| next.apply(scope, change)) {
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
        let lines = tables.log.iter().rev();
        let mut last: Vec<LogLine> = lines
            .filter(|l| l.endpoint == *endpoint && (plan.is_none() || l.plan == plan))
            .take(limit)
            .cloned()
            .collect();
        last.reverse();
        Ok(last)
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
