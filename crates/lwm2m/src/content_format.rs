//! CoAP content formats that LwM2M uses (LwM2M Core 1.1, section 7.4; IANA "CoAP Content-Formats").

/// A content format; the discriminant is the number of the Content-Format and Accept options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum ContentFormat {
    /// `text/plain`: one resource.
    Text = 0,
    /// `application/link-format`: registration, Discover.
    Link = 40,
    /// `application/octet-stream`: one opaque resource.
    Opaque = 42,
    /// `application/cbor`: one resource.
    Cbor = 60,
    /// `application/senml+json`: known by number only, nothing here reads or writes it.
    SenmlJson = 110,
    /// `application/senml+cbor`.
    SenmlCbor = 112,
    /// `application/vnd.oma.lwm2m+tlv`: the only one for many resources that a 1.0 peer must have.
    Tlv = 11542,
}

impl ContentFormat {
    /// The format with this number.
    pub const fn from_number(number: u16) -> Option<ContentFormat> {
        Some(match number {
            0 => ContentFormat::Text,
            40 => ContentFormat::Link,
            42 => ContentFormat::Opaque,
            60 => ContentFormat::Cbor,
            110 => ContentFormat::SenmlJson,
            112 => ContentFormat::SenmlCbor,
            11542 => ContentFormat::Tlv,
            _ => return None,
        })
    }

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Can it carry more than one resource?
    pub const fn is_composite(self) -> bool {
        matches!(
            self,
            ContentFormat::SenmlCbor | ContentFormat::SenmlJson | ContentFormat::Tlv
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        let mut known = 0;
        for number in 0..=u16::MAX {
            if let Some(format) = ContentFormat::from_number(number) {
                assert_eq!(format.number(), number);
                known += 1;
            }
        }
        assert_eq!(known, 7);
    }
}
