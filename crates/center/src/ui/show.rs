//! Times, sizes and states as a person reads them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::{
    ComponentKind, ComponentState, Delivery, DeviceState, EventKind, PackageFile, PlanDevice,
    PlanState, Step, Time,
};

/// A time wherever a template has one, by value or by reference.
pub(super) trait Moment {
    fn ms(&self) -> Time;
}

impl Moment for Time {
    fn ms(&self) -> Time {
        *self
    }
}

impl<T: Moment + ?Sized> Moment for &T {
    fn ms(&self) -> Time {
        (**self).ms()
    }
}

/// A time as HTML: `2026-11-25 13:56:03 UTC`, which the script turns into the reader's zone.
pub(super) fn when(time: impl Moment) -> String {
    let time = Timestamp::from_millisecond(time.ms()).unwrap_or_default();
    let iso = time.strftime("%Y-%m-%dT%H:%M:%SZ");
    let text = time.strftime("%Y-%m-%d %H:%M:%S UTC");
    format!("<time datetime=\"{iso}\">{text}</time>")
}

/// A time in words of a zone, for a plan: `2026-11-25 14:56`.
pub(super) fn in_zone(time: impl Moment, zone: &str) -> String {
    local(time.ms(), zone).replace('T', " ")
}

/// `2026-11-25T14:56` in the zone: what a field for a time takes.
pub(super) fn local(time: Time, zone: &str) -> String {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let time = Timestamp::from_millisecond(time).unwrap_or_default();
    time.to_zoned_datetime(zone)
        .strftime("%Y-%m-%dT%H:%M")
        .to_string()
}

/// `26.7 KiB (27,341 bytes)`.
pub(super) fn bytes(bytes: &u64) -> String {
    let grouped = grouped(bytes);
    let n = *bytes as f64;
    match *bytes {
        0..=1023 => format!("{grouped} bytes"),
        1024..=1_048_575 => format!("{:.1} KiB ({grouped} bytes)", n / 1024.0),
        _ => format!("{:.1} MiB ({grouped} bytes)", n / 1_048_576.0),
    }
}

/// `97.5 %`.
pub(super) fn percent(percent: impl std::fmt::Display) -> String {
    format!("{percent:.1} %")
}

/// A component's type in words.
pub(super) fn kind(kind: &ComponentKind) -> &'static str {
    match kind {
        ComponentKind::Firmware => "Firmware",
        ComponentKind::Mcu => "MCU",
    }
}

/// Size of all files together.
pub(super) fn total(files: &[PackageFile]) -> String {
    let total: u64 = files.iter().map(|f| f.length).sum();
    let size = bytes(&total);
    size.split(" (").next().unwrap_or_default().to_owned()
}

/// `27,341`.
pub(super) fn grouped(number: &u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Class of the stylesheet that gives a plan's state its colour.
pub(super) fn plan_tone(state: &PlanState) -> &'static str {
    match state {
        PlanState::Saved => "idle",
        PlanState::Activated | PlanState::Upgrading => "run",
        PlanState::Suspended => "warn",
        PlanState::Terminated | PlanState::Ended => "over",
    }
}

/// The same for a device in a plan.
pub(super) fn device_tone(state: &DeviceState) -> &'static str {
    match state {
        DeviceState::NotUpgraded => "idle",
        DeviceState::InUpgrade => "run",
        DeviceState::Upgraded => "ok",
        DeviceState::UpgradeFailed => "bad",
        DeviceState::NoUpdateRequired => "over",
    }
}

/// A device's state in words.
pub(super) fn device_words(state: &DeviceState) -> &'static str {
    match state {
        DeviceState::NotUpgraded => "Not upgraded",
        DeviceState::InUpgrade => "In upgrade",
        DeviceState::Upgraded => "Upgraded",
        DeviceState::UpgradeFailed => "Upgrade failed",
        DeviceState::NoUpdateRequired => "No update required",
    }
}

/// A component's state in words.
pub(super) fn component_words(state: &ComponentState) -> &'static str {
    match state {
        ComponentState::PlanNotReceived => "Plan not received",
        ComponentState::PlanReceived => "Plan received",
        ComponentState::Confirmed => "Confirmed",
        ComponentState::ReadyToDownload => "Ready to download",
        ComponentState::Downloading => "Downloading",
        ComponentState::DownloadFailed => "Download failed, is tried again",
        ComponentState::DownloadSucceeded => "Piece downloaded",
        ComponentState::Upgrading => "Upgrading",
        ComponentState::UpgradeFailed => "Upgrade failed",
        ComponentState::UpgradeSucceeded => "Upgraded",
        ComponentState::NoUpdateRequired => "No update required",
    }
}

/// A plan's state as HTML.
pub(super) fn plan_chip(state: &PlanState) -> String {
    chip(plan_tone(state), state.name())
}

/// A device's state in a plan as HTML.
pub(super) fn device_chip(state: &DeviceState) -> String {
    chip(device_tone(state), device_words(state))
}

/// Whether a device is connected, as HTML.
pub(super) fn online_chip(online: &bool, disabled: &bool) -> String {
    match (disabled, online) {
        (true, _) => chip("warn", "Disabled"),
        (false, true) => chip("ok", "Connected"),
        (false, false) => chip("idle", "Away"),
    }
}

/// What a webhook is told, in words.
pub(super) fn event_words(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::PlanState => {
            "a plan was activated, began, was suspended, resumed, terminated or ended"
        }
        EventKind::GroupOpened => "the next group of a plan was opened",
        EventKind::ApprovalWaited => "the next group of a plan waits for approval",
        EventKind::DeviceState => "each device that begins, succeeds or fails in a plan",
        EventKind::DeviceCreated => "a device came for the first time",
        EventKind::Test => "a test",
    }
}

/// A delivery's state as HTML.
pub(super) fn delivery_chip(delivery: &Delivery) -> String {
    match (delivery.delivered_at, delivery.next_at, delivery.attempts) {
        (Some(_), _, _) => chip("ok", "Delivered"),
        (None, Some(_), 0) => chip("run", "Waiting"),
        (None, Some(_), _) => chip("warn", "Tried again"),
        (None, None, _) => chip("bad", "Given up"),
    }
}

fn chip(tone: &str, words: &str) -> String {
    format!("<span class=\"chip {tone}\">{words}</span>")
}

/// The bar of a component as HTML, with its state in words.
pub(super) fn bar(step: &Step) -> String {
    let mut items = String::new();
    for dot in dots(step) {
        let current = match dot.mark {
            "now" => " aria-current=\"step\"",
            _ => "",
        };
        let said = match dot.mark {
            "done" => "done",
            "now" => "under way",
            "failed" => "failed",
            _ => "to come",
        };
        let (mark, name) = (dot.mark, dot.name);
        items += &format!(
            "<li class=\"{mark}\"{current}><span class=\"dot\"></span>{name}<span class=\"unseen\">, {said}</span></li>"
        );
    }
    let words = component_words(&step.state);
    format!("<ol class=\"bar\">{items}</ol><p class=\"state\">{words}</p>")
}

/// One of the five steps of a component.
struct Dot {
    name: &'static str,
    /// `done`, `now`, `failed` or empty: yet to come.
    mark: &'static str,
}

/// The bar Start - Confirm - Download - Upgrading - Success/Fail of a component.
fn dots(step: &Step) -> Vec<Dot> {
    use ComponentState as S;
    // steps that are over, and whether the next one is under way
    let (done, now) = match step.state {
        S::PlanNotReceived | S::NoUpdateRequired => (0, false),
        S::PlanReceived => (1, true),
        S::Confirmed => (2, false),
        S::ReadyToDownload | S::Downloading | S::DownloadFailed | S::DownloadSucceeded => (2, true),
        S::Upgrading => (3, true),
        S::UpgradeFailed => (0, false),
        S::UpgradeSucceeded => (5, false),
    };
    let failed = step.state == S::UpgradeFailed;
    let last = if failed { "Fail" } else { "Success" };
    let names = ["Start", "Confirm", "Download", "Upgrading", last];
    let dot = |(i, name)| Dot {
        name,
        mark: match i {
            4 if failed => "failed",
            i if i < done => "done",
            i if i == done && now => "now",
            _ => "",
        },
    };
    names.into_iter().enumerate().map(dot).collect()
}

/// The number and name of a failure of the catalogue.
pub(super) fn failure(number: &u16) -> String {
    let device = sota_errors::Reason::from_number(*number).map(|r| (r.name(), r.meaning()));
    let all = sota_errors::CenterError::ALL.iter();
    let center = all.filter(|e| e.number() == *number);
    let center = center.map(|e| (e.name(), e.meaning())).next();
    match device.or(center) {
        Some((name, meaning)) => format!("{number} {name}: {meaning}"),
        None => number.to_string(),
    }
}

/// The last failure of a device in a plan.
pub(super) fn last_failure(device: &PlanDevice) -> Option<String> {
    let mut failures = device.steps.iter().filter_map(|s| s.failure);
    failures.next_back().map(|n| failure(&n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_readable() {
        assert_eq!(grouped(&0), "0");
        assert_eq!(grouped(&104_857_600), "104,857,600");
        assert_eq!(bytes(&27_341), "26.7 KiB (27,341 bytes)");
        let time = when(1_767_258_000_000);
        assert!(time.contains("2026-01-01T09:00:00Z") && time.contains("2026-01-01 09:00:00 UTC"));
        assert_eq!(
            local(1_767_258_000_000, "Europe/Berlin"),
            "2026-01-01T10:00"
        );
        assert_eq!(local(0, "Not/AZone"), "1970-01-01T00:00");
        assert!(failure(&1106).starts_with("1106 TargetNotReported: "));
    }
}
