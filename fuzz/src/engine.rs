//! The engine under any sequence of messages, commands, time, restarts and power cuts; see [`crate::checked`].
//!
//! Byte 0 is the configuration, bit 7: a good upgrade must succeed at the end. Then operations, one byte and what
//! [`step`] takes.

use sota::engine::Config;
use sota::message::{
    COMPONENTS, Command, ComponentType, Door, DownloadInfo, Event, Offer, Reason, State, ToEngine,
};
use sota::platform::Readings;

use crate::checked::{BLOCK, Checked, info, package};
use crate::flash::Parts;
use crate::input::Input;

const NAMES: [&str; 4] = ["A", "B", "module", "C"];
const VERSIONS: [&str; 5] = ["", "1_0", "2_0", "3_0", "x\"\r\n"];
const PLANS: [&str; 3] = ["p1", "p2", ""];
/// Lengths of packages: nothing, less than a block, a piece exactly, three pieces, three and a bit.
pub const LENGTHS: [usize; 6] = [0, 100, 2048, 5_000, 6_144, 1_025];
const REASONS: [Reason; 4] = [
    Reason::PackageChanged,
    Reason::PackageNotFound,
    Reason::LengthMismatch,
    Reason::BadPackageUri,
];

/// Operations per script: enough for two whole upgrades.
const MOST: usize = 400;

/// Runs one script.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.u8();
    let mut engine = Checked::start(config(choice), Parts::used());
    for _ in 0..MOST {
        if input.is_empty() {
            break;
        }
        step(&mut engine, &mut input);
    }
    if choice & 0x80 != 0 {
        engine.and_then_a_good_upgrade();
    }
}

/// The configuration that a byte means.
pub fn config(choice: u8) -> Config {
    let mut config = match choice & 1 {
        0 => Config::default(),
        _ => Config::strict(),
    };
    config.auto_confirm = choice & 2 != 0;
    config.own_component = NAMES[2].try_into().expect("short");
    config.own_version = VERSIONS[usize::from(choice & 4 != 0) + 1]
        .try_into()
        .expect("short");
    config.firmware_slot = (choice & 8 != 0).then_some(2_000);
    config.piece_limit = (choice & 16 != 0).then_some(1_024);
    if choice & 32 != 0 {
        config.own_component.clear();
    }
    config
}

/// One operation.
pub fn step(engine: &mut Checked, input: &mut Input<'_>) {
    match input.u8() % 27 {
        0 => engine.tell(ToEngine::Link(input.flag())),
        1 => offer(engine, input),
        2 => {
            let info = download_info(input);
            // Now and then of a component that has no offer.
            let instance = match info.length % 8 {
                7 => 3,
                _ => engine.shown(),
            };
            engine.tell(ToEngine::DownloadInfo {
                ticket: 2,
                instance,
                info,
            });
        }
        3 => engine.tell(ToEngine::Cancel {
            ticket: 3,
            instance: input.u8() % 7,
        }),
        4 => engine.tell(ToEngine::Install {
            ticket: 4,
            instance: input.u8() % 7,
        }),
        5 => {
            let choice = input.u8();
            let etag: &[u8] = [&b"v1"[..], b"v2", b"", b"12345678"][usize::from(choice & 3)];
            let total = match choice >> 2 & 3 {
                0 => None,
                1 => Some(input.u32()),
                _ => Some(LENGTHS[usize::from(choice >> 4) % LENGTHS.len()] as u32),
            };
            let etag = sota_coap::Etag::new(etag).unwrap_or_default();
            engine.tell(ToEngine::FetchStarted { total, etag });
        }
        6 => block(engine, input),
        7 => engine.tell(ToEngine::FetchFailed(input.of(&REASONS))),
        8 => command(engine, Command::Connect(input.flag())),
        9 => {
            let (name, version) = (input.of(&NAMES), input.of(&VERSIONS));
            command(
                engine,
                Command::SetMcuVersion(
                    name.try_into().expect("short"),
                    version.try_into().expect("short"),
                ),
            );
        }
        10 => command(engine, Command::Request(input.u8() as u32 % 3)),
        11 => command(engine, Command::Action(input.u8() % 5)),
        12 => {
            let start = match input.flag() {
                true => input.u32(),
                false => engine.engine.piece_start() + u32::from(input.u16()) % 3_000,
            };
            let len = u32::from(input.u16());
            let mut out = [0; 1024];
            let room = usize::from(input.u16()) % (out.len() + 1);
            engine.ask(Command::Read { start, len }, &mut out[..room]);
        }
        13 => {
            let offset = match input.flag() {
                true => input.u32(),
                false => u32::from(input.u16()) % 7_000,
            };
            command(engine, Command::Rewind(offset));
        }
        14 => command(engine, Command::Announce),
        15 => engine.pass(1 << (input.u8() % 22)),
        16 => engine.poll(),
        17 => engine.restart(),
        18 => engine.flash.set_power(Some(input.u8().into())),
        19 => {
            let bytes = package(input.of(&LENGTHS));
            engine.serve(bytes, input.u8().into());
        }
        20 => engine.settle(),
        21 => {
            engine.readings = Readings {
                battery_percent: input.of(&[None, Some(10), Some(90)]),
                rsrp_dbm: input.of(&[None, Some(-120), Some(-80)]),
            };
        }
        22 => mcu(engine, input.u8().into()),
        23 => engine
            .engine
            .set_mcu_slot(input.of(&[None, Some(1_000), Some(100_000)])),
        24 => {
            if engine.engine.boot_wanted() {
                let (now, flag) = (engine.now, input.flag());
                match flag {
                    true => engine.restart(),
                    false => engine.engine.boot_failed(now, &mut engine.flash),
                }
            }
        }
        25 => {
            engine.flash.staging.broken = input.flag();
            engine.flash.journal.broken = input.flag();
        }
        _ => {
            engine.config.own_version = input.of(&VERSIONS[1..4]).try_into().expect("short");
            engine.restart();
        }
    }
}

fn command(engine: &mut Checked, command: Command) {
    engine.ask(command, &mut []);
}

fn offer(engine: &mut Checked, input: &mut Input<'_>) {
    let choice = input.u8();
    let offer = Offer {
        plan: PLANS[usize::from(choice & 3) % 3]
            .try_into()
            .expect("short"),
        component: NAMES[usize::from(choice >> 2 & 3)]
            .try_into()
            .expect("short"),
        kind: match choice & 0x30 {
            0 => ComponentType::Firmware,
            _ => ComponentType::Mcu,
        },
        source: input.of(&VERSIONS).try_into().expect("short"),
        target: input.of(&VERSIONS).try_into().expect("short"),
        battery_limit_percent: input.of(&[0, 0, 30, 100]),
        min_signal_dbm: input.of(&[0, 0, -113]),
        use_space: input.of(&[0, 5_000, 2_000, u32::MAX]),
        // One of two that are offered together.
        components: choice >> 7 << 1,
    };
    let door = match choice & 0x40 {
        0 => Door::Plan,
        _ => Door::Standard,
    };
    engine.verdicts.clear();
    engine.tell(ToEngine::Offer {
        ticket: 1,
        door,
        offer: offer.clone(),
    });
    if engine.verdicts.contains(&(1, Ok(()))) {
        let place = match offer.kind {
            ComponentType::Firmware => Some(0),
            ComponentType::Mcu => engine
                .engine
                .view()
                .components
                .iter()
                .skip(1)
                .position(|its| its.name == offer.component)
                .map(|place| place + 1),
        };
        if let Some(place) = place.filter(|place| *place < COMPONENTS) {
            engine.offers[place] = Some(offer);
        }
    }
}

fn download_info(input: &mut Input<'_>) -> DownloadInfo {
    let choice = input.u8();
    let bytes = package(LENGTHS[usize::from(choice & 7) % LENGTHS.len()]);
    let mut info = info(PLANS[usize::from(choice >> 3 & 3) % 3], bytes);
    match choice >> 5 {
        0..=3 => {}
        // What a server may leave out or get wrong.
        4 => (info.md5, info.sha256) = (None, None),
        5 => (info.md5, info.crc32, info.sha256) = (None, None, None),
        6 => info.crc32 = Some(input.u32()),
        _ => info.length = input.u32(),
    }
    if choice == 0xFF {
        info.uri.clear();
    }
    info
}

/// A block of the package: the next one, one from another place, one that is cut or wrong.
fn block(engine: &mut Checked, input: &mut Input<'_>) {
    let choice = input.u8();
    let bytes = package(8_000);
    let progress = engine.engine.progress().0 as usize;
    let offset = match choice & 3 {
        0 | 1 => progress,
        2 => progress / BLOCK * BLOCK,
        _ => usize::from(input.u16()),
    };
    let len = match choice & 4 {
        0 => BLOCK,
        _ => usize::from(input.u8()),
    };
    let end = (offset + len).min(bytes.len());
    let mut data = bytes[offset.min(end)..end].to_vec();
    if let (true, Some(byte)) = (choice & 8 != 0, data.first_mut()) {
        *byte ^= 1;
    }
    let offset = match choice & 0xF0 {
        0xF0 => input.u32(),
        _ => offset as u32,
    };
    engine.tell(ToEngine::Block {
        offset,
        data: heapless::Vec::from_slice(&data).expect("a block"),
    });
}

/// What a good MCU would do about the last events.
fn mcu(engine: &mut Checked, turns: usize) {
    for _ in 0..turns.min(8) {
        let Some(event) = engine.events.pop() else {
            return;
        };
        engine.events.clear();
        match event {
            Event::Plan(_) => command(engine, Command::Action(1)),
            Event::Downloaded(Some(piece)) => {
                let mut out = [0; 512];
                let read = Command::Read {
                    start: piece.start,
                    len: piece.piece_length,
                };
                engine.ask(read, &mut out);
                let last = piece.start + piece.piece_length == piece.length;
                command(engine, Command::Action(if last { 3 } else { 2 }));
            }
            Event::Updating if engine.engine.state() == State::Updating => {
                let view = engine.engine.view();
                let active = usize::from(view.active.unwrap_or(0));
                if let Some(component) = view.components.get(active)
                    && active > 0
                {
                    command(
                        engine,
                        Command::SetMcuVersion(component.name.clone(), view.target.clone()),
                    );
                }
            }
            _ => {}
        }
    }
}
