#![no_std]
#![forbid(unsafe_code)]
//! Deliberate mistakes: does the simulator bite?
//!
//! Each [`Mutant`] is one line at the place where an engineer could make the mistake: `if active(Mutant::…)`. Without
//! the feature `on`, [`active`] is `false` at compile time and the line is gone. With it `select` makes one of
//! them, in the whole process, and `crates/sim/tests/mutants.rs` proves that the rules of the simulator find each.
//!
//! | processor | mutants |
//! |---|---|
//! | module, engine | [`JournalAfterActing`](Mutant::JournalAfterActing), [`ProgressBeforeBlock`](Mutant::ProgressBeforeBlock), [`DigestsNotCarried`](Mutant::DigestsNotCarried), [`TornPageTrusted`](Mutant::TornPageTrusted) |
//! | module, cloud | [`FetchFromZero`](Mutant::FetchFromZero) |
//! | Center | [`BlacklistAfterOffer`](Mutant::BlacklistAfterOffer), [`ReportNotStored`](Mutant::ReportNotStored), [`CountersNotMoved`](Mutant::CountersNotMoved), [`AnyVersionIsSuccess`](Mutant::AnyVersionIsSuccess), [`RetriesNotCounted`](Mutant::RetriesNotCounted) |
//! | MCU | [`MarkBeforePage`](Mutant::MarkBeforePage), [`BootUnverified`](Mutant::BootUnverified) |

/// A deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// The engine reports a state and gives its event first, and writes the journal a second later.
    JournalAfterActing = 1,
    /// A block is acknowledged in the journal before it is written to staging.
    ProgressBeforeBlock,
    /// The digests' state at a piece's start is not taken from the journal: a restart loses it.
    DigestsNotCarried,
    /// After a restart the rest of the page behind the last block is taken for erased.
    TornPageTrusted,
    /// After a block that did not come the fetch begins again at the package's first byte.
    FetchFromZero,
    /// The Center looks at the lists only after the offer.
    BlacklistAfterOffer,
    /// A report is acknowledged and not committed.
    ReportNotStored,
    /// The counters do not follow a device that fails.
    CountersNotMoved,
    /// The Center takes any version that a device reports for the target.
    AnyVersionIsSuccess,
    /// A device that fails is offered the plan again for ever.
    RetriesNotCounted,
    /// The MCU marks a page of its slot as whole before it is written.
    MarkBeforePage,
    /// The MCU boots what it has written without comparing the digests.
    BootUnverified,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 12] = [
        Mutant::JournalAfterActing,
        Mutant::ProgressBeforeBlock,
        Mutant::DigestsNotCarried,
        Mutant::TornPageTrusted,
        Mutant::FetchFromZero,
        Mutant::BlacklistAfterOffer,
        Mutant::ReportNotStored,
        Mutant::CountersNotMoved,
        Mutant::AnyVersionIsSuccess,
        Mutant::RetriesNotCounted,
        Mutant::MarkBeforePage,
        Mutant::BootUnverified,
    ];
}

/// The mistake is to be made. Always `false` without the feature `on`.
#[cfg(not(feature = "on"))]
#[inline(always)]
pub const fn active(_: Mutant) -> bool {
    false
}

#[cfg(feature = "on")]
pub use selected::{active, select};

#[cfg(feature = "on")]
mod selected {
    use core::sync::atomic::{AtomicU8, Ordering};

    use super::Mutant;

    /// 0 = none.
    static SELECTED: AtomicU8 = AtomicU8::new(0);

    /// The mistake is to be made.
    pub fn active(mutant: Mutant) -> bool {
        SELECTED.load(Ordering::Relaxed) == mutant as u8
    }

    /// Makes this mistake from now on, or none; for all threads of the process.
    pub fn select(mutant: Option<Mutant>) {
        SELECTED.store(mutant.map_or(0, |mutant| mutant as u8), Ordering::Relaxed);
    }
}
