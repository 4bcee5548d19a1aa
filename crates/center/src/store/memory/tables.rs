//! The maps of the deterministic store, and what a change does to them.

use std::collections::BTreeMap;

use crate::domain::{
    Account, ApiToken, AuditEntry, Counters, Delivery, Device, Endpoint, FilterId, Invitation,
    KEPT_FOR, KEPT_LIMIT, LogLine, Membership, Model, ModelId, Package, PackageId, PasswordReset,
    Plan, PlanDevice, PlanId, Product, ProductId, Project, ProjectId, Role, Sample, SavedFilter,
    Session, Time, WAITING_LIMIT, Webhook, WebhookId, sample_slot,
};
use crate::store::{Change, Scope, StoreError};

#[derive(Clone, Default)]
pub(super) struct Tables {
    pub(super) last_id: i64,
    pub(super) projects: BTreeMap<ProjectId, Project>,
    pub(super) products: BTreeMap<ProductId, Product>,
    pub(super) models: BTreeMap<ModelId, Model>,
    pub(super) packages: BTreeMap<PackageId, Package>,
    pub(super) plans: BTreeMap<PlanId, Plan>,
    pub(super) devices: BTreeMap<Endpoint, Device>,
    pub(super) plan_devices: BTreeMap<(PlanId, Endpoint), PlanDevice>,
    pub(super) counters: BTreeMap<PlanId, Vec<Counters>>,
    /// With their numbers.
    pub(super) log: Vec<(i64, LogLine)>,
    pub(super) audit: Vec<AuditEntry>,
    pub(super) samples: BTreeMap<(PlanId, Time), Sample>,
    pub(super) filters: BTreeMap<FilterId, SavedFilter>,
    pub(super) webhooks: BTreeMap<WebhookId, Webhook>,
    /// By their numbers, which are never given again.
    pub(super) deliveries: BTreeMap<i64, Delivery>,
    pub(super) last_delivery: i64,
    pub(super) access: Access,
}

/// Who may call.
#[derive(Clone, Default)]
pub(super) struct Access {
    pub(super) accounts: BTreeMap<i64, Account>,
    pub(super) memberships: BTreeMap<(i64, ProjectId), Membership>,
    pub(super) sessions: BTreeMap<String, Session>,
    pub(super) tokens: BTreeMap<i64, ApiToken>,
    pub(super) invitations: BTreeMap<String, Invitation>,
    /// By account.
    pub(super) resets: BTreeMap<i64, PasswordReset>,
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
    pub(super) fn apply(&mut self, scope: &Scope, change: Change) -> Result<(), StoreError> {
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
                let number = self.log.last().map_or(0, |(last, _)| *last) + 1;
                self.log.push((number, line));
            }
            Change::Sample(e, interval, start) => {
                scope.need_everything()?;
                let mut slots = std::collections::BTreeSet::new();
                self.samples.retain(|(plan, at), _| {
                    *plan != e.plan || slots.insert(sample_slot(start, *at, interval))
                });
                self.samples.entry((e.plan, e.at)).or_insert(e);
            }
            Change::Filter(e) => {
                unique!(self.filters, e, project, name);
                put!(scope, self.filters, e.id, e, e.project);
            }
            Change::DeleteFilter(id, revision) => delete!(scope, self.filters, id, revision),
            Change::Webhook(e) => {
                scope.need(e.project, Role::Owner)?;
                unique!(self.webhooks, e, project, name);
                put!(scope, self.webhooks, e.id, e, e.project);
            }
            Change::DeleteWebhook(id, revision) => {
                let there = self.webhooks.get(&id).ok_or(StoreError::Conflict)?;
                scope.need(there.project, Role::Owner)?;
                delete!(scope, self.webhooks, id, revision);
                self.deliveries.retain(|_, e| e.webhook != id);
            }
            Change::Event(e) => {
                scope.need(e.project, Role::Operator)?;
                let told = self.webhooks.values().filter(|w| w.wants(&e));
                let new: Vec<_> = told.map(|w| Delivery::new(w, e.clone())).collect();
                new.into_iter().for_each(|e| self.deliver(e));
            }
            Change::Delivery(e) => {
                scope.need(e.project, Role::Owner)?;
                match (e.id, self.deliveries.get_mut(&e.id)) {
                    (0, _) => self.deliver(e),
                    (_, Some(stored)) if stored.webhook == e.webhook => *stored = e,
                    _ => return Err(StoreError::Conflict),
                }
            }
            Change::TrimDeliveries(now) => {
                scope.need_everything()?;
                self.trim(now);
            }
            Change::DeleteModel(id, revision) => delete!(scope, self.models, id, revision),
            Change::DeletePackage(id, revision) => delete!(scope, self.packages, id, revision),
            Change::DeletePlan(id, revision) => {
                delete!(scope, self.plans, id, revision);
                self.plan_devices.retain(|(plan, _), _| *plan != id);
                self.counters.remove(&id);
                self.samples.retain(|(plan, _), _| *plan != id);
                self.log.retain(|(_, line)| line.plan != Some(id));
            }
            other => self.apply_access(scope, other)?,
        }
        Ok(())
    }
}

impl Tables {
    fn deliver(&mut self, e: Delivery) {
        self.last_delivery += 1;
        let id = self.last_delivery;
        self.deliveries.insert(id, Delivery { id, ..e });
    }

    pub(super) fn trim(&mut self, now: Time) {
        let old = now.saturating_sub(KEPT_FOR);
        self.deliveries
            .retain(|_, e| e.waits() || e.event.at >= old);
        for webhook in self.webhooks.keys() {
            let (mut over, mut waiting) = (0, 0);
            let mut gone = Vec::new();
            let own = self.deliveries.values_mut().rev();
            for e in own.filter(|e| e.webhook == *webhook) {
                if e.waits() {
                    waiting += 1;
                    if waiting > WAITING_LIMIT {
                        e.overflow();
                    }
                } else {
                    over += 1;
                    if over > KEPT_LIMIT {
                        gone.push(e.id);
                    }
                }
            }
            for id in gone {
                self.deliveries.remove(&id);
            }
        }
    }

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
            Change::DeleteSessions(account, except) => {
                scope.need_everything()?;
                let stays =
                    |e: &Session| e.account != account || except.as_ref() == Some(&e.digest);
                access.sessions.retain(|_, e| stays(e));
            }
            Change::DeleteAccount(id, revision) => {
                scope.need_everything()?;
                let stored = access.accounts.get(&id).map(|a| a.revision);
                if stored != Some(revision) {
                    return Err(StoreError::Conflict);
                }
                access.accounts.remove(&id);
                access.memberships.retain(|(account, _), _| *account != id);
                access.sessions.retain(|_, e| e.account != id);
                access.tokens.retain(|_, e| e.account != id);
                access.resets.remove(&id);
            }
            Change::PasswordReset(e) => {
                scope.need_everything()?;
                access.resets.insert(e.account, e);
            }
            Change::DeletePasswordReset(digest) => {
                scope.need_everything()?;
                let found = access.resets.values().find(|e| e.digest == digest);
                let account = found.ok_or(StoreError::Conflict)?.account;
                access.resets.remove(&account);
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
                access.resets.retain(|_, e| e.expires_at > now);
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
            Change::Audit(mut e) => {
                match (e.project, e.account) {
                    // also who made the project just now
                    (Some(project), _) if scope.need(project, Role::Operator).is_err() => {
                        owner(project)?;
                    }
                    (Some(_), _) => {}
                    (None, Some(account)) => scope.need_own(account)?,
                    (None, None) => scope.need_everything()?,
                }
                e.id = self.audit.last().map_or(0, |last| last.id) + 1;
                self.audit.push(e);
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
