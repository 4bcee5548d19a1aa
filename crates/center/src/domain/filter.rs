//! Filters of devices: an expression, saved under a name, and a plan's devices chosen by it.
//!
//! Terms stand side by side and all of them must hold; one with `-` before it must not. A value with blanks is put into
//! quotes: `model:"door lock"`.
//!
//! | term | a device that |
//! |---|---|
//! | `tag:berlin` | has the tag |
//! | `model:lamp` | reports every component of the project's model of this name |
//! | `version:2_0_0` | has a component that runs it |
//! | `version:STM32=2_0_0` | has this component, and it runs it |
//! | `state:connected` `state:away` `state:disabled` | is so now |
//! | `seen<7d` `seen>12h` | was heard within, or not within, so many `m`inutes, `h`ours, `d`ays |
//! | anything else | has it in its device key, in capital or small letters |

use serde::{Deserialize, Serialize};
use sota_errors::CenterError;
use utoipa::ToSchema;

use super::{Device, FilterId, Model, Problem, ProjectId, Time, check_name};

/// Most saved filters of a project.
pub const FILTERS_LIMIT: usize = 200;
/// Greatest length of an expression, in characters.
const EXPRESSION_LIMIT: usize = 500;
/// Most tags of a device.
pub const TAGS_LIMIT: usize = 32;

/// Checks a tag: `[A-Za-z0-9_.-]`, 1..=32.
pub fn check_tag(tag: &str) -> Result<(), Problem> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let good = (1..=32).contains(&tag.len()) && tag.chars().all(allowed);
    // at its begin it would be a term that must not hold, or a formula
    match good && !tag.starts_with('-') {
        true => Ok(()),
        false => Err(Problem::of(
            CenterError::TagUnfit,
            "tags",
            format!("{tag:?}"),
        )),
    }
}

/// Checks the tags of a device.
pub fn check_tags<'a>(tags: impl IntoIterator<Item = &'a String>) -> Result<(), Problem> {
    let mut count = 0;
    for tag in tags {
        check_tag(tag)?;
        count += 1;
    }
    match count <= TAGS_LIMIT {
        true => Ok(()),
        false => Err(Problem::of(CenterError::TagUnfit, "tags", "more than 32")),
    }
}

/// What is known beside the device when a filter is asked.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Models of the project.
    pub models: &'a [Model],
    /// The device is registered.
    pub online: bool,
    /// Present time.
    pub now: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Connected,
    Away,
    Disabled,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Tag(String),
    Model(String),
    Version(Option<String>, String),
    State(Connection),
    SeenWithin(Time),
    NotSeenWithin(Time),
    Text(String),
}

/// An expression that was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// With whether they must not hold.
    terms: Vec<(bool, Condition)>,
}

impl Filter {
    /// Reads an expression; empty takes every device.
    pub fn parse(expression: &str) -> Result<Filter, Problem> {
        let bad = |detail: String| Problem::of(CenterError::FilterUnreadable, "filter", detail);
        if expression.chars().count() > EXPRESSION_LIMIT {
            return Err(bad("more than 500 characters".into()));
        }
        let mut terms = Vec::new();
        for word in words(expression).ok_or_else(|| bad("a quote is not closed".into()))? {
            let (not, word) = match word.strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, word.as_str()),
            };
            let condition = condition(word).ok_or_else(|| bad(format!("{word:?}")))?;
            terms.push((not, condition));
        }
        Ok(Filter { terms })
    }

    /// Whether every term holds for the device.
    pub fn takes(&self, device: &Device, around: Surroundings<'_>) -> bool {
        let mut terms = self.terms.iter();
        terms.all(|(not, condition)| condition.holds(device, around) != *not)
    }

    /// The one text it consists of.
    pub fn only_text(&self) -> Option<&str> {
        match self.terms.as_slice() {
            [(false, Condition::Text(text))] => Some(text),
            _ => None,
        }
    }

    /// Some term asks for a model.
    pub fn asks_models(&self) -> bool {
        let model = |(_, c): &(bool, Condition)| matches!(c, Condition::Model(_));
        self.terms.iter().any(model)
    }
}

/// Words between blanks; those in quotes are one. `None`: a quote is not closed.
fn words(expression: &str) -> Option<Vec<String>> {
    let (mut all, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in expression.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                any = true;
            }
            c if c.is_whitespace() && !quoted => {
                if any {
                    all.push(core::mem::take(&mut word));
                }
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        all.push(word);
    }
    (!quoted).then_some(all)
}

fn condition(word: &str) -> Option<Condition> {
    let filled = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    if let Some(tag) = word.strip_prefix("tag:") {
        return check_tag(tag).ok().map(|()| Condition::Tag(tag.into()));
    }
    if let Some(model) = word.strip_prefix("model:") {
        return filled(model).map(Condition::Model);
    }
    if let Some(version) = word.strip_prefix("version:") {
        return match version.split_once('=') {
            Some((component, version)) => Some(Condition::Version(
                Some(filled(component)?),
                filled(version)?,
            )),
            None => Some(Condition::Version(None, filled(version)?)),
        };
    }
    if let Some(state) = word.strip_prefix("state:") {
        return Some(Condition::State(match state {
            "connected" => Connection::Connected,
            "away" => Connection::Away,
            "disabled" => Connection::Disabled,
            _ => return None,
        }));
    }
    if let Some(time) = word.strip_prefix("seen<") {
        return duration(time).map(Condition::SeenWithin);
    }
    if let Some(time) = word.strip_prefix("seen>") {
        return duration(time).map(Condition::NotSeenWithin);
    }
    filled(word).map(|text| Condition::Text(text.to_lowercase()))
}

/// `90m`, `12h`, `7d`.
fn duration(text: &str) -> Option<Time> {
    let unit = match text.chars().last()? {
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return None,
    };
    let number: u32 = text.get(..text.len() - 1)?.parse().ok()?;
    Time::from(number).checked_mul(unit)
}

impl Condition {
    fn holds(&self, device: &Device, around: Surroundings<'_>) -> bool {
        let heard_within = |time: &Time| device.last_seen_at >= around.now.saturating_sub(*time);
        match self {
            Condition::Tag(tag) => device.tags.contains(tag),
            Condition::Model(name) => {
                let mut models = around.models.iter();
                let model = models.find(|m| m.name == *name && m.project == device.project);
                model.is_some_and(|model| {
                    let mut components = model.components.iter();
                    components.all(|c| device.reported(&c.identifier, c.kind).is_some())
                })
            }
            Condition::Version(component, version) => device.components.iter().any(|c| {
                c.version == *version && component.as_ref().is_none_or(|id| *id == c.identifier)
            }),
            Condition::State(Connection::Disabled) => device.disabled,
            Condition::State(Connection::Connected) => !device.disabled && around.online,
            Condition::State(Connection::Away) => !device.disabled && !around.online,
            Condition::SeenWithin(time) => heard_within(time),
            Condition::NotSeenWithin(time) => !heard_within(time),
            Condition::Text(text) => {
                let key = device.endpoint.device_key.to_lowercase();
                key.contains(text)
            }
        }
    }
}

/// An expression under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SavedFilter {
    /// Its id.
    pub id: FilterId,
    /// Account that made it.
    pub account: i64,
    /// Project it belongs to.
    pub project: ProjectId,
    /// Name, unique in the project.
    pub name: String,
    /// The expression.
    pub expression: String,
    /// When it was made.
    pub created_at: Time,
    /// Counts its changes; 0 = not stored yet.
    pub revision: u64,
}

impl SavedFilter {
    /// Checks every rule of a saved filter.
    pub fn check(&self) -> Result<(), Problem> {
        check_name("name", &self.name)?;
        let filter = Filter::parse(&self.expression)?;
        match filter.terms.is_empty() {
            true => Err(Problem::of(
                CenterError::FilterUnreadable,
                "filter",
                "empty",
            )),
            false => Ok(()),
        }
    }
}

/// A plan's devices, chosen by a saved filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Audience {
    /// The saved filter.
    pub filter: FilterId,
    /// Devices that come to match later join the plan; otherwise those that match at its activation are its whitelist.
    pub live: bool,
    /// Its expression as the plan holds to it: what the filter said when the plan was saved or activated. A filter that
    /// is changed or deleted afterwards does not change a plan that runs.
    pub expression: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ComponentKind, ReportedComponent};
    use crate::store::samples::{device, model};

    const HOUR: Time = 3_600_000;

    fn asked(expression: &str, device: &Device, online: bool) -> bool {
        let models = [model(3, 1)];
        let around = Surroundings {
            models: &models,
            online,
            now: 100 * HOUR,
        };
        let filter = Filter::parse(expression);
        filter.expect("understood").takes(device, around)
    }

    #[test]
    fn each_term_takes_what_it_says() {
        let mut lamp = device("pk", "IMEI-0042");
        lamp.tags = ["berlin".into(), "v2".into()].into();
        lamp.last_seen_at = 90 * HOUR;
        for (identifier, kind, version) in [
            ("module", ComponentKind::Firmware, "R1"),
            ("STM32", ComponentKind::Mcu, "2_0_0"),
        ] {
            lamp.components.push(ReportedComponent {
                identifier: identifier.into(),
                kind,
                version: version.into(),
            });
        }
        for (expression, takes) in [
            ("", true),
            ("tag:berlin", true),
            ("tag:paris", false),
            ("-tag:paris tag:v2", true),
            ("-tag:berlin", false),
            ("version:2_0_0", true),
            ("version:STM32=2_0_0", true),
            ("version:module=2_0_0", false),
            ("state:connected", true),
            ("state:away", false),
            ("state:disabled", false),
            ("seen<10h", true),
            ("seen<9h", false),
            ("seen>599m", true),
            ("seen>1d", false),
            ("imei-00", true),
            ("0042 tag:berlin", true),
            ("0043", false),
            ("model:\"model 3\"", false),
        ] {
            assert_eq!(asked(expression, &lamp, true), takes, "{expression:?}");
        }
        lamp.components.push(ReportedComponent {
            identifier: "ESP".into(),
            kind: ComponentKind::Mcu,
            version: "1".into(),
        });
        assert!(asked("model:\"model 3\"", &lamp, true));
        assert!(asked("state:away", &lamp, false));
        lamp.disabled = true;
        assert!(asked("state:disabled", &lamp, false));
        assert!(!asked("state:away", &lamp, false));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for bad in [
            "tag:",
            "tag:a/b",
            "state:off",
            "seen<7",
            "seen<x d",
            "seen>99999999999d",
            "version:",
            "version:=1",
            "model:",
            "-",
            "\"open",
            &"x".repeat(501),
        ] {
            let error = Filter::parse(bad).map_err(|p| p.error);
            assert_eq!(error, Err(CenterError::FilterUnreadable), "{bad:?}");
        }
        let text = Filter::parse(" abc ").expect("understood");
        assert_eq!(text.only_text(), Some("abc"));
        for tag in ["", "-a", "a b", "ä", &"x".repeat(33)] {
            assert!(check_tag(tag).is_err(), "{tag:?}");
        }
        let many: Vec<String> = (0..33).map(|n| n.to_string()).collect();
        assert!(check_tags(&many).is_err() && check_tags(&many[..32]).is_ok());
    }
}
