//! The change of the baud rate through the C functions, with a UART that takes a byte now and then: the answer to the
//! module's question leaves whole at the old rate.

#![cfg(not(feature = "at"))]

use core::ffi::c_void;
use sota_link::Line;
use sota_link::field::{Hello, Image, Package};
use sota_link::frame::frame_len;
use sota_link::module::{Input, Link, Output, Source};
use sota_mcu_c::{sota_mcu_config, sota_mcu_layout, sota_mcu_port, sota_mcu_start, sota_mcu_step};

const RATE: u32 = 921_600;

#[derive(Default)]
struct Board {
    flash: Vec<u8>,
    now: u32,
    to_mcu: Vec<u8>,
    to_module: Vec<u8>,
    /// The UART takes a byte at every second call.
    busy: bool,
    baud: Option<u32>,
}

unsafe fn board<'a>(context: *mut c_void) -> &'a mut Board {
    // SAFETY: it is the board below, and nothing else refers to it while the library is called.
    unsafe { &mut *context.cast() }
}

unsafe extern "C" fn read(context: *mut c_void, at: u32, to: *mut u8, len: u32) -> i32 {
    // SAFETY: the library's buffer has so many bytes.
    let to = unsafe { core::slice::from_raw_parts_mut(to, len as usize) };
    // SAFETY: see board.
    to.copy_from_slice(&unsafe { board(context) }.flash[at as usize..][..len as usize]);
    0
}

unsafe extern "C" fn write(context: *mut c_void, at: u32, from: *const u8, len: u32) -> i32 {
    // SAFETY: the library's buffer has so many bytes.
    let from = unsafe { core::slice::from_raw_parts(from, len as usize) };
    // SAFETY: see board.
    unsafe { board(context) }.flash[at as usize..][..len as usize].copy_from_slice(from);
    0
}

unsafe extern "C" fn erase(context: *mut c_void, at: u32, len: u32) -> i32 {
    // SAFETY: see board.
    unsafe { board(context) }.flash[at as usize..][..len as usize].fill(0xFF);
    0
}

unsafe extern "C" fn uart_read(context: *mut c_void, to: *mut u8, len: u32) -> u32 {
    // SAFETY: see board; the library's buffer has so many bytes.
    let (board, to) = unsafe {
        let to = core::slice::from_raw_parts_mut(to, len as usize);
        (board(context), to)
    };
    let n = to.len().min(board.to_mcu.len());
    for (to, from) in to.iter_mut().zip(board.to_mcu.drain(..n)) {
        *to = from;
    }
    n as u32
}

unsafe extern "C" fn uart_write(context: *mut c_void, from: *const u8, len: u32) -> u32 {
    // SAFETY: see board.
    let board = unsafe { board(context) };
    board.busy = !board.busy;
    if board.busy || len == 0 {
        return 0;
    }
    // What leaves after the change is at another rate, which this module does not hear.
    if board.baud.is_none() {
        // SAFETY: there is one byte at least.
        board.to_module.push(unsafe { *from });
    }
    1
}

unsafe extern "C" fn uart_baud(context: *mut c_void, baud: u32) {
    // SAFETY: see board.
    unsafe { board(context) }.baud = Some(baud);
}

unsafe extern "C" fn now(context: *mut c_void) -> u32 {
    // SAFETY: see board.
    unsafe { board(context) }.now
}

unsafe extern "C" fn reset(_: *mut c_void) {}

struct Nothing;

impl Source for Nothing {
    fn read(&mut self, _: u32, _: &mut [u8]) -> bool {
        false
    }
}

#[test]
fn the_answer_leaves_whole_at_the_old_rate() {
    let mut board = Board {
        flash: vec![0xFF; 64 * 1024],
        ..Board::default()
    };
    let context: *mut Board = &mut board;
    let config = sota_mcu_config {
        component: c"STM32".as_ptr(),
        version: c"1".as_ptr(),
        hardware: core::ptr::null(),
        bootloader: core::ptr::null(),
        baud: 115_200,
        greatest_baud: RATE,
        window: 0,
        session: 7,
        confirm_within_ms: 0,
        mcuboot: false,
        request_ms: 0,
        sota_commands: false,
        reads_twice: false,
    };
    let layout = sota_mcu_layout {
        active: 2048,
        active_length: 16 * 1024,
        other: 18 * 1024,
        other_length: 19 * 1024,
        page: 1024,
        state: 0,
        state_page: 1024,
        word: 4,
    };
    let port = sota_mcu_port {
        context: context.cast(),
        flash_read: Some(read),
        flash_write: Some(write),
        flash_erase: Some(erase),
        uart_read: Some(uart_read),
        uart_write: Some(uart_write),
        uart_baud: Some(uart_baud),
        now_ms: Some(now),
        reset: Some(reset),
        plan: None,
        may_install: None,
        event: None,
    };
    // SAFETY: all three are good, and the board outlives the test.
    assert_eq!(unsafe { sota_mcu_start(&config, &layout, &port) }, 0);
    const FRAME: usize = frame_len(256);
    let own = sota_link::Config {
        hello: Hello {
            block: 256,
            window: 8,
            rate: RATE,
            ..Hello::default()
        },
        baud: 115_200,
        session: 9,
    };
    let mut module: Link<FRAME> = Link::new(0, own);
    module.input(Input::Package(Package {
        component: "STM32".try_into().unwrap(),
        hardware: Default::default(),
        target: Default::default(),
        image: Image {
            length: 4000,
            sha256: Some([1; 32]),
            ..Image::default()
        },
    }));
    for ms in 0..20_000_u32 {
        // SAFETY: the library is not inside a call.
        let board = unsafe { &mut *context };
        board.now = ms;
        let mut bytes = [0; 64];
        let n = module.next_tx(&mut bytes);
        board.to_mcu.extend_from_slice(&bytes[..n]);
        let heard = core::mem::take(&mut board.to_module);
        let mut rest = &heard[..];
        loop {
            let taken = module.on_bytes(rest);
            rest = &rest[taken..];
            while let Some(output) = module.poll(ms.into(), &mut Nothing) {
                if let Output::Line(Line::Baud(baud)) = output {
                    assert_eq!((baud, board.baud), (RATE, Some(RATE)));
                    return;
                }
            }
            if rest.is_empty() {
                break;
            }
        }
        sota_mcu_step();
    }
    // SAFETY: as above.
    let board = unsafe { &*context };
    panic!("the module heard no answer: the MCU is at {:?}", board.baud);
}
