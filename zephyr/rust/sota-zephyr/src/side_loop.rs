//! One back end at the side: its machine, and what is between that and the UART.

use crate::sides::CHUNK;
use crate::{calls, sys};
use sota::bridge::route::Side;
use sota::message::{Command, Event, Millis};

/// What of a machine is not the same in all.
pub(crate) trait Kind: Side + Sized {
    /// `place`: of the nodes of this kind, `side`: of all. `None`: it cannot be served, and the log says why.
    fn start(place: usize, side: u8) -> Option<Self>;
    /// Does what the machine says; whether what was not sent yet is not for the MCU any more.
    fn act(&self, side: u8, line: Self::Line) -> bool;
}

pub(crate) struct SideLoop<M> {
    bridge: M,
    /// Of the back ends at the sides, from 0.
    side: u8,
    /// Taken from the machine, not yet by the UART.
    out: ([u8; CHUNK], usize, usize),
}

impl<M: Kind> SideLoop<M> {
    /// Into its place on the thread's stack; what is made on the way does not stay there.
    #[inline(never)]
    pub(crate) fn start(to: &mut Option<Self>, place: usize, side: usize) {
        let side = side as u8;
        *to = M::start(place, side).map(|bridge| SideLoop {
            bridge,
            side,
            out: ([0; CHUNK], 0, 0),
        });
    }

    /// Its place in the routes.
    pub(crate) fn place(&self) -> usize {
        usize::from(self.side) + 1
    }

    pub(crate) fn on_event(&mut self, event: &Event) {
        self.bridge.on_event(sys::now(), event);
    }

    pub(crate) fn deadline(&self) -> Option<Millis> {
        self.bridge.deadline()
    }

    /// One round; whether anything moved.
    pub(crate) fn step(&mut self) -> bool {
        let now = sys::now();
        let mut bytes = [0; CHUNK];
        let count = sys::side_read(self.side, &mut bytes);
        self.bridge
            .on_bytes(now, bytes.get(..count).unwrap_or_default());
        let mut moved = count > 0;
        let from = self.place();
        let mut engine =
            |command: Command, out: &mut [u8]| calls::command_from(from, &command, out);
        while let Some(line) = self.bridge.poll(now, &mut engine) {
            if self.bridge.act(self.side, line) {
                self.out.1 = self.out.2;
            }
            moved = true;
        }
        self.send() || moved
    }

    /// Writes until the UART takes no more; whether anything went out.
    fn send(&mut self) -> bool {
        let mut moved = false;
        loop {
            if self.out.1 == self.out.2 {
                self.out.1 = 0;
                self.out.2 = self.bridge.next_bytes(&mut self.out.0);
            }
            let rest = self.out.0.get(self.out.1..self.out.2).unwrap_or_default();
            match sys::side_write(self.side, rest) {
                0 => return moved,
                n => self.out.1 += n,
            }
            moved = true;
        }
    }
}
