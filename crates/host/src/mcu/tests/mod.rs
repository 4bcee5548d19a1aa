//! The MCU against the real AT server, with a scripted engine behind it.

use super::*;
use embedded_storage::nor_flash::{ErrorType, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use sha2::{Digest, Sha256};
use sota::bridge::{Bridge, Output, Settings};
use sota::message::{self, Command, Event, Offer, Reason, Reply};
use std::cell::RefCell;
use std::rc::Rc;

const SLOT: u32 = 4096;

/// NOR flash in RAM that loses power in the middle of its `cut`th operation.
#[derive(Clone)]
struct Ram(Rc<RefCell<Cells>>);

/// The bytes, the operation that is cut, the operations done.
type Cells = (Vec<u8>, Option<usize>, usize);

#[derive(Debug)]
struct Dead;
impl NorFlashError for Dead {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}
impl ErrorType for Ram {
    type Error = Dead;
}

impl Ram {
    fn new() -> Self {
        let size = device::flash_size(Self::ERASE_SIZE, SLOT) as usize;
        Ram(Rc::new(RefCell::new((vec![0xff; size], None, 0))))
    }

    /// Applies `change` to the range, or to half of it when the power goes.
    fn operate(
        &self,
        range: std::ops::Range<usize>,
        change: impl Fn(usize, &mut u8),
    ) -> Result<(), Dead> {
        let mut ram = self.0.borrow_mut();
        let (bytes, cut, done) = &mut *ram;
        let dying = *cut == Some(*done);
        if cut.is_some_and(|cut| cut < *done) {
            return Err(Dead);
        }
        *done += 1;
        let n = if dying { range.len() / 2 } else { range.len() };
        for (i, byte) in bytes[range].iter_mut().take(n).enumerate() {
            change(i, byte);
        }
        if dying { Err(Dead) } else { Ok(()) }
    }

    fn dead(&self) -> bool {
        let ram = self.0.borrow();
        ram.1.is_some_and(|cut| cut < ram.2)
    }
}

impl ReadNorFlash for Ram {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Dead> {
        let from = offset as usize;
        bytes.copy_from_slice(&self.0.borrow().0[from..from + bytes.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.0.borrow().0.len()
    }
}

impl NorFlash for Ram {
    const WRITE_SIZE: usize = 8;
    const ERASE_SIZE: usize = 512;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Dead> {
        assert!(from.is_multiple_of(512) && to.is_multiple_of(512));
        self.operate(from as usize..to as usize, |_, byte| *byte = 0xff)
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Dead> {
        assert!(offset.is_multiple_of(8) && bytes.len().is_multiple_of(8));
        let from = offset as usize;
        self.operate(from..from + bytes.len(), |i, byte| {
            assert_eq!(*byte, 0xff, "written without an erase");
            *byte = bytes[i];
        })
    }
}

/// Plays the engine: one plan at a time, the whole package at hand.
struct Script {
    image: Vec<u8>,
    source: &'static str,
    target: &'static str,
    piece: u32,
    start: u32,
    /// 0, 1, 8 or 9.
    state: u8,
    version: String,
    /// The digests announced are those of the image with this many bytes changed.
    wrong: bool,
    events: VecDeque<Event>,
}

impl Script {
    fn new(image: Vec<u8>, source: &'static str, target: &'static str, piece: u32) -> Self {
        Script {
            image,
            source,
            target,
            piece,
            start: 0,
            state: 0,
            version: String::new(),
            wrong: false,
            events: VecDeque::new(),
        }
    }

    fn length(&self) -> u32 {
        self.image.len() as u32
    }

    fn in_piece(&self) -> u32 {
        self.piece.min(self.length() - self.start)
    }

    fn announce(&mut self) {
        let mut image = self.image.clone();
        if self.wrong {
            image[0] ^= 1;
        }
        self.events
            .push_back(Event::DownloadStart(Some(message::Package {
                component: "STM32".try_into().unwrap(),
                length: self.length(),
                md5: Some(md5::Md5::digest(&image).into()),
                crc32: Some(crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&image)),
                sha256: Some(Sha256::digest(&image).into()),
            })));
        self.events
            .push_back(Event::Downloaded(Some(message::Piece {
                component: "STM32".try_into().unwrap(),
                length: self.length(),
                start: self.start,
                piece_length: self.in_piece(),
            })));
    }

    fn command(&mut self, command: &Command, buffer: &mut [u8]) -> Reply {
        let no = Reply::Refused(Reason::AtNotAllowedNow);
        match command {
            Command::SetMcuVersion(_, version) => {
                self.version = version.as_str().into();
                match self.state {
                    0 | 1 => {}
                    _ if version.as_str() == self.target => {
                        self.state = 0;
                        self.events.push_back(Event::UpdateOk);
                    }
                    8 if version.as_str() == self.source => self.announce(),
                    9 if version.as_str() == self.source => {}
                    _ => {
                        self.state = 0;
                        self.events
                            .push_back(Event::UpdateFail(Reason::McuRunsOtherVersion));
                    }
                }
            }
            Command::Request(_) if self.state < 2 && self.version == self.source => {
                self.state = 1;
                self.events.push_back(Event::Plan(Offer {
                    component: "STM32".try_into().unwrap(),
                    target: self.target.try_into().unwrap(),
                    use_space: self.length(),
                    ..Offer::default()
                }));
            }
            Command::Request(_) => {}
            Command::Announce if self.state == 8 => self.announce(),
            Command::Action(1) if self.state == 1 => {
                (self.state, self.start) = (8, 0);
                self.announce();
            }
            Command::Action(2)
                if self.state == 8 && self.start + self.in_piece() < self.length() =>
            {
                self.start += self.piece;
                self.events.push_back(Event::Downloading);
                self.announce();
                self.events.remove(1);
            }
            Command::Action(3)
                if self.state == 9
                    || self.state == 8 && self.start + self.in_piece() == self.length() =>
            {
                self.state = 9;
                self.events.push_back(Event::Updating);
            }
            Command::Action(0) if self.state == 1 => self.state = 0,
            Command::Rewind(to) if self.state == 8 && *to < self.length() => {
                self.start = to - to % self.piece;
                self.announce();
            }
            Command::Read { start, len } if self.state == 8 => {
                let end = (start + len).min(self.start + self.in_piece());
                if *start < self.start || *start >= end {
                    return no;
                }
                let bytes = &self.image[*start as usize..end as usize];
                buffer[..bytes.len()].copy_from_slice(bytes);
                return Reply::Read(bytes.len());
            }
            _ => return no,
        }
        Reply::Ok
    }
}

/// What the line does to one byte.
enum Fate {
    Whole,
    Lost,
    Changed,
}

struct World {
    now: u64,
    bridge: Bridge,
    script: Script,
    ram: Ram,
    config: Config,
    mcu: Mcu<Ram>,
    boots: usize,
    events: Vec<McuEvent>,
}

impl World {
    fn new(script: Script, config: Config, ram: Ram) -> Self {
        let mcu = Mcu::new(config.clone(), ram.clone()).unwrap();
        World {
            now: 0,
            bridge: Bridge::new(Settings::new()),
            script,
            ram,
            config,
            mcu,
            boots: 0,
            events: Vec::new(),
        }
    }

    /// Runs until the MCU announced `version` or `steps` are over; true if it did.
    fn run(
        &mut self,
        version: &str,
        steps: usize,
        mut to_mcu: impl FnMut() -> Fate,
        mut to_module: impl FnMut() -> Fate,
    ) -> bool {
        let mut line = Vec::new();
        for _ in 0..steps {
            let mut quiet = true;
            let mut out = [0; 97];
            self.mcu.poll(self.now);
            let n = self.mcu.next_bytes(&mut out);
            for byte in &out[..n] {
                quiet = false;
                match to_module() {
                    Fate::Whole => line.push(*byte),
                    Fate::Lost => {}
                    Fate::Changed => line.push(byte ^ 0x10),
                }
            }
            let taken = self.bridge.on_bytes(&line);
            line.drain(..taken);
            if let Some(output) = self.bridge.poll() {
                let reply = match &output {
                    Output::Command(command) => {
                        self.script.command(command, self.bridge.read_buffer())
                    }
                    Output::Versions => Reply::Ok,
                };
                self.bridge.reply(reply);
            }
            if let Some(event) = self.script.events.front()
                && self.bridge.on_event(event)
            {
                self.script.events.pop_front();
            }
            let n = self.bridge.next_bytes(&mut out);
            let bytes: Vec<u8> = out[..n]
                .iter()
                .filter_map(|byte| match to_mcu() {
                    Fate::Whole => Some(*byte),
                    Fate::Lost => None,
                    Fate::Changed => Some(byte ^ 0x04),
                })
                .collect();
            if n > 0 {
                quiet = false;
                self.mcu.on_bytes(self.now, &bytes);
            }
            self.events
                .extend(std::iter::from_fn(|| self.mcu.next_event()));
            if self.ram.dead() {
                self.ram.0.borrow_mut().1 = None;
                self.reset();
            }
            if self.script.version == version && self.script.state == 0 {
                return true;
            }
            self.now = if quiet {
                self.mcu.deadline().max(self.now + 1)
            } else {
                self.now + 1
            };
        }
        false
    }

    fn reset(&mut self) {
        self.boots += 1;
        self.mcu = Mcu::new(self.config.clone(), self.ram.clone()).unwrap();
        // Old or new, never neither.
        let status = self.mcu.status();
        assert_eq!(self.mcu.running_sha256().unwrap(), status.sha256);
        if status.version == self.script.target {
            assert_eq!(
                status.sha256,
                <[u8; 32]>::from(Sha256::digest(&self.script.image))
            );
        } else {
            assert_eq!(status.version, self.script.source);
        }
    }

    fn holds_the_image(&mut self) -> bool {
        let status = self.mcu.status();
        let sha256: [u8; 32] = Sha256::digest(&self.script.image).into();
        status.version == self.script.target
            && status.length == self.script.length()
            && status.sha256 == sha256
            && self.mcu.running_sha256() == Ok(sha256)
    }
}

fn whole() -> Fate {
    Fate::Whole
}

fn image(length: u32, seed: u32) -> Vec<u8> {
    (0..length)
        .map(|i| (i.wrapping_mul(seed).wrapping_add(i >> 8) >> 3) as u8)
        .collect()
}

fn config() -> Config {
    Config {
        read_size: 300,
        ..Config::new("STM32", "1_0_0", SLOT)
    }
}

/// A device that runs image 2_0_0 and its flash.
fn upgraded() -> Ram {
    let ram = Ram::new();
    let mut world = World::new(
        Script::new(image(2_500, 77), "1_0_0", "2_0_0", 4096),
        config(),
        ram.clone(),
    );
    assert!(world.run("2_0_0", 10_000, whole, whole));
    ram
}

#[test]
fn a_whole_upgrade_in_several_pieces() {
    for piece in [1, 700, 1024, 3_001, 9_999] {
        let length = if piece == 1 { 40 } else { 3_001 };
        let mut world = World::new(
            Script::new(image(length, 31), "1_0_0", "2_0_0", piece),
            config(),
            Ram::new(),
        );
        assert!(world.run("2_0_0", 20_000, whole, whole), "piece {piece}");
        assert!(world.holds_the_image());
        let status = world.mcu.status();
        assert_eq!((status.error, status.retries), (None, 0));
        assert_eq!(status.pieces, length.div_ceil(piece));
    }
}

#[test]
fn a_reset_at_every_flash_operation() {
    let start = upgraded();
    let fresh = start.0.borrow().0.clone();
    let mut cut = 0;
    loop {
        let ram = Ram(Rc::new(RefCell::new((fresh.clone(), Some(cut), 0))));
        let mut world = World::new(
            Script::new(image(3_001, 41), "2_0_0", "3_0_0", 700),
            config(),
            ram,
        );
        assert!(
            world.run("3_0_0", 50_000, whole, whole),
            "cut {cut}: {:?}",
            world.events
        );
        assert!(world.holds_the_image(), "cut {cut}");
        if world.boots == 0 {
            break;
        }
        cut += 1;
    }
    assert!(cut > 20, "only {cut} operations were cut");
}

#[test]
fn a_reset_after_any_number_of_bytes() {
    let fresh = upgraded().0.borrow().0.clone();
    for after in (0..5_000).step_by(137) {
        let ram = Ram(Rc::new(RefCell::new((fresh.clone(), None, 0))));
        let mut world = World::new(
            Script::new(image(3_001, 43), "2_0_0", "3_0_0", 700),
            config(),
            ram,
        );
        world.run("3_0_0", after / 40, whole, whole);
        world.reset();
        assert!(world.run("3_0_0", 50_000, whole, whole), "after {after}");
        assert!(world.holds_the_image());
    }
}

/// A small generator: every run repeats.
fn dice(mut seed: u32, lost: u32, changed: u32) -> impl FnMut() -> Fate {
    move || {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        match seed % 10_000 {
            n if n < lost => Fate::Lost,
            n if n < lost + changed => Fate::Changed,
            _ => Fate::Whole,
        }
    }
}

#[test]
fn lost_and_changed_bytes_end_in_the_right_image() {
    for seed in 1..=12 {
        let config = Config {
            double_read: true,
            read_size: 128,
            ..config()
        };
        let mut world = World::new(
            Script::new(image(3_001, 47), "1_0_0", "2_0_0", 900),
            config,
            Ram::new(),
        );
        let done = world.run(
            "2_0_0",
            400_000,
            dice(seed, 10, 10),
            dice(seed + 99, 10, 10),
        );
        assert!(done, "seed {seed}: {:?}", world.mcu.status());
        assert!(world.holds_the_image(), "seed {seed}");
        assert!(world.mcu.status().retries > 0);
    }
}

#[test]
fn a_wrong_package_leaves_the_old_image_and_says_why() {
    let ram = upgraded();
    let mut script = Script::new(image(3_001, 51), "2_0_0", "3_0_0", 700);
    script.wrong = true;
    let mut world = World::new(script, config(), ram);
    assert!(!world.run("3_0_0", 5_000, whole, whole));
    let status = world.mcu.status();
    assert_eq!(status.version, "2_0_0");
    assert_eq!(world.mcu.running_sha256().unwrap(), status.sha256);
    assert!(
        world
            .events
            .contains(&McuEvent::Error(McuError::ImageDigest))
    );
    assert!(!world.events.contains(&McuEvent::Verified));
}

#[test]
fn a_package_larger_than_the_slot_is_refused() {
    let mut world = World::new(
        Script::new(image(SLOT + 1, 3), "1_0_0", "2_0_0", 700),
        config(),
        Ram::new(),
    );
    assert!(!world.run("2_0_0", 500, whole, whole));
    assert_eq!(world.mcu.status().error, Some(McuError::SlotTooSmall));
    assert!(world.events.contains(&McuEvent::Answered(false)));
}

#[test]
fn a_silent_module_is_reported_and_tried_again() {
    let mut world = World::new(
        Script::new(image(3_001, 53), "1_0_0", "2_0_0", 900),
        config(),
        Ram::new(),
    );
    assert!(!world.run("2_0_0", 200, || Fate::Lost, || Fate::Lost));
    assert_eq!(world.mcu.status().error, Some(McuError::ModuleSilent));
    assert!(world.run("2_0_0", 20_000, whole, whole));
    assert!(world.holds_the_image());
}

#[test]
fn without_auto_confirm_the_host_decides() {
    let config = Config {
        auto_confirm: false,
        ..config()
    };
    let mut world = World::new(
        Script::new(image(3_001, 59), "1_0_0", "2_0_0", 900),
        config,
        Ram::new(),
    );
    assert!(!world.run("2_0_0", 300, whole, whole));
    assert!(world.events.contains(&McuEvent::Plan("2_0_0".into())));
    world.mcu.confirm(true);
    assert!(world.run("2_0_0", 20_000, whole, whole));
    assert!(world.holds_the_image());
}

#[test]
fn a_plan_without_a_target_names_the_image_by_its_content() {
    let mut world = World::new(
        Script::new(image(3_001, 61), "1_0_0", "", 900),
        config(),
        Ram::new(),
    );
    let name = format!(
        "img-{}",
        hex::encode(&Sha256::digest(&world.script.image)[..4])
    );
    world.run(&name, 3_000, whole, whole);
    assert_eq!(world.mcu.status().version, name);
}
