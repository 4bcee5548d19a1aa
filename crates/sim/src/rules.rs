//! The invariants. Each is one function here with its reason; the world calls it where its subject changes.
//!
//! | rule | why |
//! |---|---|
//! | Boots | an MCU that boots neither image, or a mix, is a brick |
//! | Downloaded | what is announced as downloaded is what the MCU writes over its other slot |
//! | Sound | a package called damaged is fetched once more, and a few more times it counts as failed |
//! | Ends | an upgrade that hangs is never retried and holds its place in the plan |
//! | Refetch | a block costs energy and money on NB-IoT; the journal was made so that none is paid twice |
//! | Durable | progress that goes back after a power cut was acknowledged before it was in flash |
//! | States | the Center draws its bar and decides its retries from the order of the states |
//! | Events | old applications act on each event; one too many starts a second flashing |
//! | Offered | a device outside the plan, or disabled, that is upgraded is the operator's worst day |
//! | Acknowledged | a device never repeats what was acknowledged: lost, it is lost for good |
//! | Counters | operators decide by the counters |
//! | Mail | a message lost between threads is a hang that no log explains |
//! | Flash | a write over what is not erased gives other bytes on real parts |
//! | Rest | machines that never come to rest drain the battery and starve other threads |
//! | Twice | (link only; AT has no acknowledged window) over the link a reset costs one window of bytes, and nothing else does: a resume that costs more is none |
//! | Truth | "Upgraded" is said of a device only when its MCU runs exactly the package |

use std::collections::BTreeMap;

use sota::message::{Event, Reason, State};
use sota_center::commands::DeviceCommand;
use sota_center::domain::{DeviceState, Endpoint, PlanDevice, PlanId, reachable};
use sota_center::store::{MemoryStore, Page, Store as _};
use sota_coap::{Code, Kind, Message, option};
use sota_errors::McuError;

use crate::node::center::{OWNER, done};
use crate::node::link_mcu::{BLOCK, WINDOW};

/// Which rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Rule {
    Boots,
    Downloaded,
    Sound,
    Ends,
    Refetch,
    Durable,
    States,
    Events,
    Offered,
    Acknowledged,
    Counters,
    Mail,
    Flash,
    Rest,
    Twice,
    Truth,
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub rule: Rule,
    /// What was seen.
    pub seen: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.seen)
    }
}

/// Whether a rule holds.
pub type Verdict = Result<(), Broken>;

/// `Err` with what was seen.
pub fn broken(rule: Rule, seen: impl Into<String>) -> Verdict {
    Err(Broken {
        rule,
        seen: seen.into(),
    })
}

/// What was seen of one device.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// Offer that the module has, and bytes of its package that were durable at the end of the last whole step.
    pub durable: Option<(String, u32)>,
    /// Last report for the Center.
    reported: State,
    /// The module was restarted and has not reported since.
    restarted: bool,
    /// Events since the last 10700.
    stage: Stage,
    /// The module was restarted and has given no event of the upgrade since.
    events_restarted: bool,
    /// Message ids of the GETs in flight, the newest last.
    gets: Vec<u16>,
    /// The MCU asked for bytes again that were released.
    pub rewound: bool,
    /// The MCU speaks the link.
    link: bool,
    /// What came to the MCU over the link.
    data: Data,
    /// GETs that asked again for a block that was durable, right after a rewind or a restart from 0.
    pub blocks: BTreeMap<u32, u32>,
}

/// What came to the MCU over the link since the module had the plan.
#[derive(Clone, Debug, Default)]
struct Data {
    /// Bytes in whole Data frames.
    bytes: u32,
    /// How often the link came up meanwhile.
    ups: u32,
    /// How often module or MCU started meanwhile.
    starts: u32,
}

/// How far the events of one upgrade are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// No plan, or it is over.
    #[default]
    Idle,
    Plan,
    Started,
    Downloading,
    Downloaded,
    Updating,
    Over,
}

impl Book {
    /// An empty book.
    pub fn new(link: bool) -> Book {
        Book {
            link,
            ..Book::default()
        }
    }

    /// The link came up.
    pub fn link_up(&mut self) {
        self.data.ups += 1;
    }

    /// Module or MCU start.
    pub fn starts(&mut self) {
        self.data.starts += 1;
    }

    /// The module has a plan, or another: what came for the one before is over.
    pub fn plan(&mut self) {
        self.data = Data::default();
    }

    /// `bytes` of a package of `package` bytes came to the MCU over the link.
    pub fn data(&mut self, bytes: u32, package: u32) -> Verdict {
        self.data.bytes += bytes;
        let breaks = self.data.ups.max(self.data.starts);
        let window = u32::from(WINDOW) * u32::from(BLOCK);
        match self.data.bytes <= package.saturating_add(breaks * window) {
            true => Ok(()),
            false => broken(
                Rule::Twice,
                format!("{:?} of a package of {package}", self.data),
            ),
        }
    }

    /// The module has power again; `offer` and `durable` as its engine says.
    pub fn restart(&mut self, offer: &str, durable: u32, state: State, excused: bool) -> Verdict {
        self.restarted = true;
        self.events_restarted = true;
        self.gets.clear();
        let before = self.durable.take();
        self.durable = Some((offer.to_owned(), durable));
        let fetching = matches!(
            state,
            State::DownloadStarts | State::Downloading | State::Downloaded
        );
        match before {
            Some((plan, bytes)) if plan == offer && fetching && durable < bytes && !excused => {
                broken(
                    Rule::Durable,
                    format!("{bytes} bytes of {plan} were durable, {durable} after the restart"),
                )
            }
            _ => Ok(()),
        }
    }

    /// The module sends a datagram while `durable` bytes are in flash.
    pub fn datagram(&mut self, bytes: &[u8], durable: u32, excused: bool) -> Verdict {
        let Ok(message) = Message::new_checked(bytes) else {
            return broken(Rule::Refetch, "the module sent what is no CoAP message");
        };
        if message.code() != Code::GET || !matches!(message.kind(), Kind::Con | Kind::Non) {
            return Ok(());
        }
        let Some(Ok(block)) = message.block(option::BLOCK2) else {
            return Ok(());
        };
        let id = message.message_id();
        if self.gets.contains(&id) {
            // A retransmission: the answer was lost.
            return Ok(());
        }
        self.gets.push(id);
        if self.gets.len() > 8 {
            self.gets.remove(0);
        }
        let size = block.szx.bytes();
        let end = block.num.saturating_add(1).saturating_mul(size);
        *self.blocks.entry(block.num).or_default() += 1;
        if end <= durable && !excused {
            return broken(
                Rule::Refetch,
                format!(
                    "block {} of {size} bytes is asked for while {durable} bytes are durable",
                    block.num
                ),
            );
        }
        Ok(())
    }

    /// The module reports a state.
    pub fn report(&mut self, state: State) -> Verdict {
        let from = self.reported;
        let restarted = std::mem::take(&mut self.restarted);
        self.reported = state;
        // A new plan begins from anywhere once the one before is over; a state may also be overtaken by a
        // power cut before it was told.
        let over = |s: State| {
            matches!(
                s,
                State::None | State::Refused | State::Success | State::Failure
            )
        };
        // 6 is 0 once it is reported, so a plan is taken then too: the Center may have withdrawn the one before.
        let free = over(from) || matches!(from, State::PlanReceived | State::DownloadError);
        let legal = state == State::PlanReceived && free
            || reachable(from, state)
            || restarted && (state == from || over(from))
            // The Center did not hear it, and offered the same again.
            || state == from && (over(from) || from == State::DownloadError);
        if legal {
            Ok(())
        } else {
            broken(Rule::States, format!("{from:?}, then {state:?}"))
        }
    }

    /// The module gives an event.
    pub fn event(&mut self, event: &Event) -> Verdict {
        let from = self.stage;
        let restarted = self.events_restarted;
        let (legal, to) = match event {
            Event::Plan(_) => (
                matches!(from, Stage::Idle | Stage::Over | Stage::Plan)
                    || restarted
                    // 6 is 0 once it is reported; the next plan ends what was before without an event.
                    || self.reported <= State::PlanReceived
                    || self.reported == State::DownloadError,
                Stage::Plan,
            ),
            // Again when the MCU announces its source version or asks. Over the link also in state 9: an MCU that lost power
            // before it began is told once more.
            Event::DownloadStart(_) => (
                matches!(
                    from,
                    Stage::Plan | Stage::Started | Stage::Downloading | Stage::Downloaded
                ) || self.link && from == Stage::Updating
                    || restarted,
                from.max(Stage::Started),
            ),
            Event::Downloading => (
                matches!(
                    from,
                    Stage::Started | Stage::Downloading | Stage::Downloaded
                ) || restarted,
                Stage::Downloading,
            ),
            Event::Downloaded(_) => (
                matches!(from, Stage::Downloading | Stage::Downloaded) || restarted,
                Stage::Downloaded,
            ),
            Event::Updating => (
                matches!(from, Stage::Downloaded)
                    || self.link && from == Stage::Updating
                    || restarted,
                Stage::Updating,
            ),
            // Success from every state with a plan that was confirmed: the version is the truth.
            Event::UpdateOk => (
                !matches!(from, Stage::Idle | Stage::Over) || restarted,
                Stage::Over,
            ),
            Event::UpdateFail(_) => (
                !matches!(from, Stage::Idle | Stage::Over) || restarted,
                Stage::Over,
            ),
            _ => return Ok(()),
        };
        self.stage = to;
        self.events_restarted = false;
        if legal {
            Ok(())
        } else {
            broken(Rule::Events, format!("{event:?} after {from:?}"))
        }
    }
}

/// The MCU boots one of these images, whole. `noisy`: two lines without a checksum may have been garbled alike, so that
/// only the image is judged and not its name.
pub fn boots(would: Option<(String, Vec<u8>)>, images: &[(&str, &[u8])], noisy: bool) -> Verdict {
    let Some((version, image)) = would else {
        return broken(Rule::Boots, "the MCU boots no image");
    };
    if images
        .iter()
        .any(|(known, bytes)| (noisy || *known == version) && *bytes == image.as_slice())
    {
        return Ok(());
    }
    broken(
        Rule::Boots,
        format!(
            "the MCU boots {version} with {} bytes that are no image of ours",
            image.len()
        ),
    )
}

/// Neither the network nor a power cut changes a byte: a package is not called damaged because of them.
/// `number` is what the module or the MCU says of it.
pub fn sound(number: u16) -> Verdict {
    let damaged = [
        Reason::DigestMismatch.number(),
        McuError::ImageDigest.number(),
    ];
    if damaged.contains(&number) {
        return broken(Rule::Sound, format!("{number} of a package that is sound"));
    }
    Ok(())
}

/// Of a device outside the plan, or a plan that does not run, nothing is ever offered.
pub fn offered(
    store: &MemoryStore,
    endpoint: &Endpoint,
    offer: &str,
    now: i64,
    left_out: bool,
) -> Verdict {
    let Some((id, _)) = PlanDevice::parse_offer_name(offer) else {
        return broken(Rule::Offered, format!("an offer is called {offer}"));
    };
    let plan = done(store.plan(&OWNER, id)).ok().flatten();
    let Some(plan) = plan else {
        return broken(Rule::Offered, format!("{offer} is of no plan"));
    };
    if left_out || plan.includes(&endpoint.device_key).is_err() {
        return broken(
            Rule::Offered,
            format!("{endpoint} is not in the plan and was offered {offer}"),
        );
    }
    if !plan.state.active() {
        let state = plan.state.name();
        return broken(Rule::Offered, format!("{offer} of a plan that is {state}"));
    }
    if now < plan.start_at || plan.end_at.is_some_and(|end| end <= now) {
        return broken(Rule::Offered, format!("{offer} outside the plan's times"));
    }
    Ok(())
}

/// A disabled device is told nothing: no offer, no download information, no cancel.
pub fn not_disabled(store: &MemoryStore, endpoint: &Endpoint, command: &DeviceCommand) -> Verdict {
    let about_it = matches!(
        command,
        DeviceCommand::Disabled { .. } | DeviceCommand::Enabled { .. }
    );
    match is_disabled(store, endpoint) && !about_it {
        true => broken(
            Rule::Offered,
            format!("{endpoint} is disabled and was sent {command:?}"),
        ),
        false => Ok(()),
    }
}

/// An operator disabled the device.
pub fn is_disabled(store: &MemoryStore, endpoint: &Endpoint) -> bool {
    let device = done(store.device(&OWNER, endpoint)).ok().flatten();
    device.is_some_and(|device| device.disabled)
}

/// What the Center acknowledged is in its store: the state reported, a later one, or a later offer.
pub fn acknowledged(
    store: &MemoryStore,
    endpoint: &Endpoint,
    offer: &str,
    state: State,
) -> Verdict {
    let Some((plan, number)) = PlanDevice::parse_offer_name(offer) else {
        return Ok(());
    };
    let Some(entry) = done(store.plan_device(&OWNER, plan, endpoint))
        .ok()
        .flatten()
    else {
        return broken(
            Rule::Acknowledged,
            format!("{state:?} of {offer} is forgotten"),
        );
    };
    let steps = || entry.steps.iter().filter_map(|s| s.state.reported());
    let there = entry.offer > number
        || entry.state.over()
        || !entry.open
        // Success counts when the version says so, which may come later.
        || state == State::Success && steps().any(|s| s == State::Updating)
        || steps().any(|s| s == state || reachable(state, s));
    match there {
        true => Ok(()),
        false => broken(
            Rule::Acknowledged,
            format!(
                "{state:?} of {offer} was acknowledged, the store says {:?}",
                entry.steps
            ),
        ),
    }
}

/// The counters equal what a scan gives.
pub fn counters(store: &MemoryStore, plan: PlanId) -> Verdict {
    let page = Page {
        limit: 10_000,
        ..Page::default()
    };
    let devices = done(store.plan_devices(&OWNER, plan, &page)).unwrap_or_default();
    let Ok(mut counters) = done(store.counters(&OWNER, plan)) else {
        return Ok(());
    };
    for state in DeviceState::ALL {
        let scan = devices.iter().filter(|d| d.state == state).count() as u64;
        let kept = *counters.of(state);
        if scan != kept {
            return broken(
                Rule::Counters,
                format!("{} of plan {plan}: {kept} kept, {scan} there", state.name()),
            );
        }
    }
    Ok(())
}
