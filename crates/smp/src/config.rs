//! What a product configures.

/// Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Longest wait for an answer, beside the request's time on the line; doubled after each failure in a row, up to eight times.
    pub answer_ms: u32,
    /// The same where the server may erase a whole slot first: the first part of an upload, and an erase.
    pub erase_ms: u32,
    /// Pause after `tries` failures in a row.
    pub pause_ms: u32,
}

impl Times {
    /// For internal flash of any kind.
    pub const DEFAULT: Times = Times {
        answer_ms: 1_000,
        erase_ms: 15_000,
        pause_ms: 10_000,
    };
}

impl Default for Times {
    fn default() -> Self {
        Times::DEFAULT
    }
}

/// What a product configures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The image's number in the MCU; 0: the only one.
    pub image: u8,
    /// The server refuses images that are not newer than the one that runs.
    pub upgrade: bool,
    /// Bits per second of the UART, which only prolongs the waits.
    pub baud: u32,
    /// Greatest number of parts on their way at once, 1 to 4. The server's buffers but one bound it too.
    pub window: u8,
    /// Failures in a row before they are told and a pause is made.
    pub tries: u8,
    /// The times.
    pub times: Times,
}

impl Config {
    /// One image, 115,200 baud.
    pub const DEFAULT: Config = Config {
        image: 0,
        upgrade: false,
        baud: 115_200,
        window: 4,
        tries: 5,
        times: Times::DEFAULT,
    };
}

impl Default for Config {
    fn default() -> Self {
        Config::DEFAULT
    }
}
