//! The table of scenarios: one line a case. Adding a case is adding a line.
//!
//! ```text
//! name: the setup where it differs from the usual one; what goes wrong => how it must end
//! ```
//!
//! Every line also holds every rule of `sota_sim::rules`. A failing seed found once becomes a line here, with the faults
//! that `sota sim --seed` says it needs.

use sota_center::domain::DeviceState;
use sota_sim::Micros;
use sota_sim::fault::{Edge, Fault, Operator, Way, What, When};
use sota_sim::net::Profile;
use sota_sim::node::Node;
use sota_sim::run::run;
use sota_sim::setup::{LeftOut, Setup, VERSIONS};
use sota_sim::uart::LineFaults;
use sota_sim::world::Outcome;

const MODULE: Node = Node::Module(0);
const MCU: Node = Node::Mcu(0);
const CENTER: Node = Node::Center;

/// How a scenario must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// The Center says upgraded and the MCU runs the package.
    Upgraded,
    /// The Center says failed and the MCU runs what it ran before.
    Failed,
    /// Nothing was begun: the MCU runs what it ran before.
    Untouched,
    /// Either, whole.
    Either,
}

fn ms(ms: u64) -> Micros {
    ms * 1_000
}

fn s(s: u64) -> Micros {
    s * 1_000_000
}

fn at(at: Micros, what: What) -> Fault {
    Fault {
        when: When::At(at),
        what,
    }
}

fn cut(node: Node, when: When, off: Micros) -> Fault {
    Fault {
        when,
        what: What::Cut(node, off),
    }
}

fn check(setup: &Setup, faults: &[Fault], ends: Ends) -> Outcome {
    let outcome = run(setup, 1, faults);
    assert_eq!(outcome.broken, None, "{outcome:?}");
    let state = outcome.states[0];
    let (version, bytes) = outcome.boots[0].clone();
    let new = version == *VERSIONS.last().expect("versions") || version == VERSIONS[1];
    let well = state == Some(DeviceState::Upgraded) && new && bytes == setup.package as usize;
    let badly = state == Some(DeviceState::UpgradeFailed) && version == VERSIONS[0];
    let untouched = state.is_none_or(|s| s == DeviceState::NotUpgraded) && version == VERSIONS[0];
    let ended = match ends {
        Ends::Upgraded => well,
        Ends::Failed => badly,
        Ends::Untouched => untouched,
        Ends::Either => well || badly || untouched || new,
    };
    assert!(ended, "{ends:?} was expected: {outcome:?}");
    outcome
}

macro_rules! scenarios {
    ($($name:ident: { $($field:ident: $value:expr),* } [$($fault:expr),* $(,)?] => $ends:ident;)*) => {$(
        #[test]
        fn $name() {
            #[allow(clippy::needless_update)]
            let setup = Setup { $($field: $value,)* ..Setup::default() };
            check(&setup, &[$($fault),*], Ends::$ends);
        }
    )*};
}

scenarios! {
    // Nothing goes wrong.
    plain: {} [] => Upgraded;
    one_byte: { package: 1 } [] => Upgraded;
    one_piece: { piece: 64 * 1024 } [] => Upgraded;
    slow_uart: { package: 8 * 1024, baud: 9_600 } [] => Upgraded;
    nb_iot: { package: 8 * 1024, network: Profile::NB_IOT, nb_iot: true } [] => Upgraded;
    queue_mode: { queue_mode: true } [] => Upgraded;
    strict: { strict: true } [] => Upgraded;
    second_plan_follows: { package: 8 * 1024, second: true } [] => Upgraded;

    // Power.
    module_cut_in_download: {} [cut(MODULE, When::At(s(7)), ms(500))] => Upgraded;
    module_cut_torn_write: {} [cut(MODULE, When::Flash(MODULE, 60, Edge::Middle), ms(500))] => Upgraded;
    mcu_cut_in_read: {} [cut(MCU, When::Flash(MCU, 30, Edge::Middle), ms(500))] => Upgraded;
    center_cut_at_activation: {} [cut(CENTER, When::Commit(7, Edge::After), s(5))] => Upgraded;

    // The network.
    network_down_for_an_hour: {} [at(s(6), What::NetworkDown(s(3_600)))] => Upgraded;
    nat_forgets: { nat_idle: Some(s(20)), network: Profile::NB_IOT, nb_iot: true, package: 8 * 1024 } [] => Upgraded;
    rebinding_in_download: {} [at(s(6), What::Rebind)] => Upgraded;

    // The UART.
    noisy_uart: { package: 8 * 1024 } [
        at(0, What::Uart(LineFaults { lost_ppm: 500, doubled_ppm: 500, flipped_ppm: 500, inserted_ppm: 500 }, s(30))),
    ] => Upgraded;
    silent_mcu: {} [at(s(6), What::Silence(Way::ToModule, s(90)))] => Upgraded;

    // A person.
    cancelled_before_it_begins: {} [at(ms(5_010), What::Operator(Operator::Cancel))] => Either;
    cancelled_in_download: { package: 8 * 1024, piece: 4 * 1024, baud: 9_600 } [
        at(s(8), What::Operator(Operator::Cancel)),
    ] => Failed;
    terminated: {} [at(s(6), What::Operator(Operator::Terminate))] => Either;

    // Who gets a plan.
    blacklisted: { left_out: LeftOut::Blacklisted } [] => Untouched;
    not_in_the_whitelist: { left_out: LeftOut::NotWhitelisted } [] => Untouched;
    in_both_lists: { left_out: LeftOut::Both } [] => Untouched;
}
