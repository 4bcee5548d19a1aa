//! The sequence as a table: what is said to it, what it asks and tells.

extern crate std;

use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;
use sota_coap::Code;
use sota_errors::{CenterError, Reason};

use super::component::Component;
use super::sequence::{Action, Sequence, Step};
use crate::objects::plan::State as Upgrade;
use crate::{Path, RawValue};

/// What a script can say.
#[derive(Clone, Copy, Debug)]
enum Say {
    Download,
    Taken(Action),
    Refused(Action),
    State(&'static str),
    Result(&'static str),
    Version(&'static str),
    Again,
}
use Action::*;
use Say::*;

fn part(link: &str) -> Component {
    Component::of(Path::parse(link).unwrap()).unwrap()
}

fn say(sequence: &mut Sequence, say: Say) -> Step {
    let part = sequence.component();
    match say {
        Download => sequence.download(),
        Taken(action) => sequence.answered(action, Code::CHANGED),
        Refused(action) => sequence.answered(action, Code::METHOD_NOT_ALLOWED),
        State(text) => sequence.value(part.state(), &RawValue::Text(text)),
        Result(text) => sequence.value(part.result(), &RawValue::Text(text)),
        Version(text) => sequence.value(part.version(), &RawValue::Text(text)),
        Again => {
            sequence.registered_again();
            sequence.ask_anew()
        }
    }
}

/// Says all of it; what the last step asked and told, as text.
fn last(sequence: &mut Sequence, script: &[Say]) -> String {
    let mut step = Step::default();
    for word in script {
        step = say(sequence, *word);
    }
    text(&step)
}

fn text(step: &Step) -> String {
    let reached: Vec<(u8, u16)> = step
        .reached
        .iter()
        .map(|r| (r.state.number(), r.reason.unwrap_or(0)))
        .collect();
    std::format!("{:?} {reached:?}", step.actions.as_slice())
}

const DOWNLOADING: &[Say] = &[Download, Taken(WriteUri)];
const UPDATING: &[Say] = &[Download, Taken(WriteUri), State("2"), Taken(Update)];
const INSTALLING: &[Say] = &[Download, Taken(WriteUri), State("3"), Taken(Update)];

#[test]
fn one_step_after_another() {
    let digest = Reason::DigestMismatch.number();
    let refused = CenterError::OfferRefused.number();
    let lost = Reason::NetworkDown.number();
    let failed = Reason::ModuleUpdateFailed.number();
    let quiet = "[] []";
    for link in ["/5/0", "/33629/1"] {
        for (before, word, expected) in [
            (&[][..], Download, "[WriteUri] []".into()),
            (&[], State("2"), quiet.into()),
            (&[], Result("5"), quiet.into()),
            (&[], Version("2_0"), quiet.into()),
            (
                &[Download],
                Taken(WriteUri),
                "[Observe, ReadResult] [(4, 0)]".into(),
            ),
            (
                &[Download],
                Refused(WriteUri),
                std::format!("[Reset] [(12, {refused})]"),
            ),
            (&[Download], Taken(Update), quiet.into()),
            (&[Download], Result("5"), quiet.into()),
            (DOWNLOADING, State("0"), quiet.into()),
            (DOWNLOADING, State("1"), "[] [(5, 0)]".into()),
            (DOWNLOADING, State("2"), "[Update] [(8, 0)]".into()),
            (DOWNLOADING, State("x"), quiet.into()),
            (DOWNLOADING, Result("1"), quiet.into()),
            (
                DOWNLOADING,
                Result("5"),
                std::format!("[Reset] [(12, {digest})]"),
            ),
            (DOWNLOADING, Version("2_0"), quiet.into()),
            (
                &[Download, Taken(WriteUri), State("2")],
                Refused(Update),
                std::format!("[Reset] [(12, {refused})]"),
            ),
            (
                &[Download, Taken(WriteUri), State("2")],
                Taken(Update),
                "[] [(9, 0)]".into(),
            ),
            (UPDATING, Version("1_0"), quiet.into()),
            (UPDATING, Version("2_0"), "[] [(11, 0)]".into()),
            (UPDATING, Result("0"), quiet.into()),
            (UPDATING, Result("1"), "[ReadVersion] [(11, 0)]".into()),
            (
                UPDATING,
                Result("8"),
                std::format!("[Reset] [(12, {failed})]"),
            ),
        ] {
            let mut sequence = Sequence::new(part(link), "2_0");
            last(&mut sequence, before);
            let got = text(&say(&mut sequence, word));
            assert_eq!(got, expected, "{link}: {before:?} {word:?}");
        }
    }
    for (before, word, expected) in [
        (DOWNLOADING, State("1"), "[] [(5, 0)]".into()),
        (DOWNLOADING, State("2"), "[] [(5, 0)]".into()),
        (DOWNLOADING, State("3"), "[Update] [(8, 0)]".into()),
        (DOWNLOADING, Result("3"), quiet.into()),
        (DOWNLOADING, Result("52"), std::format!("[] [(12, {lost})]")),
        (INSTALLING, Result("2"), "[ReadVersion] [(11, 0)]".into()),
        (
            INSTALLING,
            Result("58"),
            std::format!("[] [(12, {failed})]"),
        ),
    ] {
        let mut sequence = Sequence::new(part("/9/0"), "2_0");
        last(&mut sequence, before);
        let got = text(&say(&mut sequence, word));
        assert_eq!(got, expected, "/9: {before:?} {word:?}");
    }
}

#[test]
fn what_the_client_says_after_a_restart() {
    let lost = Reason::NetworkDown.number();
    let failed = Reason::ModuleUpdateFailed.number();
    // the server restarted (updating?); the client's result, version and state; asked and told
    for (updating, result, version, state, expected) in [
        (false, "0", "1_0", "1", "[] [(5, 0)]".into()),
        (false, "0", "1_0", "2", "[Update] [(8, 0)]".into()),
        (true, "0", "1_0", "2", "[Update] []".into()),
        (false, "0", "1_0", "3", "[] [(9, 0)]".into()),
        (true, "0", "1_0", "3", "[] []".into()),
        (true, "1", "1_0", "0", "[] [(11, 0)]".into()),
        (true, "0", "1_0", "0", "[] []".into()),
        (false, "0", "1_0", "0", std::format!("[] [(6, {lost})]")),
        // over before the state is known
        (true, "0", "2_0", "0", "[] []".into()),
        (false, "8", "1_0", "0", "[] []".into()),
    ] {
        let (mut sequence, step) = Sequence::resume(part("/5/0"), "2_0", updating);
        assert_eq!(step.actions, [ReadResult, ReadVersion, ReadState, Observe]);
        let script = [Result(result), Version(version), State(state)];
        let early: Vec<String> = script[..2]
            .iter()
            .map(|word| text(&say(&mut sequence, *word)))
            .collect();
        let got = text(&say(&mut sequence, script[2]));
        assert_eq!(got, expected, "{updating} {script:?}");
        match (result, version) {
            ("8", _) => assert_eq!(early[0], std::format!("[Reset] [(12, {failed})]")),
            (_, "2_0") => assert_eq!(early[1], "[] [(11, 0)]"),
            _ => assert_eq!(early, ["[] []", "[] []"]),
        }
    }
}

#[test]
fn a_new_registration_keeps_the_phase_or_asks_anew() {
    let anew = "[ReadResult, ReadVersion, ReadState, Observe] []";
    for (before, expected) in [
        (&[][..], "[] []"),
        (&[Download], "[] []"),
        (DOWNLOADING, anew),
        (UPDATING, anew),
    ] {
        let mut sequence = Sequence::new(part("/5/0"), "2_0");
        last(&mut sequence, before);
        assert_eq!(text(&say(&mut sequence, Again)), expected, "{before:?}");
    }
    // it remembers that the client was updating, so the version alone is enough
    let mut sequence = Sequence::new(part("/5/0"), "2_0");
    last(&mut sequence, UPDATING);
    let got = last(&mut sequence, &[Again, Again, Version("2_0")]);
    assert_eq!(got, "[] [(11, 0)]");
}

#[test]
fn an_offer_is_taken_and_a_cancel_resets_what_can_be_reset() {
    let sequence = Sequence::new(part("/5/0"), "2_0");
    assert_eq!(text(&sequence.confirm()), "[] [(1, 0), (2, 0)]");
    for (link, before, expected) in [
        ("/5/0", DOWNLOADING, Some("[Reset] []")),
        ("/9/0", DOWNLOADING, Some("[] []")),
        ("/5/0", UPDATING, None),
        ("/9/0", INSTALLING, None),
    ] {
        let mut sequence = Sequence::new(part(link), "2_0");
        last(&mut sequence, before);
        let step = sequence.cancel();
        assert_eq!(step.as_ref().map(text).as_deref(), expected, "{link}");
        assert_eq!(sequence.is_over(), expected.is_some());
    }
}

#[test]
fn without_a_target_only_the_result_is_success() {
    let long = "v".repeat(65);
    for target in ["", &long] {
        let mut sequence = Sequence::new(part("/5/0"), target);
        last(&mut sequence, UPDATING);
        for version in ["", "2_0"] {
            assert_eq!(text(&say(&mut sequence, Version(version))), "[] []");
        }
        let step = sequence.value(part("/5/0").version(), &RawValue::Text(&long));
        assert_eq!(text(&step), "[] []");
        let got = last(&mut sequence, &[Result("1")]);
        assert_eq!(got, "[ReadVersion] [(11, 0)]");
    }
}

proptest! {
    /// Whatever a client says: at most one end is told, and after it nothing is asked or told any more.
    #[test]
    fn it_ends_once(
        software: bool,
        words in proptest::collection::vec((0u8..9, 0u64..60, proptest::bool::weighted(0.9)), 0..60),
    ) {
        let part = part(if software { "/9/0" } else { "/5/0" });
        let mut sequence = Sequence::new(part, "2_0");
        let mut ends = 0;
        for (word, number, small) in words {
            let number = if small { number % 4 } else { number };
            let typed = RawValue::Typed(crate::Value::Unsigned(number));
            let over = sequence.is_over();
            let code = if number == 0 { Code::BAD_REQUEST } else { Code::CHANGED };
            let step = match word {
                0 if !over => sequence.download(),
                1 => sequence.answered(WriteUri, code),
                2 => sequence.answered(Update, code),
                3 | 4 => sequence.value(part.state(), &typed),
                5 => sequence.value(part.result(), &typed),
                6 => sequence.value(part.version(), &RawValue::Text(if small { "1_0" } else { "2_0" })),
                7 => sequence.poll(),
                _ => { sequence.registered_again(); sequence.ask_anew() }
            };
            if over {
                prop_assert_eq!(&step, &Step::default());
            }
            let end = |r: &&super::sequence::Reached| matches!(r.state, Upgrade::Success | Upgrade::Failure);
            ends += step.reached.iter().filter(end).count();
            prop_assert_eq!(ends, usize::from(sequence.is_over()));
        }
    }
}
