//! The chip's own rules.

use super::*;

fn talk(rom: &mut SimRom, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    bytes.iter().for_each(|byte| rom.on_byte(*byte, &mut out));
    out
}

fn loader(chip: Chip) -> SimRom {
    let mut rom = SimRom::new(chip);
    rom.lines(true, true);
    rom.lines(true, false);
    assert_eq!(talk(&mut rom, &[0x7F]), [ACK]);
    rom
}

#[test]
fn what_is_protected_or_not_erased_is_acknowledged_and_stays() {
    let mut rom = loader(CHIPS[0]);
    rom.protect(&[1]);
    let write = |rom: &mut SimRom, page: u8, byte: u8| {
        assert_eq!(talk(rom, &[0x31, 0xCE]), [ACK]);
        let high = page << 2;
        assert_eq!(talk(rom, &[8, 0, high, 0, 8 ^ high]), [ACK]);
        assert_eq!(talk(rom, &[3, byte, byte, byte, byte, 3]), [ACK]);
    };
    write(&mut rom, 0, 0xA0);
    write(&mut rom, 0, 0x0A);
    write(&mut rom, 1, 0xA0);
    assert_eq!(rom.flash()[0..5], [0xA0, 0xA0, 0xA0, 0xA0, 0xFF]);
    assert_eq!(rom.flash()[1024], 0xFF);
    assert_eq!(talk(&mut rom, &[0x43, 0xBC, 0, 0, 0]), [ACK, ACK]);
    assert_eq!(rom.flash()[0], 0xFF);
}

#[test]
fn a_part_with_a_wrong_sum_does_nothing() {
    let mut rom = loader(CHIPS[1]);
    assert_eq!(talk(&mut rom, &[0x31, 0xCF]), [NACK]);
    assert_eq!(talk(&mut rom, &[0x43, 0xBC]), [NACK], "it has the other");
    assert_eq!(talk(&mut rom, &[0x31, 0xCE, 8, 0, 0, 0, 9]), [ACK, NACK]);
    let frame = [0x31, 0xCE, 8, 0, 0, 0, 8, 3, 1, 2, 3, 4, 0];
    assert_eq!(talk(&mut rom, &frame), [ACK, ACK, NACK]);
    assert_eq!(talk(&mut rom, &[0x44, 0xBB, 0, 0, 0, 99, 99]), [ACK, NACK]);
    assert!(rom.flash().iter().all(|byte| *byte == 0xFF));
}

#[test]
fn what_runs_after_a_reset() {
    let mut rom = SimRom::new(CHIPS[0]);
    assert_eq!(rom.state(), State::Stuck);
    rom.load(&[1, 2, 3, 4]);
    assert_eq!(rom.state(), State::Stuck, "without a reset vector");
    rom.load(&[0; 8]);
    assert_eq!(rom.state(), State::Application);
    assert_eq!(talk(&mut rom, &[0x7F]), []);
    rom.power(false);
    rom.lines(true, false);
    rom.power(true);
    assert_eq!(rom.state(), State::Waiting);
    rom.lines(false, true);
    rom.lines(false, false);
    assert_eq!(rom.state(), State::Application);
}
