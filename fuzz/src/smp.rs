//! The SMP server's side of a module: frames, answers and images; and the whole bridge at a simulated MCU.
//!
//! The input's first byte says which. In a script for the bridge what must hold: nothing panics, no end spins, what is sent are
//! packets of requests; the MCU always has an image that is whole; success is reported only of the package's image, unless
//! answers were forged. **And afterwards, with both ends reset and the line good, an upgrade succeeds.**

use sota::bridge::smp::{Config, SmpBridge};
use sota::message::Command;
use sota_host::sim_rom::Noise;
use sota_host::sim_smp::{HANGS, Options, SimSmp, State, build};
use sota_smp::image::Scan;
use sota_smp::message::Answer;
use sota_smp::wire::Header;

use crate::component::{Component, Stage, is_at_rest, name, old};
use crate::input::Input;

/// Operations of one run.
const MOST: usize = 200;
const OPTIONS: Options = Options {
    slot: 8 << 10,
    erase_ms: 100,
    work_ms: 5,
    ..Options::DEFAULT
};

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    match input.u8() % 8 {
        0 => answers(input.0),
        1 => image(&mut input),
        _ => Ends::new(input.u8()).script(&mut input),
    }
}

fn answers(bytes: &[u8]) {
    if let Some((header, body)) = Header::parse(bytes) {
        assert_eq!(body.len(), usize::from(header.length));
        let _ = Answer::parse(body);
    }
    let _ = Answer::parse(bytes);
}

/// What is looked for lies inside, and it ends.
fn image(input: &mut Input<'_>) {
    let start = u32::from(input.u16());
    let bytes = input.0;
    for mut scan in [
        Scan::new(bytes.len() as u32),
        Scan::tail(bytes.len() as u32, start),
    ] {
        let mut turns = 0;
        while let Some((at, want)) = scan.wants() {
            let bytes = &bytes[at as usize..at as usize + want];
            let _ = scan.put(bytes);
            turns += 1;
            assert!(turns < 80_000, "it does not end");
        }
        assert!(scan.has_failed() != scan.hash().is_some());
    }
}

fn package() -> Vec<u8> {
    let body: Vec<u8> = (0..3_000_u32).map(|i| ((i / 7 * 31) ^ i) as u8).collect();
    build([2, 0, 0, 0], &body)
}

struct Ends {
    now: u64,
    bridge: SmpBridge,
    smp: SimSmp,
    component: Component,
    /// Bytes on the line, from the module and from the MCU.
    line: [Vec<u8>; 2],
    noise: Noise,
    forged: bool,
}

impl Ends {
    fn new(bits: u8) -> Ends {
        let options = Options {
            logs: bits & 1 != 0,
            is_old: bits & 2 != 0,
            buf_size: [384, 160, 1024, 300][usize::from(bits >> 2 & 3)],
            ..OPTIONS
        };
        let mut ends = Ends {
            now: 0,
            bridge: bridge(0),
            smp: SimSmp::new(options, &build([1, 0, 0, 0], b"the old one")),
            component: Component::new(package(), [4096, 1024][usize::from(bits >> 4 & 1)]),
            line: [Vec::new(), Vec::new()],
            noise: Noise::new(bits.into(), 0, 0),
            forged: false,
        };
        if bits & 0x20 != 0 {
            ends.component.bytes = build([2, 0, 0, 0], HANGS);
        }
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
                }
                3 => {
                    let at = usize::from(input.u16());
                    if let Some(byte) = self.line[end].get_mut(at) {
                        *byte ^= input.u8();
                    }
                }
                4 => {
                    let bytes = input.chunk();
                    self.line[1].splice(0..0, bytes.iter().copied());
                }
                5 => self.forge(input),
                6 => self.smp.cut_in(input.u8().into()),
                7 => self.smp.power(input.flag()),
                8 => self.smp.reset(),
                9 => self.smp.fail_in(input.u8().into()),
                10 => self.component.server(input.u8()),
                11 => self.noise = Noise::new(input.u16().into(), input.u16().into(), 100),
                12 => {
                    let bytes = self.line[end].clone();
                    self.line[end].extend(bytes.iter().take(600));
                }
                _ => (0..input.u8()).for_each(|_| self.turn(10, 100)),
            }
            self.turn(1, 0);
        }
        self.afterwards();
    }

    fn reset_module(&mut self) {
        self.bridge = bridge(self.now);
        self.line[0].clear();
    }

    /// An answer that the MCU did not give.
    fn forge(&mut self, input: &mut Input<'_>) {
        self.forged = true;
        let header = Header {
            op: input.u8(),
            version: input.u8(),
            group: input.u8().into(),
            seq: input.u8(),
            id: input.u8(),
            length: 0,
        };
        let body = input.chunk();
        let body = &body[..body.len().min(900)];
        let header = Header {
            length: body.len() as u16,
            ..header
        };
        let packet = [&header.emit()[..], body].concat();
        self.line[1].extend(sota_host::sim_smp::lines(&packet).concat());
    }

    fn afterwards(mut self) {
        self.line = [Vec::new(), Vec::new()];
        self.noise = Noise::new(1, 0, 0);
        self.component = Component::new(package(), self.component.piece);
        self.forged = false;
        self.smp.fail_in(u32::MAX);
        self.smp.power(false);
        self.smp.power(true);
        self.reset_module();
        self.component.offer();
        for _ in 0..40_000 {
            self.turn(10, 115);
            if self.component.stage == Stage::Updated {
                return;
            }
            // cuts before it was confirmed count as trials: the Center offers it again
            if self.component.stage == Stage::Failed {
                self.component.offer();
            }
        }
        panic!("no upgrade: {:?}", self.component.stage);
    }

    /// So many milliseconds, in which the line carries so many bytes each way.
    fn turn(&mut self, ms: u64, most: usize) {
        self.now += ms;
        let count = self.line[0].len().min(most);
        let mut bytes: Vec<u8> = self.line[0].drain(..count).collect();
        self.noise.pass(&mut bytes);
        self.smp.on_bytes(self.now, &bytes);
        self.line[1].extend(self.smp.take());
        let count = self.line[1].len().min(most);
        let mut bytes: Vec<u8> = self.line[1].drain(..count).collect();
        self.noise.pass(&mut bytes);
        self.bridge.on_bytes(self.now, &bytes);
        self.settle();
        let whole = self.smp.is_intact(0) || self.smp.is_intact(1);
        assert!(
            whole && self.smp.state() != State::Stuck,
            "no image is left"
        );
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
            while self.bridge.poll(self.now, &mut engine).is_some() {
                moved = true;
            }
            let mut bytes = [0; 200];
            let count = self.bridge.next_bytes(&mut bytes);
            self.line[0].extend_from_slice(&bytes[..count]);
            if !moved && count == 0 && self.component.events.is_empty() {
                break;
            }
        }
        is_at_rest(self.bridge.deadline(), self.now);
        if self.component.stage == Stage::Updated && before != Stage::Updated && !self.forged {
            let image = self.smp.image(0);
            assert_eq!(image, Some(&self.component.bytes[..]), "another image");
        }
    }
}

fn bridge(now: u64) -> SmpBridge {
    let mut config = Config::new(name());
    config.version = Some(old());
    SmpBridge::new(now, config, true)
}

/// An upgrade as a script, in one piece or in several.
pub fn record(bits: u8) -> Vec<u8> {
    let mut ends = Ends::new(bits);
    let mut script = vec![2, bits];
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
        for bits in [0, 0x13, 0x04] {
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
