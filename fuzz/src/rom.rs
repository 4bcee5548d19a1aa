//! The ROM loader's side of a module at a simulated STM32, and at whatever else may be at the other end of the UART.
//!
//! A script: what must hold is that nothing panics and no end spins, the chip never runs half an image, and success is reported
//! only of the package's image, unless the peer's bytes were forged. **And afterwards, with both ends reset and the line good, an upgrade
//! succeeds.**

use sota::bridge::rom::{Config, Line, RomBridge};
use sota::message::Command;
use sota_host::sim_rom::{CHIPS, Noise, SimRom, State};
use sota_stm32::{Config as Loader, Erase, Start, Times, chips};

use crate::component::{Component, Stage, is_at_rest, name, old};
use crate::input::Input;

/// Operations of one run.
const MOST: usize = 200;

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    Ends::new(input.u8()).script(&mut input);
}

fn package() -> Vec<u8> {
    (0..2_500_u32)
        .map(|i| ((i / 7 * 31) ^ i) as u8 | 1)
        .collect()
}

struct Ends {
    now: u64,
    bridge: RomBridge,
    rom: SimRom,
    component: Component,
    bits: u8,
    /// Bytes on the line, from the module and from the MCU.
    line: [Vec<u8>; 2],
    noise: Noise,
    forged: bool,
}

impl Ends {
    fn new(bits: u8) -> Ends {
        let mut rom = SimRom::new(CHIPS[usize::from(bits & 3) % CHIPS.len()]);
        rom.load(&package().iter().map(|byte| !byte | 2).collect::<Vec<u8>>());
        let mut ends = Ends {
            now: 0,
            bridge: bridge(0, bits),
            rom,
            component: Component::new(package(), [4096, 1024][usize::from(bits >> 4 & 1)]),
            bits,
            line: [Vec::new(), Vec::new()],
            noise: Noise::new(bits.into(), 0, 0),
            forged: false,
        };
        ends.component.offer();
        ends
    }

    fn script(mut self, input: &mut Input<'_>) {
        for _ in 0..MOST {
            if input.is_empty() {
                break;
            }
            let op = input.u8();
            let end = usize::from(op >> 7);
            match op & 15 {
                0 => self.now += u64::from(input.u16()),
                1 => self.reset_module(),
                2 => {
                    let n = usize::from(input.u8()).min(self.line[end].len());
                    self.line[end].drain(..n);
                    // the host takes what comes for what it waits for: a byte of a read back has no check
                    self.forged = true;
                }
                3 => {
                    let at = usize::from(input.u16());
                    if let Some(byte) = self.line[end].get_mut(at) {
                        *byte ^= input.u8();
                        self.forged = true;
                    }
                }
                4 => {
                    let bytes = input.chunk();
                    self.line[1].splice(0..0, bytes.iter().copied());
                    self.forged = true;
                }
                5 => {
                    // acknowledged, and nothing was done
                    let count = usize::from(input.u8() % 8);
                    self.line[1].extend(std::iter::repeat_n(0x79, count));
                    self.forged = true;
                }
                6 => self.rom.cut_in(input.u8().into()),
                7 => self.rom.power(input.flag()),
                8 => self.rom.protect(&[input.u8().into()]),
                9 => self.rom.protect(&[]),
                10 => self.component.server(input.u8()),
                11 => self.noise = Noise::new(input.u16().into(), input.u16().into(), 0),
                _ => (0..input.u8()).for_each(|_| self.turn(10, 100)),
            }
            self.turn(1, 0);
        }
        self.afterwards();
    }

    /// Its lines go with it: BOOT0 is low and NRST high.
    fn reset_module(&mut self) {
        self.rom.lines(false, false);
        self.bridge = bridge(self.now, self.bits);
        self.line[0].clear();
    }

    fn afterwards(mut self) {
        self.line = [Vec::new(), Vec::new()];
        self.noise = Noise::new(1, 0, 0);
        self.component = Component::new(package(), self.component.piece);
        self.forged = false;
        self.rom.protect(&[]);
        self.rom.power(false);
        self.rom.power(true);
        self.reset_module();
        self.component.offer();
        for _ in 0..60_000 {
            self.turn(5, 60);
            if self.component.stage == Stage::Updated {
                return;
            }
            assert_ne!(self.component.stage, Stage::Failed, "the upgrade failed");
        }
        panic!("no upgrade: {:?}", self.component.stage);
    }

    /// So many milliseconds, in which the line carries so many bytes each way.
    fn turn(&mut self, ms: u64, most: usize) {
        self.now += ms;
        let count = self.line[0].len().min(most);
        let mut bytes: Vec<u8> = self.line[0].drain(..count).collect();
        self.noise.pass(&mut bytes);
        for byte in bytes {
            self.rom.on_byte(byte, &mut self.line[1]);
        }
        let count = self.line[1].len().min(most);
        let mut bytes: Vec<u8> = self.line[1].drain(..count).collect();
        self.noise.pass(&mut bytes);
        self.bridge.on_bytes(self.now, &bytes);
        self.settle();
    }

    /// The bridge works until it has nothing to do.
    fn settle(&mut self) {
        let before = self.component.stage;
        for turn in 0.. {
            assert!(turn < 1_000, "the bridge never comes to rest");
            let mut moved = false;
            while let Some(event) = self.component.events.pop_front() {
                self.bridge.on_event(self.now, &event);
                moved = true;
            }
            let component = &mut self.component;
            let mut engine = |command: Command, out: &mut [u8]| component.answer(command, out);
            while let Some(line) = self.bridge.poll(self.now, &mut engine) {
                moved = true;
                if let Line::Lines { boot0, reset } = line {
                    self.rom.lines(boot0, reset);
                    if reset {
                        self.line = [Vec::new(), Vec::new()];
                    }
                }
            }
            let mut bytes = [0; 300];
            let count = self.bridge.next_bytes(&mut bytes);
            self.line[0].extend_from_slice(&bytes[..count]);
            if !moved && count == 0 && self.component.events.is_empty() {
                break;
            }
        }
        is_at_rest(self.bridge.deadline(), self.now);
        if self.forged {
            return;
        }
        let whole = self.rom.flash().starts_with(&self.component.bytes);
        if self.component.stage == Stage::Updated && before != Stage::Updated {
            assert!(whole, "another image");
        }
        let old = || (self.rom.flash().iter().zip(package())).all(|(is, new)| *is == !new | 2);
        let runs = self.rom.state() == State::Application;
        assert!(!runs || whole || old(), "half an image runs");
    }
}

fn bridge(now: u64, bits: u8) -> RomBridge {
    let chip = CHIPS[usize::from(bits & 3) % CHIPS.len()];
    let chip = chips::by_name(chip.name).expect("known");
    let config = Config {
        component: name(),
        version: old(),
        pieces: true,
        give_up_ms: 600_000,
        loader: Loader {
            layout: chip.layout,
            chip: Some(chip.id),
            erase: [Erase::Pages, Erase::Mass][usize::from(bits >> 5 & 1)],
            start: [Start::Reset, Start::Go][usize::from(bits >> 6 & 1)],
            baud: 115_200,
            tries: 5,
            times: Times::DEFAULT,
        },
    };
    RomBridge::new(now, config, true)
}

/// An upgrade as a script.
pub fn record(bits: u8) -> Vec<u8> {
    let mut ends = Ends::new(bits);
    let mut script = vec![bits];
    while ends.component.stage != Stage::Updated {
        script.extend([15, 20]);
        (0..20).for_each(|_| ends.turn(10, 100));
        ends.turn(1, 0);
        assert!(script.len() < 10_000, "the recorded upgrade does not end");
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_upgrades_run_as_scripts() {
        for bits in [0, 1, 2, 0x10, 0x60] {
            run(&record(bits));
        }
    }

    #[test]
    fn scripts_of_noise() {
        let mut state = 1_u32;
        for _ in 0..60 {
            let script: Vec<u8> = (0..300)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            run(&script);
        }
    }
}
