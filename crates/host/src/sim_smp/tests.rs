//! The bootloader's and the flash's own rules; what is said over SMP is `smpclient`'s to check.

use super::*;

fn image(version: u32, body: &[u8]) -> Vec<u8> {
    build([version, 0, 0, 0], body)
}

fn mcu() -> SimSmp {
    let mut smp = SimSmp::new(Options::DEFAULT, &image(1, b"old"));
    smp.poll(1_000);
    assert_eq!(smp.state(), State::Running);
    smp
}

/// An upload and what is done with it.
fn put(smp: &mut SimSmp, new: &[u8], mode: Mode) {
    smp.flash.erase();
    smp.flash.write(0, new);
    smp.flash.set(mode, false);
    smp.reset();
    smp.poll(smp.now + 1_000);
}

fn runs(smp: &SimSmp) -> String {
    smp.info(0).unwrap().version
}

#[test]
fn what_imgtool_wrote_is_known() {
    // crates/mcu/tests/mcuboot/plain.hex: imgtool sign --version 1.2.3+45 of 00 01 … 24
    let text = include_str!("../../../mcu/tests/mcuboot/plain.hex");
    let bytes = hex::decode(text.trim()).unwrap();
    let found = info(&bytes).unwrap();
    assert_eq!(
        (found.version.as_str(), found.length),
        ("1.2.3.45", bytes.len())
    );
    assert!(found.is_intact(&bytes));
    let body: Vec<u8> = (0..0x25).collect();
    let made = build([1, 2, 3, 45], &body);
    assert_eq!(info(&made).unwrap().hash, found.hash, "the same image");
}

#[test]
fn a_test_is_for_once_and_a_confirmed_one_stays() {
    let mut smp = mcu();
    put(&mut smp, &image(2, b"new"), Mode::Test);
    assert_eq!((runs(&smp).as_str(), smp.mode()), ("2.0.0", Mode::Trial));
    smp.reset();
    smp.poll(smp.now + 1_000);
    assert_eq!(
        (runs(&smp).as_str(), smp.mode()),
        ("1.0.0", Mode::Confirmed)
    );
    put(&mut smp, &image(2, b"new"), Mode::Permanent);
    assert_eq!(
        (runs(&smp).as_str(), smp.mode()),
        ("2.0.0", Mode::Confirmed)
    );
}

#[test]
fn what_is_harmed_or_not_signed_is_not_started() {
    let mut harmed = image(2, b"new");
    harmed[33] ^= 1;
    for new in [harmed, image(2, UNSIGNED), b"nothing".to_vec()] {
        let mut smp = mcu();
        put(&mut smp, &new, Mode::Test);
        assert_eq!(
            (runs(&smp).as_str(), smp.mode()),
            ("1.0.0", Mode::Confirmed)
        );
        assert_eq!(smp.info(1), None, "erased");
        assert_eq!(smp.state(), State::Running);
    }
}

#[test]
fn an_image_that_hangs_is_taken_back_by_the_watchdog() {
    let mut smp = mcu();
    put(&mut smp, &image(2, HANGS), Mode::Test);
    assert_eq!(smp.state(), State::Hung);
    smp.poll(smp.now + 6_000);
    assert_eq!(smp.state(), State::Booting);
    smp.poll(smp.now + 1_000);
    assert_eq!(
        (runs(&smp).as_str(), smp.state()),
        ("1.0.0", State::Running)
    );
}

#[test]
fn a_cut_of_the_power_leaves_the_old_or_the_new_word() {
    for cut in 0..4 {
        let mut smp = mcu();
        smp.cut_in(cut);
        put(&mut smp, &image(2, b"new"), Mode::Test);
        assert!(matches!(smp.state(), State::Off | State::Running));
        smp.power(false);
        smp.power(true);
        smp.poll(smp.now + 1_000);
        assert_eq!(smp.state(), State::Running);
        assert!(smp.is_intact(0));
    }
}

#[test]
fn its_flash_is_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flash");
    let mut smp = SimSmp::open(Options::DEFAULT, &path, &image(1, b"old")).unwrap();
    smp.poll(1_000);
    put(&mut smp, &image(2, b"new"), Mode::Permanent);
    drop(smp);
    let smp = SimSmp::open(Options::DEFAULT, &path, &image(9, b"other")).unwrap();
    assert_eq!(runs(&smp), "2.0.0");
}
