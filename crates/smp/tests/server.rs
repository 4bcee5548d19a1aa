//! The client at the simulated server that `smpclient` checks, over a line of 115,200 baud.

use sha2::{Digest, Sha256};
use sota_host::sim_rom::Noise;
use sota_host::sim_smp::{Options, SimSmp, build};
use sota_smp::message::Hash;
use sota_smp::{Client, Config, Done, Job, Millis, Output, Source};

struct Image(Vec<u8>);

impl Source for Image {
    fn read(&mut self, offset: u32, out: &mut [u8]) -> bool {
        let at = offset as usize;
        let bytes = self.0.get(at..at + out.len());
        bytes.is_some_and(|bytes| {
            out.copy_from_slice(bytes);
            true
        })
    }
}

struct World {
    client: Client,
    smp: SimSmp,
    image: Image,
    now: Millis,
    noise: Noise,
    /// Bytes that went to the MCU, and tenths of a byte that the line may carry.
    sent: usize,
    credit: usize,
}

fn body(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| ((i + seed) * 31 + (i >> 8) * 7) as u8)
        .collect()
}

impl World {
    fn new(options: Options, window: u8) -> World {
        let image = build([2, 0, 0, 0], &body(3, 30_000));
        let mut client = Client::new(Config {
            window,
            ..Config::DEFAULT
        });
        client.image(image.len() as u32, Some(Sha256::digest(&image).into()));
        let mut world = World {
            client,
            smp: SimSmp::new(options, &build([1, 0, 0, 0], &body(1, 5_000))),
            image: Image(image),
            now: 0,
            noise: Noise::new(1, 0, 0),
            sent: 0,
            credit: 0,
        };
        (0..1_000).for_each(|_| _ = world.tick());
        world
    }

    fn upload(&self) -> Job {
        Job::Upload {
            start: 0,
            end: self.image.0.len() as u32,
        }
    }

    /// A millisecond.
    fn tick(&mut self) -> Option<Output> {
        self.now += 1;
        self.credit = (self.credit + 115).min(1_150);
        let output = self.client.poll(self.now, &mut self.image);
        let mut bytes = [0; 115];
        let count = self.client.next_tx(&mut bytes[..self.credit / 10]);
        self.credit -= 10 * count;
        self.sent += count;
        let mut sent = bytes[..count].to_vec();
        self.noise.pass(&mut sent);
        self.smp.on_bytes(self.now, &sent);
        let mut answer = self.smp.take();
        self.noise.pass(&mut answer);
        self.client.on_bytes(self.now, &answer);
        output
    }

    /// Until the job's end; gives the time that it took.
    fn run(&mut self, job: Job) -> Millis {
        let began = self.now;
        self.client.begin(job);
        loop {
            match self.tick() {
                Some(Output::Done(Done::Done)) => return self.now - began,
                Some(Output::Trouble(_)) | None => {}
                Some(output) => panic!("{output:?}"),
            }
            assert!(self.now - began < 3_600_000, "it does not end");
        }
    }
}

#[test]
fn an_upload_a_test_and_a_confirmation() {
    let mut world = World::new(Options::DEFAULT, 4);
    let job = world.upload();
    world.run(job);
    assert_eq!(world.smp.image(1), Some(&world.image.0[..]));
    let hash = Hash::new(&world.smp.info(1).unwrap().hash).unwrap();
    world.run(Job::Test(hash));
    world.run(Job::Reset);
    world.run(Job::State);
    let active = |world: &World| {
        let slots = world.client.slots();
        let slot = slots.iter().find(|slot| slot.active).unwrap();
        (slot.version.to_string(), slot.confirmed)
    };
    // before the reset, which the server does a little later
    assert_eq!(active(&world), ("1.0.0".into(), true));
    (0..1_000).for_each(|_| _ = world.tick());
    world.run(Job::State);
    assert_eq!(active(&world), ("2.0.0".into(), false));
    world.run(Job::Confirm(hash));
    assert_eq!(active(&world), ("2.0.0".into(), true));
}

/// While the server works on a part the next ones are on the line.
#[test]
fn several_parts_at_once_are_faster() {
    let options = Options {
        work_ms: 20,
        ..Options::DEFAULT
    };
    let [one, four] = [1, 4].map(|window| {
        let mut world = World::new(options, window);
        let job = world.upload();
        world.run(job)
    });
    println!("{one} ms with one part at once, {four} ms with as many as the buffers allow");
    assert!(four * 10 < one * 9, "{one} ms, {four} ms");
}

#[test]
fn a_line_that_loses_and_harms_bytes() {
    for seed in 0..20 {
        let mut world = World::new(Options::DEFAULT, 1 + seed as u8 % 4);
        world.noise = Noise::new(seed, 300, 100);
        let job = world.upload();
        world.run(job);
        assert_eq!(world.smp.image(1), Some(&world.image.0[..]), "{seed}");
    }
}

/// Given up and begun again by a client that knows nothing: the server says where it is.
#[test]
fn an_upload_that_was_interrupted_goes_on() {
    let mut world = World::new(Options::DEFAULT, 4);
    let job = world.upload();
    world.client.begin(job);
    while world.client.uploaded() < 15_000 {
        assert_eq!(world.tick(), None);
    }
    world.client.abandon();
    (0..500).for_each(|_| _ = world.tick());
    let before = world.sent;
    world.client = Client::new(Config::DEFAULT);
    let sha256 = Sha256::digest(&world.image.0).into();
    world.client.image(world.image.0.len() as u32, Some(sha256));
    world.run(job);
    let sent = world.sent - before;
    assert_eq!(world.smp.image(1), Some(&world.image.0[..]));
    assert!((15_000..24_000).contains(&sent), "{sent} bytes");
}

#[test]
fn a_slow_erase_is_waited_for() {
    let options = Options {
        erase_ms: 12_000,
        ..Options::DEFAULT
    };
    let mut world = World::new(options, 4);
    let job = world.upload();
    let operations = world.smp.operations();
    world.run(job);
    let parts = world.image.0.len().div_ceil(272);
    assert!(
        world.smp.operations() - operations < parts as u64 + 3,
        "erased once"
    );
}
