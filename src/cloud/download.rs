//! The download of `from..to` of a package by random-access Block2 (RFC 7959), one block in flight.
//!
//! The machine decides which block is wanted and what an answer means; the message, its retransmission
//! and the measured time-out belong to the exchange that carries it.
//!
//! | phase | means | leaves to |
//! |---|---|---|
//! | Idle | nothing to fetch | Lookup on [`fetch`](Download::fetch) |
//! | Lookup | the address of the host is wanted from the port | Resolving |
//! | Resolving | the port looks | Ready, Pause |
//! | Ready | the next block may be asked for when the engine has room | InFlight |
//! | InFlight | one request is on the air | Ready, Idle at the end, Pause on a time-out, a Reset, 5.xx |
//! | Pause | waits, longer each time up to a cap | Ready, or Lookup after several failures |
//!
//! A break of the network never ends a download: only [`stop`](Download::stop) and answers that the
//! network cannot explain do (4.xx, another ETag, a wrong size).

use heapless::{String, Vec};
use sota_errors::Reason;
use sota_lwm2m::client::registration::back_off;
use sota_lwm2m::objects::plan::URI_LEN;

use super::uri::Uri;
use crate::message::Millis;

/// ETag of a representation, at most 8 bytes (RFC 7252 5.10.6).
pub type Etag = Vec<u8, 8>;

/// Block numbers have 20 bits.
const BLOCKS: u32 = 1 << 20;
/// `to` of a fetch whose end is not known yet: a server that tells no Size2.
const OPEN: u32 = u32::MAX;
const RETRY_FIRST_MS: u32 = 2_000;
const RETRY_CAP_MS: u32 = 300_000;
/// After so many failures in a row the host's address is looked up again: it may have moved.
const LOOKUP_AFTER: u8 = 3;
/// Challenges answered in a row before the server is called refusing.
const ECHO_LIMIT: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Lookup,
    Resolving,
    Ready,
    InFlight,
    Pause { until: Millis },
}

/// The block to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Block number.
    pub num: u32,
    /// Size exponent: `16 << szx` bytes.
    pub szx: u8,
    /// First request of this fetch: Size2 is asked for.
    pub first: bool,
}

/// What of an answer matters here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<'a> {
    /// `class << 5 | detail`.
    pub code: u8,
    /// Block2: number, more, size exponent.
    pub block2: Option<(u32, bool, u8)>,
    /// Size2.
    pub size2: Option<u32>,
    /// ETag, empty if none.
    pub etag: &'a [u8],
    /// Echo, empty if none (RFC 9175).
    pub echo: &'a [u8],
    /// The block.
    pub payload: &'a [u8],
}

/// What an answer brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got<'a> {
    /// The next bytes, in order, at most as many as the engine's block holds.
    Block {
        /// Absolute offset in the package.
        offset: u32,
        /// The bytes, never empty.
        data: &'a [u8],
        /// They came with the first answer of this fetch, its Size2 if told; or with the last block of an
        /// open fetch, the length that it shows.
        started: Option<Option<u32>>,
    },
    /// Nothing yet: it is tried again.
    Again,
    /// The fetch is over for a reason that the network cannot explain.
    Failed(Reason),
}

/// The download machine.
#[derive(Clone, Debug)]
pub struct Download {
    uri: String<URI_LEN>,
    next: u32,
    to: u32,
    etag: Etag,
    echo: Vec<u8, 40>,
    /// Greatest size exponent asked for; shrinks when the server answers with less.
    szx: u8,
    phase: Phase,
    started: bool,
    /// The port knows the address of this URI's host.
    resolved: bool,
    failures: u8,
    echoes: u8,
}

impl Download {
    /// A machine that fetches nothing. `szx` 0..=6 is the greatest block the engine takes.
    pub fn new(szx: u8) -> Self {
        Download {
            uri: String::new(),
            next: 0,
            to: 0,
            etag: Etag::new(),
            echo: Vec::new(),
            szx,
            phase: Phase::Idle,
            started: false,
            resolved: false,
            failures: 0,
            echoes: 0,
        }
    }

    /// Begins to fetch `from..to`; a fetch under way is forgotten. `szx` as in [`new`](Self::new).
    pub fn fetch(
        &mut self,
        uri: String<URI_LEN>,
        from: u32,
        to: u32,
        etag: Etag,
        szx: u8,
    ) -> Result<(), Reason> {
        self.stop();
        Uri::parse(&uri)?;
        if to != OPEN && to.saturating_sub(1) >> (szx + 4) >= BLOCKS {
            return Err(Reason::PackageTooLarge);
        }
        if from >= to {
            return Err(Reason::LengthMismatch);
        }
        if uri != self.uri {
            self.uri = uri;
            self.szx = szx;
            self.resolved = false;
            self.echo.clear();
        }
        self.next = from;
        self.to = to;
        self.etag = etag;
        self.started = false;
        self.failures = 0;
        self.echoes = 0;
        self.phase = match self.resolved {
            true => Phase::Ready,
            false => Phase::Lookup,
        };
        Ok(())
    }

    /// Forgets the fetch.
    pub fn stop(&mut self) {
        self.phase = Phase::Idle;
    }

    /// A fetch is under way.
    pub fn is_active(&self) -> bool {
        self.phase != Phase::Idle
    }

    /// A request is on the air.
    pub fn in_flight(&self) -> bool {
        self.phase == Phase::InFlight
    }

    /// The package's address, valid since [`fetch`](Self::fetch) took it.
    pub fn uri(&self) -> Option<Uri<'_>> {
        Uri::parse(&self.uri).ok()
    }

    /// The Echo value to repeat, empty if none.
    pub fn echo(&self) -> &[u8] {
        &self.echo
    }

    /// The ETag of the representation.
    pub fn etag(&self) -> &Etag {
        &self.etag
    }

    /// The host's address is wanted; told once per look-up.
    pub fn take_lookup(&mut self) -> bool {
        let wanted = self.phase == Phase::Lookup;
        if wanted {
            self.phase = Phase::Resolving;
        }
        wanted
    }

    /// [`take_lookup`](Self::take_lookup) would say yes.
    pub fn wants_lookup(&self) -> bool {
        self.phase == Phase::Lookup
    }

    /// The port knows the address, or has none just now.
    pub fn on_resolved(&mut self, now: Millis, found: bool, random: u32) {
        if self.phase == Phase::Resolving {
            self.resolved = found;
            match found {
                true => self.phase = Phase::Ready,
                false => self.pause(now, random),
            }
        }
    }

    /// The block to ask for at `now`; call [`sent`](Self::sent) when the request went out.
    pub fn wanted(&mut self, now: Millis) -> Option<Wanted> {
        if let Phase::Pause { until } = self.phase
            && now >= until
        {
            self.phase = match self.resolved {
                true => Phase::Ready,
                false => Phase::Lookup,
            };
        }
        (self.phase == Phase::Ready).then(|| self.block())
    }

    /// The block wanted now, also while it is in flight: a retransmission is written from it again.
    pub fn block(&self) -> Wanted {
        Wanted {
            num: self.next >> (self.szx + 4),
            szx: self.szx,
            first: !self.started,
        }
    }

    /// The request for [`wanted`](Self::wanted) is on the air.
    pub fn sent(&mut self) {
        self.phase = Phase::InFlight;
    }

    /// No answer in time, or a Reset.
    pub fn on_lost(&mut self, now: Millis, random: u32) {
        if self.phase == Phase::InFlight {
            self.pause(now, random);
        }
    }

    /// The answer to the request on the air. `room` is the engine's greatest block in bytes.
    pub fn on_answer<'a>(
        &mut self,
        now: Millis,
        answer: &Answer<'a>,
        room: usize,
        random: u32,
    ) -> Got<'a> {
        if self.phase != Phase::InFlight {
            return Got::Again;
        }
        let failed = match answer.code {
            0x45 => match self.content(answer, room) {
                Ok(block) => return block,
                Err(reason) => reason,
            },
            0x81 if !answer.echo.is_empty() && self.echoes < ECHO_LIMIT => {
                self.echoes += 1;
                self.echo.clear();
                match self.echo.extend_from_slice(answer.echo) {
                    Ok(()) => {
                        self.phase = Phase::Ready;
                        return Got::Again;
                    }
                    Err(_) => Reason::PackageRefused,
                }
            }
            0x84 => Reason::PackageNotFound,
            // 5.01 and 5.05 stay as they are however often one asks; the other 5.xx pass.
            0xa1 | 0xa5 => Reason::PackageRefused,
            code if code >> 5 == 5 => {
                self.pause(now, random);
                return Got::Again;
            }
            _ => Reason::PackageRefused,
        };
        self.phase = Phase::Idle;
        Got::Failed(failed)
    }

    fn content<'a>(&mut self, answer: &Answer<'a>, room: usize) -> Result<Got<'a>, Reason> {
        // Without Block2 the payload is the whole representation.
        let (num, more, szx) = answer.block2.unwrap_or((0, false, 6));
        let size = 16usize << szx.min(6);
        let len = answer.payload.len();
        if szx > 6 || (more && len != size) || (answer.block2.is_some() && len > size) {
            return Err(Reason::MalformedMessage);
        }
        if (self.started || !self.etag.is_empty()) && answer.etag != self.etag.as_slice() {
            return Err(Reason::PackageChanged);
        }
        let start = num
            .checked_mul(size as u32)
            .ok_or(Reason::MalformedMessage)?;
        let end = start
            .checked_add(u32::try_from(len).map_err(|_| Reason::MalformedMessage)?)
            .ok_or(Reason::MalformedMessage)?;
        // An open fetch learns its end from the last block.
        let found = (!more && self.to == OPEN).then_some(end);
        if let Some(end) = found {
            self.to = end;
        }
        if !more && end < self.to {
            return Err(Reason::LengthMismatch);
        }
        // The token matched, so this is no late answer: the server gave another block than was asked for.
        let skip = self.next.checked_sub(start).ok_or(Reason::PackageRefused)?;
        let data = answer
            .payload
            .get(skip as usize..)
            .filter(|data| !data.is_empty())
            .ok_or(Reason::PackageRefused)?;
        let want = (self.to.saturating_sub(self.next) as usize).min(room);
        let data = data.get(..want).unwrap_or(data);
        if answer.block2.is_some() && szx < self.szx {
            self.szx = szx;
            let last = if self.to == OPEN { end } else { self.to };
            if last.saturating_sub(1) >> (szx + 4) >= BLOCKS {
                return Err(Reason::PackageTooLarge);
            }
        }
        let first = !self.started;
        let started = (first || found.is_some()).then_some(found.or(answer.size2));
        if first {
            self.started = true;
            self.etag.clear();
            self.etag
                .extend_from_slice(answer.etag)
                .map_err(|_| Reason::MalformedMessage)?;
        }
        let offset = self.next;
        self.next = self.next.saturating_add(data.len() as u32);
        self.failures = 0;
        self.echoes = 0;
        self.phase = match self.next < self.to {
            true => Phase::Ready,
            false => Phase::Idle,
        };
        Ok(Got::Block {
            offset,
            data,
            started,
        })
    }

    /// When time alone makes a request due; `None` while the engine's room or the network is waited for.
    pub fn deadline(&self) -> Option<Millis> {
        match self.phase {
            Phase::Pause { until } => Some(until),
            Phase::Lookup => Some(0),
            _ => None,
        }
    }

    /// The next block may go as soon as the engine has room.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    fn pause(&mut self, now: Millis, random: u32) {
        let pause = back_off(RETRY_FIRST_MS, RETRY_CAP_MS, self.failures, random);
        self.failures = self.failures.saturating_add(1);
        if self.failures.is_multiple_of(LOOKUP_AFTER) {
            self.resolved = false;
        }
        self.phase = Phase::Pause {
            until: now.saturating_add(pause),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: u8 = 0x45;

    fn machine(from: u32, to: u32) -> Download {
        let mut d = Download::new(2);
        d.fetch("coap://h/p".try_into().unwrap(), from, to, Etag::new(), 2)
            .unwrap();
        assert!(d.take_lookup());
        d.on_resolved(0, true, 0);
        d
    }

    /// One exchange with a server that holds `package` and gives at most `szx`.
    fn serve(
        d: &mut Download,
        package: &[u8],
        szx: u8,
        etag: &[u8],
    ) -> Result<(u32, usize), Reason> {
        let wanted = d.wanted(0).expect("a block is wanted");
        d.sent();
        let offset = (wanted.num as usize) << (wanted.szx + 4);
        let szx = szx.min(wanted.szx);
        let size = 16 << szx;
        let end = (offset + size).min(package.len());
        let answer = Answer {
            code: CONTENT,
            block2: Some(((offset / size) as u32, end < package.len(), szx)),
            size2: Some(package.len() as u32),
            etag,
            echo: &[],
            payload: package.get(offset..end).unwrap_or(&[]),
        };
        match d.on_answer(0, &answer, 64, 0) {
            Got::Block { offset, data, .. } => {
                assert_eq!(data, &package[offset as usize..][..data.len()]);
                Ok((offset, data.len()))
            }
            Got::Failed(reason) => Err(reason),
            Got::Again => panic!("an answer with content is never again"),
        }
    }

    #[test]
    fn pieces_of_any_size_join() {
        let package: [u8; 300] = core::array::from_fn(|i| i as u8);
        for piece in [1, 16, 50, 64, 100, 299, 300] {
            let mut got = 0;
            while got < 300 {
                let to = (got + piece).min(300);
                let mut d = machine(got, to);
                while d.is_active() {
                    let (offset, len) = serve(&mut d, &package, 6, b"e").unwrap();
                    assert_eq!(offset, got);
                    got += len as u32;
                }
                assert_eq!(got, to);
            }
        }
    }

    #[test]
    fn a_smaller_block_is_obeyed_at_any_time() {
        let package = [7u8; 300];
        let mut d = machine(0, 300);
        assert_eq!(serve(&mut d, &package, 6, b"e"), Ok((0, 64)));
        assert_eq!(serve(&mut d, &package, 0, b"e"), Ok((64, 16)));
        assert_eq!(d.wanted(0).map(|w| (w.num, w.szx)), Some((5, 0)));
        assert_eq!(serve(&mut d, &package, 6, b"e"), Ok((80, 16)));
    }

    #[test]
    fn what_the_network_cannot_explain_fails() {
        let package = [7u8; 300];
        let mut d = machine(0, 300);
        serve(&mut d, &package, 6, b"e").unwrap();
        assert_eq!(
            serve(&mut d, &package, 6, b"f"),
            Err(Reason::PackageChanged)
        );
        assert!(!d.is_active());
        let mut d = machine(256, 400);
        assert_eq!(
            serve(&mut d, &package, 6, b"e"),
            Err(Reason::LengthMismatch)
        );
        for (code, reason) in [
            (0x84, Reason::PackageNotFound),
            (0x83, Reason::PackageRefused),
            (0xa1, Reason::PackageRefused),
        ] {
            let mut d = machine(0, 300);
            d.wanted(0);
            d.sent();
            let answer = Answer {
                code,
                ..Answer::default()
            };
            assert_eq!(d.on_answer(0, &answer, 64, 0), Got::Failed(reason));
        }
    }

    #[test]
    fn a_resumed_fetch_must_find_the_same_etag() {
        let package = [7u8; 300];
        let mut d = Download::new(2);
        let etag = Etag::from_slice(b"old").unwrap();
        d.fetch("coap://h/p".try_into().unwrap(), 128, 300, etag, 2)
            .unwrap();
        d.take_lookup();
        d.on_resolved(0, true, 0);
        assert_eq!(
            serve(&mut d, &package, 6, b"new"),
            Err(Reason::PackageChanged)
        );
    }

    #[test]
    fn breaks_pause_longer_each_time_and_never_end_it() {
        let mut d = machine(0, 300);
        let mut now = 0;
        let mut last = 0;
        for round in 0..100 {
            while d.wanted(now).is_none() {
                if d.take_lookup() {
                    d.on_resolved(now, true, 0);
                } else {
                    now = d.deadline().expect("it goes on");
                }
            }
            d.sent();
            d.on_lost(now, 0);
            let pause = d.deadline().unwrap() - now;
            assert!(pause >= last && pause <= 300_000, "round {round}");
            last = pause;
        }
        assert_eq!(last, 300_000);
    }

    #[test]
    fn a_challenge_is_answered_but_not_for_ever() {
        let mut d = machine(0, 300);
        let answer = Answer {
            code: 0x81,
            echo: b"c",
            ..Answer::default()
        };
        for _ in 0..3 {
            d.wanted(0).unwrap();
            d.sent();
            assert_eq!(d.on_answer(0, &answer, 64, 0), Got::Again);
            assert_eq!(d.echo(), b"c");
        }
        d.wanted(0).unwrap();
        d.sent();
        assert_eq!(
            d.on_answer(0, &answer, 64, 0),
            Got::Failed(Reason::PackageRefused)
        );
    }

    #[test]
    fn more_than_a_million_blocks_are_refused_before_the_first() {
        let mut d = Download::new(0);
        let uri: String<URI_LEN> = "coap://h/p".try_into().unwrap();
        assert_eq!(d.fetch(uri.clone(), 0, 16 << 20, Etag::new(), 0), Ok(()));
        assert_eq!(
            d.fetch(uri, 0, (16 << 20) + 1, Etag::new(), 0),
            Err(Reason::PackageTooLarge)
        );
    }

    /// A server without Size2: the last block tells the length.
    #[test]
    fn an_open_fetch_ends_with_the_last_block() {
        let mut d = machine(0, OPEN);
        for (num, more, len, expected) in [
            (0, true, 64, Some(None)),
            (1, true, 64, None),
            (2, false, 10, Some(Some(138))),
        ] {
            assert_eq!(d.wanted(0).map(|w| w.num), Some(num));
            d.sent();
            let payload = [7; 64];
            let answer = Answer {
                code: 0x45,
                block2: Some((num, more, 2)),
                etag: &[1],
                payload: &payload[..len],
                ..Answer::default()
            };
            let Got::Block {
                offset, started, ..
            } = d.on_answer(0, &answer, 64, 0)
            else {
                panic!("no block {num}");
            };
            assert_eq!((offset, started), (num * 64, expected));
        }
        assert!(!d.is_active());
    }

    proptest::proptest! {
        #[test]
        fn any_answer_is_survived(
            code: u8,
            block: Option<(u32, bool, u8)>,
            size2: Option<u32>,
            etag in proptest::collection::vec(0u8.., 0..10),
            payload in proptest::collection::vec(0u8.., 0..1200),
            from in 0u32..5000,
            len in 1u32..5000,
        ) {
            let mut d = machine(from, from + len);
            d.wanted(0).unwrap();
            d.sent();
            let answer = Answer { code, block2: block, size2, etag: &etag, echo: &etag, payload: &payload };
            if let Got::Block { offset, data, .. } = d.on_answer(0, &answer, 64, 0) {
                proptest::prop_assert_eq!(offset, from);
                proptest::prop_assert!(!data.is_empty() && data.len() <= 64);
            }
        }
    }
}
