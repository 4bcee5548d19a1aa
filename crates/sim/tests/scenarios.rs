//! The table of scenarios: one line a case. Adding a case is adding a line.
//!
//! ```text
//! name: { the setup where it differs from USUAL } [what goes wrong] => how it must end, what else must be seen;
//! ```
//!
//! Every line also holds every rule of `sota_sim::rules`, and every fault in it must have happened. A failing line prints
//! its setup, faults and story. A failing seed found once becomes a line here, `name of seed`, with the faults that
//! `sota sim --seed` says it needs. `docs/testing.md` tells more.
//!
//! Without a fault the usual world goes like this (`CALM`: a block takes 0.2 s):
//!
//! | s | |
//! |---|---|
//! | 5.0 | the plan is activated |
//! | 5.1 | 10700, asked for again and confirmed |
//! | 5.5 | 10701, asked for again; 10702 at 5.9 |
//! | 7.6, 9.8, 12.1, 14.3 | 10703 of the four pieces; at 9,600 baud the MCU reads each for 4.5 s |
//! | 14.3 | 10704, 10705 |

use sota_center::domain::DeviceState;
use sota_sim::Micros;
use sota_sim::fault::{Edge, Fault, Operator, Way, What, When};
use sota_sim::net::Profile;
use sota_sim::node::Node;
use sota_sim::run::story;
use sota_sim::setup::{LeftOut, Protocol, Setup, VERSIONS};
use sota_sim::uart::LineFaults;
use sota_sim::world::Outcome;

const MODULE: Node = Node::Module(0);
const MCU: Node = Node::Mcu(0);
const CENTER: Node = Node::Center;

/// 0.1 s each way and nothing else: slow enough for a fault to find every state.
const CALM: Profile = Profile {
    delay_us: (100_000, 100_000),
    ..Profile::PERFECT
};
/// Every datagram arrives twice.
const DOUBLING: Profile = Profile {
    duplicate_ppm: 1_000_000,
    ..CALM
};
/// Datagrams pass each other.
const SHUFFLING: Profile = Profile {
    delay_us: (50_000, 400_000),
    duplicate_ppm: 300_000,
    reorder_ppm: 500_000,
    ..CALM
};
/// NB-IoT with poor coverage: 12 to 14 s for a round trip, nothing lost.
const DEEP: Profile = Profile {
    delay_us: (6_000_000, 7_000_000),
    ..CALM
};
/// A wire with a bad contact.
const NOISE: LineFaults = LineFaults {
    lost_ppm: 500,
    doubled_ppm: 500,
    flipped_ppm: 500,
    inserted_ppm: 500,
};
/// Nothing happens, but a world in which a person acted goes on until then.
const STAY: What = What::Readings(80, -90);
/// The MCU's flash operations of the usual world: the last two erase and write the record that swaps.
const SWAP_ERASE: u64 = 54;
const SWAP_WRITE: u64 = 55;

/// The world of every line: 16 KiB in pieces of 4 KiB over a calm network.
fn usual() -> Setup {
    Setup {
        package: 16 * 1024,
        piece: 4 * 1024,
        network: CALM,
        ..Setup::default()
    }
}

/// How every device that the plan does not leave out must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// The Center says upgraded and the MCU runs the package.
    Upgraded,
    /// The Center says failed and the MCU runs what it ran before.
    Failed,
    /// Nothing was begun: the MCU runs what it ran before.
    Untouched,
}

/// What else must be seen.
#[derive(Clone, Copy, Debug)]
enum Also {
    /// The first fault came while the module was in this state.
    In(&'static str),
    /// At most this many requests for a block that was asked for before. Retransmissions do not count; one more exchange after
    /// all of them does, and so does the Center's Echo after a restart or with a new address.
    Again(u64),
    /// A line of the story has this.
    Told(&'static str),
    /// No line of the story has this.
    Never(&'static str),
    /// So many lines of the story have this.
    Times(&'static str, usize),
    /// A line with the first, and one with the second somewhere after it.
    Then(&'static str, &'static str),
    /// At most this many datagrams.
    Datagrams(u64),
}
use Also::{Again, Datagrams, In, Never, Then, Times, Told};

const fn ms(ms: u64) -> Micros {
    ms * 1_000
}

const fn s(s: u64) -> Micros {
    s * 1_000_000
}

fn at(at: Micros, what: What) -> Fault {
    Fault {
        when: When::At(at),
        what,
    }
}

fn person(when: Micros, act: Operator) -> Fault {
    at(when, What::Operator(act))
}

fn cut(node: Node, when: When, off: Micros) -> Fault {
    Fault {
        when,
        what: What::Cut(node, off),
    }
}

/// A UART that loses, doubles, flips and inserts these bytes of a million, for a while.
fn noise(when: Micros, ppm: [u32; 4], time: Micros) -> Fault {
    let [lost_ppm, doubled_ppm, flipped_ppm, inserted_ppm] = ppm;
    let faults = LineFaults {
        lost_ppm,
        doubled_ppm,
        flipped_ppm,
        inserted_ppm,
    };
    at(when, What::Uart(faults, time))
}

/// This datagram is lost.
fn lost(datagram: u64) -> Fault {
    Fault {
        when: When::Datagram(datagram, Edge::Before),
        what: What::NetworkDown(1),
    }
}

/// The MCU's half of a device as it ended.
fn ended(setup: &Setup, outcome: &Outcome, index: usize) -> Option<Ends> {
    let (version, bytes) = &outcome.boots[index];
    let target = VERSIONS[if setup.second { 2 } else { 1 }];
    let new = version == target && *bytes == setup.package as usize;
    let old = version == VERSIONS[0];
    match outcome.states[index] {
        Some(DeviceState::Upgraded) if new => Some(Ends::Upgraded),
        Some(DeviceState::UpgradeFailed) if old => Some(Ends::Failed),
        None | Some(DeviceState::NotUpgraded) if old => Some(Ends::Untouched),
        _ => None,
    }
}

fn seen(also: Also, story: &[String], outcome: &Outcome) -> bool {
    let first = |what: &str| story.iter().position(|line| line.contains(what));
    let count = |what: &str| story.iter().filter(|line| line.contains(what)).count();
    match also {
        In(state) => {
            let before = &story[..first("  fault ").unwrap_or(0)];
            let last = before.iter().rev().find_map(|line| {
                let told = line.split_once("module    ")?.1;
                told.strip_prefix("state ")
                    .or(told.strip_prefix("goes on in "))
            });
            last.unwrap_or("None").split(' ').next() == Some(state)
        }
        Again(most) => outcome.again <= most,
        Told(what) => first(what).is_some(),
        Never(what) => first(what).is_none(),
        Times(what, times) => count(what) == times,
        Then(one, other) => {
            let after = first(one).map_or(0, |place| place + 1);
            after > 0 && story[after..].iter().any(|line| line.contains(other))
        }
        Datagrams(most) => outcome.datagrams <= most,
    }
}

fn check(seed: u64, setup: &Setup, faults: &[Fault], ends: Ends, also: &[Also]) {
    let (story, outcome) = story(setup, seed, faults);
    let mut wrong = Vec::new();
    if let Some(broken) = &outcome.broken {
        wrong.push(format!("a rule is broken: {broken}"));
    }
    let happened = story.iter().filter(|l| l.contains("  fault ")).count();
    if happened != faults.len() {
        wrong.push(format!("{happened} of {} faults happened", faults.len()));
    }
    for index in 0..setup.devices {
        let expected = match setup.leaves_out(index) {
            true => Ends::Untouched,
            false => ends,
        };
        if ended(setup, &outcome, index) != Some(expected) {
            wrong.push(format!("device {index} did not end {expected:?}"));
        }
    }
    for also in also {
        if !seen(*also, &story, &outcome) {
            wrong.push(format!("not so: {also:?}"));
        }
    }
    if !wrong.is_empty() {
        println!("{setup:#?}");
        faults.iter().for_each(|fault| println!("fault: {fault}"));
        story.iter().for_each(|line| println!("{line}"));
        panic!("{wrong:#?}\n{outcome:?}");
    }
}

macro_rules! scenarios {
    ($($name:ident $(of $seed:literal)?: { $($field:ident: $value:expr),* } [$($fault:expr),* $(,)?] => $ends:ident $(, $also:expr)*;)*) => {
        $(
            #[test]
            fn $name() {
                #[allow(clippy::needless_update)]
                let setup = Setup { $($field: $value,)* ..usual() };
                let seed = *[1 $(, $seed)?].last().unwrap_or(&1);
                check(seed, &setup, &[$($fault),*], Ends::$ends, &[$($also),*]);
            }
        )*
        const LINES: &[&str] = &[$(stringify!($name)),*];
    };
}

// The table is what keeps old faults from coming back: it grows.
const _: () = assert!(LINES.len() >= 110);

scenarios! {
    // Nothing goes wrong.
    plain: {} [] => Upgraded, Again(0), Times("event UpdateOk", 1), Times("event DownloadStart", 2), Times("event Downloaded", 4);
    one_byte: { package: 1 } [] => Upgraded, Times("event Downloaded", 1);
    one_piece: { package: 64 * 1024, piece: 64 * 1024, network: Profile::LAN } [] => Upgraded, Times("event Downloaded", 1);
    slow_uart: { baud: 9_600 } [] => Upgraded, Again(0);
    nb_iot: { network: Profile::NB_IOT, nb_iot: true } [] => Upgraded;
    bad_network: { package: 4 * 1024, network: Profile::BAD, nb_iot: true } [] => Upgraded;
    strict: { strict: true } [] => Upgraded;
    queue_mode: { queue_mode: true } [] => Upgraded;
    second_plan_follows: { package: 8 * 1024, second: true } [] => Upgraded, Times("event UpdateOk", 2);
    state_reports_come_once: {} [] => Upgraded, Times("says Updating", 1), Times("says Success", 1), Times("says Confirmed", 1);

    // Users of today's clients: pull starts at block 0 after every break.
    pull_goes_on_after_a_break: {} [at(ms(8_500), What::NetworkDown(s(300)))] => Upgraded, In("Downloading"), Again(6), Times("event DownloadStart", 2);
    pull_goes_on_after_a_new_address: {} [at(ms(8_500), What::NewAddress)] => Upgraded, In("Downloading"), Again(1);
    pull_goes_on_after_a_rebinding: { nat_idle: Some(s(120)) } [at(ms(8_500), What::Rebind)] => Upgraded, In("Downloading"), Again(1);
    pull_goes_on_after_the_center_was_away: {} [cut(CENTER, When::At(ms(8_500)), s(60))] => Upgraded, In("Downloading"), Again(3);
    // … gives up on the first exhausted retransmission.
    exhausted_retransmissions_are_not_the_end: {} [at(ms(8_500), What::NetworkDown(s(3_600)))] => Upgraded, In("Downloading"), Again(40), Never("event UpdateFail");
    exhausted_twice: {} [at(ms(8_500), What::NetworkDown(s(400))), at(s(600), What::NetworkDown(s(400)))] => Upgraded, In("Downloading"), Never("event UpdateFail");
    // … state is lost at reboot.
    state_survives_a_reboot: {} [cut(MODULE, When::At(ms(8_500)), s(1))] => Upgraded, In("Downloading"), Again(2), Times("reports PlanReceived", 1), Never("event UpdateFail");
    state_survives_a_night_without_power: {} [cut(MODULE, When::At(ms(8_500)), s(8 * 3_600))] => Upgraded, In("Downloading"), Again(2), Times("reports PlanReceived", 1);
    // … a repeated block 0 or last block is given to the application twice.
    every_datagram_twice: { network: DOUBLING } [] => Upgraded, Again(0), Times("event Downloaded", 4), Times("event UpdateOk", 1);
    one_block_twice: { package: 300, network: DOUBLING } [] => Upgraded, Again(0), Times("event Downloaded", 1), Times("event UpdateOk", 1);
    datagrams_pass_each_other: { network: SHUFFLING } [] => Upgraded, Again(0), Times("event Downloaded", 4), Times("event UpdateOk", 1);
    // … 4.13 is not obeyed: only uploads (Block1) are answered with it, and nothing here is uploaded. `crates/coap/src/upload.rs`,
    // `too_large_is_obeyed_when_smaller`, is the test of that; `server_shrinks_the_first_and_a_later_block` in `download.rs`
    // is its sister for the pull.
    // … queue mode breaks pull.
    queue_mode_over_nb_iot: { queue_mode: true, network: Profile::NB_IOT, nb_iot: true } [] => Upgraded;
    queue_mode_and_a_nat: { queue_mode: true, nat_idle: Some(s(20)), activate_at: s(200) } [] => Upgraded, Again(0);
    queue_mode_and_a_break: { queue_mode: true } [at(ms(8_500), What::NetworkDown(s(300)))] => Upgraded, In("Downloading"), Again(6);
    // … a 10 s ACK time-out is too short on NB-IoT.
    round_trips_of_14_s: { package: 8 * 1024, network: DEEP, nb_iot: true } [] => Upgraded, Again(0), Datagrams(90);
    // … the NAT mapping is gone after 20 to 120 s.
    nat_forgets_after_20_s: { nat_idle: Some(s(20)), activate_at: s(200) } [] => Upgraded, Again(0);
    nat_forgets_after_120_s: { nat_idle: Some(s(120)), lifetime_s: 86_400, activate_at: s(500) } [] => Upgraded, Again(0);
    nat_forgets_while_the_mcu_reads: { nat_idle: Some(s(20)), baud: 1_200, read_size: 128 } [] => Upgraded, Again(0);
    // … one lost Update leads to bootstrap.
    one_lost_update: { lifetime_s: 60, activate_at: s(200) } [lost(4)] => Upgraded;
    every_update_lost_for_an_hour: { lifetime_s: 60, activate_at: s(5_000) } [at(s(20), What::NetworkDown(s(3_600)))] => Upgraded;
    // … a power cut while updating is never retried by the server.
    module_cut_while_updating: {} [cut(MODULE, When::Flash(MCU, SWAP_ERASE, Edge::After), s(1))] => Upgraded;
    mcu_cut_while_updating: {} [cut(MCU, When::Flash(MCU, SWAP_WRITE, Edge::Middle), s(1))] => Upgraded, Told("event Updating"), Again(0);
    mcu_away_longer_than_20_minutes: {} [cut(MCU, When::Flash(MCU, SWAP_ERASE, Edge::Middle), s(1_800))] => Upgraded, Then("event UpdateFail", "event UpdateOk");
    both_cut_while_updating: {} [cut(MCU, When::Flash(MCU, SWAP_WRITE, Edge::Before), s(20)), cut(MODULE, When::At(s(20)), s(5))] => Upgraded, Told("event Updating"), Again(0);
    // … a 2-minute server time-out stops anything over 70 KB.
    over_70_kb_in_many_minutes: { package: 100_000, piece: 32 * 1024, network: Profile::NB_IOT, nb_iot: true } [] => Upgraded;
    // … all devices start at once.
    ten_devices_at_once: { package: 8 * 1024, devices: 10 } [] => Upgraded, Times("event UpdateOk", 10);
    ten_devices_after_the_center_was_away: { package: 8 * 1024, devices: 10 } [cut(CENTER, When::At(s(6)), s(900))] => Upgraded, Times("event UpdateOk", 10);

    // QuecThing's faults: short reads, and a last read that is no whole buffer.
    short_reads: { package: 10_001, read_size: 1_000 } [] => Upgraded, Told("Read(96)");
    odd_reads: { package: 5_003, read_size: 77 } [] => Upgraded, Again(0);
    last_read_is_short: { package: 16 * 1024 + 1 } [] => Upgraded, Told("Read(1)");
    // … never verifies.
    bit_flips_in_staging: {} [at(ms(14_200), What::FlipStaging { offset: 100, bit: 3 })] => Upgraded, In("Downloading");
    bit_flips_in_staging_while_the_mcu_reads: { baud: 9_600 } [at(s(8), What::FlipStaging { offset: 3_900, bit: 0 })] => Upgraded, In("Downloaded"), Told("Error(");
    bit_flips_in_the_mcu: {} [at(s(12), What::FlipMcu { offset: 2 * 1024 + 16 * 1024 + 5_000, bit: 7 })] => Upgraded, In("Downloading"), Told("Error("), Again(32);
    bit_flips_in_the_journal: {} [at(s(9), What::FlipJournal { offset: 80, bit: 1 }), cut(MODULE, When::At(ms(9_100)), s(1))] => Upgraded;
    noisy_uart: {} [at(0, What::Uart(NOISE, s(30)))] => Upgraded;
    // … restart from 0 after power loss.
    module_cut_in_download: {} [cut(MODULE, When::At(s(11)), ms(500))] => Upgraded, In("Downloading"), Again(2), Times("fetches 0..4096", 1);
    module_cut_torn_write: {} [cut(MODULE, When::Flash(MODULE, 60, Edge::Middle), ms(500))] => Upgraded, Again(2);
    mcu_cut_in_read: {} [cut(MCU, When::Flash(MCU, 30, Edge::Middle), ms(500))] => Upgraded, Again(0), Never("event UpdateFail");
    both_cut_together: {} [cut(MODULE, When::At(s(11)), s(2)), cut(MCU, When::At(s(11)), s(2))] => Upgraded, In("Downloading"), Again(2), Times("fetches 0..4096", 1);
    five_cuts: {} [cut(MODULE, When::At(s(6)), ms(300)), cut(MCU, When::At(s(8)), ms(300)), cut(MODULE, When::At(s(11)), ms(300)), cut(MCU, When::At(s(13)), ms(300)), cut(CENTER, When::At(s(14)), ms(300))] => Upgraded, Again(3), Times("reports PlanReceived", 1);
    // … no rollback: a flash that fails leaves the old image.
    mcu_sector_dies: { retries: 1 } [at(s(6), What::McuSectorDies(20))] => Failed, In("Downloading");
    staging_sector_dies: { retries: 1 } [at(s(6), What::StagingSectorDies(1))] => Failed, In("Downloading");
    // … no event when a plan expires or is cancelled.
    cancelled_in_download: {} [person(ms(8_500), Operator::Cancel)] => Failed, In("Downloading"), Times("event UpdateFail", 1), Told("cancels 5-1");
    cancelled_before_the_download: {} [person(ms(5_200), Operator::Cancel)] => Failed, In("Confirmed"), Times("event UpdateFail", 1);
    expires_in_download: { end_at: Some(ms(8_500)) } [] => Upgraded, Never("event UpdateFail");
    expires_before_the_device_comes: { end_at: Some(s(9)), network: DEEP, nb_iot: true } [] => Untouched, Never("event Plan");
    expires_while_the_device_is_away: { end_at: Some(s(60)) } [at(s(3), What::NetworkDown(s(100)))] => Untouched, Never("event Plan");
    // … the old version announced at boot in the middle of an upgrade fails it.
    old_version_in_download: {} [cut(MCU, When::At(ms(8_500)), ms(500))] => Upgraded, In("Downloading"), Never("event UpdateFail"), Times("event DownloadStart", 3), Again(0);
    old_version_while_reading: { baud: 9_600 } [cut(MCU, When::At(s(8)), ms(500))] => Upgraded, In("Downloaded"), Never("event UpdateFail"), Times("event DownloadStart", 3), Times("event Downloaded", 5), Again(0);
    old_version_while_updating: {} [cut(MCU, When::Flash(MCU, SWAP_ERASE, Edge::Before), ms(500))] => Upgraded, Told("event Updating"), Never("event UpdateFail"), Again(0);

    // Restarts of the module: the table of the design.
    restart_with_a_plan: {} [cut(MODULE, When::At(5_100_500), s(1))] => Upgraded, In("PlanReceived"), Times("event Plan", 3), Never("event UpdateFail");
    restart_when_confirmed: {} [cut(MODULE, When::At(ms(5_200)), s(1))] => Upgraded, In("Confirmed"), Times("event Plan", 2), Never("event UpdateFail");
    restart_before_the_first_block: {} [cut(MODULE, When::At(ms(5_700)), s(1))] => Upgraded, In("DownloadStarts"), Then("goes on in Downloading at 0", "event Downloading"), Never("event UpdateFail");
    restart_with_a_piece: { baud: 9_600 } [cut(MODULE, When::At(s(8)), s(1))] => Upgraded, In("Downloaded"), Told("goes on in Downloaded"), Times("event Downloaded", 5), Again(1);
    restart_while_updating: {} [cut(MCU, When::Flash(MCU, SWAP_ERASE, Edge::Before), s(30)), cut(MODULE, When::At(s(20)), s(1))] => Upgraded, Told("goes on in Updating"), Times("event Updating", 2), Never("event UpdateFail");
    restart_at_success: { baud: 9_600 } [cut(MODULE, When::At(s(32)), s(1))] => Upgraded, Times("event UpdateOk", 1);

    // The version rule.
    target_version_ends_it: {} [cut(MODULE, When::Flash(MCU, SWAP_WRITE, Edge::After), s(10))] => Upgraded;
    source_version_changes_nothing: {} [person(ms(8_500), Operator::Announce("V1_0"))] => Upgraded, In("Downloading"), Never("event UpdateFail"), Times("event DownloadStart", 3), Again(0);
    other_version_fails_at_once: {} [person(ms(8_500), Operator::Announce("V9_9")), at(s(4_000), STAY)] => Upgraded, In("Downloading"), Then("event UpdateFail", "event UpdateOk");
    other_version_before_a_plan: {} [person(s(2), Operator::Announce("V9_9"))] => Upgraded, In("None"), Never("event UpdateFail");
    source_version_while_updating_has_grace: {} [cut(MCU, When::Flash(MCU, SWAP_ERASE, Edge::Before), s(600)), person(s(20), Operator::Announce("V1_0")), at(s(8_000), STAY)] => Upgraded, Then("event UpdateFail", "event UpdateOk");

    // QuecThing to the letter.
    strict_starts_again_from_0: { strict: true } [cut(MODULE, When::At(s(11)), s(1))] => Upgraded, In("Downloading"), Told("DownloadError"), Times("fetches 0..4096", 2);
    strict_old_version_fails: { strict: true } [cut(MCU, When::At(ms(8_500)), ms(500))] => Upgraded, In("Downloading"), Then("event UpdateFail", "event UpdateOk");
    strict_updating_goes_on: { strict: true } [cut(MCU, When::Flash(MCU, SWAP_WRITE, Edge::Before), s(30)), cut(MODULE, When::At(s(20)), s(1))] => Upgraded, Told("goes on in Updating");

    // The Center's power.
    center_cut_at_activation: {} [cut(CENTER, When::Commit(7, Edge::After), s(5))] => Upgraded;
    center_cut_before_the_confirmation_is_stored: {} [cut(CENTER, When::Commit(12, Edge::Before), s(5))] => Upgraded, Again(1);
    center_cut_at_success: {} [cut(CENTER, When::At(ms(14_400)), s(100))] => Upgraded, Told("says Success");

    // The network.
    network_down_for_an_hour: {} [at(ms(5_300), What::NetworkDown(s(3_600)))] => Upgraded, In("Confirmed");
    network_down_for_ten_hours: {} [at(ms(8_500), What::NetworkDown(s(10 * 3_600)))] => Upgraded, In("Downloading"), Never("event UpdateFail");
    network_gets_bad: {} [at(ms(8_500), What::Network(Profile::BAD, s(120)))] => Upgraded, In("Downloading");

    // The UART.
    silent_mcu: {} [at(ms(7_600), What::Silence(Way::ToModule, s(90)))] => Upgraded, In("Downloaded");
    deaf_mcu: {} [at(ms(7_600), What::Silence(Way::ToMcu, s(40)))] => Upgraded, In("Downloaded"), Again(0);
    mcu_hears_no_plan: {} [at(s(5), What::Silence(Way::ToMcu, s(30)))] => Upgraded, In("None");
    slow_line_and_long_reads: { baud: 1_200 } [] => Upgraded, Again(0), Never("ModuleSilent");
    the_mcu_is_ahead_of_a_new_offer: { baud: 9_600 } [at(ms(25_000), What::Silence(Way::ToModule, s(100))), at(ms(25_000), What::Silence(Way::ToMcu, s(100)))] => Upgraded, In("Downloaded");
    babble_to_the_module: {} [at(ms(7_570), What::Babble(Way::ToModule, 600))] => Upgraded, In("Downloaded"), Again(0);
    babble_to_the_mcu: {} [at(ms(7_570), What::Babble(Way::ToMcu, 600))] => Upgraded, In("Downloaded"), Told("Error("), Again(32);

    // A person.
    terminated_before_it_begins: { readings: (10, -90) } [person(s(20), Operator::Terminate)] => Failed, Never("event Plan");
    terminated_in_download: {} [person(ms(8_500), Operator::Terminate)] => Upgraded, In("Downloading"), Never("event UpdateFail");
    suspended_in_download: {} [person(ms(8_500), Operator::Suspend)] => Upgraded, In("Downloading"), Never("event UpdateFail");
    suspended_and_resumed: { readings: (10, -90) } [person(s(20), Operator::Suspend), at(s(100), What::Readings(80, -90)), person(s(2_000), Operator::Resume)] => Upgraded;
    cancelled_and_tried_again: {} [person(ms(8_500), Operator::Cancel), person(s(60), Operator::Retry)] => Upgraded, Then("event UpdateFail", "event UpdateOk");
    cancelled_too_late: { baud: 9_600 } [person(s(32), Operator::Cancel)] => Upgraded, Never("event UpdateFail");
    disabled_before_the_plan: {} [person(s(2), Operator::Disable), at(s(2_000), STAY)] => Untouched, In("None"), Never("event Plan"), Told("Ack 4.03");
    disabled_in_download: {} [person(ms(8_500), Operator::Disable)] => Upgraded, In("Downloading"), Again(0), Times("says Success", 1);
    disabled_before_the_download: {} [person(ms(5_200), Operator::Disable), person(s(2_000), Operator::Enable), at(s(8_000), STAY)] => Upgraded, In("Confirmed"), Then("Enabled", "download information");
    disabled_in_a_download_of_many_pieces: { package: 64 * 1024, piece: 2 * 1024, baud: 9_600, lifetime_s: 60 } [person(ms(8_500), Operator::Disable), person(s(2_000), Operator::Enable), at(s(8_000), STAY)] => Upgraded, In("Downloaded"), Again(1), Then("Ack 4.03", "event UpdateOk"), Then("event UpdateOk", "Enabled"), Told("event Access(10431)");
    disabled_and_enabled_again: {} [person(s(2), Operator::Disable), person(s(400), Operator::Enable), at(s(2_000), STAY)] => Upgraded, In("None"), Then("Ack 4.03", "Enabled"), Then("Enabled", "event Plan");
    disabled_over_a_restart_of_the_center: {} [person(s(2), Operator::Disable), cut(CENTER, When::At(s(20)), s(5)), at(s(2_000), STAY)] => Untouched, Never("event Plan"), Then("Ack 4.04", "Ack 4.03");
    host_asks_for_a_plan: {} [person(s(2), Operator::Request)] => Upgraded, Times("event UpdateOk", 1);

    // Who gets a plan, and when.
    blacklisted: { left_out: LeftOut::Blacklisted } [] => Untouched, Never("event Plan");
    not_in_the_whitelist: { left_out: LeftOut::NotWhitelisted } [] => Untouched, Never("event Plan");
    in_both_lists: { left_out: LeftOut::Both } [] => Untouched, Never("event Plan");
    three_devices_and_one_left_out: { devices: 3, left_out: LeftOut::Blacklisted } [] => Upgraded, Times("event UpdateOk", 2), Never("module 2  event Plan");
    one_device_lost_does_not_hold_the_others: { devices: 3 } [at(s(6), What::NetworkDown(s(3_600)))] => Upgraded, Then("module 2  event UpdateOk", "module    event UpdateOk");
    low_battery_and_back: { readings: (10, -90) } [at(s(60), What::Readings(80, -90))] => Upgraded, Never("event UpdateFail");
    low_battery_in_download: {} [at(ms(8_500), What::Readings(10, -90)), at(s(1_000), What::Readings(80, -90))] => Upgraded, In("Downloading"), Never("event UpdateFail"), Again(0);
    weak_signal_in_download: {} [at(ms(8_500), What::Readings(80, -120)), at(s(1_000), What::Readings(80, -90))] => Upgraded, In("Downloading"), Never("event UpdateFail"), Again(0);

    // Clocks.
    center_clock_goes_on_a_day: {} [at(ms(8_500), What::CenterClock(86_400_000))] => Upgraded, In("Downloading");
    center_clock_goes_back: {} [at(ms(8_400), What::CenterClock(-3_600_000)), cut(CENTER, When::At(ms(8_500)), s(10))] => Upgraded, In("Downloading");
    module_clock_goes_on_an_hour: {} [at(ms(8_500), What::ModuleClock(3_600_000))] => Upgraded, In("Downloading");
    module_clock_while_the_mcu_reads: { baud: 9_600 } [at(s(8), What::ModuleClock(30_000))] => Upgraded, In("Downloaded"), Again(0);

    // The binary link.
    link_plain: { protocol: Protocol::LINK } [] => Upgraded, Again(0), Times("resets", 1), Times("event UpdateOk", 1);
    link_slow_uart: { protocol: Protocol::LINK, baud: 9_600 } [] => Upgraded, Again(0);
    link_second_plan_follows: { protocol: Protocol::LINK, second: true } [] => Upgraded, Times("event UpdateOk", 2), Times("resets", 2);
    link_mcu_cut_in_download: { protocol: Protocol::LINK, baud: 9_600 } [cut(MCU, When::At(s(10)), s(5))] => Upgraded, In("Downloaded"), Again(0), Never("Rewind");
    link_module_cut_in_download: { protocol: Protocol::LINK, baud: 9_600 } [cut(MODULE, When::At(s(10)), s(5))] => Upgraded, In("Downloaded"), Again(2), Never("Rewind");
    link_mcu_away_for_an_hour: { protocol: Protocol::LINK } [cut(MCU, When::At(s(9)), s(3_600))] => Upgraded, In("Downloading");
    link_both_cut_in_the_swap: { protocol: Protocol::LINK } [cut(MCU, When::Flash(MCU, 300, Edge::Middle), s(5)), cut(MODULE, When::At(s(15)), s(9))] => Upgraded, Never("event UpdateFail");
    link_noise: { protocol: Protocol::LINK, baud: 115_200 } [noise(s(5), [500; 4], s(20))] => Upgraded, Never("ImageDigest"), Again(0);
    link_silence: { protocol: Protocol::LINK, baud: 9_600 } [at(s(9), What::Silence(Way::ToMcu, s(20)))] => Upgraded, In("Downloaded"), Again(0), Never("event UpdateFail");
    link_babble: { protocol: Protocol::LINK, baud: 9_600 } [at(s(9), What::Babble(Way::ToMcu, 600)), at(s(11), What::Babble(Way::ToModule, 600))] => Upgraded, Again(0);
    link_reverted: { protocol: Protocol::Link { greatest_baud: 0, confirms: false }, retries: 2 } [] => Failed, Times("event UpdateFail(McuReverted)", 3), Times("Booted(\"V2_0\")", 3);

    // Seeds that broke a rule once.
    // … asked to go back to what it fetched already, the module announced that, and was asked again, for ever.
    rewound_twice of 153: { protocol: Protocol::LINK, package: 32 * 1024, piece: 2_048, network: Profile::BAD, baud: 9_600, nat_idle: Some(s(20)), activate_at: s(1) } [at(164_761_136, What::FlipStaging { offset: 264, bit: 4 })] => Upgraded;
    // … a page that reads blank after an erase that power cut short was written, and lost bits.
    blank_and_not_erased of 30183: { package: 700, piece: 16 * 1024, network: Profile::LAN, baud: 9_600, nb_iot: true, lifetime_s: 300, activate_at: s(6) } [cut(MODULE, When::At(4_195_753), ms(6)), cut(MODULE, When::Frame(11, Edge::Middle), ms(890))] => Upgraded;
    // … a 10701 that power cut short had a shorter CRC-32.
    torn_announcement of 26454: { piece: 32 * 1024, devices: 3, network: Profile::LAN, baud: 9_600, nat_idle: Some(s(120)), nb_iot: true, lifetime_s: 86_400, second: true, activate_at: s(19) } [cut(MODULE, When::Flash(MODULE, 161, Edge::Middle), ms(2_582))] => Upgraded;
    // … noise changed the size in 10700, and the MCU refused; or the target, and it called itself so.
    garbled_size of 31746: { package: 4_096, network: Profile::LAN, baud: 921_600, nb_iot: true, lifetime_s: 60, activate_at: s(6) } [noise(1_423_987, [0, 2_000, 2_000, 2_000], s(8))] => Upgraded, Never("SlotTooSmall");
    garbled_target of 17592: { network: Profile::PERFECT, lifetime_s: 300, activate_at: s(11) } [noise(5_407_826, [0, 0, 0, 2_000], s(18))] => Upgraded;
    garbled_target_twice of 3162: { piece: 2_048, network: Profile::LAN, baud: 921_600, queue_mode: true, lifetime_s: 3_600, activate_at: s(7) } [noise(1_245_963, [2_000, 100, 0, 0], ms(14_659)), at(5_858_112, What::Babble(Way::ToModule, 368))] => Upgraded;
    // … the Center had not heard how its offer ended, and the module began anew under the same name.
    ended_and_offered_again of 409: { piece: 32 * 1024, devices: 2, left_out: LeftOut::NotWhitelisted, network: Profile::BAD, baud: 9_600, nat_idle: Some(s(120)), nb_iot: true, lifetime_s: 3_600, second: true, activate_at: s(1) } [] => Upgraded;
    // … the Center gave a slow device up, and took its "busy" for failures.
    clock_jumps_a_day of 78945: { package: 32 * 1024, network: Profile::BAD, baud: 921_600, nat_idle: Some(s(120)), lifetime_s: 60, activate_at: s(3) } [at(45_587_658, What::CenterClock(86_400_000))] => Upgraded;
    // … the module lost its journal, and the Center waited for it.
    journal_lost of 76100: { package: 20_001, piece: 32 * 1024, network: Profile::LAN, baud: 921_600, nb_iot: true, lifetime_s: 3_600, activate_at: s(18) } [cut(MODULE, When::Flash(MODULE, 36, Edge::Before), ms(84_833)), at(20_801_085, What::FlipJournal { offset: 14, bit: 7 })] => Upgraded;
    // … a bit of the MCU's flash flipped before the swap: the MCU found it, and the Center heard so.
    flipped_before_the_swap of 52354: { protocol: Protocol::Link { greatest_baud: 921_600, confirms: true }, package: 4_096, piece: 32 * 1024, network: Profile::PERFECT, baud: 9_600, lifetime_s: 86_400, retries: 5, activate_at: s(6) } [at(6_435_125, What::FlipMcu { offset: 7_159, bit: 7 })] => Upgraded, Times("event UpdateFail(DigestMismatch)", 1);
    // … two packages of one byte were the same byte: such an MCU knew no difference.
    a_byte_each of 57435: { protocol: Protocol::Link { greatest_baud: 921_600, confirms: true }, package: 1, network: Profile::LAN, baud: 115_200, lifetime_s: 60, second: true, activate_at: s(16) } [] => Upgraded, Times("event UpdateOk", 2);
}
