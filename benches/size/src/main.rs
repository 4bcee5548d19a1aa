//! The component in one image, as a product links it: three machines, their mailboxes, two flash partitions.
//! Every byte comes from the volatile port (`port.c`), so every AT command, object, message, restart and digest
//! stays reachable. Built, measured and listed by `scripts/size`; never run.
#![no_std]
#![no_main]

mod port;

use port::{Nor, give, take, word};
use sota::bridge::{Bridge, Output, Settings};
use sota::cloud::{self, Cloud, OVERHEAD, Peer};
use sota::engine::{Config, Engine};
use sota::mailbox::Mailbox;
use sota::message::{Event, Reply, ToCloud, ToEngine};
use sota::platform::{Flash, Readings};
use static_cell::StaticCell;

const BLOCK: usize = if cfg!(feature = "block-1024") {
    1024
} else {
    512
};

// Filled by `reset`, so zero before it: a static with an initial value would have it in flash a second time.
static ENGINE: StaticCell<Engine<BLOCK>> = StaticCell::new();
static BRIDGE: StaticCell<Bridge> = StaticCell::new();
static CLOUD: StaticCell<Cloud<BLOCK>> = StaticCell::new();
static DATAGRAM: StaticCell<[u8; BLOCK + OVERHEAD]> = StaticCell::new();
static TO_ENGINE: Mailbox<ToEngine<BLOCK>, 2> = Mailbox::new();
static TO_CLOUD: Mailbox<ToCloud, 2> = Mailbox::new();
static EVENTS: Mailbox<Event, 2> = Mailbox::new();

struct Partitions {
    staging: Nor,
    journal: Nor,
}

impl Flash for Partitions {
    type Staging = Nor;
    type Journal = Nor;
    fn staging(&mut self) -> &mut Nor {
        &mut self.staging
    }
    fn journal(&mut self) -> &mut Nor {
        &mut self.journal
    }
}

fn readings() -> Readings {
    Readings {
        battery_percent: Some(word() as u8),
        rsrp_dbm: Some(word() as i16),
    }
}

fn now() -> u64 {
    u64::from(word()) << 8 | u64::from(word())
}

/// The cloud thread's step.
#[inline(never)]
fn cloud_step(cloud: &mut Cloud<BLOCK>, datagram: &mut [u8; BLOCK + OVERHEAD]) {
    let now = now();
    let n = word() as usize % datagram.len();
    let from = if word() == 0 { Peer::Server } else { Peer::Source };
    if let Some(received) = datagram.get_mut(..n) {
        take(received);
        cloud.on_datagram(now, from, received);
    }
    if let Some(mut message) = TO_CLOUD.try_recv() {
        cloud.on_engine(now, &mut message);
    }
    cloud.on_readings(readings());
    cloud.poll(now, word(), TO_ENGINE.has_room());
    if TO_ENGINE.has_room()
        && let Some(message) = cloud.next_to_engine()
    {
        let _ = TO_ENGINE.try_send(message);
    }
    let wanted = cloud.next_lookup().map(|lookup| {
        give(lookup.host.as_bytes());
        give(&lookup.port.to_le_bytes());
        lookup.peer
    });
    if let Some(peer) = wanted {
        cloud.on_resolved(now, peer, word() == 0);
    }
    if let Some((_, n)) = cloud.next_datagram(datagram) {
        give(datagram.get(..n).unwrap_or_default());
    }
    give(&[u8::from(cloud.take_reboot())]);
    if let Some(at) = cloud.deadline().or(cloud.awake_until()) {
        give(&at.to_le_bytes());
    }
}

/// The engine thread's step.
#[inline(never)]
fn engine_step(engine: &mut Engine<BLOCK>, flash: &mut Partitions) {
    let now = now();
    if engine.can_take_block()
        && let Some(mut message) = TO_ENGINE.try_recv()
    {
        engine.on_cloud(now, readings(), flash, &mut message);
    }
    engine.poll(now, readings(), flash);
    if TO_CLOUD.has_room()
        && let Some(message) = engine.next_to_cloud()
    {
        let _ = TO_CLOUD.try_send(message);
    }
    if EVENTS.has_room()
        && let Some(event) = engine.next_event()
    {
        let _ = EVENTS.try_send(event);
    }
    if let Some(at) = engine.deadline() {
        give(&at.to_le_bytes());
    }
}

/// The bridge thread's step.
#[inline(never)]
fn bridge_step(bridge: &mut Bridge, engine: &mut Engine<BLOCK>, flash: &mut Partitions) {
    let mut bytes = [0; 64];
    take(&mut bytes);
    bridge.on_bytes(&bytes);
    match bridge.poll() {
        Some(Output::Command(command)) => {
            let reply = engine.command(now(), readings(), flash, &command, bridge.read_buffer());
            bridge.reply(reply);
        }
        Some(Output::Versions) => {
            for (component, version) in engine.versions() {
                bridge.version(component, version);
            }
            bridge.reply(Reply::Ok);
        }
        None => {}
    }
    if bridge.ready_for_event()
        && let Some(event) = EVENTS.try_recv()
    {
        let _ = bridge.on_event(&event);
    }
    let n = bridge.next_bytes(&mut bytes);
    give(&bytes[..n.min(64)]);
}

#[unsafe(no_mangle)] // the linker script's entry
extern "C" fn reset() -> ! {
    let mut flash = Partitions {
        staging: Nor(0),
        journal: Nor(1),
    };
    let engine = ENGINE.init_with(|| Engine::start(Config::default(), now(), &mut flash));
    let cloud = CLOUD.init_with(|| {
        let config = cloud::Config {
            advanced_firmware_update: word() == 0,
            queue_mode: word() == 0,
            ..cloud::Config::default()
        };
        Cloud::new(config, word())
    });
    let bridge = BRIDGE.init_with(|| Bridge::new(Settings::new()));
    let datagram = DATAGRAM.init_with(|| [0; BLOCK + OVERHEAD]);
    loop {
        cloud_step(cloud, datagram);
        engine_step(engine, &mut flash);
        bridge_step(bridge, engine, &mut flash);
    }
}
