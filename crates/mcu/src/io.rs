//! The agent's loop over a UART with `embedded-io`'s traits.

use crate::agent::{Agent, Output};
use embedded_io::{Read, ReadReady, Write, WriteReady};
use embedded_storage::nor_flash::NorFlash;
use sota_link::Millis;

/// Bytes moved at once.
const CHUNK: usize = 16;

/// Takes what the UART has received, lets the agent work, and gives the UART what it can take; `each` gets every output.
/// Waits for nothing but a UART that said it could write and then takes fewer than 16 bytes. Call it again when bytes came,
/// when the UART took the last one, and at [`Agent::deadline`].
///
/// # Errors
/// The UART's own.
pub fn pump<const FRAME: usize, U, F>(
    agent: &mut Agent<FRAME>,
    uart: &mut U,
    flash: &mut F,
    now: Millis,
    mut each: impl FnMut(&mut Agent<FRAME>, &mut U, &mut F, Output),
) -> Result<(), U::Error>
where
    U: Read + ReadReady + Write + WriteReady,
    F: NorFlash,
{
    let mut bytes = [0; CHUNK];
    loop {
        let n = match uart.read_ready()? {
            true => uart.read(&mut bytes)?,
            false => 0,
        };
        let mut rest = bytes.get(..n).unwrap_or_default();
        loop {
            let taken = agent.on_bytes(rest);
            rest = rest.get(taken..).unwrap_or_default();
            while let Some(output) = agent.poll(now, flash) {
                each(agent, uart, flash, output);
            }
            if rest.is_empty() {
                break;
            }
        }
        let mut wrote = 0;
        if uart.write_ready()? {
            wrote = agent.next_tx(&mut bytes);
            uart.write_all(bytes.get(..wrote).unwrap_or_default())?;
        }
        if n == 0 && wrote == 0 {
            return Ok(());
        }
    }
}
