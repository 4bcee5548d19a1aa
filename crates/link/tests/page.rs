//! The examples of `docs/link.md`, which another program wrote, are read and written as they stand there.

use sota_link::field::{Boot, Digest, Hello, Image, Package, Plan, Resume};
use sota_link::frame::{CONTROL_LEN, Rx, frame_len};
use sota_link::message::{ANSWER, Ack, McuPhase, Message, ModulePhase, Side, State};

const TAG: u16 = 0x1234 ^ 0xBEEF;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

/// The page's line on the wire of the example with this name.
fn example(name: &str) -> Vec<u8> {
    let page = include_str!("../../../docs/link.md");
    let start = format!("| {name} | `");
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(&start))
        .unwrap_or_else(|| panic!("no example {name:?} on the page"));
    hex(line.strip_suffix("` |").unwrap())
}

fn check(name: &str, from: Side, tag: u16, message: &Message) {
    let bytes = example(name);
    let mut out = [0; CONTROL_LEN];
    let n = message.encode(&mut out, from, tag);
    assert_eq!(out[..n], bytes, "{name}: written");
    read(name, from, tag, message);
}

fn read(name: &str, from: Side, tag: u16, message: &Message) {
    let bytes = example(name);
    let mut rx = Rx::<{ frame_len(64) }>::new();
    assert_eq!(rx.feed(&bytes), bytes.len());
    let body = rx.body().unwrap();
    assert_eq!(body.tag, tag, "{name}");
    assert_eq!(
        Message::parse(&body, from).as_ref(),
        Ok(message),
        "{name}: read"
    );
}

fn sha256() -> [u8; 32] {
    core::array::from_fn(|i| i as u8)
}

fn ack(phase: McuPhase, seen: u8, number: u16, bitmap: u8, offset: u32) -> Message<'static> {
    Message::Ack(Ack {
        transfer: 1,
        phase,
        seen,
        number,
        window: 8,
        bitmap,
        offset,
    })
}

#[test]
fn hellos() {
    let fields = Hello {
        block: 1024,
        window: 8,
        page: 4096,
        slot: 0x38000,
        component: "STM32".try_into().unwrap(),
        version: "1_0_0".try_into().unwrap(),
        boot: Boot::Confirmed,
        resume: Some(Resume {
            offset: 8192,
            length: 27954,
            digest: Digest::sha256(sha256()),
        }),
        hardware: "rev-b".try_into().unwrap(),
        bootloader: "boot-3".try_into().unwrap(),
        rate: 921_600,
        pulls: false,
        asks: false,
    };
    let hello = |answer, session, peer, fields| Message::Hello {
        answer,
        version: 1,
        session,
        peer,
        fields,
    };
    check(
        "hello of the MCU",
        Side::Mcu,
        0,
        &hello(false, 0xBEEF, 0, fields),
    );
    let fields = Hello {
        block: 1024,
        window: 8,
        rate: 921_600,
        ..Hello::default()
    };
    check(
        "answer of the module",
        Side::Module,
        0,
        &hello(true, 0x1234, 0xBEEF, fields),
    );
    let fields = Hello {
        block: 512,
        ..Hello::default()
    };
    read(
        "an unknown field is ignored",
        Side::Mcu,
        0,
        &hello(false, 0xBEEF, 0, fields),
    );
}

#[test]
fn from_plan_to_go() {
    let plan = Message::Plan {
        transfer: 1,
        phase: 1,
        plan: Plan {
            component: "STM32".try_into().unwrap(),
            target: "2_0_0".try_into().unwrap(),
            use_space: 27954,
            ..Plan::default()
        },
    };
    check("plan", Side::Module, TAG, &plan);
    let accepted = ack(McuPhase::Accepted, 1 | ANSWER, 0, 0, 0);
    check("accepted", Side::Mcu, TAG, &accepted);
    let package = Message::Package {
        transfer: 1,
        phase: 2,
        package: Package {
            component: "STM32".try_into().unwrap(),
            target: "2_0_0".try_into().unwrap(),
            image: Image {
                length: 27954,
                sha256: Some(sha256()),
                crc32: Some(0x1234_5678),
                md5: None,
            },
            ..Package::default()
        },
    };
    check("package", Side::Module, TAG, &package);
    let refused = ack(McuPhase::Refused, 2 | ANSWER, 402, 0, 0);
    check(
        "refused, the slot is too small (402)",
        Side::Mcu,
        TAG,
        &refused,
    );
    let receiving = ack(McuPhase::Receiving, 2 | ANSWER, 0, 0, 8192);
    check("receiving, 8192 durable", Side::Mcu, TAG, &receiving);
    let bytes: [u8; 16] = core::array::from_fn(|i| i as u8);
    let data = Message::Data {
        transfer: 1,
        offset: 27648,
        bytes: &bytes,
    };
    check("data, 16 bytes at 27648", Side::Module, TAG, &data);
    let gap = ack(McuPhase::Receiving, 2, 0, 0b1011, 8192);
    check(
        "ack: 8192 durable, blocks 8, 9 and 11 are there",
        Side::Mcu,
        TAG,
        &gap,
    );
    let request = Message::Request {
        transfer: 1,
        offset: 8192,
        length: 2048,
    };
    check("request of 2048 at 8192", Side::Mcu, TAG, &request);
    let state = |phase, seen, start, end| {
        Message::State(State {
            transfer: 1,
            phase,
            seen,
            number: 0,
            start,
            end,
        })
    };
    let readable = state(ModulePhase::Package, 4, 0, 16384);
    check(
        "state: 0 to 16384 can be read",
        Side::Module,
        TAG,
        &readable,
    );
    let go = state(ModulePhase::Install, 7 | ANSWER, 16384, 27954);
    check("go: install", Side::Module, TAG, &go);
}

#[test]
fn rate_and_error() {
    let baud = 921_600;
    let ask = Message::Rate {
        answer: false,
        baud,
    };
    check("rate 921600", Side::Module, TAG, &ask);
    let agreed = Message::Rate { answer: true, baud };
    check("rate, agreed", Side::Mcu, TAG, &agreed);
    let probe = Message::Probe {
        answer: false,
        baud,
    };
    check("probe", Side::Module, TAG, &probe);
    let error = sota_errors::LinkError::LinkBadOffset;
    let error = Message::Error {
        number: error.number(),
        name: error.name(),
    };
    check("error 607", Side::Mcu, TAG, &error);
}

/// Each example of the page is checked by one of the tests above.
#[test]
fn no_example_is_left_out() {
    let page = include_str!("../../../docs/link.md");
    let examples = page.split("\n## Examples\n").nth(1).unwrap();
    let names = examples
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter_map(|line| line.split_once(" | `"));
    let tests = include_str!("page.rs");
    let mut count = 0;
    for (name, _) in names {
        assert!(tests.contains(&format!("\"{name}\"")), "{name}");
        count += 1;
    }
    assert_eq!(count, 17);
}

/// The numbers of the page's list of errors are those of the catalogue.
#[test]
fn errors_of_the_page_are_in_the_catalogue() {
    let page = include_str!("../../../docs/link.md");
    for error in sota_errors::LinkError::ALL {
        let number = error.number().to_string();
        assert!(page.contains(&number), "{error}");
    }
}
