//! One wake-up for a thread that otherwise sleeps in `poll(2)` on a socket or a serial port.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Longest sleep: a thread looks at its clock at least this often.
const LONGEST_SLEEP_MS: u64 = 60_000;

/// Wakes the thread that holds the [`Sleeper`]. A wake-up before the sleep is not lost.
#[derive(Clone, Debug)]
pub struct Wake(Arc<UnixStream>);

/// The sleeping end.
#[derive(Debug)]
pub struct Sleeper(UnixStream);

/// A pair of both ends.
///
/// # Errors
/// No descriptors left.
pub fn pair() -> io::Result<(Wake, Sleeper)> {
    let (a, b) = UnixStream::pair()?;
    a.set_nonblocking(true)?;
    b.set_nonblocking(true)?;
    Ok((Wake(Arc::new(a)), Sleeper(b)))
}

impl Wake {
    /// Ends the present sleep, or the next one at once.
    pub fn wake(&self) {
        // A full pipe holds wake-ups enough; a closed one has no sleeper any more.
        let _ = (&*self.0).write(&[1]);
    }
}

impl sota::mailbox::Wake for Wake {
    fn wake(&self) {
        Wake::wake(self);
    }
}

impl Sleeper {
    /// Sleeps until woken, until one of `reads` can be read or one of `writes` takes bytes, or for `ms`
    /// milliseconds (`None`: no limit of its own). The caller tries all of them afterwards.
    pub fn sleep<'a>(
        &mut self,
        reads: &[BorrowedFd<'a>],
        writes: impl IntoIterator<Item = BorrowedFd<'a>>,
        ms: Option<u64>,
    ) {
        let limit = ms.unwrap_or(LONGEST_SLEEP_MS).min(LONGEST_SLEEP_MS);
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
        let mut fds = vec![PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        fds.extend(reads.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)));
        let writes = writes.into_iter();
        fds.extend(writes.map(|fd| PollFd::new(fd, PollFlags::POLLOUT)));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            // Out of memory is all that is left: do not spin.
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(limit.min(100))),
        }
        self.drain();
    }

    fn drain(&mut self) {
        let mut bytes = [0; 64];
        while matches!(self.0.read(&mut bytes), Ok(n) if n > 0) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_before_the_sleep_is_not_lost() {
        let (wake, mut sleeper) = pair().unwrap();
        wake.wake();
        // Without it this test would never end.
        sleeper.sleep(&[], None, None);
    }

    #[test]
    fn many_wake_ups_do_not_block() {
        let (wake, mut sleeper) = pair().unwrap();
        for _ in 0..1_000_000 {
            wake.wake();
        }
        sleeper.sleep(&[], None, None);
    }
}
