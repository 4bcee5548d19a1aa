//! The download of `from..to` of a package: whose address is wanted, when the next block is asked for, and what
//! an answer means for the upgrade.
//!
//! Which block it is and whether an answer has it is [`sota_coap::Download`]'s matter; the message, its
//! retransmission and the measured time-out belong to the exchange that carries it.
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
use sota_coap::echo::{ECHO_MAX, challenge};
use sota_coap::{Builder, Code, Message, Step, Szx, TransferError, after, option};
use sota_errors::Reason;
use sota_lwm2m::client::registration::back_off;
use sota_lwm2m::objects::plan::URI_LEN;
use sota_mutants::{Mutant, active};

use super::uri::Uri;
use crate::message::{Etag, Millis};
use crate::text::put;

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

/// What an answer brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got<'a> {
    /// The next bytes, in order, at most as many as the block that was asked for.
    Block {
        /// Absolute offset in the package.
        offset: u32,
        /// The bytes, never empty.
        data: &'a [u8],
        /// They came with the first answer of this fetch, or with the last block of an open one:
        /// [`Download::total`] has what the server told, or the length that it shows.
        started: bool,
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
    blocks: sota_coap::Download,
    /// The length is not known: the last block tells it.
    open: bool,
    /// The first block of this fetch was given.
    begun: bool,
    echo: Vec<u8, ECHO_MAX>,
    phase: Phase,
    /// The port knows the address of this URI's host.
    resolved: bool,
    failures: u8,
    echoes: u8,
}

impl Default for Download {
    /// A machine that fetches nothing.
    fn default() -> Self {
        Download {
            uri: String::new(),
            blocks: sota_coap::Download::NOTHING,
            open: false,
            begun: false,
            echo: Vec::new(),
            phase: Phase::Idle,
            resolved: false,
            failures: 0,
            echoes: 0,
        }
    }
}

impl Download {
    /// Begins to fetch `from..to` in blocks of at most `szx`; a fetch under way is forgotten.
    pub fn fetch(
        &mut self,
        uri: &String<URI_LEN>,
        from: u32,
        to: u32,
        etag: Etag,
        szx: Szx,
    ) -> Result<(), Reason> {
        self.stop();
        Uri::parse(uri)?;
        // The server that answered with smaller blocks will do so again.
        let same = *uri == self.uri;
        let szx = if same { self.blocks.szx() } else { szx };
        self.open = to == OPEN;
        let end = Some(to).filter(|_| !self.open);
        self.blocks =
            sota_coap::Download::new(from, end, szx, etag).map_err(|_| Reason::PackageTooLarge)?;
        if from >= to {
            return Err(Reason::LengthMismatch);
        }
        if !same {
            let _ = put(&mut self.uri, uri);
            self.resolved = false;
            self.echo.clear();
        }
        self.begun = false;
        self.failures = 0;
        self.echoes = 0;
        self.go_on();
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

    /// The package's address, valid since [`fetch`](Self::fetch) took it.
    pub fn uri(&self) -> Option<Uri<'_>> {
        Uri::parse(&self.uri).ok()
    }

    /// The ETag of the representation.
    pub fn etag(&self) -> Etag {
        self.blocks.etag()
    }

    /// Bytes of the whole package, as far as the server's answers tell.
    pub fn total(&self) -> Option<u32> {
        self.blocks.total()
    }

    /// Adds what asks for the block wanted now, also while it is in flight: a retransmission is written again.
    pub fn add_options(&self, builder: &mut Builder<'_>) {
        self.blocks.add_options(builder);
        if !self.echo.is_empty() {
            builder.option(option::ECHO, &self.echo);
        }
    }

    /// The host's address is wanted; told once per look-up.
    pub fn take_lookup(&mut self) -> bool {
        let wanted = self.wants_lookup();
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

    /// The network is back: what waits for the end of a pause goes on at once.
    pub fn hurry(&mut self) {
        if matches!(self.phase, Phase::Pause { .. }) {
            self.failures = 0;
            self.go_on();
        }
    }

    /// A block is to be asked for at `now`; call [`sent`](Self::sent) when the request went out.
    pub fn wanted(&mut self, now: Millis) -> bool {
        if let Phase::Pause { until } = self.phase
            && now >= until
        {
            self.go_on();
        }
        self.is_ready()
    }

    /// The request for the block [`wanted`](Self::wanted) is on the air.
    pub fn sent(&mut self) {
        self.phase = Phase::InFlight;
    }

    /// No answer in time, or a Reset.
    pub fn on_lost(&mut self, now: Millis, random: u32) {
        if self.phase == Phase::InFlight {
            self.pause(now, random);
        }
    }

    /// The answer to the request on the air.
    pub fn on_answer<'a>(&mut self, now: Millis, answer: &Message<'a>, random: u32) -> Got<'a> {
        if self.phase != Phase::InFlight {
            return Got::Again;
        }
        self.phase = Phase::Ready;
        if let Some(echo) = challenge(answer)
            && self.echoes < ECHO_LIMIT
        {
            self.echoes += 1;
            self.echo.clear();
            // As long as `challenge` lets one be.
            let _ = self.echo.extend_from_slice(echo);
            return Got::Again;
        }
        let failed = match self.blocks.on_response(answer) {
            Ok(Step::Again) => return Got::Again,
            Ok(Step::Block { offset, data }) if !data.is_empty() => {
                let last = self.blocks.is_done();
                if last {
                    self.stop();
                }
                // An answer that ended before the first wanted byte was the first, but gave no block.
                let first = !core::mem::replace(&mut self.begun, true);
                self.failures = 0;
                self.echoes = 0;
                return Got::Block {
                    offset,
                    data,
                    started: first || last && self.open,
                };
            }
            // 5.01 and 5.05 stay as they are however often one asks; the other 5.xx pass.
            Err(TransferError::Refused(code))
                if code.class() == 5
                    && code != Code::NOT_IMPLEMENTED
                    && code != Code::PROXYING_NOT_SUPPORTED =>
            {
                self.pause(now, random);
                return Got::Again;
            }
            Err(TransferError::Refused(Code::NOT_FOUND)) => Reason::PackageNotFound,
            Err(TransferError::TooManyBlocks) => Reason::PackageTooLarge,
            Err(TransferError::EtagChanged) => Reason::PackageChanged,
            Err(TransferError::EndsEarly(_)) => Reason::LengthMismatch,
            Err(TransferError::BadOption(_) | TransferError::BadBlock) => Reason::MalformedMessage,
            Ok(Step::Block { .. })
            | Err(TransferError::Refused(_) | TransferError::NotBlockwise) => {
                Reason::PackageRefused
            }
        };
        self.stop();
        Got::Failed(failed)
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

    fn go_on(&mut self) {
        self.phase = match self.resolved {
            true => Phase::Ready,
            false => Phase::Lookup,
        };
    }

    fn pause(&mut self, now: Millis, random: u32) {
        let pause = back_off(RETRY_FIRST_MS, RETRY_CAP_MS, self.failures, random);
        self.failures = self.failures.saturating_add(1);
        if active(Mutant::FetchFromZero)
            && let Ok(blocks) =
                sota_coap::Download::new(0, None, self.blocks.szx(), self.blocks.etag())
        {
            self.blocks = blocks;
        }
        if self.failures.is_multiple_of(LOOKUP_AFTER) {
            self.resolved = false;
        }
        self.phase = Phase::Pause {
            until: after(now, pause),
        };
    }
}

#[cfg(test)]
mod tests;
