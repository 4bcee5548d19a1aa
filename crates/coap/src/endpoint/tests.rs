//! [`Exchanges`] over the small table; a table by itself is tested by [`contract`].

use heapless::LinearMap;

use super::*;
use crate::message::{Kind, Token, ack, reset};
use crate::{Builder, Code, Params};

type Small = LinearMap<u8, Open<u32>, 2>;

const TOKEN: Token = Token::from_u32(3);

fn small(linger_ms: u32) -> Exchanges<Small> {
    Exchanges::new(Small::new(), linger_ms)
}

fn exchange(message_id: u16) -> Exchange {
    Exchange::start(0, message_id, TOKEN, &Params::RFC7252, 2_000, 0)
}

fn deliver(exchanges: &mut Exchanges<Small>, key: u8, bytes: &[u8]) -> Incoming<u32> {
    exchanges.on_message(10, key, &Message::new_checked(bytes).unwrap())
}

fn response(kind: Kind, message_id: u16, token: Token) -> ([u8; 16], usize) {
    let mut out = [0; 16];
    let n = Builder::new(&mut out, kind, Code::CONTENT, message_id, token)
        .finish()
        .unwrap();
    (out, n)
}

#[test]
fn the_small_table_keeps_the_contract() {
    contract::table(Small::new, 2, &[1, 2, 3]);
    contract::table(
        LinearMap::<u16, Open<u32>, 16>::new,
        16,
        &core::array::from_fn::<u16, 17, _>(|i| i as u16 * 77),
    );
}

#[test]
fn every_end_gives_back_what_was_kept_and_leaves_nothing() {
    let piggybacked = response(Kind::Ack, 7, TOKEN);
    let non = response(Kind::Non, 70, TOKEN);
    for (bytes, expected) in [
        (&piggybacked.0[..piggybacked.1], "response"),
        (&non.0[..non.1], "response"),
        (&reset(7)[..], "reset"),
    ] {
        let mut exchanges = small(60_000);
        exchanges.start(1, exchange(7), 5).unwrap();
        let ended = match deliver(&mut exchanges, 1, bytes) {
            Incoming::Response(ended, None) if expected == "response" => ended,
            Incoming::Reset(ended) if expected == "reset" => ended,
            other => panic!("{other:?}"),
        };
        assert_eq!((ended.kept, ended.exchange.sample_ms()), (5, Some(10)));
        assert!(exchanges.table().is_empty());
    }
    let mut exchanges = small(60_000);
    let confirm = Exchange::start_confirm(0, 7, TOKEN, &Params::RFC7252, 2_000, 0);
    exchanges.start(1, confirm, 5).unwrap();
    let confirmed = deliver(&mut exchanges, 1, &ack(7));
    assert!(matches!(confirmed, Incoming::Confirmed(ended) if ended.kept == 5));
    assert!(exchanges.table().is_empty());
    exchanges.start(1, exchange(8), 6).unwrap();
    assert_eq!(exchanges.stop(1).map(|ended| ended.kept), Some(6));
    assert!(exchanges.table().is_empty() && exchanges.stop(1).is_none());
}

#[test]
fn what_is_of_another_peer_or_exchange_is_not_mine() {
    let mut exchanges = small(60_000);
    exchanges.start(1, exchange(7), 5).unwrap();
    let other = response(Kind::Con, 70, Token::from_u32(4));
    let right = response(Kind::Con, 70, TOKEN);
    for (key, bytes) in [
        (1, &other.0[..other.1]),
        (1, &ack(8)),
        (2, &ack(7)),
        (2, &right.0[..right.1]),
    ] {
        let taken = deliver(&mut exchanges, key, bytes);
        assert!(matches!(taken, Incoming::NotMine), "{key}");
    }
    assert_eq!(exchanges.kept(1), Some(&5));
    assert_eq!(
        exchanges.change(1, |kept| core::mem::replace(kept, 6)),
        Some(5)
    );
    assert_eq!((exchanges.kept(1), exchanges.kept(2)), (Some(&6), None));
    assert_eq!(exchanges.change(2, |_| ()), None);
}

#[test]
fn an_answered_one_gives_way_to_the_next_and_in_a_full_table_to_another_peer() {
    let separate = response(Kind::Con, 70, TOKEN);
    let bytes = &separate.0[..separate.1];
    let answered = || {
        let mut exchanges = small(60_000);
        exchanges.start(1, exchange(7), 5).unwrap();
        let taken = deliver(&mut exchanges, 1, bytes);
        assert!(matches!(taken, Incoming::Response(_, Some(_))));
        assert_eq!(exchanges.deadline(), Some(60_010));
        assert_eq!(exchanges.change(1, |_| ()), None);
        exchanges
    };
    let mut exchanges = answered();
    let next = Exchange::start(20, 8, Token::from_u32(9), &Params::RFC7252, 2_000, 0);
    exchanges.start(1, next, 6).unwrap();
    assert_eq!(exchanges.table().len(), 1);
    assert!(matches!(
        deliver(&mut exchanges, 1, bytes),
        Incoming::NotMine
    ));

    let mut exchanges = answered();
    exchanges.start(2, exchange(8), 6).unwrap();
    exchanges.start(3, exchange(9), 7).unwrap();
    assert_eq!(exchanges.start(4, exchange(9), 8), Err(Refused::Full(8)));
    assert!(matches!(
        deliver(&mut exchanges, 1, bytes),
        Incoming::NotMine
    ));
    assert_eq!((exchanges.kept(2), exchanges.kept(3)), (Some(&6), Some(&7)));

    // nobody waits for copies
    let mut exchanges = small(0);
    exchanges.start(1, exchange(7), 5).unwrap();
    let taken = deliver(&mut exchanges, 1, bytes);
    assert!(matches!(taken, Incoming::Response(_, Some(_))));
    assert!(exchanges.table().is_empty());
}
