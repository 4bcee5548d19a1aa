extern crate std;
use super::*;
use crate::message::{Offer, Package};
use proptest::prelude::*;
use std::string::{String, ToString};
use std::vec::Vec as StdVec;

/// A bridge whose engine is a closure; output is read `chunk` bytes at a time.
struct Bench {
    bridge: Bridge,
    chunk: usize,
    asked: StdVec<Output>,
}

impl Bench {
    fn new() -> Self {
        let mut settings = Settings::new();
        settings.product_key = "pk".try_into().unwrap();
        settings.server = "coap://h".try_into().unwrap();
        Bench {
            bridge: Bridge::new(settings),
            chunk: 7,
            asked: StdVec::new(),
        }
    }

    fn drain(&mut self) -> StdVec<u8> {
        let mut all = StdVec::new();
        let mut out = [0; 64];
        loop {
            let n = self.bridge.next_bytes(&mut out[..self.chunk]);
            if n == 0 {
                return all;
            }
            all.extend_from_slice(&out[..n]);
        }
    }

    fn send_with(
        &mut self,
        mut bytes: &[u8],
        mut engine: impl FnMut(&Output, &mut [u8]) -> Reply,
    ) -> StdVec<u8> {
        let mut all = StdVec::new();
        loop {
            let taken = self.bridge.on_bytes(bytes);
            bytes = &bytes[taken..];
            all.extend(self.drain());
            if let Some(output) = self.bridge.poll() {
                if output == Output::Versions {
                    for (name, version) in [("STM32", "1_0_0"), ("ESP", "7")] {
                        self.bridge.version(name, version);
                    }
                }
                let reply = engine(&output, self.bridge.read_buffer());
                self.asked.push(output);
                self.bridge.reply(reply);
            }
            let more = self.drain();
            let idle = more.is_empty();
            all.extend(more);
            if bytes.is_empty() && idle {
                return all;
            }
        }
    }

    fn send(&mut self, line: &str) -> String {
        let bytes = self.send_with(line.as_bytes(), |_, _| Reply::Ok);
        String::from_utf8(bytes).unwrap()
    }
}

const OK: &str = "\r\nOK\r\n";
const ERROR: &str = "\r\nERROR\r\n";

#[test]
fn each_command_and_form_has_its_answer() {
    let mut bench = Bench::new();
    for (line, answer) in [
        ("AT", ""),
        ("at", ""),
        ("AT+QIOTREG=?", "+QIOTREG: (0-2)"),
        ("AT+QIOTREG?", "+QIOTREG: 0"),
        ("AT+QIOTREG=2", ""),
        ("AT+QIOTREG?", "+QIOTREG: 2"),
        ("AT+QIOTSTATE?", "+QIOTSTATE: 2"),
        ("AT+QIOTMCUVER=?", "+QIOTMCUVER: <MCU_number>,<MCU_version>"),
        ("AT+QIOTMCUVER=\"ESP\"", "+QIOTMCUVER: \"ESP\",\"7\""),
        ("AT+QIOTOTAREQ=?", "+QIOTOTAREQ: (0,1)"),
        ("AT+QIOTOTAREQ", ""),
        ("AT+QIOTUPDATE=?", "+QIOTUPDATE: (0-3)"),
        ("AT+QIOTOTARD=?", "+QIOTOTARD: 0,(1-1024)"),
        (
            "AT+QIOTCFG=\"productinfo\"",
            "+QIOTCFG: \"productinfo\",\"pk\",\"\",\"1.1\"",
        ),
        ("AT+QIOTCFG=\"server\",0,\"coap://a:5683\"", ""),
        (
            "AT+QIOTCFG=\"server\"",
            "+QIOTCFG: \"server\",0,\"coap://a:5683\"",
        ),
        ("AT+QIOTCFG=\"lifetime\",864000", ""),
        ("AT+QIOTCFG=\"lifetime\"", "+QIOTCFG: \"lifetime\",864000"),
        ("AT+QIOTCFG=\"dk_ds\",12345678,\"s\"", ""),
        ("AT+QIOTRST", ""),
        (
            "AT+QIOTCFG=\"dk_ds\"",
            "+QIOTCFG: \"dk_ds\",\"12345678\",\"\"",
        ),
        ("AT+SOTAERR?", "+SOTAERR: 0,\"None\""),
        ("AT+SOTAERR=?", "+SOTAERR: (0,1)"),
        ("AT+SOTAREWIND=?", "+SOTAREWIND: <offset>"),
        ("AT+SOTAREWIND=4096", ""),
    ] {
        let line_part = if answer.is_empty() {
            String::new()
        } else {
            std::format!("\r\n{answer}\r\n")
        };
        assert_eq!(
            bench.send(&std::format!("{line}\r\n")),
            line_part + OK,
            "{line}"
        );
    }
    assert_eq!(
        bench.send("AT+QIOTMCUVER?\r"),
        "\r\n+QIOTMCUVER: \"STM32\",\"1_0_0\"\r\n\r\n+QIOTMCUVER: \"ESP\",\"7\"\r\n\r\nOK\r\n"
    );
    assert_eq!(
        bench
            .send("AT+QIOTINFO?\r")
            .matches("+QIOTINFO: \"")
            .count(),
        3
    );
    assert_eq!(
        bench.send("AT+QIOTCFG=?\r").matches("+QIOTCFG: \"").count(),
        4
    );
}

#[test]
fn the_engine_hears_what_was_written() {
    let mut bench = Bench::new();
    for line in [
        "AT+QIOTREG=1",
        "AT+QIOTMCUVER=\"STM32\",\"1_0_0\"",
        "AT+QIOTOTAREQ=1",
        "AT+QIOTUPDATE=3",
        "AT+SOTAREWIND=4294967295",
    ] {
        assert_eq!(bench.send(&(line.to_string() + "\r")), OK);
    }
    assert_eq!(
        bench.asked,
        [
            Command::Connect(true),
            Command::SetMcuVersion("STM32".try_into().unwrap(), "1_0_0".try_into().unwrap()),
            Command::Request(1),
            Command::Action(3),
            Command::Rewind(u32::MAX)
        ]
        .map(Output::Command)
    );
    assert!(bench.bridge.settings_changed());
    assert!(!bench.bridge.settings_changed());
}

#[test]
fn bad_lines_are_an_error_with_a_reason() {
    for (line, reason) in [
        ("hello", Reason::AtUnknownCommand),
        ("A", Reason::AtUnknownCommand),
        ("AT+NONE", Reason::AtUnknownCommand),
        ("AT\0", Reason::AtUnknownCommand),
        ("AT+QIOTUPDATE=4", Reason::AtBadParameter),
        ("AT+QIOTUPDATE=\"1\"", Reason::AtBadParameter),
        ("AT+QIOTUPDATE", Reason::AtBadParameter),
        ("AT+QIOTOTAREQ=2", Reason::AtBadParameter),
        ("AT+QIOTOTARD=0", Reason::AtBadParameter),
        ("AT+QIOTOTARD=0,0", Reason::AtBadParameter),
        ("AT+QIOTOTARD=0,1025", Reason::AtBadParameter),
        ("AT+QIOTOTARD=4294967296,1", Reason::AtBadParameter),
        ("AT+QIOTMCUVER=\"a", Reason::AtBadParameter),
        ("AT+QIOTMCUVER=\"unknown\"", Reason::UnknownComponent),
        (
            "AT+QIOTMCUVER=\"abcdefghijklmnopqrstuvwxyz0123456\",\"1\"",
            Reason::NameTooLong,
        ),
        ("AT+QIOTCFG=\"buffer\",1", Reason::AtBadParameter),
        ("AT+QIOTCFG=\"lifetime\",0", Reason::AtBadParameter),
        ("AT+QIOTCFG=\"lifetime\",864001", Reason::AtBadParameter),
        (
            "AT+QIOTCFG=\"server\",1,\"mqtt\"",
            Reason::UnsupportedProtocol,
        ),
        ("AT+SOTAERR=2", Reason::AtBadParameter),
    ] {
        let mut bench = Bench::new();
        assert_eq!(bench.send(&std::format!("{line}\r")), ERROR, "{line}");
        assert_eq!(
            bench.send("AT+SOTAERR?\r"),
            std::format!(
                "\r\n+SOTAERR: {},\"{}\"\r\n{OK}",
                reason.number(),
                reason.name()
            ),
            "{line}"
        );
    }
}

#[test]
fn connecting_needs_a_product_and_a_server() {
    for (settings, reason) in [
        (Settings::new(), Reason::NoProductInfo),
        (
            Settings {
                product_key: "p".try_into().unwrap(),
                ..Settings::new()
            },
            Reason::NoServerAddress,
        ),
    ] {
        let mut bench = Bench::new();
        bench.bridge = Bridge::new(settings);
        assert_eq!(bench.send("AT+QIOTREG=1\r"), ERROR);
        assert_eq!(bench.bridge.last, Some(reason));
        assert!(bench.asked.is_empty());
    }
}

#[test]
fn an_overlong_line_is_one_error_and_the_next_line_works() {
    let mut bench = Bench::new();
    let long = std::format!("AT+QIOTMCUVER=\"{}\r", "x".repeat(5_000));
    assert_eq!(bench.send(&long), ERROR);
    assert_eq!(bench.bridge.last, Some(Reason::AtLineTooLong));
    assert_eq!(bench.send("AT\r"), OK);
}

#[test]
fn echo_is_off_until_ate1() {
    let mut bench = Bench::new();
    assert_eq!(bench.send("AT\r\n"), OK);
    assert_eq!(bench.send("ATE1\r"), OK);
    assert_eq!(bench.send("AT\r\n"), "AT\r\r\nOK\r\n");
    assert_eq!(bench.send("ATE0\r"), "ATE0\r\r\nOK\r\n");
    assert_eq!(bench.send("AT\r"), OK);
}

#[test]
fn read_data_is_framed_and_may_be_short() {
    let mut bench = Bench::new();
    let bytes = bench.send_with(b"AT+QIOTOTARD=27648,1024\r", |output, buffer| {
        assert_eq!(
            output,
            &Output::Command(Command::Read {
                start: 27648,
                len: 1024
            })
        );
        assert_eq!(buffer.len(), 1024);
        buffer[..3].copy_from_slice(b"\r\n\0");
        Reply::Read(3)
    });
    assert_eq!(bytes, b"\r\n+QIOTOTARD: 27648,3\r\n\r\n\0\r\n\r\nOK\r\n");
    let nothing = bench.send_with(b"AT+QIOTOTARD=0,4\r", |_, _| Reply::Read(0));
    assert_eq!(nothing, ERROR.as_bytes());
    let refused = bench.send_with(b"AT+QIOTOTARD=0,4\r", |_, _| {
        Reply::Refused(Reason::AtNotAllowedNow)
    });
    assert_eq!(refused, ERROR.as_bytes());
}

#[test]
fn an_event_waits_while_a_command_is_answered() {
    let mut bench = Bench::new();
    assert_eq!(bench.bridge.on_bytes(b"AT+QIOTUPDATE=1\rAT\r"), 16);
    assert!(!bench.bridge.ready_for_event());
    assert!(!bench.bridge.on_event(&Event::Downloading));
    assert!(bench.bridge.poll().is_some());
    assert!(!bench.bridge.on_event(&Event::Downloading));
    bench.bridge.reply(Reply::Ok);
    assert!(bench.bridge.on_event(&Event::Downloading));
    assert_eq!(bench.drain(), b"\r\nOK\r\n\r\n+QIOTEVT: 7,10702\r\n");
}

#[test]
fn a_uart_that_takes_nothing_stops_commands_and_events_but_loses_none() {
    let mut bench = Bench::new();
    let mut events = 0;
    while bench.bridge.on_event(&Event::Downloading) {
        events += 1;
    }
    assert!(events > 10);
    assert_eq!(bench.bridge.on_bytes(b"AT\rAT\r"), 3);
    assert_eq!(bench.bridge.poll(), None);
    assert_eq!(
        bench.bridge.on_bytes(b"AT\r"),
        0,
        "the second line stays with the caller"
    );
    let sent = String::from_utf8(bench.drain()).unwrap();
    assert_eq!(sent.matches("\r\n+QIOTEVT: 7,10702\r\n").count(), events);
    assert_eq!(bench.send("AT\r"), OK.repeat(2));
}

#[test]
fn events_have_the_documented_text() {
    let name = || "STM32".try_into().unwrap();
    let mut bench = Bench::new();
    for (event, text) in [
        (Event::Auth(10422), "1,10422"),
        (Event::Access(10200), "2,10200"),
        (Event::Subscribed(10200), "3,10200"),
        (
            Event::Plan(Offer {
                component: name(),
                target: "2_0_0".try_into().unwrap(),
                battery_limit_percent: 30,
                min_signal_dbm: -113,
                use_space: 27954,
                ..Offer::default()
            }),
            "7,10700,\"STM32\",\"\",\"2_0_0\",30,-113,27954",
        ),
        (
            Event::DownloadStart(Some(Package {
                component: name(),
                #[cfg(any(feature = "link", feature = "stm32", feature = "smp"))]
                target: Default::default(),
                length: 27954,
                md5: Some([0xab; 16]),
                crc32: Some(u32::MAX),
                sha256: None,
            })),
            "7,10701,\"STM32\",27954,\"abababababababababababababababab\",4294967295",
        ),
        (Event::DownloadStart(None), "7,10701"),
        (
            Event::Downloaded(Some(Piece {
                component: name(),
                length: 27954,
                start: 8192,
                piece_length: 4096,
            })),
            "7,10703,\"STM32\",27954,8192,4096",
        ),
        (Event::Updating, "7,10704"),
        (Event::UpdateOk, "7,10705"),
        (Event::UpdateFlag, "7,10707"),
        (Event::Logout(10200), "6,10200"),
    ] {
        assert!(bench.bridge.on_event(&event));
        assert_eq!(
            String::from_utf8(bench.drain()).unwrap(),
            std::format!("\r\n+QIOTEVT: {text}\r\n")
        );
    }
    assert_eq!(bench.bridge.link_state(), LinkState::Disconnected);
}

#[test]
fn the_longest_events_fit_the_room_kept_for_them() {
    let mut bench = Bench::new();
    bench.send("AT+SOTAERR=1\r");
    let long = Offer {
        component: "c".repeat(32).as_str().try_into().unwrap(),
        source: "s".repeat(64).as_str().try_into().unwrap(),
        target: "t".repeat(64).as_str().try_into().unwrap(),
        battery_limit_percent: 100,
        min_signal_dbm: -156,
        use_space: u32::MAX,
        ..Offer::default()
    };
    let package = Package {
        component: long.component.clone(),
        #[cfg(any(feature = "link", feature = "stm32", feature = "smp"))]
        target: Default::default(),
        length: u32::MAX,
        md5: Some([1; 16]),
        crc32: Some(u32::MAX),
        sha256: Some([2; 32]),
    };
    let longest = Reason::ALL.iter().max_by_key(|r| r.name().len()).unwrap();
    for event in [
        Event::Plan(long),
        Event::DownloadStart(Some(package)),
        Event::UpdateFail(*longest),
    ] {
        assert!(bench.bridge.on_event(&event));
        assert!(bench.drain().len() <= urc::URC_MAX);
    }
}

#[test]
fn a_failure_names_its_reason_when_the_urc_is_on() {
    let mut bench = Bench::new();
    let fail = Event::UpdateFail(Reason::Cancelled);
    assert!(bench.bridge.on_event(&fail));
    assert_eq!(bench.drain(), b"\r\n+QIOTEVT: 7,10706\r\n");
    assert_eq!(
        bench.send("AT+SOTAERR?\r"),
        "\r\n+SOTAERR: 15,\"Cancelled\"\r\n\r\nOK\r\n"
    );
    assert_eq!(bench.send("AT+SOTAERR=1\r"), OK);
    assert!(bench.bridge.on_event(&fail));
    assert_eq!(
        bench.drain(),
        b"\r\n+QIOTEVT: 7,10706\r\n\r\n+SOTAERR: 15,\"Cancelled\"\r\n"
    );
}

#[test]
fn a_reason_without_an_event_is_told_when_asked() {
    let mut bench = Bench::new();
    bench.bridge.note_error(Reason::BatteryTooLow);
    assert_eq!(
        bench.send("AT+SOTAERR?\r"),
        "\r\n+SOTAERR: 12,\"BatteryTooLow\"\r\n\r\nOK\r\n"
    );
}

#[test]
fn the_present_piece_is_told() {
    let mut bench = Bench::new();
    assert!(bench.bridge.on_event(&Event::Downloaded(Some(Piece {
        component: "STM32".try_into().unwrap(),
        length: 300,
        start: 100,
        piece_length: 50,
    }))));
    bench.drain();
    assert!(
        bench
            .send("AT+QIOTOTARD=?\r")
            .contains(": 100,(1-1024)\r\n")
    );
    assert_eq!(bench.send("AT+QIOTUPDATE=2\r"), OK);
    assert!(
        bench
            .send("AT+QIOTOTARD=?\r")
            .contains(": 150,(1-1024)\r\n")
    );
}

proptest! {
    /// Whatever comes in, in whatever parts, every non-empty line gets exactly one final answer.
    #[test]
    fn any_bytes_are_answered_line_by_line(
        bytes in proptest::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'"'), Just(b','), Just(b'='), any::<u8>()], 0..600),
        chunk in 1usize..64,
    ) {
        let mut bench = Bench::new();
        bench.chunk = chunk;
        let answers = bench.send_with(&bytes, |_, _| Reply::Ok);
        let text = String::from_utf8_lossy(&answers);
        let finals = text.matches("\r\nOK\r\n").count() + text.matches("\r\nERROR\r\n").count();
        let mut lines: StdVec<&[u8]> = bytes.split(|byte| *byte == b'\r').collect();
        lines.pop();
        let expected = lines.iter().filter(|line| line.iter().any(|byte| *byte != b'\n')).count();
        prop_assert_eq!(finals, expected);
    }

    /// Known commands with wild parameters never panic.
    #[test]
    fn known_names_with_any_tail(index in 0usize..6, tail in "[=?,\"0-9a-z ]{0,40}") {
        let name = ["QIOTREG", "QIOTMCUVER", "QIOTOTAREQ", "QIOTUPDATE", "QIOTOTARD", "QIOTCFG"][index];
        let mut bench = Bench::new();
        let answer = bench.send_with(std::format!("AT+{name}{tail}\r").as_bytes(), |output, buffer| {
            match output {
                Output::Command(Command::Read { .. }) => Reply::Read(buffer.len()),
                _ => Reply::Ok,
            }
        });
        prop_assert!(answer.ends_with(b"OK\r\n") || answer.ends_with(b"ERROR\r\n"));
    }
}
