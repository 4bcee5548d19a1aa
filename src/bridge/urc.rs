//! Events as `+QIOTEVT` lines (quecthing.md section 5); the payload's text is `crate::event`'s.

use super::tx::{Part, Tx};
use crate::event::PAYLOAD_LEN;
use crate::message::Event;
use heapless::String;

/// Greatest room an event with its `+SOTAERR` line takes.
pub(crate) const URC_MAX: usize = PAYLOAD_LEN + 64;

/// Writes `event` as one line.
pub(crate) fn write(tx: &mut Tx, event: &Event) {
    let mut payload = String::<PAYLOAD_LEN>::new();
    event.write_payload(&mut payload);
    tx.line(&[
        Part::Text("+QIOTEVT: "),
        Part::Number(event.group().into()),
        Part::Text(","),
        Part::Number(event.code().into()),
        Part::Text(if payload.is_empty() { "" } else { "," }),
        Part::Text(&payload),
    ]);
}
