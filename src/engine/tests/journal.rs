//! The journal's bytes may be anything.

use proptest::prelude::*;

use super::{
    flash::Parts,
    rules::at,
    world::{Mcu, World},
};
use crate::{
    engine::{Config, Engine},
    message::*,
    platform::Readings,
};

/// Lives through a start and some steps over whatever the flash holds.
fn live(mut flash: Parts) {
    let mut engine: Engine<256> = Engine::start(Config::default(), 0, &mut flash);
    let mut now = 0;
    for _ in 0..200 {
        engine.poll(now, Readings::default(), &mut flash);
        while engine.next_to_cloud().is_some() {}
        while engine.next_event().is_some() {}
        now = engine.deadline().unwrap_or(now + 1000).max(now);
    }
    let set = Command::SetMcuVersion("A".try_into().unwrap(), "1".try_into().unwrap());
    let reply = engine.command(now, Readings::default(), &mut flash, &set, &mut []);
    assert_eq!(reply, Reply::Ok);
}

#[test]
fn a_journal_of_another_format_is_forgotten() {
    let mut w: World = World::new(Config::default(), 4096, 3000);
    w.mcu = Mcu::Idle;
    w.offer().unwrap();
    let header = &mut w.flash.journal.bytes[..16];
    header[4] = 99;
    let crc = crate::engine::digest::crc32(0, &header[..12]);
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    w.restart();
    assert_eq!(w.engine.last_error(), Some(Reason::JournalVersion));
    assert_eq!(w.engine.state(), State::None);
    assert_eq!(w.engine.version_list(), "");
    w.restart();
    assert_eq!(w.engine.last_error(), None);
}

#[test]
fn partitions_that_are_too_small() {
    let mut flash: Parts = Parts::new(4096, 4096);
    let mut engine: Engine<256> = Engine::start(Config::default(), 0, &mut flash);
    assert_eq!(engine.last_error(), Some(Reason::JournalTooSmall));
    let set = Command::SetMcuVersion("A".try_into().unwrap(), "1".try_into().unwrap());
    let reply = engine.command(0, Readings::default(), &mut flash, &set, &mut []);
    assert_eq!(reply, Reply::Refused(Reason::JournalTooSmall));
    let mut w: World = World::new(Config::default(), 1024, 3000);
    w.offer().unwrap();
    w.settle();
    assert_eq!(w.last_reason(), Some(Reason::NotEnoughSpace));
}

/// Found by fuzzing: with its offer unreadable the engine stayed in state 2 and took no plan ever again.
#[test]
fn an_upgrade_whose_offer_is_lost_is_over() {
    let mut w = at(Config::default(), 2);
    let journal = &mut w.flash.journal.bytes;
    let offer = |bytes: &[u8]| bytes.starts_with(&[0xA5, 9]) && bytes[9..].starts_with(b"plan-1");
    let found = (0..journal.len()).find(|at| offer(&journal[*at..]));
    journal[found.expect("the offer's record") + 8 + 3] ^= 1;
    w.restart();
    w.settle();
    assert_eq!(w.engine.state(), State::None);
    assert_eq!(w.offer(), Ok(()));
}

/// Found by fuzzing: states from 4 on are those of one component; without it the offsets meant nothing, and staging
/// was read behind its end.
#[test]
fn a_download_of_no_component_is_over() {
    for state in [State::DownloadStarts, State::Downloaded, State::Updating] {
        let mut w = at(Config::default(), 2);
        w.engine.flow.state = state;
        (w.engine.flow.piece_start, w.engine.flow.progress) = (7_000_000, 1 << 30);
        w.engine.save(&mut w.flash).unwrap();
        w.restart();
        w.settle();
        assert_eq!(w.engine.state(), State::None);
        assert_eq!(w.offer(), Ok(()));
    }
}

/// Erases per MiB of package, as docs/journal.md states them.
#[test]
fn wear() {
    let length = 256 * 1024;
    let mut w: World<4096, 4> = World::new(Config::default(), 64 * 1024, length);
    w.settle();
    let before = (w.flash.staging.erases, w.flash.journal.erases);
    w.offer().unwrap();
    w.settle();
    assert_eq!(w.image, w.package);
    let staging = w.flash.staging.erases - before.0;
    let journal = w.flash.journal.erases - before.1;
    std::println!("per 256 KiB in 256-byte blocks: staging {staging}, journal {journal}");
    assert!(staging <= 65 && journal <= 6, "{staging} {journal}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_never_panic(seed in proptest::collection::vec(any::<u8>(), 64..512)) {
        let mut flash: Parts = Parts::new(4096, 8192);
        for (i, byte) in flash.journal.bytes.iter_mut().enumerate() {
            *byte = seed[i % seed.len()];
        }
        live(flash);
    }

    #[test]
    fn a_changed_journal_never_panics(
        changes in proptest::collection::vec((0usize..1500, any::<u8>()), 1..20),
        rounds in 1usize..120,
    ) {
        let mut w: World = World::new(Config::default(), 4096, 5000);
        w.settle();
        let (door, offer) = (w.door, w.offer.clone());
        w.tell(ToEngine::Offer { ticket: 1, door, offer });
        w.run(rounds);
        for (at, byte) in changes {
            w.flash.journal.bytes[at] = byte;
        }
        live(w.flash);
    }

    /// Valid records with any payload: what another build of this format may have left.
    #[test]
    fn any_records_never_panic(
        records in proptest::collection::vec(
            (1u8..13, proptest::collection::vec(any::<u8>(), 1..60)), 1..20),
    ) {
        use crate::engine::journal::{Journal, Key};
        use crate::engine::record::Writer;
        use crate::platform::Flash;
        let mut flash: Parts = Parts::new(4096, 8192);
        let (mut journal, _) = Journal::open(flash.journal()).unwrap();
        for (key, payload) in records {
            let key = Key::for_test(key);
            if key == Key::PROGRESS {
                journal.progress(flash.journal(), u32::from(payload[0]) * 64).unwrap();
            } else {
                let mut record = Writer::default();
        record.begin();
                record.bytes(&payload);
                journal.append(flash.journal(), key, &mut record).unwrap();
            }
        }
        live(flash);
    }
}
