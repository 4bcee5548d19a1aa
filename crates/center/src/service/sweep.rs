//! All devices of a product, a page at a time: enrolled in its plans, offered what they may have.
//!
//! A page is read with a few queries whatever its size, judged in memory and written in one commit. The first page is
//! done by the one who begins the pass, the others by [`Service::go_on`], so that neither a person nor the clock waits
//! for 100,000 devices. What a process that dies leaves undone, the first push after the start does.

use super::Service;
use super::offers::{Later, Occasion, Running};
use crate::domain::{Counters, Device, PlanDevice, Problem, Time};
use crate::store::{Change, Page, Scope};

/// Devices of a page. Its commit holds up what devices say meanwhile, so it is short.
pub(super) const PAGE: usize = 50;

/// A pass over the devices of a product.
#[derive(Clone, Debug)]
pub(super) struct Sweep {
    product_key: String,
    /// Enrols the known devices that a plan includes.
    enrol: bool,
    after: Option<String>,
}

impl Service {
    /// Offers to every connected device of the product what it may have. `enrol`: known devices that a plan includes are
    /// in it from now on. An older pass over the product ends: this one does what it had to do.
    pub(super) async fn push(
        &self,
        scope: &Scope,
        product_key: &str,
        enrol: bool,
        now: Time,
    ) -> Result<(), Problem> {
        let sweep = Sweep {
            product_key: product_key.into(),
            enrol,
            after: None,
        };
        self.page_or_later(scope, sweep, now).await
    }

    /// Goes on with a pass over a product's devices, if there is one, by a page; whether more is to be done. To be
    /// called again and again.
    pub async fn go_on(&self, scope: &Scope, now: Time) -> Result<bool, Problem> {
        let sweep = self.memory().sweeps.pop_front();
        if let Some(sweep) = sweep {
            self.page_or_later(scope, sweep, now).await?;
        }
        Ok(!self.memory().sweeps.is_empty())
    }

    /// A page; one that failed is done again by the next [`Service::go_on`].
    async fn page_or_later(&self, scope: &Scope, sweep: Sweep, now: Time) -> Result<(), Problem> {
        let again = sweep.clone();
        let done = self.page(scope, sweep, now).await;
        if done.is_err() {
            self.put_sweep(again);
        }
        done
    }

    /// The pass goes on later. One over the same product that was begun meanwhile is nearer to its beginning and meets the
    /// same devices.
    fn put_sweep(&self, mut sweep: Sweep) {
        let mut memory = self.memory();
        let same = |other: &Sweep| other.product_key == sweep.product_key;
        let other = memory.sweeps.iter().position(same);
        match other.and_then(|i| memory.sweeps.get_mut(i)) {
            Some(other) if other.after < sweep.after => other.enrol |= sweep.enrol,
            Some(other) => {
                sweep.enrol |= other.enrol;
                *other = sweep;
            }
            None => memory.sweeps.push_back(sweep),
        }
    }

    async fn page(&self, scope: &Scope, mut sweep: Sweep, now: Time) -> Result<(), Problem> {
        let key = sweep.product_key.clone();
        let page = Page {
            after: sweep.after.clone(),
            limit: PAGE,
            state: None,
        };
        let devices = self.store.devices(scope, &key, &page).await?;
        let Some(last) = devices.last() else {
            return Ok(());
        };
        let through = last.endpoint.device_key.clone();
        let more = devices.len() == PAGE;
        let mut running = self.running(scope, &key).await?;
        if running.is_empty() {
            return Ok(());
        }
        let after = page.after.as_deref();
        let entries = self
            .store
            .plans_of_devices(scope, &key, after, &through)
            .await?;
        let mut entries = entries.into_iter().peekable();
        let with_entries: Vec<_> = devices
            .into_iter()
            .map(|device| {
                let mut own = Vec::new();
                while let Some(e) = entries.next_if(|e| e.endpoint <= device.endpoint) {
                    own.push(e);
                }
                (device, own)
            })
            .collect();
        self.reach(scope, &mut running, &with_entries, sweep.enrol, now)
            .await?;
        sweep.after = Some(through);
        if more {
            self.put_sweep(sweep);
        }
        Ok(())
    }

    /// Devices with all their plans: each that is connected and may have a plan is offered it, in one commit. Counts the
    /// offers in `running`.
    pub(super) async fn reach(
        &self,
        scope: &Scope,
        running: &mut [Running],
        devices: &[(Device, Vec<PlanDevice>)],
        enrol: bool,
        now: Time,
    ) -> Result<(), Problem> {
        let cells = devices.iter().filter_map(|(device, _)| device.cell_id);
        self.count_cells(scope, running, cells.collect()).await?;
        let mut changes = Vec::new();
        let mut offers: Vec<(usize, &Device, PlanDevice)> = Vec::new();
        let mut later: Vec<Later> = Vec::new();
        for (device, entries) in devices {
            let mut own = Vec::new();
            let online = self.online(device, now);
            let connected = !device.disabled && online;
            let open = entries.iter().find(|e| e.open);
            if let Some(open) = open.filter(|_| connected) {
                self.send_again(scope, running, device, open).await?;
            } else if connected {
                let judged = self.judge(running, device, entries, Occasion::Push, now)?;
                own = judged.changes;
                later.extend(judged.later);
                if let Some((index, mut entry)) = judged.offer {
                    running[index].offered += 1;
                    running.iter_mut().for_each(|one| one.load(device));
                    entry.revision += 1;
                    offers.push((index, device, entry));
                }
            }
            if enrol {
                enrol_in_all(running, device, entries, (online, now), &mut own);
            }
            for change in &own {
                if let Change::PlanDevice(entry) = change
                    && entry.revision == 0
                    && let Some(plan) = running.iter_mut().find(|r| r.plan.id == entry.plan)
                {
                    // a group of the first so many is filled as the devices come
                    Counters::of_group(&mut plan.counters, entry.group).moved(None, entry.state);
                }
            }
            changes.extend(own);
        }
        if changes.is_empty() || self.try_commit(scope, changes).await? {
            self.look_again(later);
            for (index, device, entry) in offers {
                let Running { plan, steps, .. } = &running[index];
                self.send_known(plan, steps, device, &entry, entry.outstanding())?;
            }
            return Ok(());
        }
        // one of them was changed meanwhile: each by itself
        for (device, entries) in devices {
            let mut own = Vec::new();
            let online = self.online(device, now);
            if enrol {
                enrol_in_all(running, device, entries, (online, now), &mut own);
            }
            for change in own {
                // a conflict: it is enrolled
                self.try_commit(scope, vec![change]).await?;
            }
            if online {
                let reached = self.consider(scope, &device.endpoint, Occasion::Push, now);
                if let Err(rule) = reached.await {
                    tracing::debug!(device = %device.endpoint, "not offered: {rule}");
                }
            }
        }
        Ok(())
    }

    async fn send_again(
        &self,
        scope: &Scope,
        running: &[Running],
        device: &Device,
        open: &PlanDevice,
    ) -> Result<(), Problem> {
        let owed = open.outstanding();
        match running.iter().find(|r| r.plan.id == open.plan) {
            Some(one) => self.send_known(&one.plan, &one.steps, device, open, owed),
            None => self.send_these(scope, device, open, owed).await,
        }
    }
}

/// Puts the device into every active plan that includes it and that neither has it nor takes it with these changes.
fn enrol_in_all(
    running: &[Running],
    device: &Device,
    entries: &[PlanDevice],
    (online, now): (bool, Time),
    changes: &mut Vec<Change>,
) {
    for one in running.iter().filter(|r| r.plan.state.active()) {
        let plan = &one.plan;
        let taken = |c: &Change| matches!(c, Change::PlanDevice(e) if e.plan == plan.id);
        let there = entries.iter().any(|e| e.plan == plan.id) || changes.iter().any(taken);
        if !there && one.includes(device, online, now) {
            let entry = PlanDevice::enrol(plan, &one.steps, device, &one.counters);
            changes.push(Change::PlanDevice(entry));
        }
    }
}
