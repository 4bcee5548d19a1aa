//! What devices say, from the device endpoint.

use sha2::{Digest, Sha256};
use sota_errors::CenterError;
use sota_lwm2m::objects::plan::State;
use sota_mutants::{Mutant, active};

use super::offers::Occasion;
use super::{ATTEMPTS, Service, line, moved};
use crate::commands::DeviceCommand;
use crate::domain::{
    Device, DeviceFacts, DeviceState, Endpoint, Event, Outstanding, Plan, PlanAction, PlanDevice,
    Problem, Registration, Report, Retries, StepPlan, Time,
};
use crate::store::{Change, Scope};

/// A registration request (`POST /rd`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Register {
    /// From `ep=`.
    pub endpoint: Endpoint,
    /// Where it came from, `ip:port`.
    pub address: String,
    /// `lt=`, seconds; the standard's default is 86400.
    pub lifetime_s: u32,
    /// `b=`.
    pub binding: String,
    /// `lwm2m=`.
    pub lwm2m: String,
    /// The payload.
    pub objects: String,
}

/// A registration's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Second part of Location-Path `rd/<id>`.
    pub id: String,
    /// As it is stored.
    pub registration: Registration,
    /// The registration that this one replaced, if it was still alive and elsewhere: "endpoint moved".
    pub moved_from: Option<String>,
}

/// A registration update (`POST /rd/<id>`); absent = as before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrationUpdate {
    /// Where it came from now.
    pub address: Option<String>,
    /// `lt=`.
    pub lifetime_s: Option<u32>,
    /// `b=`.
    pub binding: Option<String>,
    /// The payload.
    pub objects: Option<String>,
}

impl Service {
    /// A device registers. Durable when the future is ready; what the device is owed is sent after it.
    pub async fn register(
        &self,
        scope: &Scope,
        request: &Register,
        now: Time,
    ) -> Result<Registered, Problem> {
        let key = &request.endpoint.product_key;
        let product = self.store.product_by_key(scope, key).await?;
        let product = product.ok_or_else(|| Problem::new(CenterError::UnknownProductKey, key))?;
        for _ in 0..ATTEMPTS {
            let known = self.store.device(scope, &request.endpoint).await?;
            let mut changes = Vec::new();
            let mut device = known
                .unwrap_or_else(|| Device::first_contact(&product, request.endpoint.clone(), now));
            device.check_enabled()?;
            if device.revision == 0 {
                let created = Event::device_created(device.project, &device.endpoint, now);
                changes.push(Change::Event(created));
            }
            let old = device.registration.take();
            let old_id = old.as_ref().map(|r| r.id.clone());
            let alive = old.filter(|r| self.expires(r) > now);
            let moved_from = alive.map(|r| r.address).filter(|a| *a != request.address);
            if let Some(from) = &moved_from {
                let error = CenterError::EndpointMoved;
                let text = format!("{error}: {from} -> {}", request.address);
                changes.push(line(
                    None,
                    &request.endpoint,
                    now,
                    Some(error.number()),
                    text,
                ));
            }
            let id = self.registration_id(&request.endpoint, device.revision, now);
            let expires_at = now.saturating_add(i64::from(request.lifetime_s) * 1000);
            let registration = Registration {
                id: id.clone(),
                address: request.address.clone(),
                lifetime_s: request.lifetime_s,
                binding: request.binding.clone(),
                lwm2m: request.lwm2m.clone(),
                objects: request.objects.clone(),
                registered_at: now,
                expires_at,
            };
            device.registration = Some(registration.clone());
            device.last_seen_at = now;
            changes.push(Change::Device(device.clone()));
            if self.try_commit(scope, changes).await? {
                if let Some(old_id) = old_id {
                    self.memory().expiry.remove(&old_id);
                }
                let mark = self.remember(&registration, &device.endpoint, expires_at);
                if !self.send_all_owed(scope, &device).await? {
                    self.quiet(&id, mark);
                }
                return Ok(Registered {
                    id,
                    registration,
                    moved_from,
                });
            }
        }
        Err(CenterError::Conflict.into())
    }

    fn registration_id(&self, endpoint: &Endpoint, revision: u64, now: Time) -> String {
        let mut hash = Sha256::new();
        hash.update(self.settings.secret);
        hash.update(endpoint.to_string());
        hash.update(revision.to_be_bytes());
        hash.update(now.to_be_bytes());
        hex::encode(hash.finalize()).chars().take(16).collect()
    }

    /// When this registration ends, updates not yet written included.
    pub(super) fn expires(&self, registration: &Registration) -> Time {
        let memory = self.memory();
        memory
            .expiry
            .get(&registration.id)
            .map_or(registration.expires_at, |e| e.expires_at)
    }

    /// Registered and not expired.
    pub fn online(&self, device: &Device, now: Time) -> bool {
        device
            .registration
            .as_ref()
            .is_some_and(|r| self.expires(r) > now)
    }

    /// A registration is updated; whose it is, and as it is now. Only what changed beyond the expiry is written now.
    pub async fn update(
        &self,
        scope: &Scope,
        id: &str,
        update: &RegistrationUpdate,
        now: Time,
    ) -> Result<(Endpoint, Registration), Problem> {
        for _ in 0..ATTEMPTS {
            let device = self.store.device_by_registration(scope, id).await?;
            let mut device = device.ok_or(CenterError::UnknownRegistration)?;
            let registration = device
                .registration
                .as_mut()
                .ok_or(CenterError::UnknownRegistration)?;
            if self.expires(registration) <= now {
                return Err(CenterError::UnknownRegistration.into());
            }
            let before = registration.clone();
            if let Some(address) = &update.address {
                registration.address.clone_from(address);
            }
            registration.lifetime_s = update.lifetime_s.unwrap_or(registration.lifetime_s);
            if let Some(binding) = &update.binding {
                registration.binding.clone_from(binding);
            }
            if let Some(objects) = &update.objects {
                registration.objects.clone_from(objects);
            }
            let changed = *registration != before;
            let lifetime_s = registration.lifetime_s;
            let expires_at = now.saturating_add(i64::from(lifetime_s) * 1000);
            registration.expires_at = expires_at;
            let registration = registration.clone();
            device.last_seen_at = now;
            if changed
                && !self
                    .try_commit(scope, vec![Change::Device(device.clone())])
                    .await?
            {
                continue;
            }
            let stored = if changed {
                expires_at
            } else {
                before.expires_at
            };
            let mark = self.remember(&registration, &device.endpoint, stored);
            if !self.send_all_owed(scope, &device).await? {
                self.quiet(id, mark);
            }
            return Ok((device.endpoint, registration));
        }
        Err(CenterError::Conflict.into())
    }

    /// A device de-registers; its endpoint.
    pub async fn deregister(
        &self,
        scope: &Scope,
        id: &str,
        now: Time,
    ) -> Result<Endpoint, Problem> {
        for _ in 0..ATTEMPTS {
            let device = self.store.device_by_registration(scope, id).await?;
            let mut device = device.ok_or(CenterError::UnknownRegistration)?;
            device.registration = None;
            device.last_seen_at = now;
            let endpoint = device.endpoint.clone();
            if self.try_commit(scope, vec![Change::Device(device)]).await? {
                self.memory().expiry.remove(id);
                return Ok(endpoint);
            }
        }
        Err(CenterError::Conflict.into())
    }

    /// A device told or was read its versions, battery, signal or space.
    pub async fn facts(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
        facts: &DeviceFacts,
        now: Time,
    ) -> Result<(), Problem> {
        let mut after = None;
        for attempt in 0.. {
            let device = self.store.device(scope, endpoint).await?;
            let mut device = device.ok_or(CenterError::NoSuchDevice)?;
            let mut changes = Vec::new();
            if device.learn(facts) {
                device.last_seen_at = now;
                changes.push(Change::Device(device.clone()));
            }
            for mut entry in self.store.plans_of_device(scope, endpoint).await? {
                let plan = self.plan_of(scope, &entry).await?;
                let steps = self.steps(scope, &plan).await?;
                let version = |i: usize| {
                    let step = steps.get(i)?;
                    device.version(&step.component, step.kind)
                };
                let deadlines = &self.settings.deadlines;
                let before = entry.state;
                let texts = entry.version_reported(version, &plan.retries(), deadlines, now);
                if !texts.is_empty() {
                    let said = |text| line(Some(plan.id), endpoint, now, None, text);
                    changes.extend(texts.into_iter().map(said));
                    changes.extend(began(&plan, &entry, now));
                    changes.extend(moved(before, &entry, now));
                    changes.push(Change::PlanDevice(entry.clone()));
                    after = Some(entry);
                }
            }
            if changes.is_empty() || self.try_commit(scope, changes).await? {
                break;
            }
            after = None;
            if attempt >= ATTEMPTS {
                return Err(CenterError::Conflict.into());
            }
        }
        match after {
            Some(entry) => self.follow(scope, &entry, now).await,
            None => Ok(()),
        }
    }

    async fn plan_of(&self, scope: &Scope, entry: &PlanDevice) -> Result<Plan, Problem> {
        Ok(self
            .store
            .plan(scope, entry.plan)
            .await?
            .ok_or(CenterError::NoSuchPlan)?)
    }

    /// A device asks for a plan. `Err` with a line of 1200..=1299 names the rule that gives it none; it is logged.
    pub async fn request(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
        sha256: bool,
        facts: &DeviceFacts,
        now: Time,
    ) -> Result<(), Problem> {
        self.facts(scope, endpoint, facts, now).await?;
        let result = self
            .consider(scope, endpoint, Occasion::Asked { sha256 }, now)
            .await;
        if let Err(rule) = &result {
            let text = format!("asked for a plan: {rule}");
            let log = line(None, endpoint, now, Some(rule.error.number()), text);
            self.try_commit(scope, vec![log]).await?;
        }
        result
    }

    /// A device reports a state of the offer of this name: of this component as it calls it, without one of the
    /// component whose turn it is. Durable when the future is ready; late, repeated and stale reports are harmless and
    /// `Ok`.
    #[allow(clippy::too_many_arguments)] // what one Send says
    pub async fn report(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
        offer: &str,
        component: Option<&str>,
        state: State,
        reason: Option<u16>,
        now: Time,
    ) -> Result<(), Problem> {
        let Some((plan, offer)) = PlanDevice::parse_offer_name(offer) else {
            tracing::info!(device = %endpoint, offer, "report of an unknown offer");
            return Ok(());
        };
        let report = Report {
            offer,
            state,
            reason,
        };
        for _ in 0..ATTEMPTS {
            let device = self.store.device(scope, endpoint).await?;
            let device = device.ok_or(CenterError::NoSuchDevice)?;
            let Some(mut entry) = self.store.plan_device(scope, plan, endpoint).await? else {
                return Ok(());
            };
            let plan = self.plan_of(scope, &entry).await?;
            let steps = self.steps(scope, &plan).await?;
            let Some(index) = reported_step(&entry, &steps, &device, component) else {
                tracing::info!(device = %endpoint, component, "report of a component that is not offered");
                return Ok(());
            };
            let step = steps.get(index);
            let version = step.and_then(|s| device.version(&s.component, s.kind));
            let retries = plan.retries();
            let deadlines = &self.settings.deadlines;
            let before = entry.state;
            let text = match entry.report(index, &report, version, &retries, deadlines, now) {
                Ok(text) => text,
                Err(harmless) => {
                    tracing::info!(device = %endpoint, "{harmless}");
                    return Ok(());
                }
            };
            if active(Mutant::ReportNotStored) {
                return Ok(());
            }
            let mut changes = vec![line(Some(plan.id), endpoint, now, reason, text)];
            changes.extend(began(&plan, &entry, now));
            changes.extend(moved(before, &entry, now));
            changes.push(Change::PlanDevice(entry.clone()));
            if self.try_commit(scope, changes).await? {
                let unsaid = entry.steps.get(index).is_some_and(|step| step.offered);
                if state == State::Success && unsaid && !device.disabled {
                    self.send(DeviceCommand::ReadVersions {
                        endpoint: endpoint.clone(),
                    });
                }
                return self.follow(scope, &entry, now).await;
            }
        }
        Err(CenterError::Conflict.into())
    }

    /// The device answered Cancel: done, or refused because it is too late.
    pub async fn cancel_answered(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
        offer: &str,
        accepted: bool,
        now: Time,
    ) -> Result<(), Problem> {
        self.answered(scope, endpoint, offer, now, |entry, number, _| {
            entry.cancel_answered(number, accepted, now)
        })
        .await
    }

    /// The device refused an offer or download information with this number of the catalogue.
    pub async fn refused(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
        offer: &str,
        number: u16,
        now: Time,
    ) -> Result<(), Problem> {
        self.answered(scope, endpoint, offer, now, |entry, offer, retries| {
            entry.refused(offer, number, retries, now)
        })
        .await
    }

    /// The device has another upgrade under way and takes no offer.
    pub async fn busy(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
        offer: &str,
        now: Time,
    ) -> Result<(), Problem> {
        self.answered(scope, endpoint, offer, now, |entry, offer, _| {
            entry.busy(offer, now)
        })
        .await
    }

    async fn answered(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
        offer: &str,
        now: Time,
        change: impl Fn(&mut PlanDevice, u32, &Retries) -> Option<String> + Send,
    ) -> Result<(), Problem> {
        let Some((plan, offer)) = PlanDevice::parse_offer_name(offer) else {
            return Ok(());
        };
        for _ in 0..ATTEMPTS {
            let Some(mut entry) = self.store.plan_device(scope, plan, endpoint).await? else {
                return Ok(());
            };
            let plan = self.plan_of(scope, &entry).await?;
            let before = entry.state;
            let Some(text) = change(&mut entry, offer, &plan.retries()) else {
                return Ok(());
            };
            let mut changes = vec![line(Some(plan.id), endpoint, now, None, text)];
            changes.extend(began(&plan, &entry, now));
            changes.extend(moved(before, &entry, now));
            changes.push(Change::PlanDevice(entry.clone()));
            if self.try_commit(scope, changes).await? {
                return self.follow(scope, &entry, now).await;
            }
        }
        Err(CenterError::Conflict.into())
    }

    /// After a change of a device in a plan: what it is owed, its next component, its retry.
    pub(super) async fn follow(
        &self,
        scope: &Scope,
        entry: &PlanDevice,
        now: Time,
    ) -> Result<(), Problem> {
        if entry.open {
            let device = self.store.device(scope, &entry.endpoint).await?;
            let device = device.ok_or(CenterError::NoSuchDevice)?;
            // its offers are on their way; one that was lost is sent again at the next contact
            let mut owed = entry.outstanding();
            owed.retain(|(_, what)| *what != Outstanding::Offer);
            return self.send_these(scope, &device, entry, owed).await;
        }
        let waits = entry.state == DeviceState::InUpgrade;
        let plan = self.plan_of(scope, entry).await?;
        if waits && plan.state.over() {
            // its component is done, the next one is outside the plan's time
            let entry = self
                .store
                .plan_device(scope, entry.plan, &entry.endpoint)
                .await?;
            if let Some(entry) = entry {
                self.stop_one(scope, entry, CenterError::PlanOver, now)
                    .await?;
            }
        } else if waits && entry.not_before > now {
            self.memory()
                .wake
                .insert((entry.not_before, entry.endpoint.clone()));
            return Ok(());
        }
        // the next component, or the device's next plan
        if let Err(rule) = self
            .consider(scope, &entry.endpoint, Occasion::Push, now)
            .await
        {
            tracing::info!(device = %entry.endpoint, "nothing more to offer: {rule}");
        }
        Ok(())
    }
}

/// The step that a report is about.
fn reported_step(
    entry: &PlanDevice,
    steps: &[StepPlan],
    device: &Device,
    component: Option<&str>,
) -> Option<usize> {
    let Some(component) = component else {
        return Some(entry.current);
    };
    // the device's own name of its firmware need not be the model's
    let called = |step: &StepPlan| {
        let reported = device.reported(&step.component, step.kind);
        let name = reported.map_or(&step.component, |r| &r.identifier);
        name == component
    };
    entry.offered().find(|i| steps.get(*i).is_some_and(called))
}

/// The plan's own change when its first device began.
fn began(plan: &Plan, entry: &PlanDevice, now: Time) -> Vec<Change> {
    if matches!(
        entry.state,
        DeviceState::NotUpgraded | DeviceState::NoUpdateRequired
    ) {
        return Vec::new();
    }
    let next = plan.after(PlanAction::DeviceBegan, true, now);
    let Some(state) = next.ok().filter(|next| *next != plan.state) else {
        return Vec::new();
    };
    let next = Plan {
        state,
        ..plan.clone()
    };
    let told = Change::Event(Event::plan_state(&next, now));
    vec![Change::Plan(next), told]
}
