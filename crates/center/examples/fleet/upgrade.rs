//! Devices that are upgraded, whatever happens to the Center meanwhile.

use std::collections::{BTreeSet, VecDeque};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use sota_coap::{Code, Kind, Message, message, option};
use sota_lwm2m::objects::plan::resource;

use crate::net::Net;
use crate::wire::{self, Ask, COMPONENT, DATAGRAM, MCU, Place, STATES, Told};

/// First wait for an answer, in ms; then half as long again each time. Short, because loopback is, and a killed Center
/// shall be missed soon.
const ACK_TIMEOUT_MS: u64 = 300;
const TRIES: u8 = 4;
/// A registration update this often at the latest: after a restart the Center says then what it owes.
const UPDATE_MS: u64 = 3_000;
const OLD: &str = "1_0";

/// What can be chosen.
pub(crate) struct Settings {
    pub(crate) devices: u32,
    /// The devices come over this time.
    pub(crate) spread_ms: u64,
    /// Mean time between two things that a device's host does.
    pub(crate) pace_ms: u64,
    pub(crate) limit_ms: u64,
    pub(crate) seed: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            devices: 50,
            spread_ms: 0,
            pace_ms: 300,
            limit_ms: 300_000,
            seed: 1,
        }
    }
}

struct Flight {
    ask: Ask,
    message_id: u16,
    bytes: Vec<u8>,
    at: u64,
    tries: u8,
    /// An empty ACK came: the answer comes separately.
    acknowledged: bool,
}

struct Device {
    index: u32,
    key: String,
    begins: u64,
    location: String,
    message_id: u16,
    flight: Option<Flight>,
    sends: VecDeque<Told>,
    not_before: u64,
    update_at: u64,
    act_at: u64,
    version: String,
    offer: String,
    target: String,
    /// 0 = none; else the QuecThing state.
    state: u8,
    package: String,
    sha256: Vec<u8>,
    content: Vec<u8>,
    complete: bool,
    echo: Vec<u8>,
    /// Message ids of the Center's last requests, and what they were answered.
    answered: VecDeque<(u16, Vec<u8>)>,
    /// States that the Center acknowledged.
    told: Vec<u8>,
    /// Names of the offers taken.
    offers: BTreeSet<String>,
    /// Offers that came although the Center had acknowledged that the device has them.
    again: u32,
    /// Offers of another name while one was under way or after it was done.
    others: u32,
    registrations: u32,
}

pub(crate) fn run(mut net: Net, settings: &Settings) -> Result<()> {
    let mut random = Random(settings.seed);
    let devices = u64::from(settings.devices);
    let mut all: Vec<Device> = (0..settings.devices)
        .map(|index| {
            let begins = settings.spread_ms * u64::from(index) / devices;
            Device::new(index, begins, random.below(60_000) as u16)
        })
        .collect();
    let mut buffer = [0; DATAGRAM];
    let center = format!("coap://{}", net.server());
    loop {
        let now = net.now();
        for device in &mut all {
            device.step(now, &net, settings, &mut random)?;
        }
        net.wait(5)?;
        while let Some((index, length)) = net.receive(&mut buffer)? {
            if let Some(device) = all.get_mut(index as usize) {
                device.datagram(&buffer[..length], &net, &center, settings, &mut random)?;
            }
        }
        let done = all.iter().all(Device::done);
        if done || net.now() > settings.limit_ms {
            let seen: Vec<Json> = all.iter().map(Device::seen).collect();
            println!(
                "{}",
                json!({"done": done, "ms": net.now(), "devices": seen})
            );
            ensure!(done, "not every device is upgraded");
            return Ok(());
        }
    }
}

impl Device {
    fn new(index: u32, begins: u64, message_id: u16) -> Device {
        let ask = Told {
            version: Some(OLD),
            request: true,
            battery: Some(80),
            ..Told::default()
        };
        Device {
            index,
            key: format!("d{index:05}"),
            begins,
            location: String::new(),
            message_id,
            flight: None,
            sends: VecDeque::from([ask]),
            not_before: 0,
            update_at: 0,
            act_at: 0,
            version: OLD.into(),
            offer: String::new(),
            target: String::new(),
            state: 0,
            package: String::new(),
            sha256: Vec::new(),
            content: Vec::new(),
            complete: false,
            echo: Vec::new(),
            answered: VecDeque::new(),
            told: Vec::new(),
            offers: BTreeSet::new(),
            again: 0,
            others: 0,
            registrations: 0,
        }
    }

    fn done(&self) -> bool {
        self.state == 11 && self.sends.is_empty()
    }

    fn seen(&self) -> Json {
        json!({"key": self.key, "state": self.state, "version": self.version, "told": self.told, "offers": self.offers,
            "again": self.again, "others": self.others, "registrations": self.registrations})
    }

    fn step(
        &mut self,
        now: u64,
        net: &Net,
        settings: &Settings,
        random: &mut Random,
    ) -> Result<()> {
        if now < self.begins {
            return Ok(());
        }
        if let Some(flight) = &mut self.flight {
            let patience = match flight.acknowledged {
                true => 5_000,
                false => {
                    ACK_TIMEOUT_MS * 3u64.pow(flight.tries.into()) / 2u64.pow(flight.tries.into())
                }
            };
            if now < flight.at + patience {
                return Ok(());
            }
            if flight.tries < TRIES && !flight.acknowledged {
                flight.tries += 1;
                flight.at = now;
                net.send(self.index, &flight.bytes);
                return Ok(());
            }
            // No answer: the same again after a while, as another message.
            self.flight = None;
            self.not_before = now + 100 + random.below(300);
            return Ok(());
        }
        if now < self.not_before {
            return Ok(());
        }
        self.act(now, settings, random);
        let ask = if self.location.is_empty() {
            Ask::Register
        } else if now >= self.update_at {
            Ask::Update
        } else if let Some(told) = self.sends.front() {
            Ask::Tell(told.clone())
        } else if self.state == 5 && !self.complete && now >= self.act_at {
            Ask::Block((self.content.len() / 1024) as u32)
        } else {
            return Ok(());
        };
        self.message_id = self.message_id.wrapping_add(1);
        let place = Place {
            key: &self.key,
            location: &self.location,
            package: &self.package,
            echo: &self.echo,
        };
        let bytes = wire::request(&ask, self.message_id, &place)?;
        net.send(self.index, &bytes);
        self.flight = Some(Flight {
            ask,
            message_id: self.message_id,
            bytes,
            at: now,
            tries: 0,
            acknowledged: false,
        });
        Ok(())
    }

    /// What the device's host does next, once the Center knows the state before.
    fn act(&mut self, now: u64, settings: &Settings, random: &mut Random) {
        if now < self.act_at || !self.sends.is_empty() {
            return;
        }
        match self.state {
            1 | 4 | 8 => self.enter(self.state + 1),
            5 if self.complete => self.enter(8),
            9 => {
                self.version = self.target.clone();
                self.enter(11);
            }
            _ => return,
        }
        self.act_at = now + settings.pace_ms / 2 + random.below(settings.pace_ms.max(1));
    }

    fn enter(&mut self, state: u8) {
        self.state = state;
        self.sends.push_back(Told {
            target: Some(self.version.clone()),
            state: Some((self.offer.clone(), state)),
            ..Told::default()
        });
    }

    fn datagram(
        &mut self,
        bytes: &[u8],
        net: &Net,
        center: &str,
        settings: &Settings,
        random: &mut Random,
    ) -> Result<()> {
        let message = Message::new_checked(bytes).map_err(|e| anyhow::anyhow!("{e}"))?;
        if message.code().is_request() {
            return self.asked(&message, net, center, settings, random);
        }
        if message.kind() == Kind::Con && message.code().is_response() {
            net.send(self.index, &message::ack(message.message_id()));
        }
        let Some(flight) = &mut self.flight else {
            return Ok(());
        };
        if message.code().is_empty() {
            if message.kind() == Kind::Ack && message.message_id() == flight.message_id {
                flight.acknowledged = true;
                flight.at = net.now();
            }
            return Ok(());
        }
        let token = sota_coap::Token::from_u32(flight.message_id.into());
        if message.token() != token {
            return Ok(());
        }
        let ask = flight.ask.clone();
        self.flight = None;
        self.answer(&ask, &message, net.now(), random)
    }

    /// The Center's answer to a request of the device.
    fn answer(&mut self, ask: &Ask, m: &Message<'_>, now: u64, random: &mut Random) -> Result<()> {
        let again = |this: &mut Self, random: &mut Random| {
            this.not_before = now + 100 + random.below(300);
        };
        match (ask, m.code()) {
            (Ask::Register, Code::CREATED) => {
                self.location = wire::path(m, option::LOCATION_PATH);
                self.registrations += 1;
                self.update_at = now + UPDATE_MS;
            }
            (Ask::Update, Code::CHANGED) => self.update_at = now + UPDATE_MS,
            (Ask::Update, Code::NOT_FOUND) => self.location.clear(),
            (Ask::Tell(told), Code::CHANGED) => {
                self.sends.pop_front();
                self.told
                    .extend(told.state.as_ref().map(|(_, state)| *state));
            }
            // The Center does not know this address: an Update tells it.
            (Ask::Tell(_), Code::NOT_FOUND) => self.update_at = 0,
            (Ask::Block(number), Code::CONTENT) => {
                ensure!(
                    self.content.len() == *number as usize * 1024,
                    "a block out of turn"
                );
                self.content.extend(m.payload());
                let block = m.block(option::BLOCK2).context("Block2")?;
                let more = block.map_err(|e| anyhow::anyhow!("{e:?}"))?.more;
                self.echo.clear();
                if !more {
                    let digest = Sha256::digest(&self.content);
                    ensure!(
                        digest.as_slice() == self.sha256,
                        "another package than the Center says"
                    );
                    self.complete = true;
                }
            }
            (Ask::Block(_), Code::UNAUTHORIZED) => {
                self.echo = m.option(option::ECHO).unwrap_or_default().to_vec();
            }
            _ => again(self, random),
        }
        Ok(())
    }

    /// A request of the Center's; a copy of one gets the same answer.
    fn asked(
        &mut self,
        m: &Message<'_>,
        net: &Net,
        center: &str,
        settings: &Settings,
        random: &mut Random,
    ) -> Result<()> {
        let id = m.message_id();
        if let Some((_, answer)) = self.answered.iter().find(|(known, _)| *known == id) {
            net.send(self.index, answer);
            return Ok(());
        }
        let path = wire::path(m, option::URI_PATH);
        let resource = path.rsplit('/').next().and_then(|r| r.parse::<u16>().ok());
        let of_mcu = path.split('/').nth(2) == Some(&MCU.to_string());
        let answer = if m.code() == Code::GET {
            let text = match (of_mcu, resource) {
                (true, Some(resource::COMPONENT)) => COMPONENT,
                (true, _) => self.version.as_str(),
                (false, Some(resource::COMPONENT)) => "firmware",
                (false, _) => "module_1",
            };
            wire::answer(m, Code::CONTENT, text)?
        } else {
            let code = self.written(m, center)?;
            self.act_at = net.now() + random.below(settings.pace_ms.max(1));
            wire::answer(m, code, "")?
        };
        net.send(self.index, &answer);
        self.answered.push_back((id, answer));
        if self.answered.len() > 16 {
            self.answered.pop_front();
        }
        Ok(())
    }

    fn written(&mut self, m: &Message<'_>, center: &str) -> Result<Code> {
        let written = wire::written(m)?;
        if written.uri.is_empty() {
            if self.offer == written.offer {
                self.again += u32::from(self.told.contains(&STATES[0]));
                return Ok(Code::CHANGED);
            }
            if self.state > 1 {
                self.others += 1;
                return Ok(Code::METHOD_NOT_ALLOWED);
            }
            self.offers.insert(written.offer.clone());
            self.offer = written.offer;
            self.target = written.target;
            self.enter(STATES[0]);
            return Ok(Code::CHANGED);
        }
        if written.offer != self.offer || self.state < 2 {
            return Ok(Code::METHOD_NOT_ALLOWED);
        }
        if self.state == 2 {
            let path = written.uri.strip_prefix(center);
            self.package = path.context("a package of another place")?.to_owned();
            self.sha256 = written.sha256;
            self.enter(4);
        }
        Ok(Code::CHANGED)
    }
}

/// SplitMix64: the same devices from the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit.max(1)
    }
}
