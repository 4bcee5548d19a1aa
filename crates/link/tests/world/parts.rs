//! What the two links are joined to: the MCU's flash, and a component that gives a package piece by piece.

use sota_link::Line;
use sota_link::field::{Boot, Image, Package, Plan, Resume};
use sota_link::mcu::{Slot, WriteError};
use sota_link::module::{Input, Output, Source};
use std::collections::BTreeSet;

/// The MCU's flash: erase before write, whole pages, torn writes; a mark that is written whole or not at all.
pub struct Flash {
    pub memory: Vec<u8>,
    page: usize,
    mark: Option<Resume>,
    /// Pages erased since the last `begin`.
    erased: Vec<bool>,
    pub busy_us: u64,
    page_us: u64,
    /// Operations left until power fails; words of 8 bytes and pages count one each.
    pub fuse: Option<u32>,
    /// Operations that fail although power is there.
    pub broken: bool,
    /// Every so many writes, this often, what is on the page is found torn.
    pub redo_every: u32,
    pub redos: u32,
    writes: u32,
}

impl Flash {
    pub fn new(size: usize, page: usize, page_us: u64) -> Flash {
        Flash {
            memory: vec![0x5A; size],
            page,
            mark: None,
            erased: vec![false; size / page],
            busy_us: 0,
            page_us,
            fuse: None,
            broken: false,
            redo_every: 0,
            redos: 3,
            writes: 0,
        }
    }

    /// Power is gone.
    pub fn is_dead(&self) -> bool {
        self.fuse == Some(0)
    }

    /// What is not in flash is gone.
    pub fn reset(&mut self) {
        self.erased.fill(false);
        self.fuse = None;
        self.busy_us = 0;
    }

    fn operation(&mut self) -> Result<(), WriteError> {
        match &mut self.fuse {
            Some(0) => return Err(WriteError::Failed),
            Some(left) => *left -= 1,
            None => {}
        }
        match self.broken || self.is_dead() {
            true => Err(WriteError::Failed),
            false => Ok(()),
        }
    }

    fn mark(&mut self, offset: u32) {
        let is = self.mark.map(|mark| mark.offset);
        if is != Some(offset)
            && self.operation().is_ok()
            && let Some(mark) = &mut self.mark
        {
            mark.offset = offset;
        }
    }
}

impl Slot for Flash {
    fn resume(&mut self) -> Option<Resume> {
        self.mark
    }

    fn begin(&mut self, image: &Image) -> Result<u32, u16> {
        let digest = image.digest().ok_or(625_u16)?;
        self.erased.fill(false);
        let wanted = Resume {
            offset: 0,
            length: image.length,
            digest,
        };
        match self.mark {
            Some(mark) if (mark.length, mark.digest) == (wanted.length, digest) => Ok(mark.offset),
            _ => {
                self.operation().map_err(|_| 404_u16)?;
                self.mark = Some(wanted);
                Ok(0)
            }
        }
    }

    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), WriteError> {
        self.writes += 1;
        let offset = offset as usize;
        for page in offset / self.page..=(offset + data.len() - 1) / self.page {
            if !self.erased[page] {
                self.operation()?;
                let range = page * self.page..(page + 1) * self.page;
                self.memory[range].fill(0xFF);
                self.erased[page] = true;
                self.busy_us += self.page_us;
            }
        }
        self.busy_us += self.page_us * (data.len() as u64).div_ceil(self.page as u64);
        for (i, word) in data.chunks(8).enumerate() {
            let at = offset + 8 * i;
            let place = &mut self.memory[at..at + word.len()];
            assert!(
                place.iter().all(|byte| *byte == 0xFF),
                "written twice at {at}"
            );
            place.copy_from_slice(word);
            self.operation()?;
        }
        if self.redo_every > 0 && self.redos > 0 && self.writes.is_multiple_of(self.redo_every) {
            self.redos -= 1;
            // The page is found torn: it and all above is received again.
            let page = offset / self.page;
            self.erased[page..].fill(false);
            let from = (page * self.page) as u32;
            if self.mark.is_some_and(|mark| mark.offset > from) {
                self.mark(from);
            }
            return Err(WriteError::Redo(from));
        }
        Ok(())
    }

    fn commit(&mut self, offset: u32) -> u32 {
        let length = self.mark.map_or(0, |mark| mark.length);
        let durable = match offset >= length {
            true => length,
            false => offset - offset % self.page as u32,
        };
        self.mark(durable);
        self.mark.map_or(0, |mark| mark.offset)
    }

    fn forget(&mut self) {
        self.mark = None;
    }
}

/// Where the component is; it survives a reset of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Idle,
    Offered,
    /// Fetches the piece at `start`, there at `ready_us`.
    Fetching {
        start: u32,
        ready_us: u64,
    },
    Holding {
        start: u32,
    },
    Installing,
    Updated,
    Failed(u16),
}

/// A component with one package, one piece at a time.
pub struct Component {
    pub bytes: Vec<u8>,
    pub package: Package,
    pub piece: u32,
    pub fetch_us: u64,
    /// It says 10702 only when the first block is there, as the engine does.
    pub quiet: bool,
    pub stage: Stage,
    /// Bytes that the link read.
    pub read: u64,
    /// One past the last byte that was ever read, and the same when the link came up last.
    high: (u32, u32),
    /// Offsets below that were read since.
    again: BTreeSet<u32>,
    /// Most bytes that were read again after the link came up.
    pub resume_cost: u64,
    /// Actions refused, as an engine does that waits for battery.
    pub refuse: u32,
    pub log: Vec<Output>,
}

pub const TARGET: &str = "2_0_0";

impl Component {
    pub fn new(bytes: Vec<u8>, package: Package, piece: u32, fetch_us: u64) -> Component {
        Component {
            bytes,
            package,
            piece,
            fetch_us,
            quiet: false,
            stage: Stage::Offered,
            read: 0,
            high: (0, 0),
            again: BTreeSet::new(),
            resume_cost: 0,
            refuse: 0,
            log: Vec::new(),
        }
    }

    pub fn plan(&self) -> Plan {
        Plan {
            component: self.package.component.clone(),
            target: self.package.target.clone(),
            use_space: self.package.image.length,
            ..Plan::default()
        }
    }

    fn end(&self, start: u32) -> u32 {
        start
            .saturating_add(self.piece)
            .min(self.package.image.length)
    }

    fn fetch(&mut self, now_us: u64, start: u32, out: &mut Vec<Input>) {
        let ready_us = now_us + self.fetch_us;
        self.stage = Stage::Fetching { start, ready_us };
        if !self.quiet {
            out.push(Input::Downloading);
        }
    }

    /// What time does.
    pub fn poll(&mut self, now_us: u64) -> Vec<Input> {
        let mut out = Vec::new();
        if let Stage::Fetching { start, ready_us } = self.stage
            && now_us >= ready_us
        {
            self.stage = Stage::Holding { start };
            out.push(self.holding(start));
        }
        out
    }

    fn holding(&self, start: u32) -> Input {
        let length = self.end(start) - start;
        Input::Piece { start, length }
    }

    /// Says again what is under way.
    fn announce(&self, out: &mut Vec<Input>) {
        let package = Input::Package(self.package.clone());
        match self.stage {
            Stage::Offered => out.push(Input::Plan(self.plan())),
            Stage::Fetching { .. } if self.quiet => out.push(package),
            Stage::Fetching { .. } => out.extend([package, Input::Downloading]),
            Stage::Holding { start } => out.extend([package, self.holding(start)]),
            // As after a restart of the module in state 9.
            Stage::Installing => out.extend([package, Input::Installing]),
            Stage::Updated => out.push(Input::Updated),
            Stage::Failed(number) => out.push(Input::Failed(number)),
            Stage::Idle => {}
        }
    }

    /// Does what the link says.
    pub fn act(&mut self, now_us: u64, output: Output, running: (&str, Boot)) -> Vec<Input> {
        let mut out = Vec::new();
        match output {
            Output::Line(Line::Up) => {
                self.high.1 = self.high.0;
                self.again.clear();
            }
            Output::Line(_) => {}
            output => self.log.push(output),
        }
        if self.refuse > 0 && matches!(output, Output::Confirm | Output::Install | Output::Release)
        {
            self.refuse -= 1;
            return out;
        }
        match (output, self.stage) {
            (Output::Announce, _) => self.announce(&mut out),
            (Output::Running, _) if running == (TARGET, Boot::Confirmed) => {
                assert!(
                    matches!(self.stage, Stage::Installing | Stage::Updated),
                    "it runs what was never installed: {:?}",
                    self.stage
                );
                self.stage = Stage::Updated;
                out.push(Input::Updated);
            }
            (Output::Confirm, Stage::Offered) => {
                out.push(Input::Package(self.package.clone()));
                self.fetch(now_us, 0, &mut out);
            }
            (
                Output::Refuse(number) | Output::Cancel(number),
                Stage::Updated | Stage::Failed(_),
            ) => {
                panic!("too late: {number}")
            }
            (Output::Refuse(number), _) => self.stage = Stage::Failed(number),
            (Output::Cancel(number), _) => {
                self.stage = Stage::Failed(number);
                out.push(Input::Failed(number));
            }
            (Output::Release, Stage::Holding { start }) => {
                let end = self.end(start);
                assert!(
                    end < self.package.image.length,
                    "the last piece is not released"
                );
                self.fetch(now_us, end, &mut out);
            }
            // What is under way, it says.
            (Output::Rewind(offset), Stage::Fetching { start, .. }) if offset >= start => {
                self.announce(&mut out);
            }
            (Output::Rewind(offset), Stage::Holding { .. } | Stage::Fetching { .. }) => {
                self.fetch(now_us, offset / self.piece * self.piece, &mut out);
            }
            (Output::Install, Stage::Holding { start }) => {
                assert_eq!(
                    self.end(start),
                    self.package.image.length,
                    "not the last piece"
                );
                self.stage = Stage::Installing;
                out.push(Input::Installing);
            }
            _ => {}
        }
        out
    }
}

impl Source for Component {
    fn read(&mut self, offset: u32, out: &mut [u8]) -> bool {
        let Stage::Holding { start } = self.stage else {
            return false;
        };
        let (from, to) = (offset as usize, offset as usize + out.len());
        if offset < start || to as u64 > u64::from(self.end(start)) {
            return false;
        }
        out.copy_from_slice(&self.bytes[from..to]);
        self.read += out.len() as u64;
        self.high.0 = self.high.0.max(to as u32);
        self.again
            .extend((offset..to as u32).filter(|at| *at < self.high.1));
        self.resume_cost = self.resume_cost.max(self.again.len() as u64);
        true
    }
}
