//! The board's first UART (Arm CMSDK APB UART, DDI 0479, 4.3).

use core::convert::Infallible;
use core::ptr::{read_volatile, write_volatile};
use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};

/// Hz.
const CLOCK: u32 = 25_000_000;
const BASE: usize = 0x4000_4000;
const DATA: usize = 0x0;
const STATE: usize = 0x4;
const CTRL: usize = 0x8;
const BAUDDIV: usize = 0x10;
const TX_FULL: u32 = 1;
const RX_FULL: u32 = 2;

/// The UART. There is one.
pub struct Uart(());

impl Uart {
    /// # Safety
    /// Once only.
    pub unsafe fn new(baud: u32) -> Uart {
        let uart = Uart(());
        uart.put(BAUDDIV, CLOCK / baud);
        // Both directions on.
        uart.put(CTRL, 3);
        uart
    }

    /// Another rate, once the last byte has left.
    pub fn set_baud(&mut self, baud: u32) {
        while self.state() & TX_FULL != 0 {}
        self.put(BAUDDIV, CLOCK / baud.max(1));
    }

    fn put(&self, register: usize, value: u32) {
        // SAFETY: a register of this device, which nothing else uses.
        unsafe { write_volatile((BASE + register) as *mut u32, value) }
    }

    fn state(&self) -> u32 {
        // SAFETY: as in `put`.
        unsafe { read_volatile((BASE + STATE) as *const u32) }
    }
}

impl ErrorType for Uart {
    type Error = Infallible;
}

impl ReadReady for Uart {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.state() & RX_FULL != 0)
    }
}

impl Read for Uart {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        let mut n = 0;
        for place in out {
            while n == 0 && self.state() & RX_FULL == 0 {}
            if self.state() & RX_FULL == 0 {
                break;
            }
            // SAFETY: as in `put`.
            *place = unsafe { read_volatile((BASE + DATA) as *const u32) } as u8;
            n += 1;
        }
        Ok(n)
    }
}

impl WriteReady for Uart {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.state() & TX_FULL == 0)
    }
}

impl Write for Uart {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        for byte in bytes {
            while self.state() & TX_FULL != 0 {}
            self.put(DATA, u32::from(*byte));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        while self.state() & TX_FULL != 0 {}
        Ok(())
    }
}
