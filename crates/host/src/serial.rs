//! The serial port to the other processor: a terminal device, or a pseudo-terminal made here.
//!
//! A port that vanishes (a cable pulled, the other end of a pseudo-terminal closed) is told once and
//! opened again with growing pauses; what was not written yet stays with the caller.
//!
//! | state | means | leaves to |
//! |---|---|---|
//! | Up | open | Lost, on EIO, end of file or hang-up |
//! | Lost | closed; opened again at a time that doubles from 100 ms to 5 s | Up |

use crate::ahead::Ahead;
use crate::pty::{self, Pty};
use nix::errno::Errno;
use nix::sys::termios::{
    BaudRate, ControlFlags, FlushArg, InputFlags, SetArg, cfsetspeed, tcflush, tcgetattr, tcsetattr,
};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const FIRST_PAUSE_MS: u64 = 100;
const LONGEST_PAUSE_MS: u64 = 5_000;

/// Which port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A device such as `/dev/ttyUSB0`, or the path of a pseudo-terminal.
    Path(PathBuf),
    /// A pseudo-terminal of our own; the other end opens [`Serial::path`].
    Pty,
}

/// What a read or write told beside bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The port cannot be used any more; told once per loss.
    Lost,
    /// It is back; told once.
    Back,
}

/// A serial port: eight bits, no parity, one stop bit, no flow control, raw; see [`Serial::even_parity`].
#[derive(Debug)]
pub struct Serial {
    path: PathBuf,
    baud: u32,
    even: bool,
    ahead: Option<Ahead>,
    state: State,
}

#[derive(Debug)]
enum State {
    Own(Pty),
    Up(File),
    Lost { retry_at: u64, pause: u64 },
}

impl Serial {
    /// Opens the port; on a real one the speed is set to `baud` bits per second.
    ///
    /// # Errors
    /// The path cannot be opened, is no terminal, or does not know the speed.
    pub fn open(source: Source, baud: u32) -> io::Result<Serial> {
        let (path, state) = match source {
            Source::Pty => {
                let pty = Pty::new()?;
                (pty.path().to_owned(), State::Own(pty))
            }
            Source::Path(path) => {
                let file = open(&path, baud)?;
                (path, State::Up(file))
            }
        };
        Ok(Serial {
            path,
            baud,
            even: false,
            ahead: None,
            state,
        })
    }

    /// Even parity from now on, as the ROM loader of an STM32 has it. A byte with a wrong bit is then not received. A
    /// pseudo-terminal has no parity.
    ///
    /// # Errors
    /// The port does not take it.
    pub fn even_parity(mut self) -> io::Result<Serial> {
        self.even = true;
        if let State::Up(file) = &self.state {
            even_parity(file, &self.path)?;
        }
        Ok(self)
    }

    /// Writes from now on no more than the line carries in some milliseconds: what is sent next then goes out soon. A
    /// pseudo-terminal of our own has no speed, and takes everything.
    pub fn paced(mut self) -> Serial {
        self.ahead = matches!(self.state, State::Up(_)).then(|| Ahead::new(self.baud));
        self
    }

    /// Where the port is; for a pseudo-terminal of our own, where the other end opens it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bits per second that it was opened with.
    pub fn baud(&self) -> u32 {
        self.baud
    }

    /// Changes the speed once what was written has left. A speed that this machine does not have changes nothing: the link
    /// then hears nothing and falls back.
    pub fn set_baud(&mut self, baud: u32) {
        let State::Up(file) = &self.state else {
            return;
        };
        let Some(speed) = speed(baud) else {
            return;
        };
        let changed = tcgetattr(file).and_then(|mut settings| {
            cfsetspeed(&mut settings, speed)?;
            tcsetattr(file, SetArg::TCSADRAIN, &settings)
        });
        match changed {
            Ok(()) => {
                if let Some(ahead) = &mut self.ahead {
                    ahead.set_baud(baud);
                }
            }
            Err(error) => tracing::warn!("{}: {baud} baud: {error}", self.path.display()),
        }
    }

    /// To sleep on; `None` while the port is lost.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Own(pty) => Some(pty.master().as_fd()),
            State::Up(file) => Some(file.as_fd()),
            State::Lost { .. } => None,
        }
    }

    /// To sleep on while something is left to write; `None` while the port is lost or further writing waits for a time.
    pub fn fd_to_write(&self) -> Option<BorrowedFd<'_>> {
        self.fd().filter(|_| self.again_at().is_none())
    }

    /// When a paced line takes more; `None`: when the port does.
    pub fn again_at(&self) -> Option<u64> {
        self.ahead.as_ref().and_then(Ahead::again_at)
    }

    /// When to look again while the port is lost, in milliseconds of the caller's clock.
    pub fn retry_at(&self) -> Option<u64> {
        match self.state {
            State::Lost { retry_at, .. } => Some(retry_at),
            _ => None,
        }
    }

    /// Tries to open a lost port when its pause is over. `now` in milliseconds.
    pub fn reopen(&mut self, now: u64) -> Option<Change> {
        let State::Lost { retry_at, pause } = self.state else {
            return None;
        };
        if now < retry_at {
            return None;
        }
        let even = |file: File| match self.even {
            true => even_parity(&file, &self.path).map(|()| file),
            false => Ok(file),
        };
        match open(&self.path, self.baud).and_then(even) {
            Ok(file) => {
                self.state = State::Up(file);
                Some(Change::Back)
            }
            Err(_) => {
                self.state = lost(now, (pause * 2).min(LONGEST_PAUSE_MS));
                None
            }
        }
    }

    /// Reads what is there, without waiting; 0 when there is nothing.
    ///
    /// # Errors
    /// [`Change::Lost`]: the port vanished; it is opened again by [`Serial::reopen`].
    pub fn read(&mut self, now: u64, buffer: &mut [u8]) -> Result<usize, Change> {
        let result = match &self.state {
            State::Own(pty) => pty.master().read(buffer),
            State::Up(file) => (&*file).read(buffer),
            State::Lost { .. } => return Ok(0),
        };
        self.judge(now, result, buffer.is_empty())
    }

    /// Writes what the port takes now, without waiting; the rest is the caller's to offer again.
    ///
    /// # Errors
    /// [`Change::Lost`] as for [`Serial::read`]; nothing of `bytes` was taken.
    pub fn write(&mut self, now: u64, bytes: &[u8]) -> Result<usize, Change> {
        let room = self
            .ahead
            .as_mut()
            .map(|ahead| ahead.room(now, bytes.len()));
        let bytes = &bytes[..room.unwrap_or(bytes.len())];
        let result = match &self.state {
            State::Own(pty) => pty.master().write(bytes),
            State::Up(file) => (&*file).write(bytes),
            State::Lost { .. } => return Ok(0),
        };
        let written = self.judge(now, result, bytes.is_empty())?;
        if let Some(ahead) = &mut self.ahead {
            ahead.wrote(now, written);
        }
        Ok(written)
    }

    /// Writes what is in `left` and what `next` gives, until there is nothing or the port takes no more; whether anything went
    /// out. What was not taken stays in `left`.
    ///
    /// # Errors
    /// [`Change::Lost`] as for [`Serial::read`].
    pub fn send(
        &mut self,
        now: u64,
        left: &mut Vec<u8>,
        mut next: impl FnMut(&mut [u8]) -> usize,
    ) -> Result<bool, Change> {
        let mut moved = false;
        loop {
            if left.is_empty() {
                let mut bytes = [0; 1536];
                // What there is no room for yet is asked for later: it may have changed by then.
                let room = self
                    .ahead
                    .as_mut()
                    .map(|ahead| ahead.room(now, bytes.len()));
                let count = next(&mut bytes[..room.unwrap_or(1536)]);
                left.extend_from_slice(&bytes[..count]);
            }
            if left.is_empty() {
                return Ok(moved);
            }
            match self.write(now, left)? {
                0 => return Ok(moved),
                count => drop(left.drain(..count)),
            }
            moved = true;
        }
    }

    fn judge(&mut self, now: u64, result: io::Result<usize>, empty: bool) -> Result<usize, Change> {
        match result {
            Ok(count) if count > 0 || empty => Ok(count),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
            // Our own pseudo-terminal has no other end to lose.
            _ if matches!(self.state, State::Own(_)) => Ok(0),
            // End of file or EIO: hung up.
            _ => {
                self.state = lost(now, FIRST_PAUSE_MS);
                Err(Change::Lost)
            }
        }
    }
}

fn lost(now: u64, pause: u64) -> State {
    State::Lost {
        retry_at: now + pause,
        pause,
    }
}

fn open(path: &Path, baud: u32) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_NOCTTY | nix::libc::O_NONBLOCK)
        .open(path)?;
    let speed = speed(baud).ok_or_else(|| {
        io::Error::new(
            ErrorKind::InvalidInput,
            format!("{baud} baud is no speed of serial ports here"),
        )
    });
    pty::raw(&file)?;
    let mut settings = tcgetattr(&file)?;
    // A pseudo-terminal has no speed: any number will do there.
    match speed {
        Ok(speed) => {
            cfsetspeed(&mut settings, speed)?;
            tcsetattr(&file, SetArg::TCSANOW, &settings)?;
        }
        Err(_) if path.starts_with("/dev/pts") => {}
        Err(e) => return Err(e),
    }
    // What came while nobody listened would be lost on a UART; half a line of it would only confuse.
    tcflush(&file, FlushArg::TCIFLUSH)?;
    Ok(file)
}

/// Bytes with a wrong parity are left out.
fn even_parity(file: &File, path: &Path) -> io::Result<()> {
    let mut settings = tcgetattr(file)?;
    settings.control_flags |= ControlFlags::PARENB;
    settings.control_flags &= !ControlFlags::PARODD;
    settings.input_flags |= InputFlags::INPCK | InputFlags::IGNPAR;
    match tcsetattr(file, SetArg::TCSANOW, &settings) {
        // A pseudo-terminal takes the rest and refuses that.
        Err(Errno::EINVAL) if path.starts_with("/dev/pts") => Ok(()),
        result => Ok(result?),
    }
}

/// What this machine's ports have, in bits per second.
const SPEEDS: &[(u32, BaudRate)] = &[
    (1_200, BaudRate::B1200),
    (2_400, BaudRate::B2400),
    (4_800, BaudRate::B4800),
    (9_600, BaudRate::B9600),
    (19_200, BaudRate::B19200),
    (38_400, BaudRate::B38400),
    (57_600, BaudRate::B57600),
    (115_200, BaudRate::B115200),
    (230_400, BaudRate::B230400),
    #[cfg(target_os = "linux")]
    (460_800, BaudRate::B460800),
    #[cfg(target_os = "linux")]
    (921_600, BaudRate::B921600),
    #[cfg(target_os = "linux")]
    (1_000_000, BaudRate::B1000000),
    #[cfg(target_os = "linux")]
    (2_000_000, BaudRate::B2000000),
    #[cfg(target_os = "linux")]
    (3_000_000, BaudRate::B3000000),
];

pub(crate) fn speed(baud: u32) -> Option<BaudRate> {
    let known = SPEEDS.iter().find(|(number, _)| *number == baud);
    known.map(|(_, speed)| *speed)
}

/// The number of a speed.
pub(crate) fn baud(speed: BaudRate) -> Option<u32> {
    let known = SPEEDS.iter().find(|(_, known)| *known == speed);
    known.map(|(number, _)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wake;

    /// Reads until `count` bytes are there.
    fn read(port: &mut Serial, count: usize) -> Vec<u8> {
        let (_wake, mut sleeper) = wake::pair().unwrap();
        let mut got = Vec::new();
        while got.len() < count {
            let mut buffer = [0; 64];
            let n = port.read(0, &mut buffer).unwrap();
            got.extend_from_slice(&buffer[..n]);
            if n == 0 {
                sleeper.sleep(&[port.fd().unwrap()], None, None);
            }
        }
        got
    }

    #[test]
    fn both_ends_talk() {
        let mut ours = Serial::open(Source::Pty, 115_200).unwrap();
        let path = ours.path().to_owned();
        let mut theirs = Serial::open(Source::Path(path), 115_200).unwrap();
        assert_eq!(ours.write(0, b"AT\r").unwrap(), 3);
        assert_eq!(read(&mut theirs, 3), b"AT\r");
        assert_eq!(theirs.write(0, b"\r\nOK\r\n").unwrap(), 6);
        assert_eq!(read(&mut ours, 6), b"\r\nOK\r\n");
        assert_eq!(ours.read(0, &mut [0; 8]), Ok(0));
    }

    #[test]
    fn even_parity_more_than_once() {
        let ours = Serial::open(Source::Pty, 115_200).unwrap();
        for _ in 0..3 {
            let theirs = Serial::open(Source::Path(ours.path().to_owned()), 115_200).unwrap();
            theirs.even_parity().unwrap();
        }
    }

    #[test]
    fn a_vanished_port_is_told_once_and_tried_again_with_pauses() {
        let ours = Serial::open(Source::Pty, 115_200).unwrap();
        let mut theirs = Serial::open(Source::Path(ours.path().to_owned()), 115_200).unwrap();
        drop(ours);
        assert_eq!(theirs.read(1_000, &mut [0; 8]), Err(Change::Lost));
        assert_eq!(theirs.read(1_001, &mut [0; 8]), Ok(0));
        assert_eq!(theirs.write(1_001, b"x"), Ok(0));
        assert_eq!(theirs.retry_at(), Some(1_100));
        assert_eq!(theirs.reopen(1_099), None);
    }

    #[test]
    fn a_port_that_comes_back_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("tty");
        let first = Serial::open(Source::Pty, 115_200).unwrap();
        std::os::unix::fs::symlink(first.path(), &link).unwrap();
        let mut theirs = Serial::open(Source::Path(link.clone()), 115_200).unwrap();
        drop(first);
        assert_eq!(theirs.write(0, b"x"), Err(Change::Lost));
        std::fs::remove_file(&link).unwrap();
        assert_eq!(theirs.reopen(100), None);
        assert_eq!(theirs.retry_at(), Some(300), "the pause doubles");
        let mut second = Serial::open(Source::Pty, 115_200).unwrap();
        std::os::unix::fs::symlink(second.path(), &link).unwrap();
        assert_eq!(theirs.reopen(300), Some(Change::Back));
        theirs.write(300, b"again").unwrap();
        assert_eq!(read(&mut second, 5), b"again");
    }

    #[test]
    fn a_path_that_is_no_terminal_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Serial::open(Source::Path(file.path().to_owned()), 115_200).is_err());
        assert!(Serial::open(Source::Path("/nonexistent/tty".into()), 115_200).is_err());
    }
}
