//! What the server observes (LwM2M 1.1 Core 6.4, RFC 7641): a small table, and when a notification is due.
//!
//! The table does not know the objects: after a change every entry is *looked at*; the caller writes the
//! value once more and its digest decides whether the server hears of it. So nothing has to say exactly
//! what changed, and the table keeps no values.

use heapless::Vec;
use sota_coap::Token;

use crate::{ContentFormat, Path};

/// One observation.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The request's token, in every notification.
    pub token: Token,
    /// What is observed.
    pub path: Path,
    /// In which format.
    pub format: ContentFormat,
    /// Observe value of the last notification, 24 bits.
    sequence: u32,
    digest: u32,
    told: u64,
    look: bool,
}

/// At most `N` observations.
#[derive(Clone, Debug)]
pub struct Observations<const N: usize> {
    entries: Vec<Observation, N>,
    /// Default Minimum Period (/1/0/2) in seconds: no notification sooner after the one before.
    pub min_period_s: u32,
    /// Default Maximum Period (/1/0/3) in seconds: one at least so often; 0 = never by time alone.
    pub max_period_s: u32,
}

impl<const N: usize> Default for Observations<N> {
    fn default() -> Self {
        Observations {
            entries: Vec::new(),
            min_period_s: 0,
            max_period_s: 0,
        }
    }
}

impl<const N: usize> Observations<N> {
    /// Observes `path`; the same path again replaces the observation. `digest` is that of the answer given
    /// now. `false`: the table is full, the answer is one of a plain Read.
    pub fn add(
        &mut self,
        now: u64,
        token: Token,
        path: Path,
        format: ContentFormat,
        digest: u32,
    ) -> bool {
        self.cancel(token, Some(path));
        self.entries
            .push(Observation {
                token,
                path,
                format,
                sequence: 0,
                digest,
                told: now,
                look: false,
            })
            .is_ok()
    }

    /// The server cancels by token or path (GET with Observe 1), or a Reset named a notification.
    pub fn cancel(&mut self, token: Token, path: Option<Path>) {
        let of = |o: &Observation| o.token == token || Some(o.path) == path;
        while let Some(at) = self.entries.iter().position(of) {
            self.entries.remove(at);
        }
    }

    /// A new registration: the observations of the one before are gone.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Something may have changed.
    pub fn look(&mut self) {
        for entry in &mut self.entries {
            entry.look = true;
        }
    }

    /// The observation with this token.
    pub fn get(&self, token: Token) -> Option<&Observation> {
        self.entries.iter().find(|o| o.token == token)
    }

    /// The next one to look at: write its value and call [`compare`](Self::compare).
    pub fn due(&self, now: u64) -> Option<&Observation> {
        self.entries
            .iter()
            .find(|o| self.when(o).is_some_and(|at| now >= at))
    }

    /// Would [`compare`](Self::compare) give a notification?
    pub fn differs(&self, now: u64, token: Token, digest: u32) -> bool {
        let periodic = u64::from(self.max_period_s) * 1000;
        self.get(token).is_some_and(|o| {
            digest != o.digest || periodic != 0 && now >= o.told.saturating_add(periodic)
        })
    }

    /// Takes the digest of the value written for [`due`](Self::due). `Some` is the Observe value of the
    /// notification to send, `None`: nothing new.
    pub fn compare(&mut self, now: u64, token: Token, digest: u32) -> Option<u32> {
        let differs = self.differs(now, token, digest);
        let entry = self.entries.iter_mut().find(|o| o.token == token)?;
        entry.look = false;
        if !differs {
            return None;
        }
        entry.digest = digest;
        entry.told = now;
        entry.sequence = (entry.sequence + 1) & 0x00ff_ffff;
        Some(entry.sequence)
    }

    /// When [`due`](Self::due) may next name one.
    pub fn deadline(&self) -> Option<u64> {
        let mut first = None;
        for at in self.entries.iter().filter_map(|o| self.when(o)) {
            if first.is_none_or(|first| at < first) {
                first = Some(at);
            }
        }
        first
    }

    #[inline(never)]
    fn when(&self, o: &Observation) -> Option<u64> {
        let after = |seconds: u32| o.told.saturating_add(u64::from(seconds) * 1000);
        match (o.look, self.max_period_s) {
            (true, _) => Some(after(self.min_period_s)),
            (false, 0) => None,
            (false, max) => Some(after(max)),
        }
    }
}

/// Digest that tells one written value from another (FNV-1a, 32 bits). A collision costs one
/// notification, the next change brings the right value.
pub fn digest(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash: u32, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: Path = Path::resource(9, 0, 7);

    fn table() -> Observations<2> {
        let mut table = Observations::default();
        assert!(table.add(
            0,
            Token::from_u32(1),
            STATE,
            ContentFormat::Text,
            digest(b"0")
        ));
        table
    }

    #[test]
    fn only_a_change_is_told() {
        let mut t = table();
        assert!(t.due(10).is_none());
        t.look();
        assert_eq!(t.due(10).map(|o| o.path), Some(STATE));
        assert_eq!(t.compare(10, Token::from_u32(1), digest(b"0")), None);
        assert!(t.due(10).is_none());
        t.look();
        assert_eq!(t.compare(10, Token::from_u32(1), digest(b"1")), Some(1));
        t.look();
        assert_eq!(t.compare(10, Token::from_u32(1), digest(b"2")), Some(2));
    }

    #[test]
    fn periods_hold() {
        let mut t = table();
        t.min_period_s = 5;
        t.max_period_s = 60;
        t.look();
        assert!(t.due(4_999).is_none());
        assert!(t.due(5_000).is_some());
        assert_eq!(t.compare(5_000, Token::from_u32(1), digest(b"0")), None);
        assert_eq!(t.deadline(), Some(60_000));
        assert_eq!(t.compare(60_000, Token::from_u32(1), digest(b"0")), Some(1));
    }

    #[test]
    fn replaced_cancelled_and_bounded() {
        let mut t = table();
        assert!(t.add(0, Token::from_u32(2), STATE, ContentFormat::Text, 0));
        assert!(t.get(Token::from_u32(1)).is_none(), "the same path again");
        assert!(t.add(
            0,
            Token::from_u32(3),
            Path::instance(5, 0),
            ContentFormat::Tlv,
            0
        ));
        assert!(!t.add(
            0,
            Token::from_u32(4),
            Path::instance(3, 0),
            ContentFormat::Tlv,
            0
        ));
        t.cancel(Token::from_u32(9), Some(STATE));
        t.cancel(Token::from_u32(3), None);
        t.look();
        assert!(t.due(u64::MAX).is_none());
    }
}
