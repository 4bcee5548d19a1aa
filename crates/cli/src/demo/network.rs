//! The network between Center and module: what it loses, and when the module is killed.

use super::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sota_host::lossy::{Loss, Passed, Proxy, Way};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

/// 2.05 Content: an answer that carries a block.
const CONTENT: u8 = 0x45;

/// The proxy and the killer in it.
pub(super) struct Network {
    proxy: Proxy,
    killer: Arc<Mutex<Killer>>,
}

/// Kills the module when the n-th block is about to reach it: certainly in mid-download.
struct Killer {
    /// Counts of carried blocks at which to kill, ascending.
    moments: VecDeque<u64>,
    blocks: u64,
    block_size: usize,
    module: Option<Pid>,
    done: u32,
}

impl Network {
    pub(super) fn new(args: &Args, package: usize) -> io::Result<Network> {
        let block_size = args.block.bytes();
        let killer = Arc::new(Mutex::new(Killer {
            moments: moments(package.div_ceil(block_size) as u64, args.kill_module),
            blocks: 0,
            block_size,
            module: None,
            done: 0,
        }));
        let seen = killer.clone();
        let proxy = Proxy::new(Loss::new(args.seed, args.loss), move |way, datagram| {
            lock(&seen).see(way, datagram);
        })?;
        Ok(Network { proxy, killer })
    }

    pub(super) fn carry_to(&self, center: SocketAddr) {
        self.proxy.carry_to(center);
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    pub(super) fn passed(&self) -> Passed {
        self.proxy.passed()
    }

    /// The module's process from now on; `None` before it is waited for, because its number may then
    /// belong to another.
    pub(super) fn module(&self) -> Victim {
        Victim(self.killer.clone())
    }

    pub(super) fn kills_done(&self) -> u32 {
        lock(&self.killer).done
    }
}

/// Says which process is the module.
pub(super) struct Victim(Arc<Mutex<Killer>>);

impl Victim {
    pub(super) fn is(&self, pid: Option<u32>) {
        lock(&self.0).module = pid
            .and_then(|pid| i32::try_from(pid).ok())
            .map(Pid::from_raw);
    }

    pub(super) fn kills(&self) -> u32 {
        lock(&self.0).done
    }
}

impl Killer {
    fn see(&mut self, way: Way, datagram: &[u8]) {
        if way != Way::Down || datagram.len() < self.block_size || datagram.get(1) != Some(&CONTENT)
        {
            return;
        }
        self.blocks += 1;
        let due = self.moments.front().is_some_and(|at| self.blocks >= *at);
        if due
            && let Some(pid) = self.module.take()
            && kill(pid, Signal::SIGKILL).is_ok()
        {
            self.moments.pop_front();
            self.done += 1;
        }
    }
}

/// Spread over the download of so many blocks or bytes, none at the first or last where there is a choice.
pub(super) fn moments(blocks: u64, kills: u32) -> VecDeque<u64> {
    let kills = u64::from(kills);
    (1..=kills)
        .map(|k| (blocks * k / (kills + 1)).max(1))
        .collect()
}

fn lock(killer: &Mutex<Killer>) -> MutexGuard<'_, Killer> {
    killer.lock().unwrap_or_else(|e| e.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_spread() {
        assert_eq!(moments(96, 2), [32, 64]);
        assert_eq!(moments(10, 0), [0u64; 0]);
        assert_eq!(moments(2, 3), [1, 1, 1]);
    }
}
