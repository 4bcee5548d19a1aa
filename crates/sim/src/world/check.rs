//! Where the rules are looked at.

use sota::message::{Event, State};
use sota_center::commands::DeviceCommand;
use sota_center::device::border::{Call, Reply};
use sota_center::domain::{DeviceState, Endpoint, PlanDevice};
use sota_center::store::Store as _;
use sota_host::mcu::McuEvent;

use super::{Later, QUIET, World};
use crate::fault::clock;
use crate::node::Node;
use crate::node::center::{OWNER, done};
use crate::node::module::Seen;
use crate::rules::{self, Rule, broken};
use crate::setup::{PRODUCT, Setup, VERSIONS};

impl World {
    /// Looks at what a module did in a step; `off`: its power went in it.
    pub(super) fn look_at_module(&mut self, index: usize, off: bool) {
        let excused = self.excuses.forgets(index) || self.setup.strict;
        let who = Node::Module(index).to_string();
        for seen in std::mem::take(&mut self.devices[index].module.seen) {
            match seen {
                Seen::Datagram(to, bytes, durable) => {
                    if off {
                        // The radio was not keyed any more.
                        continue;
                    }
                    let rewound = self.devices[index].book.rewound;
                    let verdict =
                        self.devices[index]
                            .book
                            .datagram(&bytes, durable, excused || rewound);
                    self.rule(verdict);
                    let from = self.devices[index].address;
                    self.send(from, to, &bytes);
                }
                Seen::Event(event, staged) => {
                    self.tell(&who, || format!("event {event:?}"));
                    let verdict = self.devices[index].book.event(&event);
                    // A journal that lost its newest record goes on from the one before.
                    if !self.excuses.forgets(index) {
                        self.rule(verdict);
                    }
                    self.check_downloaded(index, &event, staged);
                    self.lively = self.now;
                }
                Seen::Report(instance, state, reason) => {
                    self.tell(&who, || {
                        format!("reports {state:?} of instance {instance} {reason:?}")
                    });
                    let verdict = self.devices[index].book.report(state);
                    if !self.excuses.forgets(index) {
                        self.rule(verdict);
                    }
                    self.excuses.heard(index, state);
                    if let Some(reason) = reason
                        && !self.excuses.module_finds_damage(index)
                    {
                        self.rule(rules::sound(reason.number()));
                    }
                }
                Seen::Fetch(from, to) => {
                    self.tell(&who, || format!("fetches {from}..{to}"));
                }
                Seen::State(state) => {
                    self.tell(&who, || format!("state {state:?}"));
                    if state == State::PlanReceived {
                        self.devices[index].book.plan();
                    }
                }
                Seen::Command(command, reply) => {
                    self.tell(&who, || format!("{command:?} -> {reply:?}"));
                    if matches!(command, sota::message::Command::Rewind(_)) {
                        self.devices[index].book.rewound = true;
                    }
                }
                Seen::Up => {
                    self.tell(&who, || "link up".into());
                    self.devices[index].book.link_up();
                }
            }
        }
        let device = &mut self.devices[index];
        let mail = device.module.mail;
        if !off && mail.sent != mail.taken + mail.lost + device.module.inside() {
            let seen = format!("{mail:?}, {} inside", device.module.inside());
            self.rule(broken(Rule::Mail, seen));
        }
        let device = &mut self.devices[index];
        if device.module.spins {
            self.rule(broken(
                Rule::Rest,
                "the module's machines do not come to rest",
            ));
        }
        let device = &mut self.devices[index];
        if let Some(engine) = device.module.engine().filter(|_| !off) {
            let durable = engine.progress().0;
            if device
                .book
                .durable
                .as_ref()
                .is_none_or(|(_, bytes)| *bytes != durable)
            {
                device.book.durable = Some((engine.view().plan.to_string(), durable));
            }
        }
        let violation = [&device.module.flash.staging, &device.module.flash.journal]
            .into_iter()
            .find_map(|f| f.violation());
        if let Some(seen) = violation {
            let seen = format!("module: {seen}");
            self.rule(broken(Rule::Flash, seen));
        }
    }

    /// What is announced is what the package has there, as far as the flash is sound.
    fn check_downloaded(&mut self, index: usize, event: &Event, staged: Option<Vec<u8>>) {
        let (Event::Downloaded(Some(piece)), Some(staged)) = (event, staged) else {
            return;
        };
        let range = piece.start as usize..(piece.start + piece.piece_length) as usize;
        let of = |file: &crate::node::center::File| file.bytes.get(range.clone()) == Some(&staged);
        if !self.files.iter().any(of) && !self.excuses.staging_rots(index) {
            let seen = format!("staging does not hold {}..{}", range.start, range.end);
            self.rule(broken(Rule::Downloaded, seen));
        }
    }

    /// Looks at what an MCU did in a step.
    pub(super) fn look_at_mcu(&mut self, index: usize) {
        while let Some(event) = self.devices[index].mcu.next_event() {
            self.tell(&Node::Mcu(index).to_string(), || format!("{event:?}"));
            if matches!(event, McuEvent::Rewind(_)) {
                // Also when the module's power goes in the step that takes it.
                self.devices[index].book.rewound = true;
            }
            // An idle MCU says its version now and then.
            if !matches!(event, McuEvent::Announced(_)) {
                self.lively = self.now;
            }
            if matches!(event, McuEvent::Booted(_)) {
                self.check_boot(index);
            }
            // The UART has no check of its own for what is read: there the digests are for.
            if let McuEvent::Error(error) = event
                && !self.excuses.mcu_finds_damage(index)
            {
                self.rule(rules::sound(error.number()));
            }
        }
        let data = self.devices[index].mcu.take_data();
        if data > 0 {
            let package = self.setup.package;
            let verdict = self.devices[index].book.data(data, package);
            if !self.excuses.sends_again(index) {
                self.rule(verdict);
            }
        }
        let operations = self.devices[index].mcu.power().operations();
        if self.look_always && operations != self.looked {
            self.looked = operations;
            self.check_boot(index);
        }
        let violation = self.devices[index]
            .mcu
            .flash()
            .with(|f| f.violation().map(str::to_owned));
        if let Some(seen) = violation {
            self.rule(broken(Rule::Flash, format!("MCU: {seen}")));
        }
    }

    pub(super) fn check_boot(&mut self, index: usize) {
        let would = self.devices[index].mcu.would_boot();
        let none = would.is_none();
        let images: Vec<(&str, &[u8])> = (self.images.iter())
            .map(|(version, bytes)| (*version, &bytes[..]))
            .collect();
        let verdict = rules::boots(would, &images, self.excuses.name_garbled(index));
        let cannot_swap = none && self.excuses.cannot_swap(index);
        if !self.excuses.image_rots(index) && !cannot_swap {
            self.rule(verdict);
        }
    }

    pub(super) fn check_restart(&mut self, index: usize) {
        let device = &mut self.devices[index];
        // Power went in the step that took the MCU's rewind.
        let rewound = std::mem::take(&mut device.book.rewound);
        let excused = self.excuses.forgets(index) || self.setup.strict || rewound;
        let Some(engine) = device.module.engine() else {
            return;
        };
        let view = engine.view();
        let durable = engine.progress().0;
        let verdict = device
            .book
            .restart(&view.plan, durable, engine.state(), excused);
        self.tell(&Node::Module(index).to_string(), || {
            format!(
                "goes on in {:?} at {} of {}",
                view.state, view.progress, view.length
            )
        });
        self.rule(verdict);
    }

    /// Looks at what the Center did in a step; `off`: its power went in it.
    pub(crate) fn center_stepped(&mut self, off: bool) {
        // A wall clock that was set back does not undo that the plan had begun.
        self.latest = self.latest.max(self.center.time(self.now));
        let now = self.latest;
        for command in std::mem::take(&mut self.center.commands) {
            self.lively = self.now;
            let endpoint = command.endpoint().clone();
            let verdict = rules::not_disabled(self.center.store(), &endpoint, &command);
            self.rule(verdict);
            match &command {
                DeviceCommand::Offer { offer, .. } => {
                    self.tell("center", || format!("offers {} to {endpoint}", offer.plan));
                    let left_out = (0..self.setup.devices).any(|i| {
                        endpoint.device_key == Setup::device_key(i) && self.setup.leaves_out(i)
                    });
                    let store = self.center.store();
                    let verdict = rules::offered(store, &endpoint, &offer.plan, now, left_out);
                    self.rule(verdict);
                }
                DeviceCommand::Download { .. } => {
                    self.tell("center", || format!("download information for {endpoint}"));
                }
                DeviceCommand::Cancel { offer, .. } => {
                    self.tell("center", || format!("cancels {offer} of {endpoint}"));
                }
                other => self.tell("center", || format!("{other:?}")),
            }
        }
        for (call, reply) in std::mem::take(&mut self.center.answered) {
            if let Call::Told {
                endpoint, reports, ..
            } = &call
            {
                for report in reports {
                    self.tell("center", || {
                        format!(
                            "{endpoint} says {:?} of {}: {reply:?}",
                            report.state, report.offer
                        )
                    });
                    if reply == Reply::Done && !off {
                        let store = self.center.store();
                        let verdict =
                            rules::acknowledged(store, endpoint, &report.offer, report.state);
                        // A report of an offer that is over has no effect, and is acknowledged so that it
                        // does not come again.
                        if verdict.is_ok() {
                            self.acknowledged.push((
                                endpoint.clone(),
                                report.offer.clone(),
                                report.state,
                            ));
                        }
                        self.rule(verdict);
                    }
                }
            }
        }
        if self.center.commits() != self.commits_seen {
            self.commits_seen = self.center.commits();
            for plan in self.plans.clone() {
                let verdict = rules::counters(self.center.store(), plan);
                self.rule(verdict);
            }
        }
        for (to, bytes) in self.center.take_out() {
            let from = super::CENTER.parse().expect("an address");
            self.send(from, to, &bytes);
        }
        if off {
            self.went_off(Node::Center);
        }
    }

    pub(super) fn check_acknowledged(&mut self) {
        for (endpoint, offer, state) in std::mem::take(&mut self.acknowledged) {
            let verdict = rules::acknowledged(self.center.store(), &endpoint, &offer, state);
            self.rule(verdict);
        }
    }

    fn entry(&self, index: usize, plan: usize) -> Option<PlanDevice> {
        let endpoint = Endpoint::new(PRODUCT, Setup::device_key(index));
        let plan = *self.plans.get(plan)?;
        done(self.center.store().plan_device(&OWNER, plan, &endpoint))
            .ok()
            .flatten()
    }

    /// Every fault has happened, everyone has power, every device is done with its plan, and nothing has happened for
    /// a while. A second plan begins when the first is over.
    pub(super) fn is_over(&mut self) -> bool {
        let waiting = !self.timed.is_empty()
            || self.later.iter().any(|(.., l)| *l != Later::NetworkBack)
            || !self.center.is_on()
            || self.now < self.last_fault;
        if waiting || self.now < self.lively + QUIET {
            return false;
        }
        let last = self.plans.len() - 1;
        for plan in 0..self.plans.len() {
            let begun = done(self.center.store().plan(&OWNER, self.plans[plan]))
                .ok()
                .flatten()
                // One that was over before it was activated never will be.
                .is_some_and(|p| p.activated_at.is_some() || p.state.over());
            if !begun {
                self.after(self.now + 1_000_000, Later::Activate(plan));
                return false;
            }
            let over = (0..self.devices.len()).all(|i| {
                let on = self.devices[i].module.is_on() && self.devices[i].mcu.is_on();
                let rests = self.devices[i].module.engine().is_some_and(|e| {
                    matches!(
                        e.state(),
                        State::None | State::Refused | State::Success | State::Failure
                    )
                });
                let entry = self.entry(i, plan);
                let done = entry.as_ref().is_none_or(|e| e.state.over());
                // In the plan, but the plan does not offer: waiting is right.
                let held = entry.as_ref().is_some_and(|e| !e.open)
                    && (self.excuses.stopped() || self.setup.end_at.is_some());
                let goes_well = (rests || plan < last)
                    && (done || held)
                    && (entry.is_some() || self.stays_out(i));
                // What a disabled device is owed waits until it is enabled, however long that is.
                on && (goes_well || self.is_disabled(i))
            });
            if !over {
                return false;
            }
        }
        true
    }

    fn is_disabled(&self, index: usize) -> bool {
        let endpoint = Endpoint::new(PRODUCT, Setup::device_key(index));
        rules::is_disabled(self.center.store(), &endpoint)
    }

    fn stays_out(&self, index: usize) -> bool {
        self.setup.leaves_out(index) || self.excuses.stopped() || self.setup.end_at.is_some()
    }

    pub(super) fn unfinished(&self) -> String {
        let all = (0..self.devices.len()).map(|i| {
            let entry = self.entry(i, self.plans.len() - 1);
            let states = entry.map(|e| (e.state, e.open, e.steps.first().map(|s| s.state)));
            let engine = self.devices[i].module.engine().map(|e| e.state());
            format!("device {i}: Center {states:?}, module {engine:?}")
        });
        let all: Vec<String> = all.collect();
        format!("not over at {}: {}", clock(self.now), all.join("; "))
    }

    /// At the end: what the Center says is what the MCU runs.
    pub(super) fn check_end(&mut self) {
        if self.broken.is_some() {
            return;
        }
        self.check_acknowledged();
        for index in 0..self.devices.len() {
            self.check_boot(index);
            let would = self.devices[index].mcu.would_boot();
            if would.is_none() && self.excuses.cannot_swap(index) {
                continue;
            }
            let (version, _) = would.unwrap_or_default();
            for plan in 0..self.plans.len() {
                let target = VERSIONS[plan + 1];
                let state = self.entry(index, plan).map(|e| e.state);
                if state.is_none() && plan > 0 && self.excuses.never_answers() {
                    // The plan before never ended, so this one did not begin.
                    continue;
                }
                let runs = VERSIONS.iter().position(|v| *v == version) > Some(plan);
                if !self.setup.confirms() && state.is_some() {
                    let seen = format!(
                        "no image was confirmed, the Center says {state:?}, the MCU boots {version}"
                    );
                    let well = state == Some(DeviceState::UpgradeFailed) && version == VERSIONS[0];
                    if !well && !self.excuses.may_fail(index) {
                        self.rule(broken(Rule::Truth, seen));
                    }
                    continue;
                }
                if state == Some(DeviceState::Upgraded) && !runs && !self.excuses.image_rots(index)
                {
                    let seen = format!("the Center says {target}, the MCU boots {version}");
                    self.rule(broken(Rule::Truth, seen));
                }
                let excused = self.excuses.may_fail(index) || self.setup.strict;
                let included = !self.setup.leaves_out(index) && self.setup.end_at.is_none();
                // The version is the truth: a Center that heard nothing but the version says "no update required".
                let well = state == Some(DeviceState::Upgraded)
                    || state == Some(DeviceState::NoUpdateRequired) && runs;
                if included && !excused && !well && self.can_end_well() {
                    let seen = format!("nothing stands in the way and the Center says {state:?}");
                    self.rule(broken(Rule::Ends, seen));
                }
            }
        }
    }

    /// Battery, signal and network allow it, and there were fewer faults than the Center has tries.
    fn can_end_well(&self) -> bool {
        let readings = self.devices[0].module.readings;
        readings.battery_percent >= Some(30)
            && readings.rsrp_dbm >= Some(-113)
            && self.fault_count <= usize::from(self.setup.retries)
    }
}
