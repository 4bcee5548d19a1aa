//! A pseudo-terminal in raw mode: what stands for a UART on a PC.

use crate::serial;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfgetospeed, cfmakeraw, cfsetspeed, tcgetattr, tcsetattr};
use nix::unistd::ttyname;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// One end of a line, reachable for others by [`Pty::path`].
#[derive(Debug)]
pub struct Pty {
    master: File,
    /// Kept open so that the line survives an end that is killed: without any open slave the master
    /// reads EIO, and the bytes in between are gone.
    slave: OwnedFd,
    path: PathBuf,
}

impl Pty {
    /// A new one; reads and writes of the master never block.
    ///
    /// # Errors
    /// No pseudo-terminals or descriptors left.
    pub fn new() -> io::Result<Pty> {
        let pty = openpty(None, None)?;
        raw(&pty.slave)?;
        let path = ttyname(&pty.slave)?;
        nonblocking(&pty.master)?;
        close_on_exec(&pty.master)?;
        close_on_exec(&pty.slave)?;
        Ok(Pty {
            master: File::from(pty.master),
            slave: pty.slave,
            path,
        })
    }

    /// Where the other end opens it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The speed that the other end has set, bits per second; `None`: one that is not in [`crate::serial`]'s table.
    pub fn baud(&self) -> Option<u32> {
        let settings = tcgetattr(&self.slave).ok()?;
        serial::baud(cfgetospeed(&settings))
    }

    /// Sets it, as the other end would.
    ///
    /// # Errors
    /// No such speed here.
    pub fn set_baud(&self, baud: u32) -> io::Result<()> {
        let speed = serial::speed(baud).ok_or(io::ErrorKind::InvalidInput)?;
        let mut settings = tcgetattr(&self.slave)?;
        cfsetspeed(&mut settings, speed)?;
        Ok(tcsetattr(&self.slave, SetArg::TCSANOW, &settings)?)
    }

    /// Our end.
    pub fn master(&self) -> &File {
        &self.master
    }
}

/// No echo, no line discipline, eight bits.
pub(crate) fn raw(fd: &impl AsFd) -> io::Result<()> {
    let mut settings = tcgetattr(fd)?;
    cfmakeraw(&mut settings);
    Ok(tcsetattr(fd, SetArg::TCSANOW, &settings)?)
}

/// Reads and writes give `WouldBlock` instead of waiting.
pub(crate) fn nonblocking(fd: &impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// A child of the demo must not hold the line open after its own end.
fn close_on_exec(fd: &impl AsFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(())
}
