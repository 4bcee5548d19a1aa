//! What the journal's records hold, byte by byte. Layouts: `docs/journal.md`.
//!
//! Numbers are little-endian; a string is its length in one byte and its bytes.

use heapless::{Vec, string::StringView};

use super::{
    digest::{Digests, SAVED, crc32},
    journal::{HEAD, RECORD_MAX},
    queue::reason_from,
};
use crate::message::{ComponentType, DownloadInfo, Etag, Millis, Offer, Reason, State};
use crate::{text::put, utf8};

/// Builds a record.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8, RECORD_MAX>);

impl Writer {
    /// Room for the head, before the payload. Apart from the making: a writer that a function gave would be moved.
    #[inline(never)]
    pub(super) fn begin(&mut self) {
        self.bytes(&[0; HEAD]);
    }
    #[inline(never)]
    pub(super) fn u8(&mut self, value: u8) {
        // Never full: the greatest record is smaller, `greatest_records_fit` proves it.
        let _ = self.0.push(value);
    }
    pub(super) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }
    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }
    #[inline(never)]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.0.extend_from_slice(bytes);
    }
    pub(super) fn text(&mut self, text: &str) {
        self.u8(text.len() as u8);
        self.bytes(text.as_bytes());
    }
    fn option(&mut self, bytes: Option<&[u8]>) {
        self.u8(u8::from(bytes.is_some()));
        self.bytes(bytes.unwrap_or_default());
    }
}

/// Takes a payload apart; `None` when it is too short or holds what no engine wrote.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|b| b[0])
    }
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    #[inline(never)]
    pub(super) fn text(&mut self, to: &mut StringView) -> Option<()> {
        let n = usize::from(self.u8()?);
        put(to, utf8(self.bytes(n)?)?)
    }
    fn option<const N: usize>(&mut self) -> Option<Option<[u8; N]>> {
        match self.u8()? {
            0 => Some(None),
            1 => Some(Some(self.array()?)),
            _ => None,
        }
    }
}

/// The state machine as it survives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[repr(C)] // bytes first, see `Engine`
pub(super) struct Flow {
    /// State; 3, 6, 11 and 12 stay until the next plan, so that they are reported after a restart.
    pub(super) state: State,
    /// Why, in 6 and 12.
    pub(super) reason: Option<Reason>,
    /// Bit n: the offer of instance n is part of the upgrade and not over.
    pub(super) live: u8,
    /// The component under upgrade, from its download information on.
    pub(super) active: Option<u8>,
    /// Download errors in a row.
    pub(super) failures: u8,
    /// The host's answer.
    pub(super) answer: Option<bool>,
    /// 10701 was given for the active component.
    pub(super) announced: bool,
    /// Components of the set that is offered; 0 and 1: each offer stands for itself.
    pub(super) set: u8,
    /// The offers came through the standard's door.
    pub(super) standard: bool,
    /// Names the download information that the offsets below belong to; 0 = none.
    pub(super) info_tag: u32,
    /// First byte of the present piece.
    pub(super) piece_start: u32,
    /// Bytes of every piece but the last.
    pub(super) piece_size: u32,
    /// Bytes of the package that are durable.
    pub(super) progress: u32,
    /// In state 9: what is left of the 20 minutes, in ms.
    pub(super) remaining_ms: u32,
    /// In state 9, the MCU announced its source version: what is left of its grace, in ms.
    pub(super) grace_ms: Option<u32>,
}

impl Flow {
    pub(super) fn encode(&self, w: &mut Writer) {
        w.u8(self.state.number());
        w.u16(self.reason.map_or(0, Reason::number));
        w.u8(self.live);
        w.u8(self.active.unwrap_or(0xFF));
        w.u8(self.failures);
        w.u8(match self.answer {
            None => 0xFF,
            Some(answer) => answer.into(),
        });
        w.u8(u8::from(self.announced) | u8::from(self.standard) << 2 | self.set << 3);
        for word in [
            self.info_tag,
            self.piece_start,
            self.piece_size,
            self.progress,
            self.remaining_ms,
            self.grace_ms.unwrap_or(u32::MAX),
        ] {
            w.u32(word);
        }
    }

    #[inline(never)]
    pub(super) fn decode(payload: &[u8]) -> Option<Flow> {
        let mut r = Reader(payload);
        let state = State::from_number(r.u8()?)?;
        let reason = reason_from(r.u16()?);
        let live = r.u8()?;
        let active = Some(r.u8()?).filter(|i| usize::from(*i) < crate::message::COMPONENTS);
        let failures = r.u8()?;
        let answer = match r.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        };
        let bits = r.u8()?;
        Some(Flow {
            state,
            reason,
            live,
            active,
            failures,
            answer,
            announced: bits & 1 != 0,
            set: bits >> 3,
            standard: bits & 4 != 0,
            info_tag: r.u32()?,
            piece_start: r.u32()?,
            piece_size: r.u32()?,
            progress: r.u32()?,
            remaining_ms: r.u32()?,
            grace_ms: Some(r.u32()?).filter(|ms| *ms != u32::MAX),
        })
    }
}

/// The bit of an instance in [`Flow::live`], 0 for one that cannot be.
pub(super) fn bit(instance: u8) -> u8 {
    1u8.checked_shl(instance.into()).unwrap_or(0)
}

/// Milliseconds from `now` to `then`, as much as 32 bits hold.
pub(super) fn left_ms(now: Millis, then: Option<Millis>) -> u32 {
    then.map_or(0, |then| {
        u32::try_from(then.saturating_sub(now)).unwrap_or(u32::MAX - 1)
    })
}

/// One component's offer, and whether the plan named no source version. How many are offered together is in
/// [`Flow::set`].
pub(super) fn encode_offer(w: &mut Writer, offer: &Offer, any_source: bool) {
    w.text(&offer.plan);
    w.text(&offer.component);
    w.u8(offer.kind as u8 | u8::from(any_source) << 1);
    w.text(&offer.source);
    w.text(&offer.target);
    w.u8(offer.battery_limit_percent);
    w.u16(offer.min_signal_dbm as u16);
    w.u32(offer.use_space);
}

/// Into `offer`; gives whether the plan named no source version. With `None` the offer is what was read so far.
#[inline(never)]
pub(super) fn decode_offer(payload: &[u8], offer: &mut Offer) -> Option<bool> {
    let mut r = Reader(payload);
    r.text(&mut offer.plan)?;
    r.text(&mut offer.component)?;
    let bits = r.u8()?;
    offer.kind = if bits & 1 == 0 {
        ComponentType::Firmware
    } else {
        ComponentType::Mcu
    };
    r.text(&mut offer.source)?;
    r.text(&mut offer.target)?;
    offer.battery_limit_percent = r.u8()?;
    offer.min_signal_dbm = r.u16()? as i16;
    offer.use_space = r.u32()?;
    Some(bits & 2 != 0)
}

#[inline(never)]
fn encode_info(w: &mut Writer, info: &DownloadInfo) {
    w.text(&info.plan);
    w.u32(info.length);
    w.option(info.md5.as_ref().map(<[u8; 16]>::as_slice));
    w.option(
        info.crc32
            .map(u32::to_le_bytes)
            .as_ref()
            .map(<[u8; 4]>::as_slice),
    );
    w.option(info.sha256.as_ref().map(<[u8; 32]>::as_slice));
    w.text(&info.uri);
}

/// Names a download information in the other records; never 0. A length that was found out later
/// does not change it.
#[inline(never)]
pub(super) fn tag(info: &DownloadInfo) -> u32 {
    let mut named = Writer::default();
    encode_info(&mut named, info);
    let at = 1 + info.plan.len();
    if info.md5.is_none() && info.crc32.is_none() && info.sha256.is_none() {
        for byte in named.0.iter_mut().skip(at).take(4) {
            *byte = 0;
        }
    }
    crc32(0, &named.0).max(1)
}

/// Download information with its ETag.
pub(super) fn encode_download(w: &mut Writer, info: &DownloadInfo, etag: &Etag) {
    encode_info(w, info);
    w.u8(etag.as_bytes().len() as u8);
    w.bytes(etag.as_bytes());
}

/// Into `info`; gives the ETag. With `None` the download information is what was read so far.
#[inline(never)]
pub(super) fn decode_download(payload: &[u8], info: &mut DownloadInfo) -> Option<Etag> {
    let mut r = Reader(payload);
    r.text(&mut info.plan)?;
    info.length = r.u32()?;
    info.md5 = r.option()?;
    info.crc32 = r.option()?.map(u32::from_le_bytes);
    info.sha256 = r.option()?;
    r.text(&mut info.uri)?;
    let n = usize::from(r.u8()?);
    Etag::new(r.bytes(n)?)
}

/// Bytes of a record about a piece's end.
pub(super) const PIECE_LEN: usize = 8 + SAVED;

/// A piece's end: where, of which package, and the digests' state there.
#[inline(never)]
pub(super) fn encode_piece(w: &mut Writer, end: u32, info_tag: u32, digests: &Digests) {
    w.u32(end);
    w.u32(info_tag);
    w.bytes(&digests.save());
}

pub(super) fn decode_piece(payload: &[u8]) -> Option<(u32, u32, &[u8])> {
    let mut r = Reader(payload);
    Some((r.u32()?, r.u32()?, r.bytes(SAVED)?))
}

/// A page under rescue: its address, its good bytes, and the package and progress it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rescue {
    pub(super) page: u32,
    pub(super) len: u32,
    pub(super) info_tag: u32,
    pub(super) progress: u32,
}

impl Rescue {
    /// Bytes of its record.
    pub(super) const LEN: usize = 16;

    pub(super) fn encode(&self, w: &mut Writer) {
        for word in [self.page, self.len, self.info_tag, self.progress] {
            w.u32(word);
        }
    }

    pub(super) fn decode(payload: &[u8]) -> Option<Rescue> {
        let mut r = Reader(payload);
        Some(Rescue {
            page: r.u32()?,
            len: r.u32()?,
            info_tag: r.u32()?,
            progress: r.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::journal::PAYLOAD_MAX;
    use heapless::String;

    fn long<const N: usize>() -> String<N> {
        let mut text = String::new();
        while text.push('x').is_ok() {}
        text
    }

    #[test]
    fn greatest_records_fit_and_come_back() {
        let info = DownloadInfo {
            plan: long(),
            length: u32::MAX,
            md5: Some([1; 16]),
            crc32: Some(2),
            sha256: Some([3; 32]),
            uri: long(),
        };
        let etag = Etag::new(&[9; 8]).unwrap();
        let mut w = Writer::default();
        encode_download(&mut w, &info, &etag);
        assert!(w.0.len() < PAYLOAD_MAX);
        let mut read = DownloadInfo::default();
        assert_eq!(decode_download(&w.0, &mut read), Some(etag));
        assert_eq!(read, info);

        let offer = Offer {
            plan: long(),
            component: long(),
            kind: ComponentType::Mcu,
            source: long(),
            target: long(),
            battery_limit_percent: 100,
            min_signal_dbm: -113,
            use_space: u32::MAX,
            components: 0,
        };
        let mut w = Writer::default();
        encode_offer(&mut w, &offer, true);
        let mut read = Offer::default();
        assert_eq!(decode_offer(&w.0, &mut read), Some(true));
        assert_eq!(read, offer);

        let flow = Flow {
            state: State::Updating,
            reason: Some(Reason::Cancelled),
            live: 3,
            active: Some(1),
            failures: 2,
            answer: Some(true),
            announced: true,
            set: 5,
            standard: false,
            info_tag: 7,
            piece_start: 1024,
            piece_size: 1024,
            progress: 2048,
            remaining_ms: 5,
            grace_ms: Some(6),
        };
        let mut w = Writer::default();
        flow.encode(&mut w);
        assert_eq!(Flow::decode(&w.0), Some(flow));
        assert_eq!(Flow::decode(&[1, 2]), None);
    }
}
