//! The bridge's thread with the binary link in place of AT commands (`CONFIG_SOTA_MCU_LINK`).

#[cfg(not(sota_sides))]
use crate::boxes::TO_BRIDGE;
use crate::sys;
#[cfg(not(sota_sides))]
use crate::sys::Who;
use crate::{calls, config};
use sota::bridge::link::LinkBridge;
use sota_link::field::Hello;
use sota_link::frame::frame_len;
use sota_link::{Line, LinkError};

/// Greatest block in bytes.
const BLOCK: usize = config::number(env!("SOTA_LINK_BLOCK"));
const _: () = assert!(
    BLOCK.is_power_of_two() && config::number(env!("SOTA_STAGING_PAGE")).is_multiple_of(BLOCK),
    "CONFIG_SOTA_LINK_BLOCK must be a power of two that divides the page of sota,staging"
);
const FRAME: usize = frame_len(BLOCK);
/// Bytes taken from the UART's buffer at once, and given to it.
const CHUNK: usize = 64;

fn own() -> sota_link::Config {
    let baud = sys::uart_speed();
    sota_link::Config {
        hello: Hello {
            block: BLOCK as u16,
            window: 8,
            rate: sys::link_baud(),
            ..Hello::default()
        },
        baud,
        session: sys::random() as u16,
    }
}

/// Runs for ever.
#[cfg(not(sota_sides))]
pub(crate) fn run() -> ! {
    let mut bridge: LinkBridge<FRAME> = LinkBridge::new(sys::now(), own());
    let (mut received, mut out) = (Chunk::new(), Chunk::new());
    let mut speed = None;
    loop {
        while step(&mut bridge, &mut received, &mut out, &mut speed) {}
        sys::sleep(Who::Bridge, bridge.deadline());
    }
}

/// The same as one of several back ends.
#[cfg(sota_sides)]
pub(crate) struct LinkLoop {
    bridge: LinkBridge<FRAME>,
    received: Chunk,
    out: Chunk,
    speed: Option<u32>,
}

#[cfg(sota_sides)]
impl LinkLoop {
    pub(crate) fn new() -> Self {
        LinkLoop {
            bridge: LinkBridge::new(sys::now(), own()),
            received: Chunk::new(),
            out: Chunk::new(),
            speed: None,
        }
    }

    pub(crate) fn step(&mut self) -> bool {
        step(
            &mut self.bridge,
            &mut self.received,
            &mut self.out,
            &mut self.speed,
        )
    }

    pub(crate) fn ready_for_event(&self) -> bool {
        true
    }

    pub(crate) fn on_event(&mut self, event: &sota::message::Event) {
        self.bridge.on_event(event);
    }

    pub(crate) fn deadline(&self) -> Option<sota::message::Millis> {
        self.bridge.deadline()
    }
}

/// Bytes between the UART's buffer and the machine.
struct Chunk([u8; CHUNK], usize, usize);

impl Chunk {
    const fn new() -> Self {
        Chunk([0; CHUNK], 0, 0)
    }

    fn rest(&self) -> &[u8] {
        self.0.get(self.1..self.2).unwrap_or_default()
    }
}

/// One round; whether anything moved.
fn step(
    bridge: &mut LinkBridge<FRAME>,
    received: &mut Chunk,
    out: &mut Chunk,
    speed: &mut Option<u32>,
) -> bool {
    let now = sys::now();
    if received.rest().is_empty() {
        received.1 = 0;
        received.2 = sys::uart_read(&mut received.0);
    }
    let taken = bridge.on_bytes(received.rest());
    received.1 += taken;
    let mut moved = taken > 0;
    #[cfg(not(sota_sides))]
    while let Some(event) = TO_BRIDGE.try_recv() {
        sys::wake(Who::Engine);
        bridge.on_event(&event);
        moved = true;
    }
    let mut engine = |command, bytes: &mut [u8]| calls::main_command(&command, bytes);
    while let Some(line) = bridge.poll(now, &mut engine) {
        match line {
            Line::Up => sys::log(3, "the MCU answers on the link"),
            Line::Baud(baud) => *speed = Some(baud),
            // its fault says so
            Line::Down => {}
            Line::Fault(number) => {
                let name = LinkError::from_number(number).map_or("", LinkError::name);
                sys::link_fault(number, name);
            }
            Line::PeerError(number) => sys::link_fault(number, "said by the MCU"),
        }
        moved = true;
    }
    moved | send(bridge, out, speed)
}

/// Writes until the UART takes no more; whether anything went out.
fn send(bridge: &mut LinkBridge<FRAME>, out: &mut Chunk, speed: &mut Option<u32>) -> bool {
    let mut moved = false;
    loop {
        if out.rest().is_empty() {
            if let Some(baud) = *speed {
                // the interrupt that sees the last byte leave wakes this thread
                if !sys::uart_is_idle() {
                    return moved;
                }
                sys::uart_set_speed(baud);
                *speed = None;
            }
            // What follows a change of the speed is sent with the new one.
            out.1 = 0;
            out.2 = bridge.next_bytes(&mut out.0);
            if out.2 == 0 {
                return moved;
            }
        }
        match sys::uart_write(out.rest()) {
            0 => return moved,
            n => out.1 += n,
        }
        moved = true;
    }
}
