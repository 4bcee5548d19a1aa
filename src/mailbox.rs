//! Bounded mailboxes between the threads of a port.
//!
//! A mailbox is a `static`: any thread (or interrupt) may send and receive. It never waits and never
//! loses: a full mailbox gives the message back, the sender keeps it and tries again at its next step.
//! Each message that was taken wakes the receiver's thread once through the [`Wake`] the port set.

use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicUsize, Ordering};
use critical_section::Mutex;
use heapless::Vec;

/// How a port wakes the thread that receives: a semaphore, an event, an unparked thread.
pub trait Wake: Sync {
    /// Called outside the critical section, from the sender's thread; must not wait.
    fn wake(&self);
}

/// At most `N` messages, first in, first out.
pub struct Mailbox<T, const N: usize> {
    // Moved up when one is taken: for these few places that is less code than a ring.
    queue: Mutex<RefCell<Vec<T, N>>>,
    /// Messages inside, to be told without the lock.
    len: AtomicUsize,
    wake: Mutex<Cell<Option<&'static dyn Wake>>>,
}

impl<T: Send, const N: usize> Mailbox<T, N> {
    /// An empty mailbox; until [`Mailbox::set_wake`] the receiver has to look by itself.
    pub const fn new() -> Self {
        Mailbox {
            queue: Mutex::new(RefCell::new(Vec::new())),
            len: AtomicUsize::new(0),
            wake: Mutex::new(Cell::new(None)),
        }
    }

    /// Says whom to wake. Messages already inside wake it at once, so none waits for the next one.
    pub fn set_wake(&self, wake: &'static dyn Wake) {
        let waiting = critical_section::with(|cs| {
            self.wake.borrow(cs).set(Some(wake));
            !self.queue.borrow_ref(cs).is_empty()
        });
        if waiting {
            wake.wake();
        }
    }

    /// Puts `message` in, or gives it back when the mailbox is full.
    pub fn try_send(&self, message: T) -> Result<(), T> {
        let wake = critical_section::with(|cs| {
            let mut queue = self.queue.borrow_ref_mut(cs);
            queue.push(message)?;
            self.len.store(queue.len(), Ordering::SeqCst);
            Ok(self.wake.borrow(cs).get())
        })?;
        if let Some(wake) = wake {
            wake.wake();
        }
        Ok(())
    }

    /// Puts `message` in and leaves `None`; false: there is none, or the mailbox is full. As
    /// [`try_send`](Self::try_send), and the message is moved only once.
    pub fn send_from(&self, message: &mut Option<T>) -> bool {
        let wake = critical_section::with(|cs| {
            let mut queue = self.queue.borrow_ref_mut(cs);
            if queue.is_full() {
                return None;
            }
            let _ = queue.push(message.take()?);
            self.len.store(queue.len(), Ordering::SeqCst);
            Some(self.wake.borrow(cs).get())
        });
        if let Some(Some(wake)) = wake {
            wake.wake();
        }
        wake.is_some()
    }

    /// The oldest message, if there is one.
    pub fn try_recv(&self) -> Option<T> {
        critical_section::with(|cs| {
            let mut queue = self.queue.borrow_ref_mut(cs);
            if queue.is_empty() {
                return None;
            }
            self.len.store(queue.len() - 1, Ordering::SeqCst);
            match N {
                // Nothing to be moved up.
                1 => queue.pop(),
                _ => Some(queue.remove(0)),
            }
        })
    }

    /// Messages inside.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// Nothing inside.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A message would be taken now. Only a sole sender can rely on it.
    pub fn has_room(&self) -> bool {
        self.len() < N
    }
}

impl<T: Send, const N: usize> Default for Mailbox<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_full_mailbox_gives_the_message_back_and_keeps_the_order() {
        static BOX: Mailbox<u8, 2> = Mailbox::new();
        assert!(BOX.is_empty() && BOX.has_room());
        assert_eq!(BOX.try_send(1), Ok(()));
        assert_eq!(BOX.try_send(2), Ok(()));
        assert!(!BOX.has_room());
        assert_eq!(BOX.try_send(3), Err(3));
        assert_eq!(BOX.len(), 2);
        assert_eq!(BOX.try_recv(), Some(1));
        assert_eq!(BOX.try_send(3), Ok(()));
        assert_eq!(
            [BOX.try_recv(), BOX.try_recv(), BOX.try_recv()],
            [Some(2), Some(3), None]
        );
    }

    #[test]
    fn each_message_taken_wakes_once_and_a_refused_one_does_not() {
        static WAKE: Count = Count(AtomicUsize::new(0));
        static BOX: Mailbox<u8, 1> = Mailbox::new();
        BOX.try_send(0).unwrap();
        BOX.set_wake(&WAKE);
        assert_eq!(
            WAKE.0.load(Ordering::SeqCst),
            1,
            "a message sent before the hook"
        );
        assert!(BOX.try_send(1).is_err());
        assert_eq!(WAKE.0.load(Ordering::SeqCst), 1);
        BOX.try_recv();
        BOX.try_send(1).unwrap();
        assert_eq!(WAKE.0.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn threads_lose_and_double_nothing() {
        static BOX: Mailbox<(u8, u32), 3> = Mailbox::new();
        const EACH: u32 = 2_000;
        let mut seen: [Vec<u32>; 2] = [Vec::new(), Vec::new()];
        std::thread::scope(|scope| {
            for sender in 0..2u8 {
                scope.spawn(move || {
                    for number in 0..EACH {
                        let mut message = (sender, number);
                        while let Err(back) = BOX.try_send(message) {
                            message = back;
                            std::thread::yield_now();
                        }
                    }
                });
            }
            while seen[0].len() + seen[1].len() < 2 * EACH as usize {
                match BOX.try_recv() {
                    Some((sender, number)) => seen[usize::from(sender)].push(number),
                    None => std::thread::yield_now(),
                }
            }
        });
        for numbers in seen {
            assert!(numbers.iter().copied().eq(0..EACH));
        }
    }
}
