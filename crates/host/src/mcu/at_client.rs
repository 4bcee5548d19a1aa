//! The MCU's half of the AT dialogue: one command at a time, its answer, and URCs between.

use std::collections::VecDeque;

/// Longest line that can mean something; more is line noise.
const LINE_MAX: usize = 512;
/// After an answer that was lost or garbled the line must be quiet this long before the next command:
/// a late answer would otherwise be taken for the next command's.
const QUIET_MS: u64 = 50;

/// What came of a command, or by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// `OK`, with the data of a read.
    Ok(Option<Vec<u8>>),
    /// `ERROR`.
    Error,
    /// No or no whole answer in time.
    Lost,
    /// A line that is no final answer: `+QIOTEVT: …`, `+SOTAERR: …`.
    Line(String),
}

enum Parse {
    Line,
    Data { left: usize },
}

/// Sans-IO AT client.
pub struct AtClient {
    parse: Parse,
    line: Vec<u8>,
    data: Option<Vec<u8>>,
    tx: VecDeque<u8>,
    /// When the answer of the command in flight is lost, if the line stays silent until then.
    until: Option<u64>,
    timeout_ms: u64,
    read: Option<(u32, usize)>,
    quiet_until: u64,
}

impl Default for AtClient {
    fn default() -> Self {
        AtClient {
            parse: Parse::Line,
            line: Vec::new(),
            data: None,
            tx: VecDeque::new(),
            until: None,
            timeout_ms: 0,
            read: None,
            quiet_until: 0,
        }
    }
}

impl AtClient {
    /// A command is in flight.
    pub fn busy(&self) -> bool {
        self.until.is_some()
    }

    /// When [`AtClient::poll`] or the next command has something to do.
    pub fn deadline(&self) -> u64 {
        self.until.unwrap_or(self.quiet_until)
    }

    /// The line is not quiet yet.
    pub fn draining(&self, now: u64) -> bool {
        now < self.quiet_until
    }

    /// Sends `command` (without CR); its answer is due in `timeout_ms`.
    pub fn send(&mut self, now: u64, command: &str, timeout_ms: u64) {
        self.tx.extend(command.bytes().chain([b'\r']));
        self.until = Some(now + timeout_ms);
        self.timeout_ms = timeout_ms;
        self.data = None;
        self.read = None;
    }

    /// Sends a read of `len` bytes at `start`.
    pub fn send_read(&mut self, now: u64, start: u32, len: usize, timeout_ms: u64) {
        self.send(now, &format!("AT+QIOTOTARD={start},{len}"), timeout_ms);
        self.read = Some((start, len));
    }

    /// Moves bytes for the UART into `out`.
    pub fn next_bytes(&mut self, out: &mut [u8]) -> usize {
        let n = out.len().min(self.tx.len());
        for (slot, byte) in out.iter_mut().zip(self.tx.drain(..n)) {
            *slot = byte;
        }
        n
    }

    /// Gives up an answer that is overdue.
    pub fn poll(&mut self, now: u64) -> Option<Heard> {
        if self.until.is_some_and(|until| now >= until) {
            self.resync(now);
            return Some(Heard::Lost);
        }
        None
    }

    fn resync(&mut self, now: u64) {
        self.until = None;
        self.parse = Parse::Line;
        self.line.clear();
        self.data = None;
        self.quiet_until = now + QUIET_MS;
    }

    /// Takes received bytes; everything heard is handed to `heard` in order.
    pub fn on_bytes(&mut self, now: u64, bytes: &[u8], mut heard: impl FnMut(Heard)) {
        if self.until.is_some() && !bytes.is_empty() {
            // On a slow line the events before the answer, and its data, may take longer than an answer may.
            self.until = Some(now + self.timeout_ms);
        }
        for byte in bytes {
            if self.draining(now) {
                self.quiet_until = now + QUIET_MS;
                continue;
            }
            if let Parse::Data { left } = &mut self.parse {
                if let Some(data) = &mut self.data {
                    data.push(*byte);
                }
                *left -= 1;
                if *left == 0 {
                    self.parse = Parse::Line;
                }
                continue;
            }
            match byte {
                b'\r' => {}
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    if let Some(event) = self.on_line(now, &String::from_utf8_lossy(&line)) {
                        heard(event);
                    }
                }
                byte if self.line.len() < LINE_MAX => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn on_line(&mut self, now: u64, line: &str) -> Option<Heard> {
        match line {
            "" => None,
            "OK" if self.busy() => {
                if self.read.is_some() && self.data.is_none() {
                    // The header was garbled and this is an OK in or behind the data.
                    self.resync(now);
                    return Some(Heard::Lost);
                }
                self.until = None;
                Some(Heard::Ok(self.data.take()))
            }
            "ERROR" if self.busy() => {
                self.until = None;
                self.data = None;
                Some(Heard::Error)
            }
            line => {
                if let (Some((start, most)), Some(rest)) =
                    (self.read, line.strip_prefix("+QIOTOTARD: "))
                    && self.busy()
                    && let Some((from, n)) = rest.split_once(',')
                    && from.parse() == Ok(start)
                    && let Ok(n) = n.parse::<usize>()
                    && (1..=most).contains(&n)
                {
                    self.data = Some(Vec::with_capacity(n));
                    self.parse = Parse::Data { left: n };
                    return None;
                }
                Some(Heard::Line(line.into()))
            }
        }
    }
}

/// Parts of a URC: commas part them, quotes are taken off.
pub fn fields(text: &str) -> Vec<&str> {
    text.split(',')
        .map(|field| field.trim().trim_matches('"'))
        .collect()
}
