//! What an endpoint has sent and waits for, one exchange to each peer, over a table of the caller's.
//!
//! [`Exchanges`] starts an exchange, finds the one that a datagram belongs to, says what is due and forgets what is
//! over; the [`Table`] is where they lie: `heapless::LinearMap` here, a map with timers on a server. A key names
//! what may have one exchange at a time. With the peer as key that is NSTART = 1 (RFC 7252 section 4.7), held a
//! little stricter: also between the empty ACK and the response nothing else is started.
//!
//! What the caller must have to send again (the datagram, or what it is built from) it gives along as `kept`, and
//! gets it back at the end. The table learns of every change through [`Table::update`] and so can keep its timers
//! by itself.
//!
//! | event | to the caller | the entry |
//! |---|---|---|
//! | [`Exchanges::start`] | | open; refused when one is open, or without room |
//! | time-out | [`Due::Resend`] | open |
//! | time-out, nothing left to try | [`Due::GaveUp`] | gone |
//! | empty ACK, a response is wanted | [`Incoming::Acked`] | open |
//! | empty ACK, none is wanted | [`Incoming::Confirmed`] | gone |
//! | response in an ACK or a NON | [`Incoming::Response`] | gone |
//! | response in a CON | [`Incoming::Response`], with the ACK to send | answered: knows copies of it |
//! | its copy: our ACK was lost | [`Incoming::Repeated`], with the ACK to send again | answered |
//! | no copy can come any more | | gone |
//! | RST | [`Incoming::Reset`] | gone |
//!
//! Without the answered entry a copy would look like a response to nothing and be rejected with an RST. It costs
//! nothing in a conversation that is all piggybacked, and gives way to the next exchange. An observation's token
//! outlives its exchange: look for it among the observations first, or notifications are taken for copies.

use crate::exchange::{Exchange, Poll, Reaction};
use crate::message::{self, Message};

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod linear;

/// One entry of a table.
#[derive(Clone, Debug)]
pub struct Open<V> {
    exchange: Exchange,
    /// `None`: answered.
    kept: Option<V>,
    /// When an answered one is forgotten, ms.
    forget_at: u64,
}

const _: () = assert!(size_of::<Open<()>>() < 128);

impl<V> Open<V> {
    /// When something is to be done about it, ms.
    pub fn deadline(&self) -> u64 {
        self.exchange.deadline().unwrap_or(self.forget_at)
    }

    /// It only remembers a response that was taken: a table without room may forget it.
    pub fn is_answered(&self) -> bool {
        self.kept.is_none()
    }
}

/// Where exchanges lie: a map with a deadline of each entry. `contract::table` (feature `contract`) is what it
/// must do.
pub trait Table {
    /// Names what may have one exchange at a time: a peer.
    type Key: Copy + PartialEq;
    /// What the caller keeps with an exchange.
    type Kept;

    /// The entry of this key.
    fn get(&self, key: Self::Key) -> Option<&Open<Self::Kept>>;

    /// Adds an entry; its key is not in the table.
    ///
    /// # Errors
    /// The entry again, when there is no room. An answered one may have to go for it, an open one never.
    fn insert(&mut self, key: Self::Key, open: Open<Self::Kept>) -> Result<(), Open<Self::Kept>>;

    /// Changes an entry; `None`: there is none. [`Open::deadline`] may be another one afterwards.
    fn update<R>(
        &mut self,
        key: Self::Key,
        change: impl FnOnce(&mut Open<Self::Kept>) -> R,
    ) -> Option<R>;

    /// Takes an entry out.
    fn remove(&mut self, key: Self::Key) -> Option<Open<Self::Kept>>;

    /// The entry with the earliest deadline, and that deadline.
    fn earliest(&self) -> Option<(u64, Self::Key)>;

    /// Entries, answered ones too.
    fn len(&self) -> usize;

    /// None.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An exchange that is over, and what was kept with it.
#[derive(Clone, Debug)]
pub struct Finished<V> {
    /// For [`crate::Rtt::learn`], and its token.
    pub exchange: Exchange,
    /// What the caller gave along.
    pub kept: V,
}

/// Why an exchange was not started; what was to be kept comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused<V> {
    /// One is open: NSTART.
    Busy(V),
    /// The table has no room.
    Full(V),
}

/// What a datagram of a peer means.
#[derive(Clone, Debug)]
pub enum Incoming<V> {
    /// No exchange waits for it: a request, a notification, something old.
    NotMine,
    /// The peer has the request; the response comes separately.
    Acked,
    /// The peer has what wanted no response.
    Confirmed(Finished<V>),
    /// The response, `ack` to be sent for it.
    Response(Finished<V>, Option<[u8; 4]>),
    /// The response once more, `ack` to be sent for it again.
    Repeated(Option<[u8; 4]>),
    /// The peer does not want it.
    Reset(Finished<V>),
}

/// What is due.
#[derive(Clone, Debug)]
pub enum Due<K, V> {
    /// Send what was kept for this key once more, message id and token unchanged.
    Resend(K),
    /// No answer, and nothing left to try.
    GaveUp(K, Finished<V>),
}

/// The exchanges of an endpoint.
#[derive(Clone, Debug, Default)]
pub struct Exchanges<T> {
    table: T,
    linger_ms: u32,
}

impl<T: Table> Exchanges<T> {
    /// `linger_ms`: copies of a CON response come this long after it (MAX_TRANSMIT_SPAN + MAX_LATENCY of the peer,
    /// [`crate::Params::non_lifetime_ms`]); with 0 they are not known again.
    pub fn new(table: T, linger_ms: u32) -> Exchanges<T> {
        Exchanges { table, linger_ms }
    }

    /// Opens an exchange; its datagram is to be sent now.
    ///
    /// # Errors
    /// [`Refused`]; then nothing is to be sent.
    pub fn start(
        &mut self,
        key: T::Key,
        exchange: Exchange,
        kept: T::Kept,
    ) -> Result<(), Refused<T::Kept>> {
        match self.table.get(key) {
            Some(open) if !open.is_answered() => return Err(Refused::Busy(kept)),
            Some(_) => drop(self.table.remove(key)),
            None => {}
        }
        let open = Open {
            exchange,
            kept: Some(kept),
            forget_at: 0,
        };
        match self.table.insert(key, open).map_err(finished) {
            Err(Some(Finished { kept, .. })) => Err(Refused::Full(kept)),
            // `None` would be another entry than the one given, which no table may give.
            Ok(()) | Err(None) => Ok(()),
        }
    }

    /// What was kept with the open exchange of this key; `None`: none is open, the next can be started.
    pub fn kept(&self, key: T::Key) -> Option<&T::Kept> {
        self.table.get(key)?.kept.as_ref()
    }

    /// Changes what was kept.
    pub fn change<R>(&mut self, key: T::Key, change: impl FnOnce(&mut T::Kept) -> R) -> Option<R> {
        self.table
            .update(key, |open| open.kept.as_mut().map(change))?
    }

    /// Ends an exchange without an answer; copies of one that was answered are not known any more either.
    pub fn stop(&mut self, key: T::Key) -> Option<Finished<T::Kept>> {
        finished(self.table.remove(key)?)
    }

    /// A datagram came from what the key names. The caller has compared addresses.
    pub fn on_message(
        &mut self,
        now: u64,
        key: T::Key,
        message: &Message<'_>,
    ) -> Incoming<T::Kept> {
        let forget_at = now.saturating_add(u64::from(self.linger_ms));
        let seen = self.table.update(key, |open| {
            let reaction = open.exchange.on_message(now, message);
            // The entry stays; what was kept with it goes.
            let lingers = reaction == Reaction::Response { ack: true } && forget_at > now;
            if lingers {
                open.forget_at = forget_at;
            }
            let finished = lingers.then(|| open.kept.take()).flatten().map(|kept| {
                let exchange = open.exchange.clone();
                Finished { exchange, kept }
            });
            (reaction, open.exchange.is_done(), finished)
        });
        let Some((reaction, done, mut ended)) = seen else {
            return Incoming::NotMine;
        };
        let ack = |wanted: bool| wanted.then(|| message::ack(message.message_id()));
        match reaction {
            Reaction::NotMine => return Incoming::NotMine,
            Reaction::Acked if !done => return Incoming::Acked,
            Reaction::Repeated { ack: wanted } => return Incoming::Repeated(ack(wanted)),
            Reaction::Acked | Reaction::Reset | Reaction::Response { .. } => {}
        }
        if ended.is_none() {
            ended = self.table.remove(key).and_then(finished);
        }
        match (ended, reaction) {
            (Some(ended), Reaction::Acked) => Incoming::Confirmed(ended),
            (Some(ended), Reaction::Response { ack: wanted }) => {
                Incoming::Response(ended, ack(wanted))
            }
            (Some(ended), _) => Incoming::Reset(ended),
            (None, _) => Incoming::NotMine,
        }
    }

    /// The next thing that is due; ask until there is none.
    pub fn poll(&mut self, now: u64) -> Option<Due<T::Key, T::Kept>> {
        loop {
            let (at, key) = self.table.earliest()?;
            if at > now {
                return None;
            }
            let due = self.table.update(key, |open| open.exchange.poll(now))?;
            if due == Poll::Resend {
                return Some(Due::Resend(key));
            }
            if let Some(finished) = finished(self.table.remove(key)?) {
                return Some(Due::GaveUp(key, finished));
            }
        }
    }

    /// When [`Exchanges::poll`] must be called.
    pub fn deadline(&self) -> Option<u64> {
        self.table.earliest().map(|(at, _)| at)
    }

    /// The table.
    pub fn table(&self) -> &T {
        &self.table
    }
}

fn finished<V>(open: Open<V>) -> Option<Finished<V>> {
    let Open { exchange, kept, .. } = open;
    kept.map(|kept| Finished { exchange, kept })
}

#[cfg(test)]
mod tests;
