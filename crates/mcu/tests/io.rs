//! The loop over `embedded-io`: a whole receive through a UART that takes and gives a few bytes at a time.

mod world;

use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};
use sota_link::field::Hello;
use sota_link::module::{Input, Link, Output as Asked};
use sota_link::{Config, Line};
use sota_mcu::io::pump;
use sota_mcu::state::{BootState, Phase};
use sota_mcu::{Agent, Output};
use std::collections::VecDeque;
use std::convert::Infallible;
use world::nor::Nor;
use world::parts::Component;
use world::{FRAME, Setup};

#[derive(Default)]
struct Uart {
    rx: VecDeque<u8>,
    tx: VecDeque<u8>,
    /// Writes one byte at a time, and every other time none.
    turn: u32,
}

impl ErrorType for Uart {
    type Error = Infallible;
}

impl Read for Uart {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        let n = out.len().min(5).min(self.rx.len());
        for (place, byte) in out.iter_mut().zip(self.rx.drain(..n)) {
            *place = byte;
        }
        Ok(n)
    }
}

impl ReadReady for Uart {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(!self.rx.is_empty())
    }
}

impl Write for Uart {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.tx.push_back(bytes[0]);
        Ok(1)
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl WriteReady for Uart {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        self.turn += 1;
        Ok(self.turn.is_multiple_of(2))
    }
}

#[test]
fn receives_and_asks_for_the_reset() {
    let setup = Setup::default();
    let layout = setup.layout();
    let mut flash = Nor::<256, 8>::new((layout.state + 2 * layout.state_page) as usize, 7);
    flash.program(layout.active as usize, &setup.old);
    let config = sota_mcu::Config {
        link: sota_link::mcu::Config {
            block: 256,
            window: 4,
            component: "STM32",
            version: "1_0_0",
            baud: 115_200,
            ..Default::default()
        },
        ..sota_mcu::Config::default()
    };
    let mut agent = Agent::<FRAME>::new(0, config, layout, &mut flash).unwrap();
    let mut component = Component::new(setup.new.clone(), setup.package(), 1024, 1_000);
    let mut module = Link::<FRAME>::new(
        0,
        Config {
            hello: Hello {
                block: 256,
                window: 4,
                ..Hello::default()
            },
            baud: 115_200,
            session: 9,
        },
    );
    let mut uart = Uart::default();
    let mut outputs = Vec::new();
    for now in 0..20_000 {
        for input in component.poll(now * 1_000) {
            module.input(input);
        }
        loop {
            let taken = module.on_bytes(uart.tx.make_contiguous());
            uart.tx.drain(..taken);
            while let Some(output) = module.poll(now, &mut component) {
                let running = ("", Default::default());
                let inputs: Vec<Input> = match output {
                    Asked::Running => Vec::new(),
                    output => component.act(now * 1_000, output, running),
                };
                for input in inputs {
                    module.input(input);
                }
            }
            if taken == 0 {
                break;
            }
        }
        let mut bytes = [0; 64];
        let n = module.next_tx(&mut bytes);
        uart.rx.extend(&bytes[..n]);
        pump(&mut agent, &mut uart, &mut flash, now, |_, _, _, output| {
            outputs.push(output)
        })
        .unwrap();
        if outputs.contains(&Output::Reset) {
            break;
        }
    }
    assert_eq!(outputs, [Output::Line(Line::Up), Output::Reset]);
    let at = layout.other as usize;
    assert_eq!(&flash.memory[at..at + setup.new.len()], setup.new);
    assert_eq!(
        BootState::open(&mut flash, &layout).get().phase,
        Phase::Requested
    );
}

#[test]
fn the_at_agent_has_the_same_loop() {
    use sota_mcu::at::{AtAgent, Config, Output};
    let setup = Setup::default();
    let layout = setup.layout();
    let mut flash = Nor::<256, 8>::new((layout.state + 2 * layout.state_page) as usize, 7);
    let config = Config {
        component: "STM32".try_into().unwrap(),
        ..Config::default()
    };
    let mut agent = AtAgent::<64>::new(0, config, layout, &mut flash).unwrap();
    let mut uart = Uart::default();
    let mut outputs = Vec::new();
    for now in 0..100 {
        if now == 50 {
            assert_eq!(uart.tx.drain(..).collect::<Vec<_>>(), b"ATE0\r");
            uart.rx.extend(b"\r\nOK\r\n");
        }
        pump(&mut agent, &mut uart, &mut flash, now, |_, _, _, output| {
            outputs.push(output)
        })
        .unwrap();
    }
    assert_eq!(outputs, [Output::Up]);
    assert!(uart.tx.make_contiguous().starts_with(b"AT+QIOTMCUVER="));
}
