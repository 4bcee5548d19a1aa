//! The simulated MCU with MCUmgr on a PC: a UART, and a flash file.

use crate::mcu_port::StartError;
use crate::serial::{Change, Serial};
use crate::sim_rom::Noise;
use crate::sim_smp::{SimSmp, State};
use crate::wake::{self, Sleeper, Wake};
use sota::platform::Clock;

/// The MCU and its UART.
pub struct SmpMcu {
    smp: SimSmp,
    noise: Noise,
    serial: Serial,
    sleeper: Sleeper,
    clock: crate::clock::HostClock,
    /// Answered, not yet taken by the UART.
    out: Vec<u8>,
}

/// What the program hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The MCU does something else than before.
    State(State),
    /// The UART was lost, or is back.
    Uart(Change),
}

impl SmpMcu {
    /// The [`Wake`] ends a sleep inside [`SmpMcu::step`].
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn new(smp: SimSmp, noise: Noise, serial: Serial) -> Result<(SmpMcu, Wake), StartError> {
        let (wake, sleeper) = wake::pair()?;
        let mcu = SmpMcu {
            smp,
            noise,
            serial,
            sleeper,
            clock: crate::clock::HostClock::start(),
            out: Vec::new(),
        };
        Ok((mcu, wake))
    }

    /// The MCU, to look at.
    pub fn smp(&self) -> &SimSmp {
        &self.smp
    }

    /// One round: what is there to receive, to do and to send; then sleeps until there is more.
    pub fn step(&mut self, heard: &mut dyn FnMut(Heard)) {
        let now = self.clock.now();
        if let Some(change) = self.serial.reopen(now) {
            heard(Heard::Uart(change));
        }
        let before = self.smp.state();
        self.smp.poll(now);
        while self.receive(now, heard) | self.send(now, heard) {}
        let state = self.smp.state();
        if state != before {
            heard(Heard::State(state));
            return; // told before the sleep
        }
        let serial = self.serial.fd();
        let write = serial.filter(|_| !self.out.is_empty());
        let deadlines = [self.smp.deadline(), self.serial.retry_at()];
        let wait = deadlines.into_iter().flatten().min();
        let wait = wait.map(|at| at.saturating_sub(self.clock.now()));
        self.sleeper.sleep(serial.as_slice(), write, wait);
    }

    fn receive(&mut self, now: u64, heard: &mut dyn FnMut(Heard)) -> bool {
        let mut bytes = [0; 512];
        match self.serial.read(now, &mut bytes) {
            Ok(count) => {
                let mut received = bytes[..count].to_vec();
                self.noise.pass(&mut received);
                self.smp.on_bytes(now, &received);
                let mut answer = self.smp.take();
                self.noise.pass(&mut answer);
                self.out.append(&mut answer);
                count > 0
            }
            Err(change) => {
                heard(Heard::Uart(change));
                false
            }
        }
    }

    fn send(&mut self, now: u64, heard: &mut dyn FnMut(Heard)) -> bool {
        let sent = self.serial.send(now, &mut self.out, |_| 0);
        sent.unwrap_or_else(|change| {
            heard(Heard::Uart(change));
            false
        })
    }
}
