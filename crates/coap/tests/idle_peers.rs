//! What a peer costs the CoAP layer while nothing is under way: nothing. The table is the caller's, and the
//! layer has nothing to put into it; what is open lives in tables whose size follows the traffic.

use std::mem::{size_of, size_of_val};
use std::net::{Ipv4Addr, SocketAddr};

use heapless::LinearMap;
use sota_coap::endpoint::{Exchanges, Incoming, Open};
use sota_coap::{Builder, Code, Exchange, Kind, Message, Params, Token};

const PEERS: u32 = 100_000;
const OPEN_AT_ONCE: usize = 16;

fn peer(i: u32) -> SocketAddr {
    (Ipv4Addr::from(0x0a00_0000 + i), 5683).into()
}

#[test]
fn bytes_per_idle_peer_at_100_000() {
    let table = LinearMap::<SocketAddr, Open<u32>, OPEN_AT_ONCE>::new();
    let mut endpoint = Exchanges::new(table, 0);
    let mut buffer = [0; 64];
    // Every peer is asked something and answers, as many at a time as the table has places.
    for group in (0..PEERS).collect::<Vec<_>>().chunks(OPEN_AT_ONCE) {
        for &i in group {
            let exchange =
                Exchange::start(0, i as u16, Token::from_u32(i), &Params::RFC7252, 2_000, 0);
            endpoint.start(peer(i), exchange, i).unwrap();
        }
        for &i in group {
            let n = Builder::new(
                &mut buffer,
                Kind::Ack,
                Code::CHANGED,
                i as u16,
                Token::from_u32(i),
            )
            .finish()
            .unwrap();
            let message = Message::new_checked(&buffer[..n]).unwrap();
            let taken = endpoint.on_message(1, peer(i), &message);
            assert!(matches!(taken, Incoming::Response(ended, None) if ended.kept == i));
        }
        assert_eq!(endpoint.deadline(), None);
    }
    let bytes = size_of_val(&endpoint);
    let per_peer = bytes as f64 / f64::from(PEERS);
    println!(
        "idle peers: {PEERS}, CoAP layer: {bytes} bytes, {per_peer:.3} bytes per idle peer \
         ({} while an exchange is open, at most {OPEN_AT_ONCE} open at once)",
        size_of::<Open<()>>()
    );
    assert!(per_peer < 1.0);
}

#[test]
fn machines_are_under_128_bytes() {
    assert!(size_of::<Exchange>() < 128);
    assert!(size_of::<sota_coap::Download>() < 128);
    assert!(size_of::<sota_coap::Upload>() < 128);
    assert!(size_of::<sota_coap::Assembly>() < 128);
    assert!(size_of::<sota_coap::Rtt>() <= 20);
}
