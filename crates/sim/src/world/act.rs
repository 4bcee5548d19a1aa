//! What happens to a world: faults, power, a person.

use embedded_storage::nor_flash::ReadNorFlash as _;
use sota::message::Command;
use sota::platform::Readings;
use sota_center::domain::{Endpoint, PlanAction};

use super::{Later, World};
use crate::Micros;
use crate::fault::{Edge, Fault, Operator, Way, What, When};
use crate::flash::{CutMoment, SimFlash};
use crate::node::Node;
use crate::node::center::{OWNER, done};
use crate::setup::{self, COMPONENT, PRODUCT, Setup};
use crate::uart::LineFaults;

/// A machine that lost power by a flash operation or commit without a fault of the list naming the time gets it back
/// after this time.
const OFF: Micros = 2_000_000;

impl World {
    /// Hands the next cut at a flash operation or a commit to the node it is for.
    pub(crate) fn arm(&mut self) {
        let mut moments: Vec<(Node, u64, Edge)> = Vec::new();
        for fault in &self.counted {
            match fault.when {
                When::Flash(node, n, edge)
                    if moments.iter().all(|(m, k, _)| *m != node || n < *k) =>
                {
                    moments.retain(|(m, ..)| *m != node);
                    moments.push((node, n, edge));
                }
                When::Commit(n, edge) => self.center.cut_at(n, edge),
                _ => {}
            }
        }
        for (node, n, edge) in moments {
            let moment = match edge {
                Edge::Before => CutMoment::Before,
                Edge::Middle => CutMoment::Middle,
                Edge::After => CutMoment::After,
            };
            match node {
                Node::Center => {}
                Node::Module(i) => self.devices[i].module.power().set_cut_at(Some((n, moment))),
                Node::Mcu(i) => self.devices[i].mcu.power().set_cut_at(Some((n, moment))),
            }
        }
    }

    pub(super) fn faults_due(&mut self) {
        while self.timed.last().is_some_and(|(at, _)| *at <= self.now) {
            if let Some((_, fault)) = self.timed.pop() {
                self.happen(fault);
            }
        }
        loop {
            let due = self
                .later
                .iter()
                .enumerate()
                .filter(|(_, (at, ..))| *at <= self.now)
                .min_by_key(|(_, (at, sequence, _))| (*at, *sequence))
                .map(|(place, _)| place);
            let Some(place) = due else { return };
            let (_, _, what) = self.later.swap_remove(place);
            match what {
                Later::PowerOn(node) => self.power_on(node),
                Later::NetworkBack => {
                    self.tell("network", || "as it was".into());
                    self.net.set_default_profile(self.setup.network);
                }
                Later::LinkBack => {
                    self.tell("network", || "up".into());
                    self.link(true);
                }
                Later::UartQuiet => {
                    self.tell("uart", || "as it was".into());
                    let noise = self.setup.noise;
                    self.devices[0].to_mcu.set_faults(noise);
                    self.devices[0].to_module.set_faults(noise);
                }
                Later::Baud(node) => self.change_baud(node),
                Later::Activate(index) => self.activate(index),
            }
        }
    }

    fn activate(&mut self, index: usize) {
        let Some(plan) = self.plans.get(index).copied() else {
            return;
        };
        if !self.center.is_on() {
            return self.after(self.now + 1_000_000, Later::Activate(index));
        }
        self.tell("operator", || format!("activates plan {plan}"));
        let off = self
            .center
            .act(self.now, |service, now| setup::activate(service, plan, now));
        self.center_stepped(off);
        if off {
            // It looks whether its click counted, and clicks again.
            self.after(self.now + 10_000_000, Later::Activate(index));
        }
    }

    pub(super) fn happen(&mut self, fault: Fault) {
        self.tell("fault", || fault.to_string());
        self.lively = self.now;
        self.excuses.note(&fault);
        let until = fault.lasts_until(self.now);
        self.last_fault = self.last_fault.max(until);
        let device = &mut self.devices[0];
        match fault.what {
            What::Cut(node, off) => self.cut(node, off),
            What::FlipStaging { offset, bit } => {
                flip(&mut device.module.flash.staging, offset, bit)
            }
            What::FlipJournal { offset, bit } => {
                flip(&mut device.module.flash.journal, offset, bit)
            }
            What::FlipMcu { offset, bit } => device.mcu.flash().with(|f| flip(f, offset, bit)),
            What::StagingSectorDies(page) => {
                device.module.flash.staging.fail_erase(page);
                device.module.flash.staging.fail_write(page);
            }
            What::McuSectorDies(page) => device.mcu.flash().with(|f| {
                f.fail_erase(page);
                f.fail_write(page);
            }),
            What::Network(profile, _) => {
                self.net.set_default_profile(profile);
                self.after(until, Later::NetworkBack);
            }
            What::NetworkDown(_) => {
                self.link(false);
                self.after(until, Later::LinkBack);
            }
            What::Rebind => self.net.rebind_now(device.address),
            What::NewAddress => {
                let old = device.address;
                device.address.set_port(old.port() + 1);
                let new = device.address;
                self.net.change_device_address(old, new);
            }
            What::Uart(noise, _) => {
                self.noise(noise);
                self.after(until, Later::UartQuiet);
            }
            What::Silence(Way::ToMcu, _) => device.to_mcu.silence(until),
            What::Silence(Way::ToModule, _) => device.to_module.silence(until),
            What::Babble(way, count) => {
                let mut bytes = vec![0; count as usize];
                self.rng.fill(&mut bytes);
                match way {
                    Way::ToMcu => device.to_mcu.babble(self.now, &bytes),
                    Way::ToModule => device.to_module.babble(self.now, &bytes),
                }
            }
            What::CenterClock(ms) => self.center.clock_jumps(ms),
            What::ModuleClock(ms) => device.module.clock_jumps(ms),
            What::Readings(battery, rsrp) => {
                device.module.readings = Readings {
                    battery_percent: Some(battery),
                    rsrp_dbm: Some(rsrp),
                };
            }
            What::Operator(act) => self.operate(act),
        }
    }

    /// Both directions of device 0's link.
    fn link(&mut self, up: bool) {
        let (device, center) = (
            self.devices[0].address,
            super::CENTER.parse().expect("an address"),
        );
        for (from, to) in [(device, center), (center, device)] {
            match up {
                true => self.net.restore(from, to),
                false => self.net.cut(from, to),
            }
        }
    }

    fn noise(&mut self, noise: LineFaults) {
        self.devices[0].to_mcu.set_faults(noise);
        self.devices[0].to_module.set_faults(noise);
    }

    fn operate(&mut self, act: Operator) {
        let Some(plan) = self.plans.first().copied() else {
            return;
        };
        let action = match act {
            Operator::Suspend => PlanAction::Suspend,
            Operator::Resume => PlanAction::Resume,
            Operator::Terminate => PlanAction::Terminate,
            Operator::Cancel | Operator::Retry => {
                let off = self.center.act(self.now, |service, now| {
                    let key = Setup::device_key(0);
                    // A refusal is an answer: too late, or nothing to try again.
                    let _ = match act {
                        Operator::Cancel => done(service.cancel(&OWNER, plan, &key, now)).map(drop),
                        _ => done(service.retry(&OWNER, plan, &key, now)),
                    };
                });
                return self.center_stepped(off);
            }
            Operator::Disable | Operator::Enable => {
                let off = self.center.act(self.now, |service, now| {
                    let endpoint = Endpoint::new(PRODUCT, Setup::device_key(0));
                    // A refusal is an answer: the device has not come yet.
                    let _ = match act {
                        Operator::Disable => done(service.disable_device(&OWNER, &endpoint, now)),
                        _ => done(service.enable_device(&OWNER, &endpoint, now)),
                    };
                });
                return self.center_stepped(off);
            }
            Operator::Request | Operator::Refuse | Operator::Announce(_) => {
                let command = match act {
                    Operator::Request => Command::Request(1),
                    Operator::Announce(version) => Command::SetMcuVersion(
                        COMPONENT.try_into().unwrap_or_default(),
                        version.try_into().unwrap_or_default(),
                    ),
                    _ => Command::Action(0),
                };
                self.devices[0].module.command(self.now, command);
                return self.step_module(0);
            }
        };
        let off = self.center.act(self.now, |service, now| {
            let _ = done(service.plan_action(&OWNER, plan, action, now));
        });
        self.center_stepped(off);
    }

    /// Power of a node comes.
    pub(crate) fn power_on(&mut self, node: Node) {
        self.tell(&node.to_string(), || "power comes".into());
        self.lively = self.now;
        match node {
            Node::Center => {
                if !self.center.is_on() {
                    self.center.power_on(self.now);
                    self.check_acknowledged();
                }
            }
            Node::Module(i) => {
                if !self.devices[i].module.is_on() {
                    self.devices[i].module.power_on(self.now);
                    self.devices[i].book.starts();
                    self.devices[i].to_mcu.cut(self.now);
                    self.base_baud(node);
                    match self.devices[i].module.is_on() {
                        true => {
                            self.check_restart(i);
                            self.step_module(i);
                        }
                        false => self.went_off(node),
                    }
                }
            }
            Node::Mcu(i) => {
                if !self.devices[i].mcu.is_on() {
                    self.devices[i].mcu.power_on(self.now);
                    self.devices[i].to_module.cut(self.now);
                    self.devices[i].out.clear();
                    self.base_baud(node);
                    self.mcu_started(i);
                }
            }
        }
    }

    fn cut(&mut self, node: Node, off: Micros) {
        match node {
            Node::Center => self.center.power_off(),
            Node::Module(i) => {
                self.devices[i].module.power_off();
                self.devices[i].to_mcu.cut(self.now);
            }
            Node::Mcu(i) => {
                self.devices[i].mcu.power_off();
                self.devices[i].to_module.cut(self.now);
                self.devices[i].out.clear();
            }
        }
        self.after(self.now + off.max(1_000), Later::PowerOn(node));
    }

    /// A node's power went in one of its own operations.
    pub(crate) fn went_off(&mut self, node: Node) {
        let of_node = |fault: &Fault| match fault.when {
            When::Flash(n, ..) => n == node,
            When::Commit(..) => node == Node::Center,
            _ => false,
        };
        let number = |fault: &Fault| match fault.when {
            When::Flash(_, n, _) | When::Commit(n, _) => n,
            _ => u64::MAX,
        };
        let first = (0..self.counted.len())
            .filter(|place| of_node(&self.counted[*place]))
            .min_by_key(|place| number(&self.counted[*place]));
        let off = match first.map(|place| self.counted.remove(place)) {
            Some(fault) => {
                self.tell("fault", || fault.to_string());
                match fault.what {
                    What::Cut(_, off) => off,
                    _ => OFF,
                }
            }
            None => OFF,
        };
        self.cut(node, off);
        self.arm();
    }
}

/// A list of faults may be of a larger world than the one it is run in.
fn flip<const PAGE: usize, const WRITE: usize>(
    flash: &mut SimFlash<PAGE, WRITE>,
    offset: u32,
    bit: u8,
) {
    let size = flash.capacity() as u32;
    flash.bit_flip(offset % size, bit % 8);
}
