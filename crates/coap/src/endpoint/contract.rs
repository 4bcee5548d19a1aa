//! What every [`Table`] must do, as functions that a test calls.

use super::{Due, Exchanges, Incoming, Open, Refused, Table};
use crate::exchange::Exchange;
use crate::message::{Kind, Message, Token, ack, reset};
use crate::{Builder, Code, Params};

const TOKEN: Token = Token::from_u32(0x5074);

fn exchange(now: u64, message_id: u16) -> Exchange {
    Exchange::start(now, message_id, TOKEN, &Params::RFC7252, 2_000, 0)
}

fn open(now: u64, kept: u32) -> Open<u32> {
    Open {
        exchange: exchange(now, 0),
        kept: Some(kept),
        forget_at: 0,
    }
}

fn waits<T: Table<Kept = u32>>(table: &T, key: T::Key) -> Option<u64> {
    table.get(key).map(Open::deadline)
}

/// Runs all of it. `new` makes an empty table with room for `room` entries, 2 or more; `keys` are different and at
/// least one more than that.
///
/// # Panics
/// When the table does not do what it must.
pub fn table<T: Table<Kept = u32>>(new: impl Fn() -> T, room: usize, keys: &[T::Key]) {
    assert!(room >= 2 && keys.len() > room, "a test needs more keys");
    holds_and_gives_back(new(), keys[0], keys[1]);
    is_bounded(new(), &keys[..room], keys[room]);
    finds_the_earliest(new(), keys[0], keys[1]);
    agrees_with_a_list(new(), &keys[..room]);
    carries_exchanges(new(), keys[0], keys[1]);
}

fn holds_and_gives_back<T: Table<Kept = u32>>(mut table: T, a: T::Key, b: T::Key) {
    assert!(table.is_empty() && table.earliest().is_none());
    assert!(table.get(a).is_none() && table.remove(a).is_none());
    assert_eq!(table.update(a, |_| ()), None);
    assert!(table.insert(a, open(0, 1)).is_ok());
    assert!(table.insert(b, open(0, 2)).is_ok());
    assert_eq!(table.len(), 2);
    let seen = table.update(b, |open| open.kept.replace(3));
    assert_eq!(seen, Some(Some(2)));
    assert_eq!(table.get(a).and_then(|open| open.kept), Some(1));
    assert_eq!(table.remove(b).and_then(|open| open.kept), Some(3));
    assert!(table.remove(b).is_none() && table.get(b).is_none());
    assert_eq!(table.len(), 1);
}

fn is_bounded<T: Table<Kept = u32>>(mut table: T, keys: &[T::Key], other: T::Key) {
    for key in keys {
        assert!(table.insert(*key, open(0, 1)).is_ok());
    }
    let refused = table.insert(other, open(0, 9)).err();
    assert_eq!(refused.and_then(|open| open.kept), Some(9));
    assert!(keys.iter().all(|key| table.get(*key).is_some()));
    table.remove(keys[0]);
    assert!(table.insert(other, open(0, 9)).is_ok());
    assert_eq!(table.len(), keys.len());
}

fn finds_the_earliest<T: Table<Kept = u32>>(mut table: T, a: T::Key, b: T::Key) {
    // the same deadline twice is two entries
    assert!(table.insert(a, open(0, 1)).is_ok());
    assert!(table.insert(b, open(0, 2)).is_ok());
    assert!(matches!(table.earliest(), Some((2_000, key)) if key == a || key == b));
    // an update moves it
    table.update(a, |open| open.exchange.poll(2_000));
    assert_eq!(waits(&table, a), Some(6_000));
    assert!(matches!(table.earliest(), Some((2_000, key)) if key == b));
    table.remove(b);
    assert!(matches!(table.earliest(), Some((6_000, key)) if key == a));
    // an answered one counts with the time of its forgetting
    table.update(a, |open| {
        open.exchange = exchange(0, 0);
        let rst = reset(0);
        if let Ok(message) = Message::new_checked(&rst) {
            open.exchange.on_message(1, &message);
        }
        (open.kept, open.forget_at) = (None, 500);
    });
    assert!(matches!(table.earliest(), Some((500, key)) if key == a));
    table.remove(a);
    assert!(table.earliest().is_none());
}

/// Many random calls, beside a list that is searched.
fn agrees_with_a_list<T: Table<Kept = u32>>(mut table: T, keys: &[T::Key]) {
    const MOST: usize = 16;
    let mut list = [None::<u64>; MOST];
    let keys = &keys[..keys.len().min(MOST)];
    let mut seed = 0x2545_f491_u32;
    for _ in 0..20_000 {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        let at = (seed >> 8) as usize % keys.len();
        let (key, now) = (keys[at], u64::from(seed >> 20));
        match seed % 4 {
            0 | 1 if list[at].is_none() => {
                assert!(table.insert(key, open(now, 0)).is_ok());
                list[at] = Some(now + 2_000);
            }
            0 | 1 => {
                let moved = table.update(key, |open| {
                    open.exchange = exchange(now, 0);
                    open.deadline()
                });
                assert_eq!(moved, Some(now + 2_000));
                list[at] = moved;
            }
            2 => assert_eq!(
                table.remove(key).map(|open| open.deadline()),
                list[at].take()
            ),
            _ => assert_eq!(waits(&table, key), list[at]),
        }
        let earliest = list.iter().flatten().min().copied();
        assert_eq!(table.earliest().map(|(deadline, _)| deadline), earliest);
        if let Some((deadline, key)) = table.earliest() {
            assert_eq!(waits(&table, key), Some(deadline));
        }
        assert_eq!(table.len(), list.iter().flatten().count());
    }
}

/// Two peers at once: one answers separately, the other never.
fn carries_exchanges<T: Table<Kept = u32>>(table: T, a: T::Key, b: T::Key) {
    let mut exchanges = Exchanges::new(table, 10_000);
    assert_eq!(exchanges.start(a, exchange(0, 7), 1), Ok(()));
    assert_eq!(exchanges.start(a, exchange(0, 8), 2), Err(Refused::Busy(2)));
    assert_eq!(exchanges.start(b, exchange(100, 7), 3), Ok(()));
    let mut buffer = [0; 16];
    let built = Builder::new(&mut buffer, Kind::Con, Code::CHANGED, 99, TOKEN).finish();
    let response = Message::new_checked(&buffer[..built.unwrap_or(0)]);
    let empty = ack(7);
    let (Ok(response), Ok(empty)) = (response, Message::new_checked(&empty)) else {
        panic!("messages of our own");
    };
    assert!(matches!(
        exchanges.on_message(10, a, &empty),
        Incoming::Acked
    ));
    assert_eq!(exchanges.deadline(), Some(2_100));
    assert!(matches!(exchanges.poll(2_100), Some(Due::Resend(key)) if key == b));
    assert!(exchanges.poll(2_100).is_none());
    let taken = exchanges.on_message(3_000, a, &response);
    assert!(
        matches!(taken, Incoming::Response(ended, Some(bytes)) if ended.kept == 1 && bytes == ack(99))
    );
    assert!(exchanges.kept(a).is_none());
    // its copy is known until no more can come
    let again = exchanges.on_message(12_999, a, &response);
    assert!(matches!(again, Incoming::Repeated(Some(bytes)) if bytes == ack(99)));
    exchanges.on_message(12_999, a, &empty);
    assert_eq!(exchanges.table().get(a).map(Open::deadline), Some(13_000));
    let mut resent = 0;
    let mut gave_up = false;
    while let Some(at) = exchanges.deadline() {
        match exchanges.poll(at) {
            Some(Due::Resend(key)) if key == b => resent += 1,
            Some(Due::GaveUp(key, ended)) if key == b => gave_up = ended.kept == 3,
            Some(_) => panic!("nothing else is open"),
            None => {}
        }
    }
    assert!(gave_up && resent == 3 && exchanges.table().is_empty());
    let late = exchanges.on_message(99_000, a, &response);
    assert!(matches!(late, Incoming::NotMine));
}
