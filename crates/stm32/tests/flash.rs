//! The loader at the simulated ROM, which Debian's `stm32flash` checks: chips, cuts, noise, and what is refused.

use sota_host::sim_rom::{CHIPS, Chip, FLASH, Noise, SimRom, State};
use sota_stm32::{Config, Done, Erase, Fault, Job, Loader, Output, RomError, Source, Start, Times};

fn config(chip: &Chip) -> Config {
    let known = sota_stm32::chips::by_name(chip.name).unwrap();
    assert_eq!(known.id, chip.id);
    Config {
        layout: known.layout,
        chip: Some(chip.id),
        erase: Erase::Pages,
        start: Start::Reset,
        baud: 115_200,
        tries: 5,
        times: Times::DEFAULT,
    }
}

/// Any bytes, with a stack pointer and a reset vector before them.
fn image(seed: u8, length: usize) -> Vec<u8> {
    let mut image: Vec<u8> = (0..length)
        .map(|i| (i * 31 + (i >> 8) * 7) as u8 ^ seed)
        .collect();
    let head = [seed * 8, 0x50, 0, 0x20, seed, 1, 0, 8];
    let len = length.min(8);
    image[..len].copy_from_slice(&head[..len]);
    image
}

struct Image<'a>(&'a [u8]);

impl Source for Image<'_> {
    fn read(&mut self, offset: u32, out: &mut [u8]) -> bool {
        let at = offset as usize;
        match self.0.get(at..at + out.len()) {
            Some(bytes) => {
                out.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }
}

/// A module's loader and an MCU, with a line between that takes no time.
struct Bench {
    rom: SimRom,
    loader: Loader,
    config: Config,
    noise: Noise,
    now: u64,
    troubles: Vec<Fault>,
    back: Vec<u8>,
    /// The power comes back after so many of the loader's waits.
    outage: Option<u32>,
}

impl Bench {
    fn new(chip: Chip, old: &[u8]) -> Bench {
        let mut rom = SimRom::new(chip);
        rom.load(old);
        let config = config(&chip);
        Bench {
            rom,
            loader: Loader::new(config),
            config,
            noise: Noise::new(1, 0, 0),
            now: 0,
            troubles: Vec::new(),
            back: Vec::new(),
            outage: None,
        }
    }

    /// The module is reset, and its lines with it.
    fn restart_module(&mut self) {
        self.rom.lines(false, false);
        self.loader = Loader::new(self.config);
    }

    /// Runs a job to its end; `Err` also when the power goes and stays.
    fn job(&mut self, image: &[u8], job: Job) -> Result<Done, Option<Fault>> {
        self.loader.begin(job);
        let end = self.now + 24 * 3_600_000;
        while self.now < end {
            let mut source = Image(image);
            while let Some(output) = self.loader.poll(self.now, &mut source) {
                match output {
                    Output::Lines { boot0, reset } => self.rom.lines(boot0, reset),
                    Output::Data(at) => {
                        assert_eq!(at as usize, self.back.len());
                        self.back.extend_from_slice(self.loader.data());
                    }
                    Output::Done(done) => return Ok(done),
                    Output::Failed(fault) => return Err(Some(fault)),
                    Output::Trouble(fault) => self.troubles.push(fault),
                }
            }
            let mut bytes = [0; 300];
            let count = self.loader.next_tx(&mut bytes);
            let mut sent = bytes[..count].to_vec();
            self.noise.pass(&mut sent);
            let mut answer = Vec::new();
            for byte in sent {
                self.rom.on_byte(byte, &mut answer);
            }
            self.noise.pass(&mut answer);
            if self.rom.state() == State::Off {
                match self.outage {
                    None => return Err(None),
                    Some(0) => {
                        self.outage = None;
                        self.rom.power(true);
                    }
                    Some(left) => self.outage = Some(left - 1),
                }
            }
            if count == 0 || answer.is_empty() {
                // nothing will come any more before the deadline
                self.now = self.loader.deadline().unwrap_or(self.now).max(self.now + 1);
            }
            self.loader.on_bytes(self.now, &answer);
        }
        panic!("the job does not end");
    }

    /// A whole image in pieces: what the module does with a package.
    fn upgrade(&mut self, image: &[u8], piece: usize) -> Result<(), Option<Fault>> {
        self.loader.image(image.len() as u32).unwrap();
        let mut start = 0;
        for _ in 0..100 {
            if start < image.len() {
                let end = image.len().min(start + piece);
                let (from, to) = (start as u32, end as u32);
                // the module has no more than the piece
                let here = &image[..end];
                match self.job(
                    here,
                    Job::Program {
                        start: from,
                        end: to,
                    },
                )? {
                    Done::Done => start = end,
                    Done::Rewind(at) => start = at as usize / piece * piece,
                }
                continue;
            }
            self.back.clear();
            match self.job(&[], Job::Verify)? {
                // the line harmed a byte of a read, which has no check of its own
                Done::Done if self.back != image && self.noise.is_on() => continue,
                Done::Done => assert!(self.back == image, "read back"),
                Done::Rewind(_) => {
                    start = 0;
                    continue;
                }
            }
            match self.job(&[], Job::Seal)? {
                Done::Done => {
                    assert_eq!(self.job(&[], Job::Start)?, Done::Done);
                    return Ok(());
                }
                Done::Rewind(at) => start = at as usize / piece * piece,
            }
        }
        panic!("it goes back again and again");
    }

    fn holds(&self, image: &[u8]) -> bool {
        self.rom.flash().starts_with(image)
    }
}

#[test]
fn every_chip_every_length_and_both_erases() {
    for chip in CHIPS {
        for erase in [Erase::Pages, Erase::Mass] {
            for length in [1, 4, 5, 255, 256, 257, 1024, 20_001, 70_000] {
                let mut bench = Bench::new(chip, &image(1, 30_000));
                bench.config.erase = erase;
                bench.loader = Loader::new(bench.config);
                let new = image(2, length);
                bench.upgrade(&new, length).unwrap();
                assert!(bench.holds(&new), "{} {erase:?} {length}", chip.name);
                let state = bench.rom.state();
                assert_eq!(state == State::Application, length > 4, "{length}");
                let rest = bench.rom.flash()[length..].iter();
                match erase {
                    Erase::Mass => assert!(rest.copied().all(|byte| byte == 0xFF)),
                    Erase::Pages => {
                        let page = match chip.name {
                            "f103" => 1 << 10,
                            "f405" => 16 << 10,
                            _ => 2 << 10,
                        };
                        let kept = 29_999 >= length.next_multiple_of(page);
                        assert_eq!(kept, bench.rom.flash()[29_999] == image(1, 30_000)[29_999]);
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_there_already_is_not_written_again() {
    let new = image(2, 20_000);
    let mut bench = Bench::new(CHIPS[2], &new);
    bench.upgrade(&new, 4096).unwrap();
    assert_eq!(bench.rom.operations(), 0);
    assert!(!bench.loader.has_changed());
}

#[test]
fn go_in_place_of_a_reset() {
    let new = image(2, 3_000);
    let mut bench = Bench::new(CHIPS[0], &image(1, 3_000));
    bench.config.start = Start::Go;
    bench.loader = Loader::new(bench.config);
    bench.upgrade(&new, 3_000).unwrap();
    assert_eq!(bench.rom.state(), State::Application);
}

/// The power of the MCU goes in the middle of every operation of the flash; the module's goes with it or not; the MCU then
/// starts with BOOT0 low: what it runs is a whole image, old or new, or nothing.
#[test]
fn a_cut_at_every_operation_of_the_flash() {
    let (old, new) = (image(1, 9_000), image(2, 9_000));
    // the same code at the begin, as two builds of one program may have
    let mut alike = old.clone();
    alike[..5_000].copy_from_slice(&new[..5_000]);
    let mut cases = 0;
    for (chip, piece, erase) in [
        (CHIPS[0], 9_216, Erase::Pages),
        (CHIPS[0], 3_072, Erase::Pages),
        (CHIPS[0], 3_072, Erase::Mass),
        (CHIPS[1], 3_072, Erase::Pages),
        (CHIPS[2], 1_024, Erase::Pages),
    ] {
        for (old, both) in [(&old, false), (&old, true), (&alike, false), (&alike, true)] {
            for operation in 0.. {
                let mut bench = Bench::new(chip, old);
                bench.config.erase = erase;
                bench.loader = Loader::new(bench.config);
                bench.rom.cut_in(operation);
                if bench.upgrade(&new, piece).is_ok() {
                    assert!(operation > 20, "there were no cuts");
                    break;
                }
                cases += 1;
                bench.rom.lines(false, false);
                bench.rom.power(true);
                let whole = bench.holds(old) || bench.holds(&new);
                let starts = bench.rom.state() == State::Application;
                assert!(!starts || whole, "{} {piece} {operation}", chip.name);
                if both {
                    bench.restart_module();
                }
                bench.upgrade(&new, piece).unwrap();
                assert!(bench.holds(&new), "{} {piece} {operation}", chip.name);
                assert_eq!(bench.rom.state(), State::Application);
            }
        }
    }
    println!("{cases} cuts, no half image was started, every upgrade ended");
}

/// The same while the module goes on: it waits for the MCU, which comes back in its loader.
#[test]
fn an_outage_at_every_operation_of_the_flash() {
    let (old, new) = (image(1, 9_000), image(2, 9_000));
    // one block in the middle of a page differs: what lies before it goes with the page
    let mut alike = new.clone();
    alike[4_700] ^= 1;
    for old in [old, alike] {
        for piece in [9_216, 3_072] {
            for operation in 0..48 {
                for outage in [0, 3, 40] {
                    let mut bench = Bench::new(CHIPS[0], &old);
                    bench.rom.cut_in(operation);
                    bench.outage = Some(outage);
                    bench.upgrade(&new, piece).unwrap();
                    assert!(bench.holds(&new), "{operation}");
                    assert_eq!(bench.rom.state(), State::Application);
                }
            }
        }
    }
}

#[test]
fn lost_and_harmed_bytes() {
    let (old, new) = (image(1, 9_000), image(2, 9_000));
    for seed in 0..20 {
        for (lost, harmed) in [(50, 10), (500, 30)] {
            let mut bench = Bench::new(CHIPS[seed as usize % 3], &old);
            bench.noise = Noise::new(seed, lost, harmed);
            bench.upgrade(&new, 3_072).unwrap();
            assert!(bench.holds(&new), "{seed} {lost}");
        }
    }
}

fn fault(result: Result<(), Option<Fault>>) -> (RomError, u32) {
    let fault = result.unwrap_err().expect("a fault and no cut");
    (fault.error, fault.detail)
}

#[test]
fn a_write_protected_page_is_told_with_its_address() {
    let (old, new) = (image(1, 9_000), image(2, 9_000));
    for page in 0..9 {
        let mut bench = Bench::new(CHIPS[0], &old);
        bench.rom.protect(&[page]);
        let address = FLASH + 1024 * u32::from(page);
        let result = bench.upgrade(&new, 9_216);
        let (error, at) = fault(result);
        assert_eq!(error, RomError::RomProtected);
        assert!((address..address + 1024).contains(&at), "{page} {at:#x}");
        assert_eq!(bench.rom.state(), State::Loader, "it is held there");
    }
    // all at once: the head stays, and so does what belongs to it
    let mut bench = Bench::new(CHIPS[0], &old);
    bench.config.erase = Erase::Mass;
    bench.loader = Loader::new(bench.config);
    bench.rom.protect(&[0]);
    let (error, at) = fault(bench.upgrade(&new, 9_216));
    assert_eq!((error, at), (RomError::RomProtected, FLASH));
    assert!(bench.holds(&old));
    // an erased page is no less protected
    let mut bench = Bench::new(CHIPS[0], &old[..4096]);
    bench.rom.protect(&[6]);
    let (error, at) = fault(bench.upgrade(&new, 9_216));
    assert_eq!((error, at), (RomError::RomProtected, FLASH + 6 * 1024));
    // the same bytes need no write
    let mut bench = Bench::new(CHIPS[0], &new);
    bench.rom.protect(&[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    bench.upgrade(&new, 9_216).unwrap();
}

#[test]
fn a_word_that_is_too_small_or_a_table_of_another_chip() {
    let new = image(2, 9_001);
    let mut bench = Bench::new(CHIPS[1], &new[..10]);
    bench.config.chip = Some(0x410);
    bench.loader = Loader::new(bench.config);
    assert_eq!(
        fault(bench.upgrade(&new, 9_216)),
        (RomError::RomWrongChip, 0x413)
    );
    let mut bench = Bench::new(CHIPS[0], &image(1, 9_000));
    // pages that the chip does not have
    bench.config.layout.first_page = 200;
    bench.loader = Loader::new(bench.config);
    let (error, _) = fault(bench.upgrade(&new, 9_216));
    assert_eq!(error, RomError::RomRefused);
    assert_eq!(bench.loader.image(1 << 20), Err(RomError::RomImageTooLarge));
    bench.config.layout.word = 3;
    bench.loader = Loader::new(bench.config);
    assert_eq!(bench.loader.image(1), Err(RomError::RomConfig));
}

#[test]
fn an_mcu_that_is_silent_is_told_and_tried_again() {
    let new = image(2, 2_000);
    let mut bench = Bench::new(CHIPS[0], &image(1, 2_000));
    bench.rom.power(false);
    bench.outage = Some(40);
    bench.upgrade(&new, 2_048).unwrap();
    assert!(bench.holds(&new));
    let silent = |fault: &Fault| (fault.error, fault.command) == (RomError::RomSilent, 0x7F);
    assert!(!bench.troubles.is_empty() && bench.troubles.iter().all(silent));
}
