//! Webhooks: who is told what of a project, and when a telling is tried again.
//!
//! An event is written into the outbox of each webhook that wants it, with the change that it tells of. From there it is
//! sent at least once: a receiver knows a repetition by the delivery's number.
//!
//! | an attempt | what follows |
//! |---|---|
//! | answered 2xx | delivered |
//! | anything else: another status (a redirect too), no connection, no answer in time | again after a wait that doubles each time |
//! | the last of [`ATTEMPTS_LIMIT`], about a day after the first | given up; a person can have it tried again |

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sota_errors::CenterError;
use utoipa::ToSchema;

use super::{
    DeviceState, Endpoint, Plan, PlanDevice, PlanId, Problem, ProjectId, Time, WebhookId,
    check_name,
};

/// Most webhooks of a project.
pub const WEBHOOKS_LIMIT: usize = 20;
/// Attempts before a delivery is given up.
pub const ATTEMPTS_LIMIT: u32 = 16;
/// Longest wait between two attempts, in ms: 4 hours.
const GREATEST_WAIT: Time = 4 * 3_600_000;
/// Greatest length of a URL, in bytes.
const URL_LIMIT: usize = 2000;
/// Deliveries of a webhook that may wait; of more the oldest are given up.
pub const WAITING_LIMIT: usize = 10_000;
/// Deliveries that are over are kept so long, in ms, and at most so many of a webhook.
pub const KEPT_FOR: Time = 7 * 86_400_000;
/// See [`KEPT_FOR`].
pub const KEPT_LIMIT: usize = 1000;

/// What can be told.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
pub enum EventKind {
    /// A plan has another state.
    PlanState,
    /// A plan's next group was opened.
    GroupOpened,
    /// A plan's next group waits for approval.
    ApprovalWaited,
    /// A device has another state in a plan.
    DeviceState,
    /// A device came for the first time.
    DeviceCreated,
    /// A person asked for a test.
    Test,
}

impl EventKind {
    /// Every kind that can be wanted.
    pub const ALL: [EventKind; 5] = [
        EventKind::PlanState,
        EventKind::GroupOpened,
        EventKind::ApprovalWaited,
        EventKind::DeviceState,
        EventKind::DeviceCreated,
    ];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::PlanState => "PlanState",
            EventKind::GroupOpened => "GroupOpened",
            EventKind::ApprovalWaited => "ApprovalWaited",
            EventKind::DeviceState => "DeviceState",
            EventKind::DeviceCreated => "DeviceCreated",
            EventKind::Test => "Test",
        }
    }
}

/// Something that happened, as its receiver gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// What.
    pub event: EventKind,
    /// When, in ms since 1970.
    pub at: Time,
    /// In which project.
    pub project: ProjectId,
    /// The plan it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanId>,
    /// Name of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_name: Option<String>,
    /// The device it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Endpoint>,
    /// The new state, or the group's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Number of the reason, see `docs/errors.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<u16>,
}

impl Event {
    fn new(event: EventKind, project: ProjectId, at: Time) -> Event {
        Event {
            event,
            at,
            project,
            plan: None,
            plan_name: None,
            device: None,
            state: None,
            reason: None,
        }
    }

    fn of_plan(event: EventKind, plan: &Plan, state: &str, at: Time) -> Event {
        Event {
            plan: Some(plan.id),
            plan_name: Some(plan.name.clone()),
            state: Some(state.to_owned()),
            reason: plan.progress.suspended_by,
            ..Event::new(event, plan.project, at)
        }
    }

    /// A plan has another state.
    pub fn plan_state(plan: &Plan, at: Time) -> Event {
        Event::of_plan(EventKind::PlanState, plan, plan.state.name(), at)
    }

    /// The plan's present group was opened.
    pub fn group_opened(plan: &Plan, at: Time) -> Event {
        let group = plan.group_name(plan.progress.group);
        Event::of_plan(EventKind::GroupOpened, plan, &group, at)
    }

    /// The group after the plan's present one waits for approval.
    pub fn approval_waited(plan: &Plan, at: Time) -> Event {
        let group = plan.group_name(plan.progress.group.saturating_add(1));
        Event::of_plan(EventKind::ApprovalWaited, plan, &group, at)
    }

    /// A device that was in state `before` of a plan; none when nothing changed.
    pub fn device_state(before: DeviceState, entry: &PlanDevice, at: Time) -> Option<Event> {
        let mut failures = entry.steps.iter().filter_map(|step| step.failure);
        let failed = entry.state == DeviceState::UpgradeFailed;
        (before != entry.state).then(|| Event {
            plan: Some(entry.plan),
            device: Some(entry.endpoint.clone()),
            state: Some(entry.state.name().to_owned()),
            reason: failures.next_back().filter(|_| failed),
            ..Event::new(EventKind::DeviceState, entry.project, at)
        })
    }

    /// A device came for the first time.
    pub fn device_created(project: ProjectId, endpoint: &Endpoint, at: Time) -> Event {
        Event {
            device: Some(endpoint.clone()),
            ..Event::new(EventKind::DeviceCreated, project, at)
        }
    }

    /// A person asked for a test.
    pub fn test(project: ProjectId, at: Time) -> Event {
        Event::new(EventKind::Test, project, at)
    }
}

/// Where the events of a project are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Account that made it.
    pub account: i64,
    /// Project it belongs to.
    pub project: ProjectId,
    /// Name, unique in the project.
    pub name: String,
    /// `http` or `https`.
    pub url: String,
    /// Key of the signatures. It is kept as it is, because it signs.
    pub secret: String,
    /// What is told.
    pub events: BTreeSet<EventKind>,
    /// Switched off it is told nothing; what waits then waits on.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Time,
    /// Counts its changes; 0 = not stored yet.
    pub revision: u64,
}

impl Webhook {
    /// Checks every rule of a webhook.
    pub fn check(&self) -> Result<(), Problem> {
        check_name("name", &self.name)?;
        check_url(&self.url)?;
        if self.events.is_empty() || self.events.contains(&EventKind::Test) {
            return Err(Problem::of(CenterError::WebhookEvents, "events", ""));
        }
        Ok(())
    }

    /// Whether it is told this event.
    pub fn wants(&self, event: &Event) -> bool {
        self.enabled && self.project == event.project && self.events.contains(&event.event)
    }
}

/// Only `http` and `https` with a host and without name and password: another scheme would read files or speak to
/// programs that are no web servers.
fn check_url(url: &str) -> Result<(), Problem> {
    let bad = |detail: &str| Err(Problem::of(CenterError::WebhookUrl, "url", detail));
    if url.len() > URL_LIMIT || !url.chars().all(|c| c.is_ascii_graphic()) {
        return bad("at most 2000 visible ASCII characters");
    }
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
        _ => return bad("neither http:// nor https://"),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || authority.starts_with(':') || authority.contains('@') {
        return bad("no host, or a name and password before it");
    }
    if url.contains(['#', '\\']) {
        return bad("# and \\ have no place in it");
    }
    match url::Url::parse(url) {
        Ok(_) => Ok(()),
        Err(e) => bad(&e.to_string()),
    }
}

/// An event on its way to a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// Its number, given by the store: a receiver knows a repetition by it.
    pub id: i64,
    /// To whom.
    pub webhook: WebhookId,
    /// Project of both.
    pub project: ProjectId,
    /// What.
    pub event: Event,
    /// Attempts so far.
    pub attempts: u32,
    /// When it is tried next, in ms since 1970; absent = delivered, or given up.
    pub next_at: Option<Time>,
    /// When it was delivered, in ms since 1970.
    pub delivered_at: Option<Time>,
    /// Status of the last answer, if there was one.
    pub status: Option<u16>,
    /// Why the last attempt failed, in words; empty = it did not.
    pub error: String,
}

impl Delivery {
    /// An event that is due now.
    pub fn new(webhook: &Webhook, event: Event) -> Delivery {
        Delivery {
            id: 0,
            webhook: webhook.id,
            project: webhook.project,
            attempts: 0,
            next_at: Some(event.at),
            delivered_at: None,
            status: None,
            error: String::new(),
            event,
        }
    }

    /// An attempt is over: answered with a status, or not at all. `first_wait`: after the first failure, in ms.
    pub fn attempted(&mut self, answer: Result<u16, String>, first_wait: Time, now: Time) {
        self.attempts = self.attempts.saturating_add(1);
        self.status = answer.as_ref().ok().copied();
        self.error = match answer {
            Ok(200..=299) => {
                self.next_at = None;
                self.delivered_at = Some(now);
                self.error = String::new();
                return;
            }
            Ok(status) => format!("answered with status {status}"),
            Err(error) => error,
        };
        let doubled = first_wait.saturating_mul(1 << (self.attempts - 1).min(30));
        let wait = doubled.min(GREATEST_WAIT);
        self.next_at = (self.attempts < ATTEMPTS_LIMIT).then(|| now.saturating_add(wait));
    }

    /// A person has it tried again, from the first attempt on.
    pub fn again(&mut self, now: Time) {
        self.attempts = 0;
        self.delivered_at = None;
        self.next_at = Some(now);
    }

    /// It is given up because too many wait.
    pub fn overflow(&mut self) {
        self.next_at = None;
        self.error = "given up: too many wait for this webhook".into();
    }

    /// It is neither delivered nor given up.
    pub fn waits(&self) -> bool {
        self.next_at.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_addresses_are_taken() {
        for good in [
            "https://example.org",
            "http://127.0.0.1:8080/hook?token=a%20b",
            "HTTPS://[::1]:9/x",
        ] {
            check_url(good).unwrap_or_else(|p| panic!("{good}: {p}"));
        }
        let long = format!("https://example.org/{}", "x".repeat(2000));
        for bad in [
            "",
            "example.org",
            "file:///etc/passwd",
            "gopher://example.org",
            "ftp://example.org",
            "https://",
            "https:///path",
            "http://:80/",
            "https://name:secret@example.org/",
            "https://example.org/#part",
            "https://example.org\\@evil.example",
            "https://exa mple.org",
            "https://example.org/\n",
            "https://exämple.org",
            &long,
        ] {
            let error = check_url(bad).map_err(|p| p.error);
            assert_eq!(error, Err(CenterError::WebhookUrl), "{bad}");
        }
    }

    #[test]
    fn a_delivery_is_tried_for_about_a_day() {
        let webhook = Webhook {
            id: WebhookId(1),
            account: 1,
            project: ProjectId(1),
            name: "chat".into(),
            url: "https://example.org".into(),
            secret: String::new(),
            events: [EventKind::PlanState].into(),
            enabled: true,
            created_at: 0,
            revision: 1,
        };
        webhook.check().expect("good");
        let event = Event::test(ProjectId(1), 0);
        assert!(!webhook.wants(&event));
        let mut delivery = Delivery::new(&webhook, event);
        let (mut now, mut waits) = (0, Vec::new());
        while let Some(at) = delivery.next_at {
            waits.push((at - now) / 1000);
            now = at;
            delivery.attempted(Err("refused".into()), 10_000, now);
        }
        assert_eq!(delivery.attempts, ATTEMPTS_LIMIT);
        assert_eq!(waits[..4], [0, 10, 20, 40]);
        assert_eq!(waits.last(), Some(&14_400));
        assert!((20..24).contains(&(now / 3_600_000)), "{now}");
        assert!(!delivery.waits() && delivery.delivered_at.is_none());
        delivery.again(now);
        delivery.attempted(Ok(302), 10_000, now);
        assert_eq!(delivery.error, "answered with status 302");
        delivery.attempted(Ok(204), 10_000, now);
        assert_eq!((delivery.delivered_at, delivery.next_at), (Some(now), None));
        assert_eq!((delivery.status, delivery.error.as_str()), (Some(204), ""));
    }
}
