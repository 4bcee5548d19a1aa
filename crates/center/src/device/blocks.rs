//! Package blocks: `GET /p/<SHA-256 in hex>` with Block2, answered from the cache without state per peer.
//!
//! What a block, an ETag, Accept and the like are answered is [`sota_coap::serve`]'s; added here:
//!
//! | request | answer |
//! |---|---|
//! | an address that is not verified, block size asked for, answer over three times the request | 4.01 with Echo (RFC 9175) |
//! | an address that is not verified, block size not asked for | a block small enough for three times the request (RFC 7959 lets the server choose) |
//! | another method, another path | not answered here |

use std::net::SocketAddr;

use sota_coap::echo::needs_echo;
use sota_coap::serve::{Representation, is_request, serve_block};
use sota_coap::{Builder, Code, Etag, Message, Szx, option};

use super::addresses::Addresses;
use super::packages::{CHUNK, PackageId, Packages};

/// First segment of a package's path.
pub const PATH: &str = "p";
/// Bytes of the ETag: the beginning of the SHA-256.
const ETAG_LEN: usize = 8;
/// application/octet-stream.
const OCTET_STREAM: u16 = 42;

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The answer stands in this many bytes of the output buffer.
    Answer(usize),
    /// The package's length or this chunk is not in the cache: load it and ask again.
    Missing(PackageId, u64),
    /// Not a request for a package.
    NotMine,
}

/// The URI path of a package, without a leading slash.
pub fn path_of(package: &PackageId) -> String {
    format!("{PATH}/{}", hex::encode(package))
}

/// Answers a request for a block. `mid` is the message id for an answer to a non-confirmable request.
pub fn serve(
    packages: &mut Packages,
    addresses: &mut Addresses,
    now: u64,
    mid: u16,
    peer: &SocketAddr,
    datagram: &[u8],
    out: &mut [u8],
) -> Served {
    let Ok(message) = Message::new_checked(datagram) else {
        return Served::NotMine;
    };
    if !is_request(&message) || message.code() != Code::GET {
        return Served::NotMine;
    }
    let Some(package) = package_of(&message) else {
        return Served::NotMine;
    };
    let Some(length) = packages.length(&package) else {
        return Served::Missing(package, 0);
    };
    let verified = addresses.is_verified(peer, now)
        || match message.option(option::ECHO) {
            Some(value) if addresses.check_echo(peer, value, now) => {
                addresses.verify(*peer, now);
                true
            }
            _ => false,
        };
    let mut representation = Representation {
        len: u32::try_from(length).unwrap_or(u32::MAX),
        etag: package
            .get(..ETAG_LEN)
            .and_then(Etag::new)
            .unwrap_or_default(),
        content_format: Some(OCTET_STREAM),
        largest: Szx::S1024,
    };
    loop {
        let (mut sent, mut missing) = (None, None);
        let served = serve_block(&message, &representation, mid, out, |offset, place| {
            let offset = u64::from(offset);
            let Some(bytes) = packages.block(&package, offset, place.len()) else {
                missing = Some(offset / CHUNK);
                return Err(());
            };
            // A file that shrank under us: 5.00, never a block with bytes of something else.
            if bytes.len() != place.len() {
                return Err(());
            }
            place.copy_from_slice(bytes);
            sent = Some((offset, bytes.len() as u64));
            Ok(())
        });
        if let Some(chunk) = missing {
            return Served::Missing(package, chunk);
        }
        let Ok(n) = served else {
            return Served::NotMine;
        };
        if verified || !needs_echo(datagram.len(), n) {
            if let Some((offset, len)) = sent {
                let device = addresses.device(peer);
                packages.count(&package, device, message.message_id(), offset, len);
            }
            return Served::Answer(n);
        }
        let smaller = representation.largest.exponent().checked_sub(1);
        match smaller.and_then(Szx::new) {
            Some(szx) if message.option(option::BLOCK2).is_none() => representation.largest = szx,
            _ => {
                let echo = addresses.echo(peer, now);
                return Builder::response(out, &message, Code::UNAUTHORIZED, mid)
                    .option(option::ECHO, &echo)
                    .finish()
                    .map_or(Served::NotMine, Served::Answer);
            }
        }
    }
}

/// The package that the path names, if it names one.
fn package_of(message: &Message<'_>) -> Option<PackageId> {
    let mut path = message.path();
    let (first, name) = (path.next()?, path.next()?);
    let mut package = [0; 32];
    if first != PATH.as_bytes() || path.next().is_some() {
        return None;
    }
    hex::decode_to_slice(name, &mut package).ok()?;
    Some(package)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use sota_coap::{Kind, Token};

    use super::*;

    const P: PackageId = [0xab; 32];
    const LENGTH: usize = 70_000;

    struct Center {
        packages: Packages,
        addresses: Addresses,
        file: Vec<u8>,
    }

    fn center() -> Center {
        let file: Vec<u8> = (0..LENGTH).map(|i| (i * 7 % 251) as u8).collect();
        let mut packages = Packages::new(1 << 20);
        packages.set_length(P, LENGTH as u64);
        for (i, chunk) in file.chunks(CHUNK as usize).enumerate() {
            packages.put_chunk(P, i as u64, Bytes::copy_from_slice(chunk));
        }
        Center {
            packages,
            addresses: Addresses::new([3; 32]),
            file,
        }
    }

    fn peer() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], 5683))
    }

    fn get(block: Option<u32>, more: &[(u16, &[u8])]) -> Vec<u8> {
        let mut out = [0; 512];
        let token = Token::new(b"tk").unwrap();
        let mut builder = Builder::new(&mut out, Kind::Con, Code::GET, 77, token);
        builder.path(&path_of(&P));
        let mut options: Vec<(u16, Vec<u8>)> =
            more.iter().map(|(n, value)| (*n, value.to_vec())).collect();
        if let Some(block) = block {
            let bytes = block.to_be_bytes();
            options.push((option::BLOCK2, bytes[1..].to_vec()));
        }
        options.sort();
        for (number, value) in options {
            builder.option(number, &value);
        }
        let n = builder.finish().unwrap();
        out[..n].to_vec()
    }

    fn ask(center: &mut Center, request: &[u8]) -> (Served, Vec<u8>) {
        let mut out = [0; 2048];
        let served = serve(
            &mut center.packages,
            &mut center.addresses,
            0,
            5,
            &peer(),
            request,
            &mut out,
        );
        let n = if let Served::Answer(n) = served { n } else { 0 };
        (served, out[..n].to_vec())
    }

    #[test]
    fn any_block_of_any_size_is_served() {
        let mut center = center();
        center.addresses.verify(peer(), 0);
        for szx in 0..=6u8 {
            let size = 16usize << szx;
            for number in [0, 1, LENGTH / size / 2, (LENGTH - 1) / size] {
                let request = get(Some((number as u32) << 4 | u32::from(szx)), &[]);
                let (_, answer) = ask(&mut center, &request);
                let message = Message::new_checked(&answer).unwrap();
                assert_eq!((message.kind(), message.message_id()), (Kind::Ack, 77));
                let end = LENGTH.min(number * size + size);
                assert_eq!(message.payload(), &center.file[number * size..end]);
                let more = u32::from(end < LENGTH) << 3;
                let block = (number as u32) << 4 | more | u32::from(szx);
                assert_eq!(message.uint_option(option::BLOCK2), Some(block));
                assert_eq!(message.option(option::ETAG), Some(&P[..8]));
                let size2 = (number == 0).then_some(LENGTH as u32);
                assert_eq!(message.uint_option(option::SIZE2), size2);
            }
        }
    }

    #[test]
    fn an_unverified_address_gets_at_most_three_times_its_request() {
        let mut center = center();
        let request = get(Some(6), &[]);
        let (_, answer) = ask(&mut center, &request);
        let message = Message::new_checked(&answer).unwrap();
        assert_eq!(message.code(), Code::UNAUTHORIZED);
        assert!(answer.len() <= 3 * request.len());
        let echo = message.option(option::ECHO).unwrap().to_vec();
        let (_, answer) = ask(&mut center, &get(Some(6), &[(option::ECHO, &echo)]));
        assert_eq!(Message::new_checked(&answer).unwrap().payload().len(), 1024);
        // verified now, so the next block needs no Echo
        let (_, answer) = ask(&mut center, &get(Some(0x16), &[]));
        assert_eq!(Message::new_checked(&answer).unwrap().payload().len(), 1024);
    }

    #[test]
    fn a_client_that_leaves_the_size_to_the_server_needs_no_echo() {
        let mut center = center();
        let request = get(None, &[]);
        let (_, answer) = ask(&mut center, &request);
        let message = Message::new_checked(&answer).unwrap();
        assert_eq!(message.code(), Code::CONTENT);
        assert_eq!(message.uint_option(option::BLOCK2), Some(8 | 3));
        assert!(answer.len() <= 3 * request.len());
        let (_, answer) = ask(&mut center, &get(Some(0x13), &[]));
        assert_eq!(
            Message::new_checked(&answer).unwrap().payload(),
            &center.file[128..256]
        );
    }

    #[test]
    fn what_cannot_be_served_is_refused_or_passed_on() {
        let mut center = center();
        center.addresses.verify(peer(), 0);
        let cases: &[(Vec<u8>, Code)] = &[
            (get(Some(7), &[]), Code::BAD_REQUEST),
            (
                get(Some(((LENGTH / 1024 + 1) << 4 | 6) as u32), &[]),
                Code::BAD_REQUEST,
            ),
            (get(Some(6), &[(13, b"")]), Code::BAD_OPTION),
            (
                get(Some(6), &[(option::ACCEPT, &[0])]),
                Code::NOT_ACCEPTABLE,
            ),
        ];
        for (request, expected) in cases {
            let (_, answer) = ask(&mut center, request);
            assert_eq!(Message::new_checked(&answer).unwrap().code(), *expected);
        }
        assert_eq!(
            ask(&mut center, &get(Some(6), &[(option::URI_PATH, b"x")])).0,
            Served::NotMine
        );
        center.packages = Packages::new(CHUNK);
        assert_eq!(
            ask(&mut center, &get(Some(6), &[])).0,
            Served::Missing(P, 0)
        );
        center.packages.set_length(P, LENGTH as u64);
        assert_eq!(
            ask(&mut center, &get(Some(0x416), &[])).0,
            Served::Missing(P, 1)
        );
    }

    #[test]
    fn a_file_that_shrank_is_an_error_and_not_other_bytes() {
        let mut center = center();
        center.addresses.verify(peer(), 0);
        center
            .packages
            .put_chunk(P, 1, Bytes::from_static(&[1; 100]));
        for block in [0x406, 0x416] {
            let (_, answer) = ask(&mut center, &get(Some(block), &[]));
            let message = Message::new_checked(&answer).unwrap();
            assert_eq!(message.code(), Code::INTERNAL_SERVER_ERROR);
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let mut center = center();
            let _ = ask(&mut center, &bytes);
        }
    }
}
