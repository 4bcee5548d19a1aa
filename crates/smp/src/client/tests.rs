//! The client at a peer that answers what a test says.

use super::*;
use crate::tests::vector;
use crate::wire::HEADER;
use std::vec::Vec;

const LENGTH: u32 = 5_000;
const UPLOAD: Job = Job::Upload {
    start: 0,
    end: LENGTH,
};
const EMPTY: &[u8] = &[0xA0];

/// Bytes that tell where they are from.
struct Image;

impl Source for Image {
    fn read(&mut self, offset: u32, out: &mut [u8]) -> bool {
        for (place, at) in out.iter_mut().zip(offset..) {
            *place = (at / 7) as u8;
        }
        offset + out.len() as u32 <= LENGTH
    }
}

struct World {
    client: Client,
    now: Millis,
}

/// A request as the peer hears it.
#[derive(Debug, PartialEq)]
struct Asked {
    version: u8,
    seq: u8,
    code: (u8, u16, u8),
    /// Of an upload.
    offset: u32,
    packet: usize,
}

impl World {
    fn new(job: Job) -> World {
        let mut client = Client::new(Config::DEFAULT);
        client.image(LENGTH, Some([1; 32]));
        client.begin(job);
        World { client, now: 0 }
    }

    /// An upload whose server has these buffers and took the first part.
    fn uploading(size: u32, count: u32) -> (World, u32) {
        let mut world = World::new(UPLOAD);
        let asked = world.asked();
        assert_eq!(asked[0].code, (0, 0, 6));
        world.say(&asked[0], &buffers(size, count));
        let first = world.asked();
        assert_eq!((first.len(), first[0].offset), (1, 0));
        let next = world.client.parts_next();
        world.say(&first[0], &offset(next));
        (world, next)
    }

    fn poll(&mut self) -> Option<Output> {
        self.client.poll(self.now, &mut Image)
    }

    /// What it sends now.
    fn asked(&mut self) -> Vec<Asked> {
        let (mut rx, mut all) = (Rx::new(), Vec::new());
        loop {
            assert_eq!(self.poll(), None);
            let mut bytes = [0; 64];
            let count = self.client.next_tx(&mut bytes);
            if count == 0 {
                return all;
            }
            for byte in &bytes[..count] {
                if rx.byte(*byte) == Some(Heard::Packet) {
                    let (header, body) = Header::parse(rx.packet()).unwrap();
                    let offset = Answer::parse(body).unwrap().offset;
                    all.push(Asked {
                        version: header.version,
                        seq: header.seq,
                        code: (header.op, header.group, header.id),
                        offset: offset.unwrap_or(0),
                        packet: rx.packet().len(),
                    });
                }
            }
        }
    }

    fn packet(&mut self, packet: &[u8]) {
        let mut tx = Tx::new();
        tx.send(|out| {
            out[..packet.len()].copy_from_slice(packet);
            Some(packet.len())
        });
        let mut bytes = [0; 2000];
        let count = tx.take(&mut bytes);
        self.client.on_bytes(self.now, &bytes[..count]);
    }

    /// An answer to this request.
    fn say(&mut self, asked: &Asked, body: &[u8]) {
        let (op, group, id) = asked.code;
        self.answer((op + 1, group, id), asked.seq, body);
    }

    fn answer(&mut self, (op, group, id): (u8, u16, u8), seq: u8, body: &[u8]) {
        let header = Header {
            op,
            version: 1,
            length: body.len() as u16,
            group,
            seq,
            id,
        };
        self.packet(&[&header.emit()[..], body].concat());
    }

    /// To the next thing it has to do.
    fn wait(&mut self) {
        self.now = self.client.deadline().unwrap().max(self.now);
    }

    fn end(&mut self) -> Output {
        self.poll().expect("an end")
    }
}

impl Client {
    fn parts_next(&self) -> u32 {
        self.open.iter().map(|open| open.end).max().unwrap_or(0)
    }
}

fn offset(offset: u32) -> Vec<u8> {
    let [.., high, low] = offset.to_be_bytes();
    [&[0xA1, 0x63][..], b"off", &[0x19, high, low]].concat()
}

fn buffers(size: u32, count: u32) -> Vec<u8> {
    let [.., high, low] = size.to_be_bytes();
    let size = [&[0xA2, 0x68][..], b"buf_size", &[0x19, high, low]].concat();
    [&size[..], &[0x69], b"buf_count", &[count as u8]].concat()
}

/// SMP's own code.
fn rc(code: u8) -> Vec<u8> {
    [&[0xA1, 0x62][..], b"rc", &[0x18, code]].concat()
}

/// The image group's.
fn err(code: u8) -> Vec<u8> {
    let group = [&[0xA1, 0x63][..], b"err", &[0xA2, 0x65], b"group", &[1]].concat();
    [&group[..], &[0x62], b"rc", &[0x18, code]].concat()
}

fn body(name: &str) -> Vec<u8> {
    vector(name)[HEADER..].to_vec()
}

#[test]
fn the_slots_are_read() {
    let mut world = World::new(Job::State);
    let asked = world.asked();
    assert_eq!((asked.len(), asked[0].code), (1, (0, 1, 0)));
    world.say(&asked[0], &body("states"));
    assert_eq!(world.end(), Output::Done(Done::Done));
    assert_eq!(world.client.slots().len(), 2);
    assert_eq!(world.client.deadline(), None);
}

#[test]
fn a_text_there_and_back() {
    let mut world = World::new(Job::Echo);
    let asked = world.asked();
    world.say(&asked[0], &body("echoed"));
    assert_eq!(world.end(), Output::Done(Done::Done));
}

#[test]
fn silence_is_asked_again_later_and_later_and_told() {
    let mut world = World::new(Job::State);
    let mut times = Vec::new();
    let mut seqs = Vec::new();
    let trouble = loop {
        if let Some(output) = world.poll() {
            break output;
        }
        let asked = world.asked();
        seqs.extend(asked.iter().map(|asked| asked.seq));
        let before = world.now;
        world.wait();
        times.push((world.now - before) / 1000);
    };
    assert_eq!(times, [1, 2, 4, 8, 8]);
    assert_eq!(seqs, [0, 1, 2, 3, 4]);
    let fault = Fault {
        error: SmpError::SmpSilent,
        group: 1,
        command: 0,
        refusal: None,
    };
    assert_eq!(trouble, Output::Trouble(fault));
    assert_eq!(world.asked(), []);
    let before = world.now;
    world.wait();
    assert_eq!(world.now - before, 10_000, "the pause");
    // and it comes back
    let asked = world.asked();
    world.say(&asked[0], &body("states"));
    assert_eq!(world.end(), Output::Done(Done::Done));
}

/// What comes and is no answer names the trouble.
#[test]
fn what_is_told_of_a_peer_that_does_not_answer() {
    type Says = fn(&mut World, &Asked);
    let cases: [(Says, SmpError); 8] = [
        (
            |world, _| world.client.on_bytes(world.now, b"uart:~$ \r\n"),
            SmpError::SmpNoise,
        ),
        (
            |world, asked| world.answer(asked.code, asked.seq, EMPTY),
            SmpError::SmpEcho,
        ),
        (
            |world, asked| world.answer((1, 1, 0), asked.seq.wrapping_add(1), &body("states")),
            SmpError::SmpUnexpected,
        ),
        (
            |world, asked| world.answer((1, 1, 1), asked.seq, &body("states")),
            SmpError::SmpUnexpected,
        ),
        (
            |world, asked| world.say(asked, &[0x80]),
            SmpError::SmpMalformed,
        ),
        (
            |world, asked| world.say(asked, EMPTY),
            SmpError::SmpMalformed,
        ),
        (
            |world, _| world.client.on_bytes(world.now, b"\x06\x09AAAA\x06\x09"),
            SmpError::SmpFrame,
        ),
        (
            |world, _| {
                world
                    .client
                    .on_bytes(world.now, &[&[6, 9][..], &[b'A'; 300]].concat())
            },
            SmpError::SmpLineTooLong,
        ),
    ];
    for (says, error) in cases {
        let mut world = World::new(Job::State);
        let mut count = 0;
        let trouble = loop {
            if let Some(output) = world.poll() {
                break output;
            }
            for asked in world.asked() {
                count += 1;
                says(&mut world, &asked);
            }
            world.wait();
        };
        assert_eq!(count, 5, "{error}: it is not asked faster");
        let Output::Trouble(fault) = trouble else {
            panic!("{trouble:?}");
        };
        assert_eq!(fault.error, error);
    }
}

#[test]
fn refusals() {
    let hash = Hash::new(&[7; 32]).unwrap();
    let end = |error, refusal: (Option<u16>, u16)| (Some(error), refusal);
    let cases = [
        (Job::State, rc(8), end(SmpError::SmpNotSupported, (None, 8))),
        (Job::State, rc(11), end(SmpError::SmpRefused, (None, 11))),
        (Job::State, err(11), end(SmpError::SmpFlash, (Some(1), 11))),
        (
            Job::Test(hash),
            err(8),
            end(SmpError::SmpRefused, (Some(1), 8)),
        ),
        (Job::Test(hash), err(28), (None, (None, 0))),
        (
            Job::Confirm(hash),
            err(32),
            end(SmpError::SmpRefused, (Some(1), 32)),
        ),
        (UPLOAD, err(9), end(SmpError::SmpNoSlot, (Some(1), 9))),
        (UPLOAD, err(23), end(SmpError::SmpNotMcuboot, (Some(1), 23))),
        (UPLOAD, err(27), end(SmpError::SmpOlder, (Some(1), 27))),
        (
            UPLOAD,
            err(30),
            end(SmpError::SmpImageTooLarge, (Some(1), 30)),
        ),
        (UPLOAD, rc(3), end(SmpError::SmpRefused, (None, 3))),
        (UPLOAD, rc(2), end(SmpError::SmpNoSlot, (None, 2))),
        (UPLOAD, rc(10), end(SmpError::SmpRefused, (None, 10))),
        (UPLOAD, rc(7), end(SmpError::SmpBufferTooSmall, (None, 7))),
        (UPLOAD, err(13), end(SmpError::SmpFlash, (Some(1), 13))),
    ];
    for (job, answer, (error, (group, code))) in cases {
        let mut world = World::new(job);
        let mut count = 0;
        let output = loop {
            if let Some(output) = world.poll() {
                break output;
            }
            for asked in world.asked() {
                count += 1;
                match asked.code {
                    (_, 0, 6) => world.say(&asked, &buffers(384, 4)),
                    (_, 1, 5) => world.say(&asked, EMPTY),
                    _ => world.say(&asked, &answer),
                }
            }
            world.wait();
        };
        assert!(count <= 7, "{job:?} {code}: {count}");
        match (output, error) {
            (Output::Done(Done::Done), None) => {}
            (Output::Failed(fault), Some(error)) => {
                assert_eq!(
                    (fault.error, fault.refusal),
                    (error, Some(Refusal { group, rc: code }))
                );
            }
            _ => panic!("{job:?} {code}: {output:?}"),
        }
    }
}

#[test]
fn a_server_that_knows_another_version() {
    let mut world = World::new(Job::State);
    let asked = world.asked();
    assert_eq!(asked[0].version, 1);
    world.say(&asked[0], &rc(13));
    let asked = world.asked();
    assert_eq!(asked[0].version, 0);
    world.say(&asked[0], &rc(12));
    let asked = world.asked();
    assert_eq!(asked[0].version, 1);
    world.say(&asked[0], &body("states"));
    assert_eq!(world.end(), Output::Done(Done::Done));
}

/// The second reset would bring a new image down that nobody has confirmed.
#[test]
fn a_reset_is_asked_for_once() {
    let mut world = World::new(Job::Reset);
    assert_eq!(world.asked().len(), 1);
    world.wait();
    assert_eq!(world.end(), Output::Done(Done::Done));
    assert_eq!(world.asked(), []);

    // busy: it was not done, and is asked for again
    let mut world = World::new(Job::Reset);
    let asked = world.asked();
    world.say(&asked[0], &rc(10));
    assert_eq!(world.asked(), []);
    world.wait();
    let asked = world.asked();
    world.say(&asked[0], EMPTY);
    assert_eq!(world.end(), Output::Done(Done::Done));
}

#[test]
fn as_many_parts_as_the_server_has_buffers_but_one() {
    for (count, wanted) in [(1, 1), (2, 1), (3, 2), (4, 3), (16, 4)] {
        let (mut world, mut next) = World::uploading(384, count);
        let mut sent = 0;
        while next < LENGTH {
            let asked = world.asked();
            let left = (LENGTH - next).div_ceil(352) as usize;
            assert_eq!(asked.len(), wanted.min(left), "{count}");
            for (asked, end) in asked.iter().zip(ends(&world)) {
                assert_eq!((asked.offset, asked.packet <= 380), (next, true));
                sent += 1;
                next = end;
            }
            for (asked, end) in asked.iter().zip(ends(&world)) {
                world.say(asked, &offset(end));
            }
        }
        assert_eq!(world.end(), Output::Done(Done::Done));
        assert_eq!(sent, (LENGTH as usize - 272).div_ceil(352), "{count}");
    }
}

fn ends(world: &World) -> Vec<u32> {
    world.client.open.iter().map(|open| open.end).collect()
}

/// The first of three is lost: the answers to the others tell, and nobody waits for a time-out.
#[test]
fn a_part_that_is_lost_is_sent_again_at_once() {
    let (mut world, next) = World::uploading(384, 4);
    let asked = world.asked();
    assert_eq!(asked.len(), 3);
    world.say(&asked[1], &offset(next));
    assert_eq!(world.asked(), [], "one is on its way");
    world.say(&asked[2], &offset(next));
    let again = world.asked();
    assert_eq!((again.len(), again[0].offset), (3, next));
    // only the answer is lost: the next one's tells that it is there
    let ends = ends(&world);
    world.say(&again[1], &offset(ends[1]));
    let more = world.asked();
    assert_eq!(more[0].offset, ends[2]);
}

#[test]
fn after_a_time_out_one_at_a_time_and_smaller() {
    let (mut world, next) = World::uploading(1024, 8);
    assert_eq!(world.asked().len(), 4);
    world.wait();
    let again = world.asked();
    assert_eq!((again.len(), again[0].offset), (1, next));
    world.wait();
    let smaller = world.asked();
    assert!(smaller[0].packet <= 512 && smaller[0].offset == next);
    // a late answer to an old one is no answer
    world.say(&again[0], &offset(LENGTH));
    assert_eq!(world.asked(), []);
}

#[test]
fn a_message_that_is_too_large_is_made_smaller() {
    let (mut world, next) = World::uploading(1024, 1);
    let asked = world.asked();
    world.say(&asked[0], &rc(7));
    let asked = world.asked();
    assert!(asked[0].packet <= 512 && asked[0].offset == next);
    world.say(&asked[0], &offset(ends(&world)[0]));
    assert_eq!(world.asked().len(), 1);
}

#[test]
fn a_server_that_has_less_or_more_than_thought() {
    // it was reset
    let (mut world, _) = World::uploading(384, 1);
    let asked = world.asked();
    world.say(&asked[0], &offset(0));
    assert_eq!(world.end(), Output::Done(Done::Rewind(0)));
    // it had a part of it
    let mut world = World::new(UPLOAD);
    let asked = world.asked();
    world.say(&asked[0], &buffers(384, 4));
    let asked = world.asked();
    world.say(&asked[0], &offset(3_000));
    assert_eq!(world.asked()[0].offset, 3_000);
    assert_eq!(world.client.uploaded(), 3_000);
    // it has all of the piece, and less than the piece's begin
    for (has, done) in [(4_000, Done::Done), (100, Done::Rewind(100))] {
        let mut world = World::new(Job::Upload {
            start: 1_000,
            end: 3_000,
        });
        let asked = world.asked();
        world.say(&asked[0], &buffers(384, 4));
        let asked = world.asked();
        assert_eq!(asked[0].offset, 1_000);
        world.say(&asked[0], &offset(has));
        assert_eq!(world.end(), Output::Done(done));
    }
}

#[test]
fn what_arrived_is_not_the_image() {
    let (mut world, _) = World::uploading(384, 1);
    let asked = world.asked();
    let mut answer = offset(LENGTH);
    answer[0] = 0xA2;
    answer.extend([&[0x65][..], b"match", &[0xF4]].concat());
    world.say(&asked[0], &answer);
    let Output::Failed(fault) = world.end() else {
        panic!();
    };
    assert_eq!(fault.error, SmpError::SmpDiffers);
}

#[test]
fn flash_that_failed_is_erased_once() {
    let (mut world, _) = World::uploading(384, 1);
    let asked = world.asked();
    world.say(&asked[0], &err(12));
    let asked = world.asked();
    assert_eq!(asked[0].code, (2, 1, 5), "an erase");
    world.say(&asked[0], EMPTY);
    let asked = world.asked();
    assert_eq!((asked[0].code, asked[0].offset), ((2, 1, 1), 0));
    world.say(&asked[0], &err(12));
    let Output::Failed(fault) = world.end() else {
        panic!();
    };
    assert_eq!(fault.error, SmpError::SmpFlash);
}

#[test]
fn parameters_that_the_server_does_not_know() {
    let mut world = World::new(UPLOAD);
    let asked = world.asked();
    world.say(&asked[0], &rc(8));
    let asked = world.asked();
    assert!(asked.len() == 1 && asked[0].packet <= 252);
    // too small for an image's header
    let mut world = World::new(UPLOAD);
    let asked = world.asked();
    world.say(&asked[0], &buffers(80, 4));
    let Output::Failed(fault) = world.end() else {
        panic!();
    };
    assert_eq!(fault.error, SmpError::SmpBufferTooSmall);
    assert_eq!(world.asked(), [], "nothing of it is sent");
}

#[test]
fn an_image_that_cannot_be_read() {
    let mut world = World::new(Job::Upload {
        start: 0,
        end: LENGTH,
    });
    world.client.image(2 * LENGTH, None);
    world.client.begin(Job::Upload {
        start: LENGTH,
        end: 2 * LENGTH,
    });
    let asked = world.asked();
    world.say(&asked[0], &buffers(384, 4));
    let Output::Failed(fault) = world.end() else {
        panic!();
    };
    assert_eq!(fault.error, SmpError::SmpSource);
}

#[test]
fn a_fault_says_where_and_what() {
    let mut fault = Fault {
        refusal: Some(Refusal {
            group: Some(1),
            rc: 9,
        }),
        group: 1,
        command: 1,
        ..Fault::new(SmpError::SmpNoSlot)
    };
    let text = std::format!("{fault}");
    assert!(text.starts_with("652 SmpNoSlot: "), "{text}");
    assert!(
        text.ends_with("(group 1, command 1, code 9 of group 1)"),
        "{text}"
    );
    fault.refusal = Some(Refusal { group: None, rc: 9 });
    assert!(std::format!("{fault}").ends_with("command 1, SMP's code 9)"));
}
