//! What a peer costs the CoAP layer while nothing is under way: nothing. The table is the caller's, and the
//! layer has nothing to put into it; what is open lives in tables whose size follows the traffic.

use std::collections::HashMap;
use std::mem::size_of;
use std::net::{Ipv4Addr, SocketAddr};

use sota_coap::{Builder, Code, Exchange, Kind, Message, Params, Reaction, Token};

const PEERS: u32 = 100_000;

/// The caller's table: an address needs an entry only while an exchange with it is open.
#[derive(Default)]
struct Endpoint {
    open: HashMap<SocketAddr, Exchange>,
}

fn peer(i: u32) -> SocketAddr {
    (Ipv4Addr::from(0x0a00_0000 + i), 5683).into()
}

#[test]
fn bytes_per_idle_peer_at_100_000() {
    let mut endpoint = Endpoint::default();
    let mut buffer = [0; 64];
    let mut most_open = 0;
    // Every peer is asked something and answers, at most 16 at a time.
    for group in (0..PEERS).collect::<Vec<_>>().chunks(16) {
        for &i in group {
            let exchange =
                Exchange::start(0, i as u16, Token::from_u32(i), &Params::RFC7252, 2_000, 0);
            endpoint.open.insert(peer(i), exchange);
        }
        most_open = most_open.max(endpoint.open.len());
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
            let exchange = endpoint.open.get_mut(&peer(i)).unwrap();
            assert_eq!(
                exchange.on_message(1, &message),
                Reaction::Response { ack: false }
            );
            assert!(exchange.is_done());
            endpoint.open.remove(&peer(i));
        }
    }
    let entry = size_of::<(SocketAddr, Exchange)>();
    let bytes = endpoint.open.capacity() * entry;
    let per_peer = bytes as f64 / f64::from(PEERS);
    println!(
        "idle peers: {PEERS}, CoAP layer: {bytes} bytes, {per_peer:.3} bytes per idle peer \
         ({} while an exchange is open, at most {most_open} open at once)",
        size_of::<Exchange>()
    );
    assert!(endpoint.open.is_empty());
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
