//! What happens because time passes.

use sota_errors::CenterError;

use super::offers::Occasion;
use super::{ATTEMPTS, BATCH, Service, audit_plan, line, moved};
use crate::domain::{
    Action, DeviceState, Endpoint, Event, Plan, PlanAction, PlanDevice, Problem, Retries,
    SAMPLE_INTERVAL, Sample, Time, sample_due, sample_interval,
};
use crate::store::{Change, Page, Scope};

impl Service {
    /// To be called about once a second: ends plans, counts deadlines, opens groups, begins what is due, pushes to
    /// the connected devices, and writes expiries.
    pub async fn tick(&self, scope: &Scope, now: Time) -> Result<(), Problem> {
        self.end_plans(scope, now).await?;
        self.count_deadlines(scope, now).await?;
        self.advance_rollouts(scope, now).await?;
        self.wake_due(scope, now).await?;
        self.fill_places(scope, now).await?;
        self.fill_cells(scope, now).await?;
        self.take_samples(scope, now).await?;
        let first;
        let (push, flush) = {
            let mut memory = self.memory();
            // one that lies too far ahead was set before the clock was put back
            let due = |next: Time, interval| next <= now || next > now.saturating_add(interval);
            let due = (
                due(memory.next_push, self.settings.push_interval),
                due(memory.next_flush, self.settings.flush_interval),
            );
            first = memory.next_push == 0;
            if due.0 {
                memory.next_push = now.saturating_add(self.settings.push_interval);
            }
            if due.1 {
                memory.next_flush = now.saturating_add(self.settings.flush_interval);
            }
            due
        };
        if push {
            let mut keys: Vec<String> = Vec::new();
            for plan in self.store.running_plans(scope, None).await? {
                keys.push(plan.product_key);
            }
            keys.sort();
            keys.dedup();
            for key in keys {
                // the process before this one may have died while it enrolled devices
                self.push(scope, &key, first, now).await?;
            }
        }
        self.go_on(scope, now).await?;
        if flush {
            self.flush(scope, now).await?;
        }
        Ok(())
    }

    async fn end_plans(&self, scope: &Scope, now: Time) -> Result<(), Problem> {
        let running = self.store.running_plans(scope, None).await?;
        for plan in running.into_iter().filter(|p| p.due_to_end(now)) {
            let state = plan.after(PlanAction::End, false, now)?;
            let ended = Plan { state, ..plan };
            let id = ended.id;
            let done = audit_plan(scope, &ended, now, Action::PlanEnded, "");
            let told = Change::Event(Event::plan_state(&ended, now));
            let changes = vec![Change::Plan(ended), done, told];
            // another process may have been quicker
            if self.try_commit(scope, changes).await? {
                self.stop_waiting(scope, id, CenterError::PlanOver, now)
                    .await?;
            }
        }
        Ok(())
    }

    /// Looks once a minute at each running plan's counters and keeps what changed.
    async fn take_samples(&self, scope: &Scope, now: Time) -> Result<(), Problem> {
        {
            let mut memory = self.memory();
            let next = memory.next_samples;
            // one that lies too far ahead was set before the clock was put back
            if next > now && next <= now.saturating_add(SAMPLE_INTERVAL) {
                return Ok(());
            }
            memory.next_samples = now.saturating_add(SAMPLE_INTERVAL);
        }
        for plan in self.store.running_plans(scope, None).await? {
            self.take_sample(scope, &plan, now).await?;
        }
        Ok(())
    }

    /// Keeps a plan's counters as they are now, if that is due.
    pub(super) async fn take_sample(
        &self,
        scope: &Scope,
        plan: &Plan,
        now: Time,
    ) -> Result<(), Problem> {
        let start = plan.activated_at.unwrap_or(plan.created_at);
        let counters = self.store.counters(scope, plan.id).await?;
        let samples = self.store.samples(scope, plan.id).await?;
        if !sample_due(start, samples.last(), &counters, now) {
            return Ok(());
        }
        let sample = Sample {
            plan: plan.id,
            at: now,
            counters,
        };
        let interval = sample_interval(now.saturating_sub(start));
        let change = Change::Sample(sample, interval, start);
        Ok(self.store.commit(&Scope::OWNER, vec![change]).await?)
    }

    /// Devices of the plan that are between two tries fail, those that have not begun only when it was terminated;
    /// running ones go on.
    pub(super) async fn stop_waiting(
        &self,
        scope: &Scope,
        plan: crate::domain::PlanId,
        error: CenterError,
        now: Time,
    ) -> Result<(), Problem> {
        let mut page = Page {
            limit: BATCH,
            ..Page::default()
        };
        loop {
            let devices = self.store.plan_devices(scope, plan, &page).await?;
            let Some(last) = devices.last() else {
                return Ok(());
            };
            page.after = Some(last.endpoint.device_key.clone());
            for entry in devices {
                self.stop_one(scope, entry, error, now).await?;
            }
        }
    }

    pub(super) async fn stop_one(
        &self,
        scope: &Scope,
        mut entry: PlanDevice,
        error: CenterError,
        now: Time,
    ) -> Result<(), Problem> {
        for _ in 0..ATTEMPTS {
            let before = entry.state;
            let begun = before == DeviceState::InUpgrade;
            if !(begun || error == CenterError::PlanTerminated) || !entry.stop(error, now) {
                return Ok(());
            }
            let log = line(
                Some(entry.plan),
                &entry.endpoint,
                now,
                Some(error.number()),
                error.meaning(),
            );
            let mut changes = vec![Change::PlanDevice(entry.clone()), log];
            changes.extend(moved(before, &entry, now));
            if self.try_commit(scope, changes).await? {
                return Ok(());
            }
            match self
                .store
                .plan_device(scope, entry.plan, &entry.endpoint)
                .await?
            {
                Some(newer) => entry = newer,
                None => return Ok(()),
            }
        }
        Err(CenterError::Conflict.into())
    }

    async fn count_deadlines(&self, scope: &Scope, now: Time) -> Result<(), Problem> {
        loop {
            let past = self.store.past_deadline(scope, now, BATCH).await?;
            let mut progress = false;
            for mut entry in past {
                let plan = self.store.plan(scope, entry.plan).await?;
                let retries = plan.as_ref().map_or_else(Retries::none, Plan::retries);
                let before = entry.state;
                let Some(text) = entry.deadline_passed(&retries, now) else {
                    continue;
                };
                // withdrawn, and nothing is offered any more
                let waits = !entry.open && entry.state == DeviceState::InUpgrade;
                if waits && plan.as_ref().is_some_and(|p| p.state.over()) {
                    entry.stop(CenterError::PlanOver, now);
                }
                let error = CenterError::DeadlinePassed.number();
                let log = line(Some(entry.plan), &entry.endpoint, now, Some(error), text);
                // a conflict means that the device has moved on: then there is nothing to count
                let mut counted = vec![Change::PlanDevice(entry.clone()), log];
                counted.extend(moved(before, &entry, now));
                let done = self.try_commit(scope, counted).await?;
                progress |= done;
                if done && entry.not_before > now {
                    self.memory()
                        .wake
                        .insert((entry.not_before, entry.endpoint.clone()));
                }
            }
            if !progress {
                return Ok(());
            }
        }
    }

    async fn wake_due(&self, scope: &Scope, now: Time) -> Result<(), Problem> {
        loop {
            let due: Option<Endpoint> = {
                let mut memory = self.memory();
                match memory.wake.first() {
                    Some((at, _)) if *at <= now => memory.wake.pop_first().map(|(_, e)| e),
                    _ => None,
                }
            };
            let Some(endpoint) = due else { return Ok(()) };
            if let Err(rule) = self.consider(scope, &endpoint, Occasion::Push, now).await {
                tracing::info!(device = %endpoint, "not offered again: {rule}");
            }
        }
    }

    /// Writes expiries that updates moved, of those whose stored one is more than half over, a few per transaction. Also
    /// called when the Center stops.
    pub async fn flush(&self, scope: &Scope, now: Time) -> Result<(), Problem> {
        let moved: Vec<(String, Endpoint, Time)> = {
            let memory = self.memory();
            let moved = memory.expiry.iter().filter(|(_, e)| e.is_stale(now));
            moved
                .map(|(id, e)| (id.clone(), e.endpoint.clone(), e.expires_at))
                .collect()
        };
        for batch in moved.chunks(BATCH) {
            let mut changes = Vec::new();
            for (id, endpoint, at) in batch {
                let device = self.store.device(scope, endpoint).await?;
                let Some(mut device) = device else { continue };
                if let Some(registration) = device.registration.as_mut().filter(|r| r.id == *id) {
                    registration.expires_at = *at;
                    changes.push(Change::Device(device));
                }
            }
            // a conflict leaves them for the next flush
            if changes.is_empty() || self.try_commit(scope, changes).await? {
                let mut memory = self.memory();
                for (id, _, at) in batch {
                    if let Some(expiry) = memory.expiry.get_mut(id) {
                        expiry.stored = *at;
                    }
                }
            }
        }
        Ok(())
    }
}
