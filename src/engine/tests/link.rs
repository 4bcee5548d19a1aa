//! The engine behind the binary link: everything that `docs/link.md` says becomes what.

use std::{vec, vec::Vec};

use sota_link::field::{Boot, Hello, Image, Resume};
use sota_link::frame::frame_len;
use sota_link::mcu::{Link, Output, Slot, WriteError};
use sota_link::{Config as Line, message::ModulePhase};

use super::world::{Mcu, World};
use crate::bridge::link::LinkBridge;
use crate::engine::Config;
use crate::message::*;

const FRAME: usize = frame_len(256);
const LENGTH: usize = 10_000;

/// The MCU's other slot: what was written stays.
#[derive(Default)]
struct Other {
    memory: Vec<u8>,
    mark: Option<Resume>,
    writes: usize,
}

impl Slot for Other {
    fn resume(&mut self) -> Option<Resume> {
        self.mark
    }

    fn begin(&mut self, image: &Image) -> Result<u32, u16> {
        let digest = image.digest().ok_or(625_u16)?;
        let same = |m: &&Resume| (m.length, m.digest) == (image.length, digest);
        if let Some(mark) = self.mark.as_ref().filter(same) {
            return Ok(mark.offset);
        }
        self.memory = vec![0; image.length as usize];
        self.mark = Some(Resume {
            offset: 0,
            length: image.length,
            digest,
        });
        Ok(0)
    }

    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), WriteError> {
        self.writes += data.len();
        self.memory[offset as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn commit(&mut self, offset: u32) -> u32 {
        if let Some(mark) = &mut self.mark {
            mark.offset = offset;
        }
        offset
    }

    fn forget(&mut self) {
        self.mark = None;
    }
}

struct Joined {
    world: World,
    bridge: LinkBridge<FRAME>,
    mcu: Link<FRAME>,
    slot: Other,
    version: &'static str,
    boot: Boot,
    /// The number that its application refuses plans with.
    refuses: Option<u16>,
    /// What it reads of its flash is not what was written.
    rots: bool,
    /// What the module's log has.
    lines: Vec<sota_link::Line>,
    ended: Vec<(ModulePhase, u16)>,
    sessions: u16,
}

impl Joined {
    fn new() -> Joined {
        let mut world = World::new(Config::default(), 4096, LENGTH);
        world.mcu = Mcu::Idle;
        world.version("STM32", "");
        Joined {
            world,
            bridge: module(1),
            mcu: mcu(2, "1_0", Boot::Confirmed),
            slot: Other::default(),
            version: "1_0",
            boot: Boot::Confirmed,
            refuses: None,
            rots: false,
            lines: Vec::new(),
            ended: Vec::new(),
            sessions: 2,
        }
    }

    fn restart_module(&mut self) {
        self.world.restart();
        self.sessions += 1;
        self.bridge = module(self.sessions);
    }

    fn restart_mcu(&mut self) {
        self.sessions += 1;
        self.mcu = mcu(self.sessions, self.version, self.boot);
    }

    /// A millisecond; the line takes no time.
    fn tick(&mut self) {
        let world = &mut self.world;
        world.now += 1;
        world.settle();
        for event in world.events.split_off(0) {
            self.bridge.on_event(&event);
        }
        let now = world.now;
        let mut engine = |command: Command, out: &mut [u8]| match command {
            Command::Read { start, .. } => world.read(start, out),
            command => world.ask(command),
        };
        while let Some(line) = self.bridge.poll(now, &mut engine) {
            self.lines.push(line);
        }
        let mut bytes = [0; 4096];
        let n = self.bridge.next_bytes(&mut bytes);
        feed(&bytes[..n], |rest| {
            let taken = self.mcu.on_bytes(rest);
            while let Some(output) = self.mcu.poll(now, &mut self.slot) {
                match output {
                    Output::Line(_) => {}
                    Output::Plan => match self.refuses {
                        None => self.mcu.accept(),
                        Some(number) => self.mcu.refuse(number),
                    },
                    Output::Verify => {
                        let good = self.slot.memory == world.package && !self.rots;
                        self.mcu.verified(good, &mut self.slot);
                        self.mcu.install();
                    }
                    Output::Install => (self.version, self.boot) = ("2_0", Boot::Trial),
                    Output::Ended(phase, number) => self.ended.push((phase, number)),
                }
            }
            taken
        });
        if self.boot == Boot::Trial && self.mcu.phase() == sota_link::message::McuPhase::Installing
        {
            self.restart_mcu();
            return;
        }
        let n = self.mcu.next_tx(&mut bytes);
        let world = &mut self.world;
        let mut engine = |command: Command, out: &mut [u8]| match command {
            Command::Read { start, .. } => world.read(start, out),
            command => world.ask(command),
        };
        let lines = &mut self.lines;
        feed(&bytes[..n], |rest| {
            let taken = self.bridge.on_bytes(rest);
            while let Some(line) = self.bridge.poll(now, &mut engine) {
                lines.push(line);
            }
            taken
        });
    }

    fn until(&mut self, what: &str, done: impl Fn(&Joined) -> bool) {
        for _ in 0..120_000 {
            if done(self) {
                return;
            }
            self.tick();
        }
        panic!("{what}: {:?} {:?}", self.world.states(), self.ended);
    }

    fn has(&self, state: State) -> bool {
        self.world.states().contains(&state.number())
    }
}

/// Gives all of it, as the machines take one frame at a time.
fn feed(mut bytes: &[u8], mut take: impl FnMut(&[u8]) -> usize) {
    loop {
        let taken = take(bytes);
        bytes = &bytes[taken..];
        if bytes.is_empty() {
            return;
        }
    }
}

fn module(session: u16) -> LinkBridge<FRAME> {
    let hello = Hello {
        block: 256,
        window: 8,
        ..Hello::default()
    };
    let baud = 115_200;
    LinkBridge::new(
        0,
        Line {
            hello,
            baud,
            session,
        },
    )
}

fn mcu(session: u16, version: &'static str, boot: Boot) -> Link<FRAME> {
    Link::new(
        0,
        sota_link::mcu::Config {
            block: 256,
            window: 8,
            page: 1024,
            slot: 65_536,
            component: "STM32",
            version,
            boot,
            baud: 115_200,
            session,
            ..Default::default()
        },
    )
}

fn reports(joined: &Joined) -> Option<&str> {
    joined.world.engine.version("STM32")
}

#[test]
fn an_upgrade_over_the_link() {
    let mut joined = Joined::new();
    joined.until("the hello", |j| reports(j) == Some("1_0"));
    joined.world.offer().unwrap();
    joined.until("the trial", |j| j.boot == Boot::Trial);
    joined.until("the hello of the new image", |j| j.mcu.is_up());
    assert_eq!(reports(&joined), Some("1_0"), "on trial is no success");
    assert!(!joined.has(State::Success));
    joined.boot = Boot::Confirmed;
    joined.mcu.set_running("2_0", Boot::Confirmed);
    joined.until("success", |j| j.has(State::Success));
    assert_eq!(joined.slot.memory, joined.world.package);
    assert_eq!(joined.slot.writes, LENGTH, "every byte once");
}

#[test]
fn a_reset_of_either_side_costs_no_byte_that_is_in_flash() {
    for whose in [0, 1] {
        for at in [0, 1, 300, 4095, 4096, 8192, LENGTH - 1] {
            let mut joined = Joined::new();
            joined.until("the hello", |j| reports(j) == Some("1_0"));
            joined.world.offer().unwrap();
            joined.until("the bytes", |j| j.slot.writes > at);
            match whose {
                0 => joined.restart_module(),
                _ => joined.restart_mcu(),
            }
            joined.until("the trial", |j| j.boot == Boot::Trial);
            assert_eq!(joined.slot.writes, LENGTH, "side {whose} at {at}");
            joined.boot = Boot::Confirmed;
            joined.mcu.set_running("2_0", Boot::Confirmed);
            joined.until("success", |j| j.has(State::Success));
        }
    }
}

#[test]
fn a_module_that_forgot_that_the_mcu_installs_tells_it_again() {
    let mut joined = Joined::new();
    joined.until("the hello", |j| reports(j) == Some("1_0"));
    joined.world.offer().unwrap();
    joined.until("the trial", |j| j.boot == Boot::Trial);
    // the power of both goes before the MCU has begun
    (joined.version, joined.boot) = ("1_0", Boot::Confirmed);
    joined.restart_module();
    joined.restart_mcu();
    joined.until("the trial again", |j| j.boot == Boot::Trial);
    assert_eq!(joined.slot.writes, LENGTH);
    joined.boot = Boot::Confirmed;
    joined.mcu.set_running("2_0", Boot::Confirmed);
    joined.until("success", |j| j.has(State::Success));
}

#[test]
fn a_reverted_image_fails_the_upgrade_within_a_second() {
    for (why, reason) in [
        (405, Reason::McuReverted),
        (540, Reason::McuReverted),
        (0, Reason::McuReverted),
        (407, Reason::McuStillRunsSource),
    ] {
        reverted(why, reason);
    }
}

fn reverted(why: u16, reason: Reason) {
    let mut joined = Joined::new();
    joined.until("the hello", |j| reports(j) == Some("1_0"));
    joined.world.offer().unwrap();
    joined.until("the trial", |j| j.boot == Boot::Trial);
    joined.until("the hello of the new image", |j| j.mcu.is_up());
    // On trial it refuses every package: that is no failure.
    for _ in 0..30_000 {
        joined.tick();
    }
    assert!(joined.has(State::Updating) && !joined.has(State::Failure));
    // The bootloader brought the old image back, and what was in the other slot is no image any more.
    (joined.version, joined.boot) = ("1_0", Boot::Reverted(why));
    joined.slot.mark = None;
    joined.restart_mcu();
    let began = joined.world.now;
    joined.until("failure", |j| j.has(State::Failure));
    let took = joined.world.now - began;
    assert!(took < 1_000, "{took} ms");
    assert_eq!(joined.world.last_reason(), Some(reason), "{why}");
    let number = if why == 0 { 611 } else { why };
    let said = sota_link::Line::PeerError(number);
    assert!(joined.lines.contains(&said), "{why}: {:?}", joined.lines);
    // It is not told to install again.
    for _ in 0..30_000 {
        joined.tick();
    }
    assert_eq!(joined.boot, Boot::Reverted(why));
    assert_eq!(joined.slot.writes, LENGTH, "nothing was sent again");
}

#[test]
fn an_mcu_that_reverted_long_ago_and_still_has_the_new_image_installs_it() {
    let mut joined = Joined::new();
    joined.boot = Boot::Reverted(406);
    joined.restart_mcu();
    joined.until("the hello", |j| reports(j) == Some("1_0"));
    joined.world.offer().unwrap();
    joined.until("the trial", |j| j.boot == Boot::Trial);
    // Power went before the bootloader had begun.
    (joined.version, joined.boot) = ("1_0", Boot::Reverted(406));
    joined.restart_mcu();
    joined.until("the trial again", |j| j.boot == Boot::Trial);
    assert!(!joined.has(State::Failure));
}

#[test]
fn an_mcu_that_refuses_is_not_upgraded_and_the_center_hears_why() {
    for (number, state, reason) in [
        (623, State::Refused, Reason::RefusedByHost),
        (599, State::Refused, Reason::RefusedByHost),
        (402, State::Failure, Reason::NotEnoughSpace),
        (404, State::Failure, Reason::McuFlashFailed),
        (621, State::Failure, Reason::McuImageUnfit),
        (622, State::Failure, Reason::McuImageUnfit),
    ] {
        let mut joined = Joined::new();
        joined.refuses = Some(number);
        joined.until("the hello", |j| reports(j) == Some("1_0"));
        joined.world.offer().unwrap();
        joined.until("the refusal", |j| j.has(state));
        assert_eq!(joined.slot.writes, 0);
        assert_eq!(joined.world.engine.last_error(), Some(reason), "{number}");
        let said = joined
            .lines
            .iter()
            .filter(|line| **line == sota_link::Line::PeerError(number));
        assert_eq!(said.count(), 1, "{number} in {:?}", joined.lines);
    }
}

#[test]
fn what_the_mcu_finds_wrong_in_its_flash_is_the_reason_that_the_center_hears() {
    let mut joined = Joined::new();
    joined.rots = true;
    joined.until("the hello", |j| reports(j) == Some("1_0"));
    joined.world.offer().unwrap();
    joined.until("failure", |j| j.has(State::Failure));
    assert_eq!(joined.world.last_reason(), Some(Reason::DigestMismatch));
    assert_eq!(joined.slot.writes, 2 * LENGTH, "it was received twice");
    assert!(!joined.has(State::Updating));
}

#[test]
fn a_plan_of_another_component_is_not_for_this_mcu() {
    let mut joined = Joined::new();
    joined.until("the hello", |j| reports(j) == Some("1_0"));
    joined.world.version("ESP32", "1_0");
    joined.world.offer.component = "ESP32".try_into().unwrap();
    joined.world.offer().unwrap();
    for _ in 0..5_000 {
        joined.tick();
    }
    assert_eq!(joined.world.states(), [State::PlanReceived.number()]);
}
