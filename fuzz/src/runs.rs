//! Recorded runs of the targets that need no network: engine, journal, AT sessions, transfers.

use sota::message::{State, ToCloud};

use crate::at;
use crate::checked::Checked;
use crate::engine;
use crate::flash::Parts;
use crate::input::{Input, Script};

/// A script for `coap_transfer`: a download of 5000 bytes that gets these answers.
pub fn download(answers: &[&[u8]]) -> Vec<u8> {
    let mut script = Script::default();
    script.bytes(&[0]).u32(0).bytes(&[0, 4]);
    for answer in answers {
        script.bytes(&[1]).chunk(answer);
    }
    script.0
}

/// One script for each other machine of `coap_transfer`.
pub fn transfers() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for size in 0..7 {
        let mut honest = Script::default();
        honest.bytes(&[1]).u16(1_500).u16(100).bytes(&[size & 1]);
        honest.u16(1_400).bytes(&[size]);
        // Sizes that go down, answers that come twice.
        honest.bytes(&[0, 2, 0, 0, 1, 3, 2, 0, 0, 0, 1, 1, 0, 2, 0]);
        all.push((format!("honest-{size}"), honest.0));
        let mut upload = Script::default();
        upload.bytes(&[2]).u32(1_000).bytes(&[size]);
        for code in [0x10, 0x10, 0x30, 0x10, 0x40, 0x10, 0x20] {
            upload.bytes(&[code, 8 | size, 1, 0, 0]);
        }
        all.push((format!("upload-{size}"), upload.0));
        let mut assembled = Script::default();
        assembled.bytes(&[3]).u16(700).bytes(&[size, 2, 0, 0, 1, 0]);
        all.push((format!("assembled-{size}"), assembled.0));
    }
    for kind in 0..3 {
        let mut exchange = Script::default();
        exchange
            .bytes(&[4])
            .u32(1_000)
            .bytes(&[0])
            .u32(2_000)
            .u16(9);
        exchange.bytes(&[kind, 1, 1, 3, 2, 0, 0]).u32(3_000);
        exchange.bytes(&[3, 0, 1, 3, 0, 1]);
        all.push((format!("exchange-{kind}"), exchange.0));
    }
    all
}

/// The component, its version, the link, battery and signal.
const BEGIN: &[u8] = &[21, 2, 2, 0, 1, 9, 0, 1];

/// Scripts for `engine`: the ways an upgrade goes.
pub fn engine() -> Vec<(String, Vec<u8>)> {
    // Plan "p1" for component A, MCU, any source, target 2_0, limits; its information, 5000 bytes.
    let offer = |door: u8| [1, 0x10 | door, 0, 2, 2, 2, 1];
    let info = [2, 3];
    let confirm = [11, 1];
    // What the MCU does with a piece, and the blocks before it.
    let piece = |blocks: u8| [19, 3, blocks, 12, 0, 0, 0, 0, 4, 0, 4, 22, 1];
    let rest: Vec<u8> = [piece(100), piece(100), piece(100)].concat();
    let end = [22, 1, 15, 10];
    let mut all: Vec<(&str, u8, Vec<u8>)> = vec![
        ("whole", 0x80, [&confirm[..], &info, &rest].concat()),
        ("strict", 0x81, [&confirm[..], &info, &rest].concat()),
        ("auto", 0x82, [&info[..], &rest].concat()),
        (
            "small-pieces",
            0x90,
            [&confirm[..], &info, &rest, &rest].concat(),
        ),
        ("refused", 0x80, vec![11, 0]),
        (
            "cancelled",
            0x80,
            [&confirm[..], &info, &[19, 3, 3, 3, 1]].concat(),
        ),
        (
            "rewound",
            0x80,
            [
                &confirm[..],
                &info,
                &piece(100),
                &piece(100),
                &[13, 0, 0, 0],
                &rest,
                &rest,
            ]
            .concat(),
        ),
        (
            "errors",
            0x80,
            [
                &confirm[..],
                &info,
                &[19, 3, 3, 7, 0],
                &info,
                &[5, 1],
                &info,
                &rest,
            ]
            .concat(),
        ),
        (
            "corrupt",
            0x80,
            [
                &confirm[..],
                &info,
                &[20, 6, 8, 20, 19, 3, 99, 22, 1],
                &rest,
            ]
            .concat(),
        ),
        (
            "source-version",
            0x80,
            [&confirm[..], &info, &rest, &[9, 0, 1, 15, 17, 9, 0, 2]].concat(),
        ),
    ];
    for (name, at) in [("restart-4", 1), ("restart-5", 4), ("restart-8", 9)] {
        all.push((
            name,
            0x80,
            [&confirm[..], &info, &[19, 3, at, 17, 0, 1, 14], &rest].concat(),
        ));
    }
    // Power may have gone before the information was there, or with a piece complete.
    let again = [&confirm[..], &info, &[14], &rest].concat();
    for (name, after) in [("cut-3", 3), ("cut-9", 9), ("cut-14", 14), ("cut-30", 30)] {
        all.push((
            name,
            0x80,
            [
                &confirm[..],
                &info,
                &[18, after, 19, 3, 100, 0, 1],
                &again,
                &rest,
            ]
            .concat(),
        ));
    }
    let begin = |choice: u8| [&[choice][..], BEGIN].concat();
    let mut scripts: Vec<(String, Vec<u8>)> = all
        .into_iter()
        .map(|(name, choice, run)| {
            let script = [&begin(choice)[..], &offer(0), &run, &end].concat();
            (name.to_owned(), script)
        })
        .collect();
    let standard = [
        &begin(0x80)[..],
        &offer(0x40),
        &info,
        &confirm,
        &rest,
        &[4, 1],
        &end,
    ];
    scripts.push(("standard".into(), standard.concat()));
    // The module's own firmware: "module", 1025 bytes, and the boot into it.
    let own = [
        &begin(0x88)[..],
        &[1, 0x08, 0, 2, 0, 0, 0, 11, 1, 2, 5, 19, 5, 99, 26, 1],
        &end,
    ];
    scripts.push(("firmware".into(), own.concat()));
    // A and B in one plan.
    let two = [
        &begin(0x80)[..],
        &[9, 1, 1],
        &offer(0),
        &[1, 0x14, 0, 2, 0, 0, 0],
        &confirm,
        &info,
        &rest,
        &end,
        &info,
        &rest,
    ];
    scripts.push(("two".into(), two.concat()));
    scripts
}

/// Whether an engine's script ends with a success; all of [`engine`] do but those whose host or network says no.
pub fn succeeds(script: &[u8]) -> bool {
    let mut input = Input(script);
    let mut engine = Checked::start(engine::config(input.u8()), Parts::used());
    let mut success = false;
    while !input.is_empty() {
        engine::step(&mut engine, &mut input);
        success |= engine.to_cloud.drain(..).any(|told| {
            matches!(
                told,
                ToCloud::Report {
                    state: State::Success,
                    ..
                }
            )
        });
    }
    success
}

/// The journal after each operation of an engine's script, as cases of `journal`; with their CRCs as they are, and to
/// be made right.
pub fn journals(script: &[u8]) -> Vec<Vec<u8>> {
    let mut input = Input(script);
    let choice = input.u8();
    let mut engine = Checked::start(engine::config(choice), Parts::used());
    let mut all: Vec<Vec<u8>> = Vec::new();
    while !input.is_empty() {
        engine::step(&mut engine, &mut input);
        let journal = &engine.flash.journal.bytes;
        let used = journal.iter().rposition(|byte| *byte != 0xFF).unwrap_or(0) + 1;
        let bits = 2 + [0, 1, 8, 1][all.len() % 4];
        let case = [&[choice & 0x7f, bits][..], &journal[..used]].concat();
        if all.iter().all(|before| before[2..] != case[2..]) {
            all.push(case);
        }
    }
    all
}

/// Sessions for `at`.
pub fn at_sessions() -> Vec<(&'static str, Vec<u8>)> {
    let every: &[u8] = b"AT\rATE0\rAT+QIOTREG=?\rAT+QIOTREG?\rAT+QIOTREG=1\rAT+QIOTSTATE=?\rAT+QIOTSTATE?\r\
        AT+QIOTCFG=?\rAT+QIOTCFG=\"productinfo\"\rAT+QIOTCFG=\"productinfo\",\"p1\",\"secret\"\r\
        AT+QIOTCFG=\"server\"\rAT+QIOTCFG=\"server\",1,\"coap://center:5683\"\rAT+QIOTCFG=\"lifetime\",300\r\
        AT+QIOTCFG=\"connmode\",2\rAT+QIOTCFG=\"dkds\",\"dk\",\"ds\"\rAT+QIOTCFG=\"dkds\"\r\
        AT+QIOTINFO=?\rAT+QIOTINFO\rAT+QIOTINFO?\rAT+QIOTRST=?\rAT+QIOTRST=1\rAT+QIOTMCUVER=?\r\
        AT+QIOTMCUVER?\rAT+QIOTMCUVER=\"A\"\rAT+QIOTMCUVER=\"A\",\"1_0\"\rAT+QIOTMCUVER=\"A\",\"\"\r\
        AT+QIOTOTAREQ=?\rAT+QIOTOTAREQ\rAT+QIOTUPDATE=?\rAT+QIOTUPDATE=0\rAT+QIOTOTARD=?\r\
        AT+QIOTOTARD=0,100\rAT+SOTAREWIND=?\rAT+SOTAREWIND=0\rAT+SOTAERR?\rAT+SOTAERR=1\rAT+SOTAERR=0\r";
    let refused: &[u8] =
        b"AT+QIOTMCUVER=\"A\",\"1_0\"\rAT+SOTAERR=1\rAT+QIOTOTAREQ=0\r\xF0\x09AT+QIOTUPDATE=0\r\
        AT+SOTAERR?\r\xFC\xF0\x09\xF7\xF0\x09ATE1\rAT+QIOTUPDATE=1\r";
    let hostile: &[u8] =
        b"AT+QIOTMCUVER=\"A\",\"1_0\"\r\xF5\x01\x03A9_0\xF0\x09AT+QIOTUPDATE=1\r\xF0\x09\xF6";
    vec![
        ("every", every.to_vec()),
        ("refused", refused.to_vec()),
        ("hostile", hostile.to_vec()),
        ("upgrade", at_upgrade(1_024)),
        ("upgrade-small-reads", at_upgrade(300)),
    ]
}

/// A whole upgrade by AT commands, with reads of so many bytes.
fn at_upgrade(read: usize) -> Vec<u8> {
    let mut world = at::World::new();
    let mut session = Vec::new();
    let mut say = |world: &mut at::World, line: &str| {
        let from = world.heard.len();
        for byte in line.bytes().chain([b'\r']) {
            world.byte(byte);
        }
        world.turns(40);
        session.extend_from_slice(line.as_bytes());
        session.extend_from_slice(&[b'\r', 0xF0, 40]);
        String::from_utf8_lossy(&world.heard[from..]).into_owned()
    };
    say(&mut world, "AT+QIOTREG=1");
    say(&mut world, "AT+QIOTMCUVER=\"A\",\"1_0\"");
    say(&mut world, "AT+QIOTOTAREQ=1");
    let mut heard = say(&mut world, "AT+QIOTUPDATE=1");
    let mut next = 0;
    while next < at::LENGTH {
        let piece = heard.split("7,10703,").nth(1).expect("a piece").to_owned();
        let numbers: Vec<usize> = piece
            .split(['\r', ','])
            .filter_map(|number| number.parse().ok())
            .collect();
        let end = numbers[1] + numbers[2];
        while next < end {
            let len = read.min(end - next);
            say(&mut world, &format!("AT+QIOTOTARD={next},{len}"));
            next += len;
        }
        let action = if next == at::LENGTH { 3 } else { 2 };
        heard = say(&mut world, &format!("AT+QIOTUPDATE={action}"));
    }
    let heard = say(&mut world, "AT+QIOTMCUVER=\"A\",\"2_0\"");
    assert!(heard.contains("7,10705"), "no success: {heard}");
    session
}
