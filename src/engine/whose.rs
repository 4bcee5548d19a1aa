//! Whose an event or a command is, where several back ends serve one module ([`crate::bridge::route`]).

use super::{Engine, queue::Tag};
use crate::message::{COMPONENTS, State};

/// Whom an event concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose<'a> {
    /// The module: its network.
    Module,
    /// Every component of the plan.
    Plan,
    /// One component.
    Component(&'a str),
}

impl<const BLOCK: usize> Engine<BLOCK> {
    /// Whom [`first_event`](Self::first_event) concerns; to be asked after it, which passes over what has become old.
    pub(crate) fn whose(&self) -> Whose<'_> {
        let instance = match self.queue.events.first() {
            Some(Tag::Plan(instance) | Tag::DownloadStart(instance) | Tag::Ended(instance, _)) => {
                Some(*instance)
            }
            Some(Tag::Downloaded { instance, .. }) => Some(*instance),
            Some(Tag::Downloading | Tag::Updating) => self.flow.active,
            Some(Tag::UpdateFlag) => return Whose::Plan,
            _ => None,
        };
        match instance.map(|instance| self.name(instance)) {
            Some(name) => Whose::Component(name),
            None => Whose::Module,
        }
    }

    /// The component whose turn it is: it is downloaded, installed, or its end was not yet told.
    pub(crate) fn has_turn(&self) -> Option<&str> {
        let over = matches!(self.state(), State::None | State::PlanReceived);
        let active = self.flow.active.filter(|_| !over)?;
        Some(self.name(active))
    }

    /// The components of the plan that are not over.
    pub(crate) fn planned(&self) -> impl Iterator<Item = &str> {
        let live = (0..COMPONENTS as u8).filter(|instance| self.is_live(*instance));
        live.map(|instance| self.name(instance))
    }

    /// Every component of the plan, also those that are over.
    pub(crate) fn in_plan(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().flatten().map(|offer| &*offer.component)
    }

    /// As the plan names it: the table of versions may have another by now.
    fn name(&self, instance: u8) -> &str {
        match self.slot(instance) {
            Some(offer) => &offer.component,
            None => self.component(instance).0,
        }
    }
}
