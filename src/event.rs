//! The text of each event, exactly as on the wire of QuecThing: `+QIOTEVT: <type>,<code>[,<payload>]`.
//!
//! | type, code | payload |
//! |---|---|
//! | 7,10700 | `"<component>","<source>","<target>",<battery limit %>,<minimum RSRP dBm>,<use space bytes>` |
//! | 7,10701 | module: none; MCU: `"<component>",<length>,"<MD5 hex>",<CRC-32>[,"<SHA-256 hex>"]` |
//! | 7,10703 | module: none; MCU: `"<component>",<length>,<start>,<piece length>` |
//! | others | none |

use heapless::String;

use crate::message::Event;
use crate::text::decimal;

/// Longest payload: 10700 with every string at its longest, in bytes.
pub const PAYLOAD_LEN: usize = 256;
/// Room for any payload.
pub type Payload = String<PAYLOAD_LEN>;

/// Writes decimal numbers and hex without `core::fmt`, which costs several KiB of code.
struct Text<'a, const N: usize> {
    out: &'a mut String<N>,
    fits: bool,
}

impl<const N: usize> Text<'_, N> {
    #[inline(never)]
    fn raw(&mut self, text: &str) -> &mut Self {
        self.fits &= self.out.push_str(text).is_ok();
        self
    }
    fn quoted(&mut self, text: &str) -> &mut Self {
        self.raw("\"").raw(text).raw("\"")
    }
    #[inline(never)]
    fn comma(&mut self) -> &mut Self {
        self.raw(",")
    }
    fn number(&mut self, value: u32) -> &mut Self {
        self.raw(decimal(value, &mut [0; 10]))
    }
    fn signed(&mut self, value: i16) -> &mut Self {
        if value < 0 {
            self.raw("-");
        }
        self.number(u32::from(value.unsigned_abs()))
    }
    fn hex(&mut self, bytes: &[u8]) -> &mut Self {
        self.raw("\"");
        for byte in bytes {
            for nibble in [byte >> 4, byte & 15] {
                let at = usize::from(nibble);
                self.raw("0123456789abcdef".get(at..=at).unwrap_or_default());
            }
        }
        self.raw("\"")
    }
}

impl Event {
    /// Type: 1 authentication, 2 access, 3 subscription, 6 logout, 7 upgrade.
    pub const fn group(&self) -> u8 {
        match self {
            Event::Auth(_) => 1,
            Event::Access(_) => 2,
            Event::Subscribed(_) => 3,
            Event::Logout(_) => 6,
            _ => 7,
        }
    }

    /// Code: 10200 and its failures, 10700..=10707.
    pub const fn code(&self) -> u16 {
        match self {
            Event::Auth(code)
            | Event::Access(code)
            | Event::Subscribed(code)
            | Event::Logout(code) => *code,
            Event::Plan(_) => 10700,
            Event::DownloadStart(_) => 10701,
            Event::Downloading => 10702,
            Event::Downloaded(_) => 10703,
            Event::Updating => 10704,
            Event::UpdateOk => 10705,
            Event::UpdateFail(_) => 10706,
            Event::UpdateFlag => 10707,
        }
    }

    /// Appends the payload, nothing for an event without one. A digest that the server did not send is
    /// `""`, such a CRC-32 an empty field: what follows keeps its place. False: `out` is too small ([`PAYLOAD_LEN`] always suffices).
    pub fn write_payload<const N: usize>(&self, out: &mut String<N>) -> bool {
        let mut text = Text { out, fits: true };
        match self {
            Event::Plan(offer) => {
                text.quoted(&offer.component).comma();
                text.quoted(&offer.source).comma();
                text.quoted(&offer.target).comma();
                text.number(offer.battery_limit_percent.into()).comma();
                text.signed(offer.min_signal_dbm).comma();
                text.number(offer.use_space);
            }
            Event::DownloadStart(Some(package)) => {
                text.quoted(&package.component).comma();
                text.number(package.length).comma();
                text.hex(package.md5.as_ref().map_or(&[], |md5| md5))
                    .comma();
                if let Some(crc32) = package.crc32 {
                    text.number(crc32);
                }
                if let Some(sha256) = &package.sha256 {
                    text.comma().hex(sha256);
                }
            }
            Event::Downloaded(Some(piece)) => {
                text.quoted(&piece.component).comma();
                text.number(piece.length).comma();
                text.number(piece.start).comma();
                text.number(piece.piece_length);
            }
            _ => {}
        }
        text.fits
    }
}

/// Appends the payload of `event`; see [`Event::write_payload`].
pub fn write_payload<const N: usize>(event: &Event, out: &mut String<N>) -> bool {
    event.write_payload(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{ComponentType, Offer, Package, Piece};

    fn payload(event: &Event) -> String<PAYLOAD_LEN> {
        let mut out = String::new();
        assert!(event.write_payload(&mut out));
        out
    }

    /// The documented dialogue.
    #[test]
    fn texts_of_the_reference_dialogue() {
        let component = crate::message::ComponentName::try_from("STM32").unwrap();
        let plan = Event::Plan(Offer {
            component: component.clone(),
            kind: ComponentType::Mcu,
            target: "2_0_0".try_into().unwrap(),
            battery_limit_percent: 30,
            min_signal_dbm: -113,
            use_space: 27954,
            ..Offer::default()
        });
        assert_eq!((plan.group(), plan.code()), (7, 10700));
        assert_eq!(payload(&plan), r#""STM32","","2_0_0",30,-113,27954"#);
        let mut package = Package {
            component: component.clone(),
            #[cfg(any(feature = "link", feature = "stm32", feature = "smp"))]
            target: "2_0_0".try_into().unwrap(),
            length: 27954,
            md5: Some(0x95cb_deb4_faed_a432_2ad9_b65e_b731_ed2b_u128.to_be_bytes()),
            crc32: Some(4_022_793_929),
            sha256: None,
        };
        let text = r#""STM32",27954,"95cbdeb4faeda4322ad9b65eb731ed2b",4022793929"#;
        assert_eq!(payload(&Event::DownloadStart(Some(package.clone()))), text);
        package.sha256 = Some([0xAB; 32]);
        let with_sha = payload(&Event::DownloadStart(Some(package)));
        assert_eq!(with_sha.strip_prefix(text).unwrap().len(), 2 + 64 + 1);
        let piece = Event::Downloaded(Some(Piece {
            component,
            length: 27954,
            start: 0,
            piece_length: 27954,
        }));
        assert_eq!(payload(&piece), r#""STM32",27954,0,27954"#);
        for none in [
            Event::Downloading,
            Event::Downloaded(None),
            Event::DownloadStart(None),
        ] {
            assert_eq!(payload(&none), "");
        }
    }

    #[test]
    fn the_longest_payload_fits() {
        let event = Event::Plan(Offer {
            component: "c".repeat(32).as_str().try_into().unwrap(),
            source: "s".repeat(64).as_str().try_into().unwrap(),
            target: "t".repeat(64).as_str().try_into().unwrap(),
            battery_limit_percent: 100,
            min_signal_dbm: i16::MIN,
            use_space: u32::MAX,
            ..Offer::default()
        });
        assert!(!payload(&event).is_empty());
        assert!(!event.write_payload(&mut String::<16>::new()));
    }
}
