//! What a seed stands for: a setup and a list of faults.
//!
//! A third of the seeds have no more than one fault, so that what a single one does is seen often; the rest have up to
//! five, the number of failures that the Center forgives.

use crate::fault::{Fault, Operator, Way, What, When};
use crate::net::Profile;
use crate::node::Node;
use crate::rng::Rng;
use crate::setup::{LeftOut, Protocol, Setup};
use crate::uart::LineFaults;
use crate::{Micros, fault::Edge};

/// One second.
pub const SECOND: Micros = 1_000_000;

/// The world of a seed.
///
/// Which protocol is drawn from a stream of its own, so that a world over AT commands is the one that this seed always was.
pub fn world_of(seed: u64) -> (Setup, Vec<Fault>) {
    let mut rng = Rng::new(seed).fork("draw");
    let mut setup = setup(&mut rng);
    setup.protocol = protocol(&mut Rng::new(seed).fork("protocol"));
    let faults = faults(&mut rng, &setup);
    (setup, faults)
}

/// One of these.
fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.below(of.len() as u64) as usize]
}

/// One of three speaks the link; one of twelve of those has images that never confirm, every other may change to
/// 921,600 baud.
fn protocol(rng: &mut Rng) -> Protocol {
    match rng.below(3) {
        0 => Protocol::Link {
            confirms: rng.below(12) > 0,
            greatest_baud: pick(rng, &[0, 921_600]),
        },
        _ => Protocol::At,
    }
}

fn setup(rng: &mut Rng) -> Setup {
    let network = pick(
        rng,
        &[
            Profile::PERFECT,
            Profile::LAN,
            Profile::LAN,
            Profile::NB_IOT,
            Profile::BAD,
        ],
    );
    let devices = pick(rng, &[1, 1, 1, 1, 2, 3]);
    Setup {
        package: pick(rng, &[1, 700, 4_096, 10_000, 16_384, 20_001, 32_768]),
        piece: pick(rng, &[2_048, 4_096, 8_192, 16_384, 32_768]),
        devices,
        left_out: match devices {
            1 => LeftOut::None,
            _ => pick(
                rng,
                &[
                    LeftOut::None,
                    LeftOut::Blacklisted,
                    LeftOut::NotWhitelisted,
                    LeftOut::Both,
                ],
            ),
        },
        network,
        baud: pick(rng, &[9_600, 115_200, 921_600]),
        nat_idle: pick(rng, &[None, None, Some(20 * SECOND), Some(120 * SECOND)]),
        queue_mode: rng.chance(250_000),
        nb_iot: network == Profile::NB_IOT || rng.chance(200_000),
        lifetime_s: pick(rng, &[60, 300, 3_600, 86_400]),
        second: rng.chance(150_000),
        activate_at: rng.below(20) * SECOND,
        ..Setup::default()
    }
}

/// Roughly how long the upgrade of this setup takes when nothing goes wrong.
fn about(setup: &Setup) -> Micros {
    let line = u64::from(setup.package) * 11_000_000 / u64::from(setup.baud);
    let per_block = match setup.network {
        Profile::NB_IOT | Profile::BAD => 2 * SECOND,
        _ => SECOND / 20,
    };
    setup.activate_at + line + u64::from(setup.package) / 512 * per_block + 2 * SECOND
}

fn faults(rng: &mut Rng, setup: &Setup) -> Vec<Fault> {
    let count = match rng.below(3) {
        0 => rng.below(2),
        1 => 1 + rng.below(3),
        _ => 2 + rng.below(4),
    };
    let length = about(setup);
    (0..count)
        .map(|_| {
            let when = When::At(rng.below(length));
            let fault = Fault {
                when,
                what: what(rng, setup),
            };
            place(rng, setup, fault)
        })
        .collect()
}

/// A cut may come at a count and not at a time.
fn place(rng: &mut Rng, setup: &Setup, fault: Fault) -> Fault {
    let What::Cut(node, _) = fault.what else {
        return fault;
    };
    let edge = pick(rng, &Edge::ALL);
    let blocks = u64::from(setup.package / 512) + 1;
    let when = match (rng.below(4), node) {
        (0, _) => fault.when,
        (1, _) => When::Datagram(rng.below(30 + 2 * blocks), edge),
        (2, _) => When::Frame(rng.below(60 + blocks), edge),
        (_, Node::Center) => {
            // There is no middle of a commit.
            let edge = pick(rng, &[Edge::Before, Edge::After]);
            When::Commit(8 + rng.below(20), edge)
        }
        (_, Node::Module(_)) => When::Flash(node, rng.below(40 + 4 * blocks), edge),
        // The swap of the link's bootloader copies every page twice.
        (_, Node::Mcu(_)) if setup.is_link() => {
            When::Flash(node, rng.below(60 + 20 * blocks), edge)
        }
        (_, Node::Mcu(_)) => When::Flash(node, rng.below(20 + 3 * blocks), edge),
    };
    Fault { when, ..fault }
}

fn what(rng: &mut Rng, setup: &Setup) -> What {
    let some_ms = |rng: &mut Rng, most: u64| (1 + rng.below(most)) * 1_000;
    let device = rng.below(setup.devices as u64) as usize;
    match rng.below(100) {
        0..30 => {
            let node = pick(
                rng,
                &[
                    Node::Module(device),
                    Node::Module(device),
                    Node::Mcu(device),
                    Node::Mcu(device),
                    Node::Center,
                ],
            );
            let most = pick(rng, &[50, 3_000, 100_000]);
            What::Cut(node, some_ms(rng, most))
        }
        30..40 => {
            let profile = pick(rng, &[Profile::BAD, Profile::NB_IOT]);
            What::Network(profile, some_ms(rng, 60_000))
        }
        40..50 => {
            let most = pick(rng, &[5_000, 60_000, 1_000_000]);
            What::NetworkDown(some_ms(rng, most))
        }
        50..55 => What::Rebind,
        55..58 => What::NewAddress,
        58..68 => {
            let ppm = |rng: &mut Rng| pick(rng, &[0, 0, 100, 2_000]);
            let noise = LineFaults {
                lost_ppm: ppm(rng),
                doubled_ppm: ppm(rng),
                flipped_ppm: ppm(rng),
                inserted_ppm: ppm(rng),
            };
            What::Uart(noise, some_ms(rng, 20_000))
        }
        68..74 => {
            let way = pick(rng, &[Way::ToMcu, Way::ToModule]);
            What::Silence(way, some_ms(rng, 90_000))
        }
        74..79 => {
            let way = pick(rng, &[Way::ToMcu, Way::ToModule]);
            What::Babble(way, 1 + rng.below(600) as u32)
        }
        79..82 => What::CenterClock(pick(rng, &[-3_600_000, -1_000, 60_000, 86_400_000])),
        82..85 => What::ModuleClock(pick(rng, &[1_000, 60_000, 3_600_000])),
        85..88 => What::FlipStaging {
            offset: rng.below(u64::from(setup.piece)) as u32,
            bit: rng.below(8) as u8,
        },
        88..90 => What::FlipJournal {
            offset: rng.below(8 * 1024) as u32,
            bit: rng.below(8) as u8,
        },
        90..92 => What::FlipMcu {
            offset: rng.below(2 * u64::from(setup.package) + 2_048) as u32,
            bit: rng.below(8) as u8,
        },
        92..93 => What::StagingSectorDies(rng.below(u64::from(setup.piece / 1024)) as u32),
        93..94 => What::McuSectorDies(rng.below(u64::from(setup.package / 1024) + 2) as u32),
        _ => What::Operator(pick(
            rng,
            &[
                Operator::Cancel,
                Operator::Retry,
                Operator::Suspend,
                Operator::Resume,
                Operator::Terminate,
                Operator::Disable,
                Operator::Enable,
                Operator::Request,
                Operator::Refuse,
            ],
        )),
    }
}
