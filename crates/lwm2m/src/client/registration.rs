//! The client's side of the Registration interface (LwM2M 1.1 Core 6.2), sans-IO.
//!
//! The machine says *which* request is due and *when*; the caller writes the request, carries it with
//! CoAP's retransmission and reports how it ended. It holds no buffer but the server's Location-Path.
//!
//! | phase | means | leaves to |
//! |---|---|---|
//! | Off | not wanted | Register on [`connect`](Registration::connect) |
//! | Register | Register is due | Registering when sent |
//! | Registering | Register is in flight | Registered on 2.01, Pause on anything else |
//! | Pause | waits before it registers again | Register when the pause is over |
//! | Registered | the server knows us | Updating when sent, Register when the lifetime is over |
//! | Updating | Update is in flight | Registered on 2.04, a time-out or 5.xx; Register on 4.xx |
//! | Leave | De-register is due | Leaving when sent |
//! | Leaving | De-register is in flight | Off whatever comes |
//!
//! A lost Update changes nothing but the time of the next: the registration stands until its lifetime
//! is over. Nothing here ever leads to bootstrap.

use heapless::String;
use sota_coap::after;
use sota_errors::Reason;

/// Greatest length of the Location-Path kept, its segments joined by `/`, in bytes.
pub const LOCATION_LEN: usize = 64;

/// How long to wait for what. All in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// CoAP's MAX_TRANSMIT_WAIT of the link: an Update begins at least this long before the lifetime
    /// ends, so that all its retransmissions still come in time.
    pub max_transmit_wait: u32,
    /// First pause after a Register or Update that was not answered; doubled each time.
    pub retry_first: u32,
    /// Greatest pause after time-outs.
    pub retry_cap: u32,
    /// First pause after a refusal (4.xx to Register); doubled each time.
    pub refused_first: u32,
    /// Greatest pause after refusals.
    pub refused_cap: u32,
}

impl Timing {
    /// For a link with this MAX_TRANSMIT_WAIT: 15 s up to an hour after time-outs, 5 minutes up to a day
    /// after refusals.
    pub const fn new(max_transmit_wait: u32) -> Self {
        Timing {
            max_transmit_wait,
            retry_first: 15_000,
            retry_cap: 3_600_000,
            refused_first: 300_000,
            refused_cap: 86_400_000,
        }
    }
}

/// The request that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// `POST /rd?ep=…&lt=…&lwm2m=1.1&b=U` with the object links.
    Register,
    /// `POST /<location>`.
    Update {
        /// The object links changed and go with it.
        links: bool,
    },
    /// `DELETE /<location>`.
    Deregister,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// A response came: its code (`class << 5 | detail`) and its Location-Path joined by `/`.
    Answer(u8, &'a str),
    /// No response, or a Reset.
    Lost,
}

/// What changed for the rest of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new registration: observations of the one before are gone (Core 6.2.1).
    Registered,
    /// The registration was confirmed once more.
    Updated,
    /// Not registered any more, and why if it was not asked for.
    Lost(Option<Reason>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Off,
    Register,
    Registering,
    Pause { until: u64 },
    Registered,
    Updating { links: bool },
    Leave,
    Leaving,
}

/// The registration machine.
#[derive(Clone, Debug)]
#[repr(C)] // The small and often used first, for shorter code.
pub struct Registration {
    /// Time-outs or refusals in a row.
    failures: u8,
    links_changed: bool,
    leave_after: bool,
    lifetime_s: u32,
    phase: Phase,
    /// When the request in flight was first sent.
    sent: u64,
    update_at: u64,
    expires: u64,
    timing: Timing,
    location: String<LOCATION_LEN>,
}

const CREATED: u8 = 0x41;
const CHANGED: u8 = 0x44;
const FORBIDDEN: u8 = 0x83;

impl Registration {
    /// A machine that is off. `lifetime_s` in seconds, at least 1.
    pub fn new(lifetime_s: u32, timing: Timing) -> Self {
        Registration {
            phase: Phase::Off,
            timing,
            lifetime_s: lifetime_s.max(1),
            location: String::new(),
            sent: 0,
            update_at: 0,
            expires: 0,
            links_changed: false,
            leave_after: false,
            failures: 0,
        }
    }

    /// Register, if not already done or under way.
    pub fn connect(&mut self) {
        self.leave_after = false;
        match self.phase {
            Phase::Off => self.phase = Phase::Register,
            Phase::Leave => self.phase = Phase::Registered,
            // The De-register is already on the air: register again when it has ended.
            Phase::Leaving => self.links_changed = true,
            Phase::Pause { .. } => {
                // The user asks: a long pause after a refusal is no use to him.
                self.failures = 0;
                self.phase = Phase::Register;
            }
            _ => {}
        }
    }

    /// Leave. A request in flight is waited for first.
    pub fn disconnect(&mut self) -> Option<Change> {
        match self.phase {
            Phase::Off => None,
            Phase::Register | Phase::Pause { .. } => {
                self.phase = Phase::Off;
                Some(Change::Lost(None))
            }
            Phase::Registered => {
                self.phase = Phase::Leave;
                Some(Change::Lost(None))
            }
            Phase::Registering | Phase::Updating { .. } => {
                self.leave_after = true;
                Some(Change::Lost(None))
            }
            Phase::Leave => None,
            Phase::Leaving => {
                self.links_changed = false;
                None
            }
        }
    }

    /// The server knows us and nobody asked to leave.
    pub fn is_registered(&self) -> bool {
        matches!(self.phase, Phase::Registered | Phase::Updating { .. }) && !self.leave_after
    }

    /// Leaves the server: the good-bye waits or is not answered yet.
    pub fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leave | Phase::Leaving) || self.leave_after
    }

    /// The last Update was lost and is tried again after a pause.
    pub fn is_retrying(&self) -> bool {
        self.failures > 0
    }

    /// Nothing is wanted and nothing is under way.
    pub fn is_off(&self) -> bool {
        self.phase == Phase::Off
    }

    /// The server's Location-Path, segments joined by `/`, without a leading one.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Lifetime in seconds.
    pub fn lifetime_s(&self) -> u32 {
        self.lifetime_s
    }

    /// The server or the host set another lifetime (/1/0/1): told with the next Update, at once.
    pub fn set_lifetime(&mut self, lifetime_s: u32) {
        self.lifetime_s = lifetime_s.max(1);
        self.update_now();
    }

    /// Instances came or went: the next Update carries the links, at once.
    pub fn links_changed(&mut self) {
        match self.phase {
            // The Register on the air may carry the links of before: an Update follows its answer.
            Phase::Registering | Phase::Registered | Phase::Updating { .. } => {
                self.links_changed = true;
                self.update_now();
            }
            _ => {}
        }
    }

    /// An Update is wanted at once: Registration Update Trigger (/1/0/8), or the address translation
    /// on the path may have forgotten us.
    pub fn update_now(&mut self) {
        self.update_at = 0;
    }

    /// The request that is due at `now`; ask [`started`](Self::started) when it was sent.
    pub fn due(&mut self, now: u64) -> Option<Due> {
        match self.phase {
            Phase::Pause { until } if now >= until => self.phase = Phase::Register,
            Phase::Registered if now >= self.expires => self.phase = Phase::Register,
            _ => {}
        }
        match self.phase {
            Phase::Register => Some(Due::Register),
            Phase::Registered if now >= self.update_at => Some(Due::Update {
                links: self.links_changed,
            }),
            Phase::Leave => Some(Due::Deregister),
            _ => None,
        }
    }

    /// The due request goes out at `now`.
    pub fn started(&mut self, now: u64, due: Due) {
        self.sent = now;
        // 0 again when it is answered: what was wanted meanwhile may not be in it.
        self.update_at = u64::MAX;
        self.phase = match due {
            Due::Register => {
                self.links_changed = false;
                Phase::Registering
            }
            Due::Update { links } => {
                self.links_changed &= !links;
                Phase::Updating { links }
            }
            Due::Deregister => {
                self.links_changed = false;
                Phase::Leaving
            }
        };
    }

    /// The request ended. `random` spreads the pauses of many devices.
    pub fn ended(&mut self, now: u64, outcome: Outcome<'_>, random: u32) -> Option<Change> {
        let change = match (self.phase, outcome) {
            (Phase::Registering, Outcome::Answer(CREATED, location)) => {
                self.location.clear();
                if self.location.push_str(location).is_err() || location.is_empty() {
                    // Without the path there is no Update: each lifetime would need a new Register.
                    self.pause(now, true, random);
                    Some(Change::Lost(Some(Reason::RegistrationRefused)))
                } else {
                    self.confirmed();
                    Some(Change::Registered)
                }
            }
            (Phase::Registering, Outcome::Answer(code, _)) => {
                let refused = code >> 5 == 4;
                self.pause(now, refused, random);
                Some(Change::Lost(Some(match code {
                    FORBIDDEN => Reason::UnknownProduct,
                    _ if refused => Reason::RegistrationRefused,
                    _ => Reason::RegistrationTimeout,
                })))
            }
            (Phase::Registering, Outcome::Lost) => {
                self.pause(now, false, random);
                Some(Change::Lost(Some(Reason::RegistrationTimeout)))
            }
            (Phase::Updating { .. }, Outcome::Answer(CHANGED, _)) => {
                self.confirmed();
                Some(Change::Updated)
            }
            (Phase::Updating { .. }, Outcome::Answer(code, _)) if code >> 5 == 4 => {
                self.phase = Phase::Register;
                Some(Change::Lost(None))
            }
            (Phase::Updating { links }, _) => {
                self.links_changed |= links;
                self.failures = self.failures.saturating_add(1);
                let pause = self.pause_ms(self.timing.retry_first, self.timing.retry_cap, random);
                self.update_at = after(now, pause);
                self.phase = Phase::Registered;
                None
            }
            (Phase::Leaving, _) => {
                self.phase = match self.links_changed {
                    true => Phase::Register,
                    false => Phase::Off,
                };
                None
            }
            _ => None,
        };
        if self.leave_after && !matches!(self.phase, Phase::Off | Phase::Leaving) {
            self.leave_after = false;
            self.phase = match self.phase {
                Phase::Registered => Phase::Leave,
                _ => Phase::Off,
            };
            return None; // told when the host asked
        }
        change
    }

    /// When [`due`](Self::due) may next say something, if time alone can bring it.
    pub fn deadline(&self) -> Option<u64> {
        match self.phase {
            Phase::Register | Phase::Leave => Some(0),
            Phase::Pause { until } => Some(until),
            Phase::Registered => Some(self.update_at.min(self.expires)),
            _ => None,
        }
    }

    fn confirmed(&mut self) {
        self.failures = 0;
        self.phase = Phase::Registered;
        // Counted from the first sending: the server may have begun its lifetime with a copy of the
        // request that was sent long before the answer came.
        let lifetime_ms = u64::from(self.lifetime_s) * 1000;
        self.expires = self.sent.saturating_add(lifetime_ms);
        let margin = u64::from(self.timing.max_transmit_wait).min(lifetime_ms / 2);
        if self.update_at != 0 {
            self.update_at = self.expires.saturating_sub(margin);
        }
    }

    fn pause(&mut self, now: u64, refused: bool, random: u32) {
        self.failures = self.failures.saturating_add(1);
        let (first, cap) = match refused {
            true => (self.timing.refused_first, self.timing.refused_cap),
            false => (self.timing.retry_first, self.timing.retry_cap),
        };
        self.phase = Phase::Pause {
            until: after(now, self.pause_ms(first, cap, random)),
        };
    }

    fn pause_ms(&self, first: u32, cap: u32, random: u32) -> u32 {
        back_off(first, cap, self.failures.saturating_sub(1), random)
    }
}

/// Capped exponential back-off: `first` doubled `times` times, at most `cap`, and up to half of it on
/// top by `random`, so that devices that lost the server together do not come back together.
pub fn back_off(first: u32, cap: u32, times: u8, random: u32) -> u32 {
    let base = first
        .checked_shl(u32::from(times))
        .filter(|grown| grown >> u32::from(times) == first)
        .unwrap_or(cap)
        .min(cap);
    let jitter = (u64::from(base / 2) * u64::from(random)) >> 32;
    base.saturating_add(jitter as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: u32 = 93_000;

    fn registered(lifetime_s: u32) -> Registration {
        let mut r = Registration::new(lifetime_s, Timing::new(WAIT));
        r.connect();
        assert_eq!(r.due(0), Some(Due::Register));
        r.started(0, Due::Register);
        assert_eq!(
            r.ended(100, Outcome::Answer(CREATED, "rd/7"), 0),
            Some(Change::Registered)
        );
        r
    }

    #[test]
    fn update_leaves_room_for_every_retransmission() {
        let mut r = registered(86_400);
        let at = 86_400_000 - u64::from(WAIT);
        assert_eq!(r.deadline(), Some(at));
        assert_eq!(r.due(at - 1), None);
        assert_eq!(r.due(at), Some(Due::Update { links: false }));
        // A lifetime shorter than the margin still updates before it ends.
        assert_eq!(registered(60).deadline(), Some(30_000));
    }

    #[test]
    fn one_lost_update_keeps_the_registration() {
        let mut r = registered(86_400);
        let at = r.deadline().unwrap();
        let due = r.due(at).unwrap();
        r.started(at, due);
        assert_eq!(r.ended(at + 60_000, Outcome::Lost, 0), None);
        assert!(r.is_registered());
        assert_eq!(r.due(at + 60_000), None, "it pauses first");
        assert_eq!(r.due(at + 75_000), Some(Due::Update { links: false }));
    }

    #[test]
    fn registers_again_when_the_lifetime_is_over_or_the_server_forgot() {
        let mut r = registered(86_400);
        assert_eq!(r.due(86_400_000), Some(Due::Register));
        let mut r = registered(86_400);
        let at = r.deadline().unwrap();
        let due = r.due(at).unwrap();
        r.started(at, due);
        assert_eq!(
            r.ended(at + 50, Outcome::Answer(0x84, ""), 0),
            Some(Change::Lost(None))
        );
        assert_eq!(r.due(at + 50), Some(Due::Register));
    }

    #[test]
    fn a_refusal_says_why_and_pauses_long() {
        for (code, reason) in [
            (0x83, Reason::UnknownProduct),
            (0x80, Reason::RegistrationRefused),
            (0x81, Reason::RegistrationRefused),
        ] {
            let mut r = Registration::new(60, Timing::new(WAIT));
            r.connect();
            r.started(0, Due::Register);
            assert_eq!(
                r.ended(0, Outcome::Answer(code, ""), 0),
                Some(Change::Lost(Some(reason)))
            );
            assert_eq!(r.deadline(), Some(300_000));
            assert_eq!(r.due(300_000), Some(Due::Register));
            r.started(300_000, Due::Register);
            r.ended(300_000, Outcome::Answer(code, ""), 0);
            assert_eq!(r.deadline(), Some(900_000), "doubled");
        }
    }

    #[test]
    fn links_that_change_while_an_update_is_in_flight_get_their_own() {
        let mut r = registered(86_400);
        r.update_now();
        r.started(10, Due::Update { links: false });
        r.links_changed();
        assert_eq!(
            r.ended(20, Outcome::Answer(CHANGED, ""), 0),
            Some(Change::Updated)
        );
        assert_eq!(r.due(20), Some(Due::Update { links: true }));
        r.started(20, Due::Update { links: true });
        r.ended(20, Outcome::Lost, 0);
        assert_eq!(
            r.due(100_000),
            Some(Due::Update { links: true }),
            "they were lost with it"
        );
    }

    #[test]
    fn what_changes_while_the_register_is_in_flight_is_told_by_an_update() {
        let mut r = Registration::new(86_400, Timing::new(WAIT));
        r.connect();
        assert_eq!(r.due(0), Some(Due::Register));
        r.started(0, Due::Register);
        r.links_changed();
        r.ended(10, Outcome::Answer(CREATED, "rd/1"), 0);
        assert_eq!(r.due(10), Some(Due::Update { links: true }));
        r.started(10, Due::Update { links: true });
        r.set_lifetime(600);
        r.ended(20, Outcome::Answer(CHANGED, ""), 0);
        assert_eq!(r.due(20), Some(Due::Update { links: false }));
        r.started(20, Due::Update { links: false });
        r.ended(30, Outcome::Answer(CHANGED, ""), 0);
        assert_eq!(r.due(30), None, "and then it is quiet");
    }

    #[test]
    fn leaves_after_the_request_in_flight() {
        let mut r = registered(86_400);
        assert_eq!(r.disconnect(), Some(Change::Lost(None)));
        assert_eq!(r.due(1), Some(Due::Deregister));
        r.started(1, Due::Deregister);
        r.connect();
        r.ended(2, Outcome::Lost, 0);
        assert_eq!(
            r.due(2),
            Some(Due::Register),
            "the host changed its mind meanwhile"
        );
        r.started(2, Due::Register);
        assert_eq!(r.disconnect(), Some(Change::Lost(None)));
        assert_eq!(r.ended(3, Outcome::Answer(CREATED, "rd/8"), 0), None);
        assert_eq!(r.due(3), Some(Due::Deregister));
        r.started(3, Due::Deregister);
        r.ended(4, Outcome::Answer(0x42, ""), 0);
        assert!(r.is_off());
    }

    #[test]
    fn back_off_is_capped_and_spread() {
        assert_eq!(back_off(15_000, 3_600_000, 0, 0), 15_000);
        assert_eq!(back_off(15_000, 3_600_000, 3, 0), 120_000);
        assert_eq!(back_off(15_000, 3_600_000, 200, 0), 3_600_000);
        assert_eq!(back_off(15_000, 3_600_000, 20, u32::MAX), 5_399_999);
    }
}
