//! Events as `+QIOTEVT` lines (quecthing.md section 5).

use super::tx::{Part, Tx};
use crate::message::Event;
use Part::{Hex, Number, Quoted, Signed, Text};

/// Greatest room an event with its `+SOTAERR` line takes: 10701 with every digest needs 199 bytes,
/// 10700 with the longest names 231.
pub(crate) const URC_MAX: usize = 320;

/// Writes `event` as one line.
pub(crate) fn write(tx: &mut Tx, event: &Event) {
    let (group, code) = numbers(event);
    tx.parts(&[
        Text("\r\n+QIOTEVT: "),
        Number(group),
        Text(","),
        Number(code),
    ]);
    match event {
        Event::Plan(offer) => tx.parts(&[
            Text(","),
            Quoted(&offer.component),
            Text(","),
            Quoted(&offer.source),
            Text(","),
            Quoted(&offer.target),
            Text(","),
            Number(offer.battery_limit_percent.into()),
            Text(","),
            Signed(offer.min_signal_dbm.into()),
            Text(","),
            Number(offer.use_space),
        ]),
        Event::DownloadStart(Some(package)) => {
            tx.parts(&[
                Text(","),
                Quoted(&package.component),
                Text(","),
                Number(package.length),
                Text(","),
            ]);
            // An empty field keeps the ones behind it in their places.
            match &package.md5 {
                Some(md5) => tx.parts(&[Hex(md5)]),
                None => tx.parts(&[Quoted("")]),
            }
            tx.parts(&[Text(",")]);
            if let Some(crc32) = package.crc32 {
                tx.parts(&[Number(crc32)]);
            }
            if let Some(sha256) = &package.sha256 {
                tx.parts(&[Text(","), Hex(sha256)]);
            }
        }
        Event::Downloaded(Some(piece)) => tx.parts(&[
            Text(","),
            Quoted(&piece.component),
            Text(","),
            Number(piece.length),
            Text(","),
            Number(piece.start),
            Text(","),
            Number(piece.piece_length),
        ]),
        _ => {}
    }
    tx.parts(&[Text("\r\n")]);
}

/// Group and code.
fn numbers(event: &Event) -> (u32, u32) {
    match event {
        Event::Auth(code) => (1, u32::from(*code)),
        Event::Access(code) => (2, u32::from(*code)),
        Event::Subscribed(code) => (3, u32::from(*code)),
        Event::Logout(code) => (6, u32::from(*code)),
        Event::Plan(_) => (7, 10700),
        Event::DownloadStart(_) => (7, 10701),
        Event::Downloading => (7, 10702),
        Event::Downloaded(_) => (7, 10703),
        Event::Updating => (7, 10704),
        Event::UpdateOk => (7, 10705),
        Event::UpdateFail(_) => (7, 10706),
        Event::UpdateFlag => (7, 10707),
    }
}
