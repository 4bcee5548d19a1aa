//! A scripted engine: every branch of the MCU, quickly.

use super::*;
use sota::message::{self, Offer, Reason};

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
    /// The module's application confirms each plan at once.
    confirms: bool,
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
            confirms: false,
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
                target: Default::default(),
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

    fn act(&mut self, command: &Command, buffer: &mut [u8]) -> Reply {
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
                if self.confirms {
                    (self.state, self.start) = (8, 0);
                    self.announce();
                }
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

impl Behind for Script {
    fn command(&mut self, _now: u64, command: Command, buffer: &mut [u8]) -> Reply {
        self.act(&command, buffer)
    }
    fn step(&mut self, _now: u64) -> Option<u64> {
        None
    }
    fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
    fn done(&self, version: &str) -> bool {
        self.version == version && self.state == 0
    }
    fn image(&self) -> &[u8] {
        &self.image
    }
    fn source(&self) -> &str {
        self.source
    }
    fn target(&self) -> &str {
        self.target
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

#[test]
fn lost_and_changed_bytes_end_in_the_right_image() {
    let mut retries = 0;
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
        retries += world.mcu.status().retries;
    }
    assert!(retries > 12, "{retries}");
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
fn the_modules_application_confirms_before_the_mcu_does() {
    let mut script = Script::new(image(3_001, 67), "1_0_0", "2_0_0", 900);
    script.confirms = true;
    let mut world = World::new(script, config(), Ram::new());
    assert!(world.run("2_0_0", 20_000, whole, whole));
    assert!(world.holds_the_image());
    assert!(!world.events.contains(&McuEvent::Answered(true)));
    assert_eq!(world.mcu.status().error, None);
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

#[test]
fn a_piece_told_of_before_its_package_counts_is_asked_for_at_once() {
    let mut mcu = Mcu::new(config(), Ram::new()).unwrap();
    let sent = |mcu: &mut Mcu<Ram>| {
        let mut bytes = [0; 256];
        let n = mcu.next_bytes(&mut bytes);
        String::from_utf8_lossy(&bytes[..n]).into_owned()
    };
    let plan = "+QIOTEVT: 7,10700,\"STM32\",\"1_0_0\",\"2_0_0\",30,-113,3001\r\n";
    let package = "+QIOTEVT: 7,10701,\"STM32\",3001,\"\",7,\"\"\r\n";
    let piece = "+QIOTEVT: 7,10703,\"STM32\",3001,0,3001\r\n";
    let mut now = 0;
    let mut step = |mcu: &mut Mcu<Ram>, answer: &str| {
        // past the quiet time behind what was said before
        now += 60;
        mcu.poll(now);
        let command = sent(mcu);
        mcu.on_bytes(now, format!("\r\nOK\r\n{answer}").as_bytes());
        command
    };
    for command in ["AT\r", "AT+QIOTMCUVER=\"STM32\",\"1_0_0\"\r"] {
        assert_eq!(step(&mut mcu, ""), command);
    }
    assert_eq!(step(&mut mcu, plan), "AT+QIOTOTAREQ=1\r");
    // The plan counts when it is heard twice.
    assert_eq!(step(&mut mcu, plan), "AT+QIOTOTARD=?\r");
    // That the download goes on is no reason to wait with the question.
    let first = format!("{package}\r\n+QIOTEVT: 7,10702\r\n");
    assert_eq!(step(&mut mcu, &first), "AT+QIOTUPDATE=1\r");
    // The piece comes between the first and the second time that the package is told.
    let both = format!("{piece}{package}");
    let said = [both.as_str(), piece].map(|answer| step(&mut mcu, answer));
    assert!(
        said.iter().all(|command| command == "AT+QIOTOTARD=?\r"),
        "{said:?}"
    );
    assert!(step(&mut mcu, "").starts_with("AT+QIOTOTARD=0,"));
}
