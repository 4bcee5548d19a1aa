//! What the server does about a packet (Zephyr's MCUmgr groups 0 and 1).

use super::flash::{Flash, Mode};
use super::image;
use minicbor::data::Type;
use minicbor::decode::{Decoder, Error};
use minicbor::encode::Encoder;
use sha2::{Digest, Sha256};

const IMAGE: u16 = 1;

/// Codes of group 1 (`img_mgmt.h`).
mod code {
    pub(super) const NO_FREE_SLOT: u16 = 9;
    pub(super) const FLASH_WRITE_FAILED: u16 = 12;
    pub(super) const FLASH_ERASE_FAILED: u16 = 13;
    pub(super) const INVALID_SLOT: u16 = 14;
    pub(super) const INVALID_LENGTH: u16 = 21;
    pub(super) const INVALID_IMAGE_HEADER: u16 = 22;
    pub(super) const INVALID_IMAGE_HEADER_MAGIC: u16 = 23;
    pub(super) const INVALID_HASH: u16 = 24;
    pub(super) const CURRENT_VERSION_IS_NEWER: u16 = 27;
    pub(super) const IMAGE_ALREADY_PENDING: u16 = 28;
    pub(super) const INVALID_IMAGE_TOO_LARGE: u16 = 30;
    pub(super) const INVALID_IMAGE_DATA_OVERRUN: u16 = 31;
    pub(super) const TEST_TO_ACTIVE_DENIED: u16 = 33;
    pub(super) const HASH_NOT_FOUND: u16 = 8;
}

/// SMP's own codes (`mgmt.h`).
const EUNKNOWN: u16 = 1;
const ENOMEM: u16 = 2;
const EINVAL: u16 = 3;
const ENOENT: u16 = 5;
const EBADSTATE: u16 = 6;
const ENOTSUP: u16 = 8;
const TOO_NEW: u16 = 13;

/// Why it was not done: SMP's own code, or one of the image group.
enum Refusal {
    Smp(u16),
    Image(u16),
}

type Answered = Result<Vec<u8>, Refusal>;

/// An upload under way; gone with a reset.
#[derive(Clone, Default)]
pub(super) struct Upload {
    offset: usize,
    size: usize,
    sha: Vec<u8>,
}

/// What a request may have.
#[derive(Default)]
struct Fields {
    text: String,
    hash: Option<Vec<u8>>,
    confirm: bool,
    image: u32,
    slot: Option<u32>,
    offset: Option<u32>,
    length: Option<u32>,
    sha: Vec<u8>,
    data: Vec<u8>,
    upgrade: bool,
}

impl Fields {
    fn parse(body: &[u8]) -> Result<Fields, Error> {
        let mut fields = Fields::default();
        let mut from = Decoder::new(body);
        let count = from.map()?;
        let mut number = 0;
        while count != Some(number) {
            if count.is_none() && from.datatype()? == Type::Break {
                break;
            }
            number += 1;
            match from.str()? {
                "d" => fields.text = from.str()?.to_owned(),
                "hash" => fields.hash = Some(from.bytes()?.to_vec()),
                "confirm" => fields.confirm = from.bool()?,
                "image" => fields.image = from.u32()?,
                "slot" => fields.slot = Some(from.u32()?),
                "off" => fields.offset = Some(from.u32()?),
                "len" => fields.length = Some(from.u32()?),
                "sha" => fields.sha = from.bytes()?.to_vec(),
                "data" => fields.data = from.bytes()?.to_vec(),
                "upgrade" => fields.upgrade = from.bool()?,
                _ => from.skip()?,
            }
        }
        Ok(fields)
    }
}

/// A map of unknown length, as Zephyr writes them.
fn map(write: impl FnOnce(&mut Encoder<Vec<u8>>)) -> Vec<u8> {
    let mut to = Encoder::new(Vec::new());
    let _ = to.begin_map();
    write(&mut to);
    let _ = to.end();
    to.into_writer()
}

fn pair(to: &mut Encoder<Vec<u8>>, key: &str, value: u32) {
    let _ = to.str(key).and_then(|to| to.u32(value));
}

fn flag(to: &mut Encoder<Vec<u8>>, key: &str, value: bool) {
    let _ = to.str(key).and_then(|to| to.bool(value));
}

/// What the server keeps while it runs.
pub(super) struct Server {
    pub(super) buf_size: u32,
    pub(super) buf_count: u32,
    /// It knows SMP version 1 alone.
    pub(super) is_old: bool,
    upload: Option<Upload>,
    pub(super) wants_reset: bool,
    /// It erased a slot.
    pub(super) has_erased: bool,
}

impl Server {
    pub(super) fn new(buf_size: u32, buf_count: u32, is_old: bool) -> Server {
        Server {
            buf_size,
            buf_count,
            is_old,
            upload: None,
            wants_reset: false,
            has_erased: false,
        }
    }

    /// The MCU was reset.
    pub(super) fn forget(&mut self) {
        (self.upload, self.wants_reset) = (None, false);
    }

    /// The answer; none to what is no request.
    pub(super) fn answer(&mut self, packet: &[u8], flash: &mut Flash) -> Option<Vec<u8>> {
        let (head, body) = packet.split_first_chunk::<8>()?;
        let [first, _, l0, l1, g0, g1, seq, id] = *head;
        let (op, version) = (first & 7, first >> 3 & 3);
        let group = u16::from_be_bytes([g0, g1]);
        if usize::from(u16::from_be_bytes([l0, l1])) != body.len() || !matches!(op, 0 | 2) {
            return None;
        }
        let is_v2 = version == 1 && !self.is_old;
        let answered = match (version, Fields::parse(body)) {
            (2.., _) => Err(Refusal::Smp(TOO_NEW)),
            (_, Err(_)) => Err(Refusal::Smp(EINVAL)),
            (_, Ok(fields)) => self.handle((op, group, id), fields, !is_v2, flash),
        };
        let body = answered.unwrap_or_else(|refusal| refused(&refusal, is_v2));
        let length = (body.len() as u16).to_be_bytes();
        let first = (op + 1) | (u8::from(is_v2) << 3);
        let mut out = vec![first, 0, length[0], length[1], g0, g1, seq, id];
        out.extend(body);
        Some(out)
    }

    fn handle(
        &mut self,
        code: (u8, u16, u8),
        fields: Fields,
        old: bool,
        flash: &mut Flash,
    ) -> Answered {
        match code {
            (_, 0, 0) => Ok(map(|to| {
                let _ = to.str("r").and_then(|to| to.str(&fields.text));
            })),
            (2, 0, 5) => {
                self.wants_reset = true;
                Ok(map(|_| {}))
            }
            (0, 0, 6) => Ok(map(|to| {
                pair(to, "buf_size", self.buf_size);
                pair(to, "buf_count", self.buf_count);
            })),
            (0, IMAGE, 0) => Ok(state(flash)),
            (2, IMAGE, 0) => set_state(&fields, flash),
            (2, IMAGE, 1) => self.upload(&fields, old, flash),
            (2, IMAGE, 5) => {
                if fields.slot.unwrap_or(1) != 1 {
                    return Err(Refusal::Image(code::INVALID_SLOT));
                }
                self.erase(flash)?;
                self.upload = None;
                Ok(map(|_| {}))
            }
            _ => Err(Refusal::Smp(ENOTSUP)),
        }
    }

    fn erase(&mut self, flash: &mut Flash) -> Result<(), Refusal> {
        if flash.mode != Mode::Confirmed {
            return Err(Refusal::Image(code::NO_FREE_SLOT));
        }
        self.has_erased = true;
        match flash.erase() {
            true => Ok(()),
            false => Err(Refusal::Image(code::FLASH_ERASE_FAILED)),
        }
    }

    fn upload(&mut self, fields: &Fields, old: bool, flash: &mut Flash) -> Answered {
        let refuse = |code| Err(Refusal::Image(code));
        let Some(offset) = fields.offset.map(|offset| offset as usize) else {
            return Err(Refusal::Smp(EINVAL));
        };
        if offset == 0 {
            let Some(size) = fields.length.map(|length| length as usize) else {
                return refuse(code::INVALID_LENGTH);
            };
            if fields.image > 0 {
                return refuse(code::INVALID_SLOT);
            }
            if fields.data.len() < 32 {
                return refuse(code::INVALID_IMAGE_HEADER);
            }
            if fields.data[..4] != [0x3D, 0xB8, 0xF3, 0x96] {
                return refuse(code::INVALID_IMAGE_HEADER_MAGIC);
            }
            if fields.sha.len() > 32 {
                return refuse(code::INVALID_HASH);
            }
            let goes_on = |upload: &&Upload| !fields.sha.is_empty() && upload.sha == fields.sha;
            if let Some(upload) = self.upload.as_ref().filter(goes_on) {
                return Ok(offset_answer(upload.offset, None, old));
            }
            if size > flash.slot(1).len() {
                return refuse(code::INVALID_IMAGE_TOO_LARGE);
            }
            let order = (
                fields.data[20],
                fields.data[21],
                u16::from_le_bytes([fields.data[22], fields.data[23]]),
            );
            let newer = |info: image::Info| (info.order.0, info.order.1, info.order.2) >= order;
            if fields.upgrade && flash.info(0).is_some_and(newer) {
                return refuse(code::CURRENT_VERSION_IS_NEWER);
            }
            self.upload = None;
            self.erase(flash)?;
            let sha = fields.sha.clone();
            self.upload = Some(Upload {
                offset: 0,
                size,
                sha,
            });
        }
        let Some(upload) = &mut self.upload else {
            return Ok(offset_answer(0, None, old));
        };
        if offset != upload.offset {
            return Ok(offset_answer(upload.offset, None, old));
        }
        if offset + fields.data.len() > upload.size {
            return refuse(code::INVALID_IMAGE_DATA_OVERRUN);
        }
        if !flash.write(offset, &fields.data) {
            self.upload = None;
            return refuse(code::FLASH_WRITE_FAILED);
        }
        upload.offset += fields.data.len();
        let offset = upload.offset;
        let mut matches = None;
        if offset == upload.size {
            let found = flash.slot(1).get(..offset).map(Sha256::digest);
            if upload.sha.len() == 32 {
                matches = Some(found.is_some_and(|found| found[..] == upload.sha[..]));
            }
            self.upload = None;
        }
        Ok(offset_answer(offset, matches, old))
    }
}

fn offset_answer(offset: usize, matches: Option<bool>, old: bool) -> Vec<u8> {
    map(|to| {
        if old {
            pair(to, "rc", 0);
        }
        pair(to, "off", offset as u32);
        if let Some(matches) = matches {
            flag(to, "match", matches);
        }
    })
}

fn refused(refusal: &Refusal, is_v2: bool) -> Vec<u8> {
    match refusal {
        Refusal::Smp(rc) => map(|to| pair(to, "rc", u32::from(*rc))),
        Refusal::Image(rc) if is_v2 => map(|to| {
            let _ = to.str("err").and_then(Encoder::begin_map);
            pair(to, "group", IMAGE.into());
            pair(to, "rc", u32::from(*rc));
            let _ = to.end();
        }),
        Refusal::Image(rc) => {
            let rc = match *rc {
                code::NO_FREE_SLOT => ENOMEM,
                code::HASH_NOT_FOUND => ENOENT,
                code::INVALID_SLOT..=code::INVALID_HASH => EINVAL,
                code::CURRENT_VERSION_IS_NEWER | code::IMAGE_ALREADY_PENDING => EBADSTATE,
                _ => EUNKNOWN,
            };
            map(|to| pair(to, "rc", rc.into()))
        }
    }
}

/// | mode | slot 0 | slot 1 |
/// |---|---|---|
/// | Confirmed | active, confirmed | |
/// | Test | active, confirmed | pending |
/// | Permanent | active, confirmed | pending, permanent |
/// | Trial | active | confirmed |
fn state(flash: &Flash) -> Vec<u8> {
    map(|to| {
        let _ = to.str("images").and_then(Encoder::begin_array);
        for slot in 0..2 {
            let Some(info) = flash.info(slot) else {
                continue;
            };
            let (active, mode) = (slot == 0, flash.mode);
            let _ = to.begin_map();
            pair(to, "slot", slot as u32);
            let _ = to.str("version").and_then(|to| to.str(&info.version));
            let _ = to.str("hash").and_then(|to| to.bytes(&info.hash));
            let waits = matches!(mode, Mode::Test | Mode::Permanent);
            flag(to, "bootable", true);
            flag(to, "pending", !active && waits);
            flag(to, "confirmed", active == (mode != Mode::Trial));
            flag(to, "active", active);
            flag(to, "permanent", !active && mode == Mode::Permanent);
            let _ = to.end();
        }
        let _ = to.end();
        pair(to, "splitStatus", 0);
    })
}

fn set_state(fields: &Fields, flash: &mut Flash) -> Answered {
    let refuse = |code| Err(Refusal::Image(code));
    let has = |hash: &[u8], slot| flash.info(slot).is_some_and(|info| info.hash[..] == *hash);
    let slot = match &fields.hash {
        None if fields.confirm => 0,
        None => return refuse(code::INVALID_HASH),
        Some(hash) => match (0..2).find(|slot| has(hash, *slot)) {
            Some(slot) => slot,
            None => return refuse(code::HASH_NOT_FOUND),
        },
    };
    let mode = match (slot, fields.confirm, flash.mode) {
        (0, true, Mode::Trial) => Mode::Confirmed,
        (0, true, mode) => mode,
        (0, false, _) => return refuse(code::TEST_TO_ACTIVE_DENIED),
        (_, _, Mode::Trial | Mode::Permanent) => return refuse(code::IMAGE_ALREADY_PENDING),
        (_, false, Mode::Test) => Mode::Test,
        (_, false, Mode::Confirmed) => Mode::Test,
        (_, true, _) => Mode::Permanent,
    };
    if mode != flash.mode && !flash.set(mode, false) {
        return refuse(code::FLASH_WRITE_FAILED);
    }
    Ok(state(flash))
}
