//! Lines of the module (`docs/at.md`), taken apart.

use sota_link::field::{Image, Version};

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // one at a time, on the stack
pub(super) enum Heard {
    /// `OK` or `ERROR`.
    Final(bool),
    /// Data of a read follows: where, and how many bytes.
    Data(u32, u32),
    /// The test form: where the present piece begins.
    Start(u32),
    /// Whether the module knows the component with the version that runs.
    Version(bool),
    /// 10700 for this component: target and bytes.
    Plan(Version, u32),
    /// 10701 for this component, without a target.
    Package(Image),
    /// 10703 for this component: the package's length, first byte and bytes of the piece.
    Piece(u32, u32, u32),
    /// Another event of an upgrade, which has no content.
    Code(u32),
    /// The module connected: it was perhaps reset.
    Connected,
    /// `+SOTAERR`.
    Reason(u16),
    /// Anything else: echo, garbage, events for others.
    Nothing,
}

/// Parts of a line: commas part them, but not inside quotes, which are taken off.
struct Fields<'a>(Option<&'a [u8]>);

impl<'a> Fields<'a> {
    /// The next; empty behind the last.
    fn next(&mut self) -> &'a [u8] {
        let Some(rest) = self.0 else {
            return &[];
        };
        let mut quoted = false;
        let end = rest.iter().position(|byte| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        });
        let (field, rest) = match end.and_then(|end| rest.split_at_checked(end)) {
            Some((field, rest)) => (field, rest.get(1..)),
            None => (rest, None),
        };
        self.0 = rest;
        let field = field.trim_ascii();
        let inner = field.strip_prefix(b"\"");
        inner
            .and_then(|inner| inner.strip_suffix(b"\""))
            .unwrap_or(field)
    }

    fn number(&mut self) -> Option<u32> {
        number(self.next())
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    let mut value: u32 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    (!digits.is_empty()).then_some(value)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// A digest into its place; an empty one is none. `None`: it is neither.
fn digest<const N: usize>(text: &[u8], place: &mut Option<[u8; N]>) -> Option<()> {
    if text.is_empty() {
        return Some(());
    }
    let (pairs, []) = text.as_chunks::<2>() else {
        return None;
    };
    let bytes = place.insert([0; N]);
    if pairs.len() != N {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(())
}

/// What this line says to the MCU with this component, which runs this version.
pub(super) fn parse(line: &[u8], component: &str, version: &str) -> Heard {
    match line {
        b"OK" => return Heard::Final(true),
        b"ERROR" => return Heard::Final(false),
        _ => {}
    }
    let Some(at) = line.iter().position(|byte| *byte == b':') else {
        return Heard::Nothing;
    };
    let (name, rest) = line.split_at_checked(at).unwrap_or_default();
    let mut fields = Fields(rest.get(1..));
    let heard = match name {
        b"+QIOTEVT" => event(&mut fields, component),
        b"+QIOTOTARD" => fields.number().map(|start| match fields.number() {
            Some(length) => Heard::Data(start, length),
            None => Heard::Start(start),
        }),
        b"+QIOTMCUVER" => (fields.next() == component.as_bytes())
            .then(|| Heard::Version(fields.next() == version.as_bytes())),
        b"+SOTAERR" => fields.number().map(|n| Heard::Reason(n as u16)),
        // `+CME ERROR: 4` and the like.
        name if name.ends_with(b"ERROR") => Some(Heard::Final(false)),
        _ => None,
    };
    heard.unwrap_or(Heard::Nothing)
}

fn event(fields: &mut Fields<'_>, component: &str) -> Option<Heard> {
    let (group, code) = (fields.number()?, fields.number()?);
    if group == 2 && code == 10200 {
        return Some(Heard::Connected);
    }
    if group != 7 {
        return None;
    }
    if !matches!(code, 10700 | 10701 | 10703) {
        return Some(Heard::Code(code));
    }
    if fields.next() != component.as_bytes() {
        return None;
    }
    match code {
        10700 => {
            fields.next();
            let target = core::str::from_utf8(fields.next()).ok()?;
            if target.bytes().any(|byte| byte.is_ascii_control()) {
                return None;
            }
            let target = Version::try_from(target).ok()?;
            fields.next();
            fields.next();
            Some(Heard::Plan(target, fields.number()?))
        }
        10701 => {
            let mut image = Image {
                length: fields.number().filter(|length| *length > 0)?,
                ..Image::default()
            };
            digest(fields.next(), &mut image.md5)?;
            let crc32 = fields.next();
            if !crc32.is_empty() {
                image.crc32 = Some(number(crc32)?);
            }
            digest(fields.next(), &mut image.sha256)?;
            Some(Heard::Package(image))
        }
        _ => {
            let (length, start, piece) = (fields.number()?, fields.number()?, fields.number()?);
            let fits = piece > 0 && start.checked_add(piece).is_some_and(|end| end <= length);
            fits.then_some(Heard::Piece(length, start, piece))
        }
    }
}

/// Lines that were heard once: nothing else tells a garbled one.
pub(super) struct Doubt {
    /// Sums of the newest.
    heard: [u32; 4],
    newest: u8,
    /// One was heard.
    pub(super) any: bool,
    /// What the newest said is kept: once may be enough.
    pub(super) kept: bool,
    /// How often the module was asked for it again.
    asked: u8,
}

/// How often before once is enough: a module of Quectel's does not say it again.
pub(super) const ASKS: u8 = 4;

impl Doubt {
    /// Nothing was heard.
    pub(super) const NONE: Doubt = Doubt {
        heard: [0; 4],
        newest: 0,
        any: false,
        kept: false,
        asked: 0,
    };

    /// Whether it was heard before; then it counts.
    pub(super) fn hear(&mut self, sum: u32) -> bool {
        if self.any && self.heard.contains(&sum) {
            return true;
        }
        if !core::mem::replace(&mut self.any, true) {
            self.heard = [sum; 4];
        }
        self.newest = (self.newest + 1) % 4;
        if let Some(place) = self.heard.get_mut(usize::from(self.newest)) {
            *place = sum;
        }
        self.asked = 0;
        false
    }

    pub(super) const fn wants_asking(&self) -> bool {
        self.any && self.asked < ASKS
    }

    pub(super) fn asked(&mut self) {
        self.asked = self.asked.saturating_add(1);
    }

    pub(super) fn clear(&mut self) {
        *self = Doubt::NONE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(line: &str) -> Heard {
        parse(line.as_bytes(), "STM32", "1_0_0")
    }

    #[test]
    fn the_lines_of_the_dialogue() {
        assert_eq!(say("OK"), Heard::Final(true));
        assert_eq!(say("ERROR"), Heard::Final(false));
        assert_eq!(say("+CME ERROR: 3"), Heard::Final(false));
        assert_eq!(say("+QIOTOTARD: 1024,512"), Heard::Data(1024, 512));
        assert_eq!(say("+QIOTOTARD: 1024,(1-1024)"), Heard::Start(1024));
        assert_eq!(
            say("+QIOTMCUVER: \"STM32\",\"1_0_0\""),
            Heard::Version(true)
        );
        assert_eq!(say("+QIOTMCUVER: \"STM32\",\"1_0\""), Heard::Version(false));
        assert_eq!(say("+QIOTMCUVER: \"ESP\",\"1_0_0\""), Heard::Nothing);
        let target = Version::try_from("2,0").unwrap();
        assert_eq!(
            say("+QIOTEVT: 7,10700,\"STM32\",\"\",\"2,0\",30,-113,27954"),
            Heard::Plan(target, 27954)
        );
        assert_eq!(
            say("+QIOTEVT: 7,10703,\"STM32\",27954,16384,11570"),
            Heard::Piece(27954, 16384, 11570)
        );
        assert_eq!(say("+QIOTEVT: 7,10704"), Heard::Code(10704));
        assert_eq!(say("+QIOTEVT: 2,10200"), Heard::Connected);
        assert_eq!(say("+SOTAERR: 9,\"DigestMismatch\""), Heard::Reason(9));
    }

    #[test]
    fn a_package_with_all_and_with_some_digests() {
        let all = "+QIOTEVT: 7,10701,\"STM32\",5,\"95cbdeb4faeda4322ad9b65eb731ed2b\",4022793929,\"\
            00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF\"";
        let Heard::Package(image) = say(all) else {
            panic!()
        };
        assert_eq!((image.length, image.crc32), (5, Some(4_022_793_929)));
        assert_eq!(image.md5.unwrap()[..2], [0x95, 0xCB]);
        assert_eq!(image.sha256.unwrap()[30..], [0xEE, 0xFF]);
        let Heard::Package(image) = say("+QIOTEVT: 7,10701,\"STM32\",5,\"\",") else {
            panic!()
        };
        assert_eq!((image.md5, image.crc32, image.sha256), (None, None, None));
    }

    #[test]
    fn what_is_garbled_or_for_another_is_nothing() {
        for line in [
            "",
            ":",
            "+QIOTEVT",
            "+QIOTEVT: 7",
            "+QIOTEVT: 7,10700,\"ESP\",\"\",\"2\",30,-113,27954",
            "+QIOTEVT: 7,10700,\"STM32\",\"\",\"2\",30,-113,2795x",
            "+QIOTEVT: 7,10701,\"STM32\",0,\"\",1",
            "+QIOTEVT: 7,10701,\"STM32\",5,\"95\",1",
            "+QIOTEVT: 7,10701,\"STM32\",5,\"\",4294967296",
            "+QIOTEVT: 7,10703,\"STM32\",100,90,11",
            "+QIOTEVT: 7,10703,\"STM32\",100,4294967295,2",
            "+QIOTEVT: 7,10703,\"STM32\",100,0,0",
            "AT+QIOTOTAREQ=1",
        ] {
            assert_eq!(say(line), Heard::Nothing, "{line}");
        }
    }

    #[test]
    fn what_was_said_twice_counts() {
        let mut doubt = Doubt::NONE;
        assert!(!doubt.wants_asking() && !doubt.hear(0) && doubt.wants_asking());
        assert!(!doubt.hear(1) && !doubt.hear(2));
        assert!(doubt.hear(0));
        for sum in 3..=6 {
            assert!(!doubt.hear(sum));
        }
        assert!(!doubt.hear(0), "forgotten");
    }
}
