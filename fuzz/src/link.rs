//! The link between module and MCU: its frames, and both its ends on one line.
//!
//! The input's first byte says which. In a script for the ends what must hold: nothing panics, no end talks or spins
//! without end, all that is sent are frames, flash is written inside the slot and only where it is erased; an image is
//! installed only if it is the package's, unless the peer was forged. **And afterwards, with both ends reset and the line
//! good, an upgrade succeeds.**

use sota_link::field::{Boot, Hello, Image, Package, Plan, Resume};
use sota_link::frame::{Rx, encode, frame_len};
use sota_link::mcu::{self, Slot, WriteError};
use sota_link::message::{Message, Side};
use sota_link::module::{self, Input as Event, Output, Source};
use sota_link::{Config, Line};

use crate::input::Input;

const BLOCK: u16 = 256;
const FRAME: usize = frame_len(BLOCK as usize);
const LENGTH: u32 = 3_000;
const PIECE: u32 = 2_048;
const PAGE: usize = 512;
const PAGES: usize = 8;
/// Operations of one run.
const MOST: usize = 300;

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    match input.u8() % 4 {
        0 => frames(input.0),
        _ => Ends::new().script(&mut input),
    }
}

/// Every message that is read is written and read as the same.
fn frames(mut bytes: &[u8]) {
    let mut rx = Rx::<FRAME>::new();
    while !bytes.is_empty() {
        bytes = &bytes[rx.feed(bytes)..];
        if !rx.is_complete() {
            continue;
        }
        if let Ok(body) = rx.body() {
            for from in [Side::Module, Side::Mcu] {
                let Ok(message) = Message::parse(&body, from) else {
                    continue;
                };
                let mut out = [0; 2 * FRAME];
                let n = message.encode(&mut out, from, body.tag);
                let mut again = Rx::<{ 2 * FRAME }>::new();
                assert_eq!(again.feed(&out[..n]), n, "one frame");
                let body = again.body().expect("what was written is a frame");
                let read = Message::parse(&body, from);
                // A module's hello has fewer fields.
                if !matches!((&message, from), (Message::Hello { .. }, Side::Module)) {
                    assert_eq!(read.as_ref(), Ok(&message));
                }
            }
        }
        rx.clear();
    }
}

fn package() -> Vec<u8> {
    (0..LENGTH).map(|i| ((i / 7 * 31) ^ i) as u8).collect()
}

struct Flash {
    memory: Vec<u8>,
    erased: [bool; PAGES],
    mark: Option<Resume>,
}

impl Slot for Flash {
    fn resume(&mut self) -> Option<Resume> {
        self.mark
    }
    fn begin(&mut self, image: &Image) -> Result<u32, u16> {
        let digest = image.digest().ok_or(625_u16)?;
        self.erased = [false; PAGES];
        match self.mark {
            Some(mark) if (mark.length, mark.digest) == (image.length, digest) => {}
            _ => {
                self.mark = Some(Resume {
                    offset: 0,
                    length: image.length,
                    digest,
                })
            }
        }
        Ok(self.mark.map_or(0, |mark| mark.offset))
    }
    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), WriteError> {
        let at = offset as usize;
        let page = at / PAGE;
        if !self.erased[page] {
            self.memory[page * PAGE..(page + 1) * PAGE].fill(0xFF);
            self.erased[page] = true;
        }
        let place = &mut self.memory[at..at + data.len()];
        assert!(place.iter().all(|byte| *byte == 0xFF), "written twice");
        place.copy_from_slice(data);
        Ok(())
    }
    fn commit(&mut self, offset: u32) -> u32 {
        let Some(mark) = &mut self.mark else {
            return 0;
        };
        mark.offset = match offset >= mark.length {
            true => mark.length,
            false => offset - offset % PAGE as u32,
        };
        mark.offset
    }
    fn forget(&mut self) {
        self.mark = None;
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Offered,
    Holding(u32),
    Installing,
    Updated,
    Failed,
}

/// The module's component: a package in two pieces.
struct Component {
    stage: Stage,
    bytes: Vec<u8>,
}

impl Component {
    fn package() -> Event {
        Event::Package(Package {
            target: "2".try_into().expect("short"),
            image: Image {
                length: LENGTH,
                crc32: Some(7),
                ..Image::default()
            },
            ..Package::default()
        })
    }

    fn piece(start: u32) -> Event {
        let length = PIECE.min(LENGTH - start);
        Event::Piece { start, length }
    }

    fn act(&mut self, output: Output, peer: (&str, Boot)) -> Vec<Event> {
        let hold = |start| {
            (
                Stage::Holding(start),
                vec![Self::package(), Self::piece(start)],
            )
        };
        let (stage, events) = match (output, self.stage) {
            (Output::Announce, Stage::Offered) => (self.stage, vec![Event::Plan(Plan::default())]),
            (Output::Announce, Stage::Holding(start)) => hold(start),
            (Output::Announce, Stage::Installing) => {
                (self.stage, vec![Self::package(), Event::Installing])
            }
            (Output::Confirm, Stage::Offered) => hold(0),
            (Output::Release, Stage::Holding(0)) => hold(PIECE),
            (Output::Rewind(offset), Stage::Holding(_)) => hold(offset / PIECE * PIECE),
            (Output::Install, Stage::Holding(PIECE)) => {
                (Stage::Installing, vec![Event::Installing])
            }
            (Output::Refuse(_), Stage::Offered) => (Stage::Failed, vec![]),
            (Output::Cancel(number), Stage::Holding(_)) => {
                (Stage::Failed, vec![Event::Failed(number)])
            }
            (Output::Running, _) if peer == ("2", Boot::Confirmed) => {
                (Stage::Updated, vec![Event::Updated])
            }
            _ => return vec![],
        };
        self.stage = stage;
        events
    }
}

impl Source for Component {
    fn read(&mut self, offset: u32, out: &mut [u8]) -> bool {
        let (from, to) = (offset as usize, offset as usize + out.len());
        let inside = matches!(self.stage, Stage::Holding(start) if offset >= start
            && to as u32 <= LENGTH.min(start + PIECE));
        if inside {
            out.copy_from_slice(&self.bytes[from..to]);
        }
        inside
    }
}

struct Ends {
    now: u64,
    module: module::Link<FRAME>,
    mcu: mcu::Link<FRAME>,
    component: Component,
    flash: Flash,
    /// Bytes on the line, from the module and from the MCU.
    line: [Vec<u8>; 2],
    sessions: [u16; 2],
    version: &'static str,
    pulls: bool,
    /// Frames came that the other end did not send.
    forged: bool,
    verify: bool,
}

impl Ends {
    fn new() -> Self {
        let mut ends = Ends {
            now: 0,
            module: module::Link::new(0, Config::default()),
            mcu: mcu::Link::new(0, mcu::Config::default()),
            component: Component {
                stage: Stage::Offered,
                bytes: package(),
            },
            flash: Flash {
                memory: vec![0; PAGE * PAGES],
                erased: [false; PAGES],
                mark: None,
            },
            line: [Vec::new(), Vec::new()],
            sessions: [0x1000, 0x2000],
            version: "1",
            pulls: false,
            forged: false,
            verify: false,
        };
        ends.reset(0);
        ends.reset(1);
        ends
    }

    fn reset(&mut self, end: usize) {
        self.sessions[end] += 1;
        let (window, rate) = (4, 921_600);
        let (baud, session) = (115_200, self.sessions[end]);
        match end {
            0 => {
                let hello = Hello {
                    block: BLOCK,
                    window,
                    rate,
                    ..Hello::default()
                };
                let config = Config {
                    hello,
                    baud,
                    session,
                };
                self.module = module::Link::new(self.now, config);
            }
            _ => {
                let config = mcu::Config {
                    block: BLOCK,
                    window,
                    rate,
                    slot: (PAGE * PAGES) as u32,
                    version: self.version,
                    pulls: self.pulls,
                    baud,
                    session,
                    ..mcu::Config::default()
                };
                self.mcu = mcu::Link::new(self.now, config);
                self.verify = false;
            }
        }
    }

    fn script(mut self, input: &mut Input<'_>) {
        self.pulls = input.flag();
        for _ in 0..MOST {
            if input.is_empty() {
                break;
            }
            let op = input.u8();
            let end = usize::from(op >> 7);
            match op & 15 {
                0 => self.now += u64::from(input.u16()),
                1 => self.reset(end),
                2 => {
                    let n = usize::from(input.u8()).min(self.line[end].len());
                    self.line[end].drain(..n);
                }
                3 => {
                    let at = usize::from(input.u16());
                    if let Some(byte) = self.line[end].get_mut(at) {
                        *byte ^= input.u8();
                    }
                }
                4 => {
                    let bytes = input.chunk();
                    self.line[end].splice(0..0, bytes.iter().copied());
                }
                5 => self.forge(end, input),
                6 => self.mcu.hold(input.flag()),
                7 => {
                    let bytes = self.line[end].clone();
                    self.line[end].extend(bytes.iter().take(2 * FRAME));
                }
                8 => self.mcu.ask_for_plan(),
                9 => self.verified(input.flag()),
                10 => self.component.stage = Stage::Offered,
                11 => self.module.input(match input.u8() % 4 {
                    0 => Event::Downloading,
                    1 => Event::Failed(15),
                    2 => Event::Installing,
                    _ => Component::piece(0),
                }),
                _ => self.turn(usize::from(input.u8()) * 8),
            }
            self.settle();
        }
        self.afterwards();
    }

    /// With the line good and both ends reset an upgrade succeeds.
    fn afterwards(mut self) {
        self.line = [Vec::new(), Vec::new()];
        self.version = "1";
        self.component.stage = Stage::Offered;
        // Whoever forged frames may have put anything into flash.
        self.flash.mark = None;
        self.forged = false;
        self.reset(0);
        self.reset(1);
        for _ in 0..20_000 {
            self.turn(usize::MAX);
            self.verified(true);
            if self.component.stage == Stage::Updated {
                return;
            }
            if self.line.iter().all(Vec::is_empty) {
                let next = [self.module.deadline(), self.mcu.deadline()];
                let next = next.into_iter().flatten().min().unwrap_or(0);
                self.now = next.max(self.now + 1);
            }
        }
        panic!(
            "no upgrade: {:?} {:?}",
            self.component.stage,
            self.mcu.phase()
        );
    }

    /// A frame that the other end did not send, with the right CRC and tag.
    fn forge(&mut self, end: usize, input: &mut Input<'_>) {
        self.forged = true;
        let kind = input.u8();
        let tag = match kind & 0x3F {
            1 | 2 => 0,
            _ => self.sessions[0] ^ self.sessions[1],
        };
        let mut out = [0; 2 * FRAME];
        let payload = input.chunk();
        let n = encode(&mut out, kind, tag, |w| {
            w.bytes(payload);
        });
        self.line[end].extend_from_slice(&out[..n]);
    }

    fn verified(&mut self, good: bool) {
        if std::mem::take(&mut self.verify) {
            self.mcu.verified(good, &mut self.flash);
            self.mcu.install();
        }
    }

    /// Up to `most` bytes each way.
    fn turn(&mut self, most: usize) {
        let from_module = self.line[0].len().min(most);
        let bytes: Vec<u8> = self.line[0].drain(..from_module).collect();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            rest = &rest[self.mcu.on_bytes(rest)..];
            self.settle();
        }
        let from_mcu = self.line[1].len().min(most);
        let bytes: Vec<u8> = self.line[1].drain(..from_mcu).collect();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            rest = &rest[self.module.on_bytes(rest)..];
            self.settle();
        }
        self.settle();
    }

    /// Both ends work until they have nothing to do.
    fn settle(&mut self) {
        let mut out = [0; FRAME];
        for turn in 0.. {
            assert!(turn < 1_000, "the module never comes to rest");
            while let Some(output) = self.module.poll(self.now, &mut self.component) {
                let peer = self.module.peer();
                let peer = (peer.version.as_str(), peer.boot);
                for event in self.component.act(output, peer) {
                    self.module.input(event);
                }
            }
            let n = self.module.next_tx(&mut out);
            self.line[0].extend_from_slice(&out[..n]);
            if n == 0 {
                break;
            }
            is_frames(&out[..n], Side::Module);
        }
        assert!(self.module.deadline().is_none_or(|at| at > self.now));
        for turn in 0.. {
            assert!(turn < 1_000, "the MCU never comes to rest");
            while let Some(output) = self.mcu.poll(self.now, &mut self.flash) {
                match output {
                    mcu::Output::Plan => self.mcu.accept(),
                    mcu::Output::Verify => self.verify = true,
                    mcu::Output::Install => {
                        let image = &self.flash.memory[..LENGTH as usize];
                        assert!(self.forged || image == self.component.bytes);
                        self.version = "2";
                        return self.reset(1);
                    }
                    mcu::Output::Line(Line::Up) => self.verify = false,
                    _ => {}
                }
            }
            let n = self.mcu.next_tx(&mut out);
            self.line[1].extend_from_slice(&out[..n]);
            if n == 0 {
                break;
            }
            is_frames(&out[..n], Side::Mcu);
        }
        assert!(self.mcu.deadline().is_none_or(|at| at > self.now));
    }
}

/// What an end gives is whole frames, each a message of its side.
fn is_frames(mut bytes: &[u8], from: Side) {
    let mut rx = Rx::<FRAME>::new();
    while !bytes.is_empty() {
        bytes = &bytes[rx.feed(bytes)..];
        if rx.is_complete() {
            let body = rx.body().expect("a frame");
            assert!(Message::parse(&body, from).is_ok(), "type {}", body.kind);
            rx.clear();
        }
    }
}

/// An upgrade as a script, and what was on the line.
pub fn record(pulls: bool) -> (Vec<u8>, Vec<u8>) {
    let mut ends = Ends::new();
    ends.pulls = pulls;
    ends.reset(1);
    let (mut script, mut line) = (vec![1, u8::from(pulls)], vec![0]);
    while ends.component.stage != Stage::Updated {
        line.extend(ends.line.concat());
        script.extend([12, 255, 9, 1]);
        ends.turn(255 * 8);
        ends.verified(true);
        if ends.line.iter().all(Vec::is_empty) {
            script.extend([0, 250, 0]);
            ends.now += 250;
        }
        assert!(script.len() < 10_000, "the recorded upgrade does not end");
    }
    (script, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_upgrades_run_as_scripts() {
        for pulls in [false, true] {
            let (script, line) = record(pulls);
            run(&script);
            run(&line);
        }
    }

    #[test]
    fn scripts_of_noise() {
        let mut state = 1_u32;
        for _ in 0..300 {
            let script: Vec<u8> = (0..400)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            run(&script);
        }
    }
}
