//! An agent's loop over a UART with `embedded-io`'s traits.

#[cfg(feature = "link")]
use crate::Agent;
#[cfg(feature = "at")]
use crate::AtAgent;
use embedded_io::{Read, ReadReady, Write, WriteReady};
use embedded_storage::nor_flash::NorFlash;
use sota_link::Millis;

/// Bytes moved at once.
const CHUNK: usize = 16;

/// An agent, as the loop sees it.
pub trait Machine<F> {
    /// What the caller has to do.
    type Output;
    /// Takes received bytes and says how many.
    fn on_bytes(&mut self, bytes: &[u8]) -> usize;
    /// Works on what came and on what time does.
    fn poll(&mut self, now: Millis, flash: &mut F) -> Option<Self::Output>;
    /// Moves bytes for the UART into `out` and says how many.
    fn next_tx(&mut self, out: &mut [u8]) -> usize;
}

macro_rules! machine {
    ($agent:ident, $output:path, $n:ident) => {
        impl<const $n: usize, F: NorFlash> Machine<F> for $agent<$n> {
            type Output = $output;
            fn on_bytes(&mut self, bytes: &[u8]) -> usize {
                self.on_bytes(bytes)
            }
            fn poll(&mut self, now: Millis, flash: &mut F) -> Option<$output> {
                self.poll(now, flash)
            }
            fn next_tx(&mut self, out: &mut [u8]) -> usize {
                self.next_tx(out)
            }
        }
    };
}

#[cfg(feature = "link")]
machine!(Agent, crate::Output, FRAME);
#[cfg(feature = "at")]
machine!(AtAgent, crate::at::Output, BLOCK);

/// Takes what the UART has received, lets the agent work, and gives the UART what it can take; `each` gets every output.
/// Waits for nothing but a UART that said it could write and then takes fewer than 16 bytes. Call it again when bytes came,
/// when the UART took the last one, and at the agent's deadline.
///
/// # Errors
/// The UART's own.
pub fn pump<A, U, F>(
    agent: &mut A,
    uart: &mut U,
    flash: &mut F,
    now: Millis,
    mut each: impl FnMut(&mut A, &mut U, &mut F, A::Output),
) -> Result<(), U::Error>
where
    A: Machine<F>,
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
