//! Peers that send what they like: nothing panics, no end talks or spins without end, and what is wrong is told by number.

mod world;

use proptest::prelude::*;
use sota_errors::LinkError;
use sota_link::field::{Boot, Hello, Image, Package, Plan};
use sota_link::frame::{Rx, frame_len};
use sota_link::mcu::{self, Slot, WriteError};
use sota_link::message::{Ack, McuPhase, Message, ModulePhase, Side, State};
use sota_link::module::{self, Input, Source};
use sota_link::{Config, Line};

const BLOCK: usize = 256;
const FRAME: usize = frame_len(BLOCK);
const SESSION: u16 = 0x1111;
const PEER: u16 = 0x2222;

/// Takes every block inside its slot.
struct AnySlot;

const SLOT: u32 = 0x8000;

impl Slot for AnySlot {
    fn resume(&mut self) -> Option<sota_link::field::Resume> {
        None
    }
    fn begin(&mut self, image: &Image) -> Result<u32, u16> {
        assert!(image.length <= SLOT);
        Ok(image.length / 3)
    }
    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), WriteError> {
        assert!(offset as usize + data.len() <= SLOT as usize);
        match offset % 7 {
            0 => Err(WriteError::Redo(offset / 2)),
            _ => Ok(()),
        }
    }
    fn commit(&mut self, offset: u32) -> u32 {
        offset
    }
    fn forget(&mut self) {}
}

struct AnySource;

impl Source for AnySource {
    fn read(&mut self, offset: u32, out: &mut [u8]) -> bool {
        out.fill(offset as u8);
        !offset.is_multiple_of(5)
    }
}

/// One end with its hostile peer.
#[allow(clippy::large_enum_variant)]
enum End {
    Module(module::Link<FRAME>, Vec<module::Output>),
    Mcu(mcu::Link<FRAME>, Vec<mcu::Output>),
}

struct Test {
    end: End,
    now: u64,
    sent: Vec<u8>,
}

impl Test {
    fn new(side: Side) -> Test {
        let (block, window, rate) = (BLOCK as u16, 8, 921_600);
        let (baud, session) = (115_200, SESSION);
        let hello = Hello {
            block,
            window,
            rate,
            ..Hello::default()
        };
        let module = Config {
            hello,
            baud,
            session,
        };
        let mcu = mcu::Config {
            block,
            window,
            rate,
            slot: SLOT,
            component: "A",
            version: "1",
            baud,
            session,
            ..mcu::Config::default()
        };
        let end = match side {
            Side::Module => End::Module(module::Link::new(0, module), Vec::new()),
            Side::Mcu => End::Mcu(mcu::Link::new(0, mcu), Vec::new()),
        };
        let mut test = Test {
            end,
            now: 0,
            sent: Vec::new(),
        };
        test.run();
        test
    }

    fn peer(&self) -> Side {
        match self.end {
            End::Module(..) => Side::Mcu,
            End::Mcu(..) => Side::Module,
        }
    }

    /// Works until there is nothing more to do, and looks that there is not.
    fn run(&mut self) {
        for turn in 0.. {
            assert!(turn < 2_000, "it never comes to rest");
            let mut out = [0; 100];
            let (n, deadline) = match &mut self.end {
                End::Module(link, outputs) => {
                    while let Some(output) = link.poll(self.now, &mut AnySource) {
                        outputs.push(output);
                        assert!(outputs.len() < 100_000);
                    }
                    (link.next_tx(&mut out), link.deadline())
                }
                End::Mcu(link, outputs) => {
                    while let Some(output) = link.poll(self.now, &mut AnySlot) {
                        match &output {
                            mcu::Output::Plan => link.accept(),
                            mcu::Output::Verify => {
                                link.verified(!self.now.is_multiple_of(3), &mut AnySlot)
                            }
                            _ => {}
                        }
                        outputs.push(output);
                    }
                    (link.next_tx(&mut out), link.deadline())
                }
            };
            self.sent.extend_from_slice(&out[..n]);
            if n == 0 {
                assert!(deadline.is_none_or(|at| at > self.now), "it spins");
                return;
            }
        }
    }

    fn bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = match &mut self.end {
                End::Module(link, _) => link.on_bytes(bytes),
                End::Mcu(link, _) => link.on_bytes(bytes),
            };
            bytes = &bytes[n..];
            self.run();
        }
    }

    fn message(&mut self, message: &Message) {
        let mut out = [0; 2 * FRAME];
        let tag = match message {
            Message::Hello { .. } => 0,
            _ => SESSION ^ PEER,
        };
        let n = message.encode(&mut out, self.peer(), tag);
        self.bytes(&out[..n]);
    }

    fn hello(&mut self) {
        self.message(&Message::Hello {
            answer: false,
            version: 1,
            session: PEER,
            peer: 0,
            fields: Hello {
                block: 1024,
                window: 8,
                rate: 921_600,
                ..Hello::default()
            },
        });
        self.sent.clear();
    }

    /// Time passes until the end has something to do.
    fn wait(&mut self, most: u64) {
        let deadline = match &self.end {
            End::Module(link, _) => link.deadline(),
            End::Mcu(link, _) => link.deadline(),
        };
        self.now = deadline
            .unwrap_or(u64::MAX)
            .clamp(self.now + 1, self.now + most);
        self.run();
    }

    /// Error frames sent so far; everything sent is a frame.
    fn errors(&mut self) -> Vec<u16> {
        let from = match self.peer() {
            Side::Mcu => Side::Module,
            Side::Module => Side::Mcu,
        };
        let (mut rx, mut errors, mut bytes) = (Rx::<FRAME>::new(), Vec::new(), &self.sent[..]);
        while !bytes.is_empty() {
            bytes = &bytes[rx.feed(bytes)..];
            if rx.is_complete() {
                let body = rx.body().expect("a whole frame");
                match Message::parse(&body, from).expect("a message") {
                    Message::Error { number, .. } => errors.push(number),
                    message => assert_ne!(message.kind(), 0),
                }
                rx.clear();
            }
        }
        self.sent.clear();
        errors
    }

    fn faults(&self) -> Vec<LinkError> {
        let lines: Vec<Line> = match &self.end {
            End::Module(_, outputs) => outputs
                .iter()
                .filter_map(|o| match o {
                    module::Output::Line(line) => Some(*line),
                    _ => None,
                })
                .collect(),
            End::Mcu(_, outputs) => outputs
                .iter()
                .filter_map(|o| match o {
                    mcu::Output::Line(line) => Some(*line),
                    _ => None,
                })
                .collect(),
        };
        lines
            .iter()
            .filter_map(|line| match line {
                Line::Fault(number) => LinkError::from_number(*number),
                _ => None,
            })
            .collect()
    }
}

fn package(length: u32) -> Message<'static> {
    Message::Package {
        transfer: 1,
        phase: 2,
        package: Package {
            image: Image {
                length,
                crc32: Some(1),
                ..Image::default()
            },
            ..Package::default()
        },
    }
}

/// Each kind of bad frame, its number in an Error frame and in the log; for both ends.
#[test]
fn bad_frames_are_told_by_number() {
    type Bad = fn(Side) -> Vec<u8>;
    fn frame(kind: u8, from: Side, payload: &[u8]) -> Vec<u8> {
        let mut out = [0; 2 * FRAME];
        let n = sota_link::frame::encode(&mut out, kind | from.bit(), SESSION ^ PEER, |w| {
            w.bytes(payload);
        });
        out[..n].to_vec()
    }
    let cases: [(LinkError, Bad); 6] = [
        (LinkError::LinkVersion, |from| {
            frame(1, from, &[0, 1, 1, 0, 0])
        }),
        (LinkError::LinkFrameTooLong, |_| {
            [&[1; 2 * FRAME][..], &[0]].concat()
        }),
        (LinkError::LinkFrameCrc, |_| vec![0, 3, 1, 2, 0]),
        (LinkError::LinkUnknownType, |from| frame(0x33, from, b"?")),
        (LinkError::LinkMalformed, |from| frame(4, from, &[1, 2])),
        (LinkError::LinkMalformed, |from| frame(8, from, &[1; 5])),
    ];
    for side in [Side::Module, Side::Mcu] {
        for (error, bytes) in &cases {
            let mut test = Test::new(side);
            test.hello();
            let bytes = bytes(test.peer());
            test.bytes(&bytes);
            assert_eq!(test.errors(), [error.number()], "{side:?} {error}");
            assert_eq!(test.faults(), [*error], "{side:?}");
            // A hundred more in the same second make no more frames.
            for _ in 0..100 {
                test.bytes(&bytes);
            }
            assert_eq!(test.errors(), [0u16; 0]);
        }
    }
}

#[test]
fn offsets_beyond_the_image() {
    for (offset, len) in [
        (100, 256),
        (5_000, 256),
        (4864, 256),
        (0, 255),
        (u32::MAX - 255, 256),
    ] {
        let mut test = Test::new(Side::Mcu);
        test.hello();
        test.message(&package(5_000));
        test.errors();
        test.message(&Message::Data {
            transfer: 1,
            offset,
            bytes: &[7; 256][..len],
        });
        assert_eq!(test.errors(), [607], "{offset} {len}");
    }
    for (offset, length) in [
        (1, 100),
        (0, 0),
        (0, 5_001),
        (u32::MAX - 255, 256),
        (4864, 256),
    ] {
        let mut test = Test::new(Side::Module);
        test.hello();
        let End::Module(link, _) = &mut test.end else {
            unreachable!()
        };
        let Message::Package { package, .. } = package(5_000) else {
            unreachable!()
        };
        link.input(Input::Package(package));
        test.run();
        test.errors();
        // The transfer's number: the one after the hello's.
        test.message(&Message::Request {
            transfer: 2,
            offset,
            length,
        });
        assert_eq!(test.errors(), [607], "{offset} {length}");
        test.now += 2_000;
        test.message(&Message::Ack(Ack {
            transfer: 2,
            phase: McuPhase::Receiving,
            offset: 5_001,
            ..Ack::default()
        }));
        assert_eq!(test.errors(), [607]);
    }
}

/// What it sends comes back to it: it stays down, says so, and does not talk more than alone.
#[test]
fn an_echo() {
    for side in [Side::Module, Side::Mcu] {
        let mut test = Test::new(side);
        let mut total = 0;
        while test.now < 120_000 {
            let echo = std::mem::take(&mut test.sent);
            total += echo.len();
            test.bytes(&echo);
            test.wait(1_000);
        }
        assert!(test.faults().contains(&LinkError::LinkEcho));
        assert!(test.faults().iter().all(|f| *f == LinkError::LinkEcho));
        assert!(total < 1_500, "{total} bytes in two minutes");
    }
}

fn text<const N: usize>() -> impl Strategy<Value = heapless::String<N, u8>> {
    "[a-z0-9_]{0,8}".prop_map(|text| text.as_str().try_into().unwrap())
}

fn offset() -> impl Strategy<Value = u32> {
    prop_oneof![
        (0u32..130).prop_map(|i| i * 256),
        any::<u32>(),
        Just(u32::MAX),
        0u32..0x9000
    ]
}

fn name() -> impl Strategy<Value = sota_link::field::Name> {
    prop_oneof![Just("A".try_into().unwrap()), text()]
}

fn plan() -> impl Strategy<Value = Plan> {
    (name(), text(), text(), offset()).prop_map(|(component, source, target, use_space)| Plan {
        component,
        source,
        target,
        use_space,
        ..Plan::default()
    })
}

fn some_package() -> impl Strategy<Value = Package> {
    (name(), text(), offset(), any::<Option<u32>>()).prop_map(
        |(component, target, length, crc32)| Package {
            component,
            target,
            image: Image {
                length: length.max(1),
                crc32,
                ..Image::default()
            },
            ..Package::default()
        },
    )
}

fn some_message() -> impl Strategy<Value = Message<'static>> {
    let transfer = 0u8..4;
    let seen = prop_oneof![0u8..10, any::<u8>()];
    prop_oneof![
        (
            any::<bool>(),
            0u8..3,
            0u16..3,
            any::<u8>(),
            any::<u16>(),
            any::<u32>(),
            any::<bool>()
        )
            .prop_map(
                |(answer, version, s, window, block, rate, pulls)| Message::Hello {
                    answer,
                    version,
                    session: PEER + s / 2,
                    peer: SESSION,
                    fields: Hello {
                        block: block.max(64),
                        window,
                        rate,
                        pulls,
                        boot: Boot::Reverted(block),
                        ..Hello::default()
                    },
                }
            ),
        any::<u16>().prop_map(|number| Message::Error { number, name: "x" }),
        (
            transfer.clone(),
            0u8..6,
            seen.clone(),
            any::<u16>(),
            offset(),
            offset()
        )
            .prop_map(
                |(transfer, phase, seen, number, start, end)| Message::State(State {
                    transfer,
                    phase: ModulePhase::new(phase).unwrap(),
                    seen,
                    number,
                    start,
                    end,
                })
            ),
        (transfer.clone(), 0u8..4, plan()).prop_map(|(transfer, phase, plan)| Message::Plan {
            transfer,
            phase,
            plan
        }),
        (transfer.clone(), 0u8..5, some_package()).prop_map(|(transfer, phase, package)| {
            Message::Package {
                transfer,
                phase,
                package,
            }
        }),
        (transfer.clone(), offset(), 1usize..=256).prop_map(|(transfer, offset, len)| {
            Message::Data {
                transfer,
                offset,
                bytes: &[0x77; 256][..len],
            }
        }),
        (transfer.clone(), offset()).prop_map(|(transfer, offset)| Message::Data {
            transfer,
            offset,
            bytes: &[0x77; 256],
        }),
        (any::<bool>(), any::<u32>()).prop_map(|(answer, baud)| Message::Rate { answer, baud }),
        (any::<bool>(), prop_oneof![Just(921_600), any::<u32>()])
            .prop_map(|(answer, baud)| Message::Probe { answer, baud }),
        (
            transfer.clone(),
            0u8..9,
            seen,
            any::<u16>(),
            any::<u8>(),
            any::<u8>(),
            offset()
        )
            .prop_map(|(transfer, phase, seen, number, window, bitmap, offset)| {
                Message::Ack(Ack {
                    transfer,
                    phase: McuPhase::new(phase).unwrap(),
                    seen,
                    number,
                    window,
                    bitmap,
                    offset,
                })
            }),
        (transfer, offset(), offset()).prop_map(|(transfer, offset, length)| Message::Request {
            transfer,
            offset,
            length
        }),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Message(Message<'static>),
    Garbage(Vec<u8>),
    Wait(u64),
    Input(Input),
    Install,
}

fn step() -> impl Strategy<Value = Step> {
    let input = prop_oneof![
        plan().prop_map(Input::Plan),
        some_package().prop_map(Input::Package),
        Just(Input::Downloading),
        (offset(), offset()).prop_map(|(start, length)| Input::Piece { start, length }),
        Just(Input::Installing),
        Just(Input::Updated),
        any::<u16>().prop_map(Input::Failed),
    ];
    prop_oneof![
        8 => some_message().prop_map(Step::Message),
        1 => prop::collection::vec(any::<u8>(), 0..2 * FRAME).prop_map(Step::Garbage),
        3 => (1u64..200_000).prop_map(Step::Wait),
        3 => input.prop_map(Step::Input),
        1 => Just(Step::Install),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_frames_in_any_order(module: bool, steps in prop::collection::vec(step(), 1..60)) {
        let mut test = Test::new(if module { Side::Module } else { Side::Mcu });
        test.hello();
        for step in steps {
            match step {
                Step::Message(message) => test.message(&message),
                Step::Garbage(bytes) => test.bytes(&bytes),
                Step::Wait(most) => test.wait(most),
                Step::Input(input) => {
                    if let End::Module(link, _) = &mut test.end {
                        link.input(input);
                    }
                    test.run();
                }
                Step::Install => {
                    if let End::Mcu(link, _) = &mut test.end {
                        link.install();
                        link.hold(test.now.is_multiple_of(2));
                    }
                    test.run();
                }
            }
        }
        test.errors();
    }
}
