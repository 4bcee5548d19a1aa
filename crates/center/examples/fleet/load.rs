//! Load: lines of standard input say what all devices do, one JSON object is printed when it is done.
//!
//! | line | does | prints |
//! |---|---|---|
//! | `register N` | devices register until there are N | count, seconds |
//! | `versions` | each tells the version of its MCU once | count, seconds |
//! | `update N` | N registration updates, over all devices in turn, as fast as they are answered | count, seconds |
//! | `report RATE SECONDS` | so many Sends a second: devices that were offered an upgrade tell its next state, the others their battery | count, answered, seconds |
//! | `wait SECONDS` | nothing of their own | offers so far |
//!
//! In all of them the devices acknowledge what the Center writes, and tell state 1 of an offer at once. The first offer
//! prints a line of its own with the time of day. `WINDOW` requests are on the way at once.

use std::collections::VecDeque;
use std::io::BufRead as _;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value as Json, json};
use sota_coap::{Code, Kind, Message, Token, message, option};

use crate::net::Net;
use crate::wire::{self, Ask, COMPONENT, DATAGRAM, Place, STATES, Told};

/// Requests on the way at most while devices do something as fast as they can.
const WINDOW: usize = 512;
/// RFC 7252's ACK_TIMEOUT.
const ACK_TIMEOUT_MS: u64 = 2_000;
const TRIES: u8 = 4;

#[derive(Default)]
struct Device {
    location: Box<str>,
    message_id: u16,
    flight: Option<Box<Flight>>,
    offer: Box<str>,
    target: Box<str>,
    /// How many of [`STATES`] it has told.
    told: u8,
    battery: u8,
}

struct Flight {
    ask: Ask,
    bytes: Vec<u8>,
    tries: u8,
}

#[derive(Default)]
struct Fleet {
    devices: Vec<Device>,
    /// When requests are sent again, in order.
    timeouts: VecDeque<(u64, u32, u16)>,
    /// Devices that were offered an upgrade and have states to tell.
    begun: VecDeque<u32>,
    in_flight: usize,
    next: usize,
    answered: u64,
    sent_again: u64,
    lost: u64,
    put_off: u64,
    refused: u64,
    offers: u64,
}

pub(crate) fn run(mut net: Net) -> Result<()> {
    let mut fleet = Fleet::default();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |i: usize| -> Result<u64> {
            let word = words.get(i).context("a number is missing")?;
            Ok(word.parse()?)
        };
        let began = Instant::now();
        let (answered, again) = (fleet.answered, fleet.sent_again);
        match words.first().copied().unwrap_or_default() {
            "register" => fleet.register(&mut net, usize::try_from(number(1)?)?)?,
            "versions" => {
                let all = fleet.devices.len() as u64;
                fleet.each(&mut net, all, |_| {
                    Ask::Tell(Told {
                        version: Some("1_0"),
                        battery: Some(80),
                        ..Told::default()
                    })
                })?;
            }
            "update" => fleet.each(&mut net, number(1)?, |_| Ask::Update)?,
            "report" => fleet.report(&mut net, number(1)?, number(2)?)?,
            "wait" => {
                let end = net.now() + number(1)? * 1000;
                while net.now() < end {
                    fleet.turn(&mut net, 5)?;
                }
            }
            other => bail!("unknown line {other:?}"),
        }
        say(&json!({
            "did": line, "seconds": began.elapsed().as_secs_f64(), "answered": fleet.answered - answered,
            "sent_again": fleet.sent_again - again, "lost": fleet.lost, "put_off": fleet.put_off, "refused": fleet.refused, "offers": fleet.offers,
        }));
    }
    Ok(())
}

fn say(line: &Json) {
    println!("{line}");
}

impl Fleet {
    fn register(&mut self, net: &mut Net, wanted: usize) -> Result<()> {
        let begin = self.devices.len();
        self.devices.resize_with(wanted.max(begin), Device::default);
        for index in begin..self.devices.len() {
            self.ask(net, index as u32, Ask::Register)?;
            self.make_room(net)?;
        }
        self.settle(net)
    }

    /// So many requests, over all devices in turn.
    fn each(&mut self, net: &mut Net, count: u64, ask: impl Fn(&Device) -> Ask) -> Result<()> {
        for _ in 0..count {
            let index = self.free(net)?;
            let ask = ask(&self.devices[index as usize]);
            self.ask(net, index, ask)?;
            self.make_room(net)?;
        }
        self.settle(net)
    }

    fn report(&mut self, net: &mut Net, rate: u64, seconds: u64) -> Result<()> {
        let began = net.now();
        let mut sent = 0;
        loop {
            let passed = net.now() - began;
            if passed >= seconds * 1000 {
                return Ok(());
            }
            let due = (passed + 1) * rate / 1000;
            // What cannot be said because nothing is answered is not said later: the rate is the wanted one at most.
            sent = sent.max(due.saturating_sub(rate / 10));
            while sent < due && self.in_flight < 8 * WINDOW {
                let of_plan = sent % 2 == 0;
                sent += 1;
                match self.begun.pop_front().filter(|_| of_plan) {
                    Some(index) if self.devices[index as usize].flight.is_none() => {
                        self.tell_state(net, index)?;
                    }
                    Some(index) => self.begun.push_back(index),
                    None => {
                        let index = self.free(net)?;
                        let device = &mut self.devices[index as usize];
                        device.battery = 40 + (device.battery + 1) % 60;
                        let battery = Some(device.battery);
                        let told = Told {
                            battery,
                            ..Told::default()
                        };
                        self.ask(net, index, Ask::Tell(told))?;
                    }
                }
            }
            self.turn(net, 1)?;
        }
    }

    /// The next state of the device's upgrade.
    fn tell_state(&mut self, net: &mut Net, index: u32) -> Result<()> {
        let device = &mut self.devices[index as usize];
        let Some(state) = STATES.get(usize::from(device.told)).copied() else {
            return Ok(());
        };
        device.told += 1;
        let done = state == STATES[STATES.len() - 1];
        let told = Told {
            state: Some((device.offer.to_string(), state)),
            target: done.then(|| device.target.to_string()),
            ..Told::default()
        };
        self.ask(net, index, Ask::Tell(told))?;
        if !done {
            self.begun.push_back(index);
        }
        Ok(())
    }

    /// The next device that waits for no answer.
    fn free(&mut self, net: &mut Net) -> Result<u32> {
        loop {
            for _ in 0..self.devices.len() {
                self.next = (self.next + 1) % self.devices.len();
                if self.devices[self.next].flight.is_none() {
                    return Ok(self.next as u32);
                }
            }
            self.turn(net, 1)?;
        }
    }

    fn make_room(&mut self, net: &mut Net) -> Result<()> {
        while self.in_flight >= WINDOW {
            self.turn(net, 1)?;
        }
        Ok(())
    }

    fn settle(&mut self, net: &mut Net) -> Result<()> {
        while self.in_flight > 0 {
            self.turn(net, 1)?;
        }
        Ok(())
    }

    fn ask(&mut self, net: &mut Net, index: u32, ask: Ask) -> Result<()> {
        let device = &mut self.devices[index as usize];
        device.message_id = device.message_id.wrapping_add(1);
        let key = format!("d{index:06}");
        let place = Place {
            key: &key,
            location: &device.location,
            package: "",
            echo: &[],
        };
        let bytes = wire::request(&ask, device.message_id, &place)?;
        net.send(index, &bytes);
        let at = net.now() + ACK_TIMEOUT_MS;
        self.timeouts.push_back((at, index, device.message_id));
        self.in_flight += usize::from(device.flight.is_none());
        device.flight = Some(Box::new(Flight {
            ask,
            bytes,
            tries: 0,
        }));
        Ok(())
    }

    /// Takes what has come, or waits for it a little, and sends again what is due.
    fn turn(&mut self, net: &mut Net, wait_ms: u16) -> Result<()> {
        let mut buffer = [0; DATAGRAM];
        net.wait(wait_ms)?;
        let mut left = 256;
        while left > 0
            && let Some((index, length)) = net.receive(&mut buffer)?
        {
            left -= 1;
            self.datagram(net, index, &buffer[..length])?;
        }
        let now = net.now();
        while let Some((_, index, id)) = self.timeouts.front().copied().filter(|t| t.0 <= now) {
            self.timeouts.pop_front();
            let device = &mut self.devices[index as usize];
            if device.message_id != id {
                continue;
            }
            let Some(flight) = device.flight.as_mut() else {
                continue;
            };
            if flight.tries < TRIES {
                flight.tries += 1;
                self.sent_again += 1;
                net.send(index, &flight.bytes);
                self.timeouts.push_back((now + ACK_TIMEOUT_MS, index, id));
            } else {
                device.flight = None;
                self.in_flight -= 1;
                self.lost += 1;
            }
        }
        Ok(())
    }

    fn datagram(&mut self, net: &mut Net, index: u32, bytes: &[u8]) -> Result<()> {
        let m = Message::new_checked(bytes).map_err(|e| anyhow::anyhow!("{e}"))?;
        let Some(device) = self.devices.get_mut(index as usize) else {
            return Ok(());
        };
        if m.code().is_request() {
            return self.asked(net, index, &m);
        }
        if m.kind() == Kind::Con && m.code().is_response() {
            net.send(index, &message::ack(m.message_id()));
        }
        let ours = m.token() == Token::from_u32(device.message_id.into());
        if !m.code().is_response() || !ours {
            return Ok(());
        }
        let Some(mut flight) = device.flight.take() else {
            return Ok(());
        };
        if m.code() == Code::SERVICE_UNAVAILABLE {
            // The Center has too much to do: the same again in a second.
            let id = device.message_id;
            flight.tries = 0;
            device.flight = Some(flight);
            self.timeouts.push_back((net.now() + 1_000, index, id));
            self.put_off += 1;
            return Ok(());
        }
        self.in_flight -= 1;
        match m.code() {
            Code::CREATED => {
                device.location = wire::path(&m, option::LOCATION_PATH).into();
            }
            code if code.is_success() => {}
            code => {
                self.answered -= 1;
                if self.refused == 0 {
                    eprintln!("device {index}: {:?} is answered {code:?}", flight.ask);
                }
                self.refused += 1;
            }
        }
        self.answered += 1;
        if device.told == 0 && !device.offer.is_empty() {
            self.tell_state(net, index)?;
        }
        Ok(())
    }

    fn asked(&mut self, net: &mut Net, index: u32, m: &Message<'_>) -> Result<()> {
        let device = &mut self.devices[index as usize];
        if m.code() == Code::GET {
            return {
                net.send(index, &wire::answer(m, Code::CONTENT, COMPONENT)?);
                Ok(())
            };
        }
        net.send(index, &wire::answer(m, Code::CHANGED, "")?);
        let written = wire::written(m)?;
        if !written.uri.is_empty() || *device.offer == *written.offer {
            return Ok(());
        }
        device.offer = written.offer.into();
        device.target = written.target.into();
        device.told = 0;
        self.offers += 1;
        if self.offers == 1 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            say(&json!({"first_offer_unix": now.as_secs_f64()}));
        }
        if device.flight.is_none() {
            self.tell_state(net, index)?;
        }
        Ok(())
    }
}
