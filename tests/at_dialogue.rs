//! The reference dialogue (quecthing.md section 3) byte for byte: the AT server and the real engine,
//! fed with blocks; and the digests of every byte the MCU read.
//!
//! The package: 27,954 bytes, byte `i` is `(i*i + 7*i + (i >> 8)) mod 256`. Its digests below were
//! taken once with Python's hashlib and zlib.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use sha2::{Digest, Sha256};
use sota::bridge::{Bridge, Output, Settings};
use sota::engine::{Config, Engine};
use sota::message::{
    ComponentType, Door, DownloadInfo, Etag, Event, Offer, Reply, State, ToCloud, ToEngine,
};
use sota::platform::{Flash, Readings};

const LENGTH: usize = 27_954;
const MD5: &str = "bff5783a7fce9c6d64b855939fbf6204";
const CRC32: u32 = 3_798_467_641;
const SHA256: &str = "1e305a745a087fa4ca01a56931666a2d2e84a9abd22bc636b596fc55167f62ae";
const BLOCK: usize = 512;

fn package() -> Vec<u8> {
    (0..LENGTH)
        .map(|i| (i * i + 7 * i + (i >> 8)) as u8)
        .collect()
}

fn unhex<const N: usize>(text: &str) -> [u8; N] {
    std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
}

/// NOR flash in memory: a byte is written only after an erase.
struct Nor(Vec<u8>);

#[derive(Debug)]
struct NotErased;
impl NorFlashError for NotErased {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}
impl ErrorType for Nor {
    type Error = NotErased;
}
impl ReadNorFlash for Nor {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NotErased> {
        bytes.copy_from_slice(&self.0[offset as usize..offset as usize + bytes.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.0.len()
    }
}
impl NorFlash for Nor {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), NotErased> {
        self.0[from as usize..to as usize].fill(0xff);
        Ok(())
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NotErased> {
        let place = &mut self.0[offset as usize..offset as usize + bytes.len()];
        if place.iter().any(|byte| *byte != 0xff) {
            return Err(NotErased);
        }
        place.copy_from_slice(bytes);
        Ok(())
    }
}

struct Partitions {
    staging: Nor,
    journal: Nor,
}
impl Flash for Partitions {
    type Staging = Nor;
    type Journal = Nor;
    fn staging(&mut self) -> &mut Nor {
        &mut self.staging
    }
    fn journal(&mut self) -> &mut Nor {
        &mut self.journal
    }
}

/// The module: bridge and engine, and a Center that offers one package for each component of a plan.
struct Module {
    /// The plan's sequence; a component's place in it is its Plan instance less one.
    plan: &'static [&'static str],
    engine: Engine<BLOCK>,
    bridge: Bridge,
    flash: Partitions,
    fetch: Option<(usize, usize)>,
    event: Option<Event>,
    package: Vec<u8>,
}

const NOW: u64 = 1_000;
const READINGS: Readings = Readings {
    battery_percent: Some(80),
    rsrp_dbm: Some(-90),
};

impl Module {
    fn new(staging: usize, plan: &'static [&'static str]) -> Self {
        let mut flash = Partitions {
            staging: Nor(vec![0xff; staging]),
            journal: Nor(vec![0xff; 4 * 4096]),
        };
        let mut settings = Settings::new();
        settings.product_key = "p1".try_into().unwrap();
        settings.server = "coap://127.0.0.1".try_into().unwrap();
        Module {
            plan,
            engine: Engine::start(Config::default(), NOW, &mut flash),
            bridge: Bridge::new(settings),
            flash,
            fetch: None,
            event: None,
            package: package(),
        }
    }

    fn cloud(&mut self, mut message: ToEngine<BLOCK>) {
        self.engine
            .on_cloud(NOW, READINGS, &mut self.flash, &mut message);
    }

    fn center(&mut self, message: ToCloud) {
        match message {
            ToCloud::Connect(up) => self.cloud(ToEngine::Link(up)),
            ToCloud::Request { .. } => {
                for component in self.plan {
                    self.cloud(ToEngine::Offer {
                        ticket: 1,
                        door: Door::Plan,
                        offer: Offer {
                            plan: "plan".try_into().unwrap(),
                            component: (*component).try_into().unwrap(),
                            kind: ComponentType::Mcu,
                            target: "2_0_0".try_into().unwrap(),
                            battery_limit_percent: 30,
                            min_signal_dbm: -113,
                            use_space: LENGTH as u32,
                            components: self.plan.len() as u8,
                            ..Offer::default()
                        },
                    });
                }
            }
            ToCloud::Report {
                instance: 1,
                state: State::Confirmed,
                ..
            } => self.download(1),
            ToCloud::Report {
                instance,
                state: State::Success,
                ..
            } if usize::from(instance) < self.plan.len() => self.download(instance + 1),
            ToCloud::Fetch { from, to, .. } => {
                self.fetch = Some((from as usize, to as usize));
                self.cloud(ToEngine::FetchStarted {
                    total: Some(LENGTH as u32),
                    etag: Etag::new(b"tag").unwrap(),
                });
            }
            ToCloud::Verdict { result, .. } => assert_eq!(result, Ok(())),
            _ => {}
        }
    }

    /// The Center sends the download information of a component.
    fn download(&mut self, instance: u8) {
        self.cloud(ToEngine::DownloadInfo {
            ticket: 2,
            instance,
            info: DownloadInfo {
                plan: "plan".try_into().unwrap(),
                length: LENGTH as u32,
                md5: Some(unhex(MD5)),
                crc32: Some(CRC32),
                sha256: Some(unhex(SHA256)),
                uri: "coap://127.0.0.1/package".try_into().unwrap(),
            },
        });
    }

    /// One step of every part; the bytes for the MCU.
    fn step(&mut self) -> Vec<u8> {
        if let Some(output) = self.bridge.poll() {
            let reply = match output {
                Output::Command(command) => {
                    let buffer = self.bridge.read_buffer();
                    self.engine
                        .command(NOW, READINGS, &mut self.flash, &command, buffer)
                }
                Output::Versions => {
                    for (name, version) in self.engine.versions() {
                        self.bridge.version(name, version);
                    }
                    Reply::Ok
                }
            };
            self.bridge.reply(reply);
        }
        self.engine.poll(NOW, READINGS, &mut self.flash);
        if let Some(message) = self.engine.next_to_cloud() {
            self.center(message);
        }
        if let Some((from, to)) = self.fetch
            && self.engine.can_take_block()
        {
            let end = to.min(from + BLOCK);
            let data = heapless::Vec::from_slice(&self.package[from..end]).unwrap();
            self.fetch = (end < to).then_some((end, to));
            self.cloud(ToEngine::Block {
                offset: from as u32,
                data,
            });
        }
        self.event = self.event.take().or_else(|| self.engine.next_event());
        if let Some(event) = &self.event
            && self.bridge.on_event(event)
        {
            self.event = None;
        }
        let mut out = [0; 100];
        let mut bytes = Vec::new();
        loop {
            let n = self.bridge.next_bytes(&mut out);
            if n == 0 {
                return bytes;
            }
            bytes.extend_from_slice(&out[..n]);
        }
    }

    /// Sends a line and gives everything the MCU sees until nothing happens any more.
    fn say(&mut self, line: &str) -> Vec<u8> {
        let line = format!("{line}\r");
        assert_eq!(self.bridge.on_bytes(line.as_bytes()), line.len());
        let mut seen = Vec::new();
        for _ in 0..400 {
            seen.extend(self.step());
        }
        seen
    }

    /// As [`Module::say`], where only text is expected.
    fn hear(&mut self, line: &str) -> String {
        String::from_utf8(self.say(line)).unwrap()
    }

    /// Reads one range and checks its frame.
    fn read(&mut self, start: usize, len: usize) -> Vec<u8> {
        let seen = self.say(&format!("AT+QIOTOTARD={start},{len}"));
        let head = b"\r\n+QIOTOTARD: ".as_slice();
        let rest = seen.strip_prefix(head).expect("a read's header");
        let end = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let (from, n) = std::str::from_utf8(&rest[..end])
            .unwrap()
            .split_once(',')
            .unwrap();
        assert_eq!(from, start.to_string());
        let data = &rest[end + 2..];
        let n: usize = n.parse().unwrap();
        assert_eq!(&data[n..], b"\r\n\r\nOK\r\n");
        data[..n].to_vec()
    }
}

const OK: &str = "\r\nOK\r\n";

fn urc(text: &str) -> String {
    format!("\r\n+QIOTEVT: {text}\r\n")
}

fn opened(staging: usize) -> Module {
    opened_with(staging, &["STM32"])
}

/// The host knows of the plan; its components run 1_0_0.
fn opened_with(staging: usize, plan: &'static [&'static str]) -> Module {
    let mut module = Module::new(staging, plan);
    assert_eq!(
        module.hear("AT+QIOTREG=1"),
        [OK, &urc("2,10200"), &urc("3,10200")].concat()
    );
    let mut asked = OK.to_owned();
    for component in plan {
        let version = format!("AT+QIOTMCUVER=\"{component}\",\"1_0_0\"");
        assert_eq!(module.hear(&version), OK);
        let limits = "\"\",\"2_0_0\",30,-113,27954";
        asked += &urc(&format!("7,10700,\"{component}\",{limits}"));
    }
    assert_eq!(module.hear("AT+QIOTOTAREQ=1"), asked);
    module
}

fn download_start() -> String {
    download_start_of("STM32")
}

fn download_start_of(component: &str) -> String {
    urc(&format!(
        "7,10701,\"{component}\",27954,\"{MD5}\",{CRC32},\"{SHA256}\""
    ))
}

#[test]
fn the_reference_dialogue() {
    let mut module = opened(32 * 1024);
    assert_eq!(
        module.hear("AT+QIOTUPDATE=1"),
        [
            OK,
            &download_start(),
            &urc("7,10702"),
            &urc("7,10703,\"STM32\",27954,0,27954")
        ]
        .concat()
    );
    let mut image = Vec::new();
    while image.len() < LENGTH {
        let part = module.read(image.len(), 1024);
        assert_eq!(
            part.len(),
            1024.min(LENGTH - image.len()),
            "only the last read is short"
        );
        image.extend(part);
    }
    assert_eq!(Sha256::digest(&image).as_slice(), unhex::<32>(SHA256));
    assert_eq!(module.hear("AT+QIOTOTARD=27954,1"), "\r\nERROR\r\n");
    assert_eq!(
        module.hear("AT+QIOTUPDATE=3"),
        [OK, &urc("7,10704")].concat()
    );
    assert_eq!(
        module.hear("AT+QIOTMCUVER=\"STM32\",\"2_0_0\""),
        [OK, &urc("7,10705")].concat()
    );
    assert_eq!(
        module.hear("AT+QIOTMCUVER?"),
        ["\r\n+QIOTMCUVER: \"STM32\",\"2_0_0\"\r\n", OK].concat()
    );
}

#[test]
fn several_pieces_each_released_by_action_2() {
    let mut module = opened(16 * 1024);
    let heard = module.hear("AT+QIOTUPDATE=1");
    assert!(heard.contains(&download_start()));
    let mut image: Vec<u8> = Vec::new();
    let mut pieces = 0;
    let mut heard = heard;
    loop {
        pieces += 1;
        let piece = heard.split("+QIOTEVT: 7,10703,").nth(1).expect("a piece");
        let numbers: Vec<usize> = piece
            .trim_end()
            .split(',')
            .skip(1)
            .map(|number| number.parse().unwrap())
            .collect();
        let [LENGTH, start, length] = numbers[..] else {
            panic!("{heard}");
        };
        assert_eq!(start, image.len());
        assert_eq!(
            module.hear("AT+QIOTOTARD=?").split("\r\n").nth(1).unwrap(),
            format!("+QIOTOTARD: {start},(1-1024)")
        );
        // Any range, any number of times.
        let once = module.read(start + 5, 100);
        assert_eq!(module.read(start + 5, 100), once);
        while image.len() < start + length {
            image.extend(module.read(image.len(), 1000));
        }
        if image.len() == LENGTH {
            break;
        }
        assert_eq!(
            module.hear("AT+QIOTUPDATE=3"),
            "\r\nERROR\r\n",
            "not the last piece"
        );
        heard = module.hear("AT+QIOTUPDATE=2");
        assert!(
            heard.starts_with(OK) && heard.contains("7,10702"),
            "{heard}"
        );
        assert!(!heard.contains("10701"), "10701 comes once");
    }
    assert!(pieces > 1);
    assert_eq!(image, package());
    assert_eq!(module.hear("AT+QIOTUPDATE=2"), "\r\nERROR\r\n");
    assert_eq!(
        module.hear("AT+QIOTUPDATE=3"),
        [OK, &urc("7,10704")].concat()
    );
}

#[test]
fn a_bad_package_is_10706_with_its_reason_and_no_action_3() {
    let mut module = opened(32 * 1024);
    module.package[20_000] ^= 1;
    assert_eq!(module.hear("AT+SOTAERR=1"), OK);
    let heard = module.hear("AT+QIOTUPDATE=1");
    assert!(!heard.contains("10703"), "{heard}");
    assert!(
        heard.ends_with(
            &[
                urc("7,10706"),
                "\r\n+SOTAERR: 9,\"DigestMismatch\"\r\n".into()
            ]
            .concat()
        ),
        "{heard}"
    );
    assert_eq!(module.hear("AT+QIOTUPDATE=3"), "\r\nERROR\r\n");
}

#[test]
fn a_plan_of_two_components_is_asked_once_and_goes_one_after_the_other() {
    let plan = &["STM32", "ESP32"];
    let mut module = opened_with(32 * 1024, plan);
    let mut heard = module.hear("AT+QIOTUPDATE=1");
    let mut before = [OK, &urc("7,10707")].concat();
    for component in plan {
        let piece = format!("7,10703,\"{component}\",27954,0,27954");
        let start = download_start_of(component);
        assert_eq!(heard, [before, start, urc("7,10702"), urc(&piece)].concat());
        let mut image = Vec::new();
        while image.len() < LENGTH {
            image.extend(module.read(image.len(), 1024));
        }
        assert_eq!(image, package());
        let updating = [OK, &urc("7,10704")].concat();
        assert_eq!(module.hear("AT+QIOTUPDATE=3"), updating);
        heard = module.hear(&format!("AT+QIOTMCUVER=\"{component}\",\"2_0_0\""));
        before = [OK, &urc("7,10705")].concat();
    }
    assert_eq!(heard, before);
    assert_eq!(module.engine.state(), State::None);
}

#[test]
fn the_end_of_one_component_of_a_plan_is_the_end_of_the_others() {
    let mut module = opened_with(32 * 1024, &["STM32", "ESP32"]);
    assert_eq!(module.hear("AT+SOTAERR=1"), OK);
    module.hear("AT+QIOTUPDATE=1");
    let failed = |number: &str| {
        let name = format!("\r\n+SOTAERR: {number}\r\n");
        [urc("7,10706"), name].concat()
    };
    assert_eq!(
        module.hear("AT+QIOTMCUVER=\"STM32\",\"9\""),
        [
            OK,
            &failed("8,\"McuRunsOtherVersion\""),
            &failed("26,\"OtherComponentFailed\"")
        ]
        .concat()
    );
    let mut module = opened_with(32 * 1024, &["STM32", "ESP32"]);
    assert_eq!(
        module.hear("AT+QIOTUPDATE=0"),
        [OK, &urc("7,10707")].concat()
    );
}
