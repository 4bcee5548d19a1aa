//! What an unchecked line said: it counts when it was heard twice.

/// How often the module is asked for the line again before once is enough: an older one does not repeat it.
const ASK: u8 = 3;
/// Lines remembered; on a bad line two that are alike may have others between them.
const KEPT: usize = 32;

/// Lines that were heard once.
#[derive(Clone, Debug)]
pub(super) struct Doubt<T> {
    heard: Vec<T>,
    /// Answers to a question since the newest.
    asked: u8,
}

impl<T> Default for Doubt<T> {
    fn default() -> Self {
        Doubt {
            heard: Vec::new(),
            asked: 0,
        }
    }
}

impl<T: Clone + PartialEq> Doubt<T> {
    /// Whether this was heard before; then it counts.
    pub(super) fn hear(&mut self, line: T) -> bool {
        if self.heard.contains(&line) {
            return true;
        }
        if self.heard.len() == KEPT {
            self.heard.remove(0);
        }
        self.heard.push(line);
        self.asked = 0;
        false
    }

    /// Something was heard, and the module may say it again.
    pub(super) fn wants_asking(&self) -> bool {
        !self.heard.is_empty() && self.asked < ASK
    }

    /// The module said something, if only garbled: it may be this line again.
    pub(super) fn something(&mut self) {
        self.asked = 0;
    }

    /// The module answered the question; whether it was one of ours.
    pub(super) fn asked(&mut self) -> bool {
        self.asked = self.asked.saturating_add(1);
        !self.heard.is_empty()
    }

    /// The line heard last.
    pub(super) fn newest(&self) -> Option<T> {
        self.heard.last().cloned()
    }

    pub(super) fn clear(&mut self) {
        *self = Doubt::default();
    }
}
