//! Another server, endpoint or lifetime at run time: the good-bye to the present server comes first.

use super::config::Config;
use super::machine::Cloud;
use crate::message::{Millis, State};
use sota_coap::after;

/// A good-bye that is not answered holds the next server no longer than this, in ms.
const FAREWELL_MS: u32 = 3_000;

/// What outlives a machine that takes other settings.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    /// What the engine wants last.
    pub(super) connect: bool,
    /// When the good-bye is over at the latest, once it was said.
    pub(super) until: Option<Millis>,
}

impl<const BLOCK: usize> Cloud<BLOCK> {
    /// Asked at every step while other settings wait: whether [`reconfigure`](Self::reconfigure) may take them now.
    ///
    /// The first time it says good-bye to the present server. An upgrade under way ends first, because its plan and
    /// its package belong to that server; a machine without a server has none to wait for.
    pub fn may_reconfigure(&mut self, now: Millis) -> bool {
        let upgrade = !matches!(
            self.view().state,
            State::None | State::Refused | State::Success | State::Failure
        );
        let until = match self.change.until {
            Some(until) => until,
            None if upgrade && !self.config.host.is_empty() => return false,
            None => {
                self.now = now;
                self.disconnect();
                *self.change.until.insert(after(now, FAREWELL_MS))
            }
        };
        !self.is_leaving() || now >= until
    }

    /// What the engine wants last: a port that makes a new machine, and not [`reconfigure`](Self::reconfigure), tells it
    /// by [`connect`](Self::connect), behind what [`Engine::show`](crate::engine::Engine::show) gives.
    pub fn wants_connection(&self) -> bool {
        self.change.connect
    }

    /// Goes on with other settings as a new machine; what the engine shows and wants stays, and the readings.
    #[inline(never)]
    pub fn reconfigure(&mut self, now: Millis, config: Config, random: u32) {
        let mut view = core::mem::take(&mut self.device.view);
        let (readings, connect) = (self.device.readings, self.change.connect);
        let cell = self.device.cell;
        *self = Cloud::new(config, random);
        self.on_readings(readings);
        self.device.cell = cell;
        self.on_view(&mut view);
        if connect {
            self.now = now;
            self.connect(true);
        }
    }
}
