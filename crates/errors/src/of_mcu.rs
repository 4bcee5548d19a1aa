//! What the Center is told of an error that the MCU or its back end had.

use crate::Reason;

impl Reason {
    /// The module's reason for an upgrade that ended with this number from 400 to 699. The Center gets it, the module's log
    /// has the number. What is not listed (`docs/mcu.md`, "What the Center hears") is the host's own will.
    pub const fn of_mcu(number: u16) -> Reason {
        match number {
            402 | 637 | 638 | 653 => Reason::NotEnoughSpace,
            403 | 639 | 656 => Reason::DigestMismatch,
            404 | 635 | 636 | 654 => Reason::McuFlashFailed,
            410 | 621 | 622 | 655 | 658 | 659 => Reason::McuImageUnfit,
            405 | 406 | 409 | 657 => Reason::McuReverted,
            407 | 611 | 660 => Reason::McuStillRunsSource,
            620 => Reason::UnknownComponent,
            625 => Reason::NoDigest,
            630..=679 => Reason::McuLoaderFailed,
            _ => Reason::RefusedByHost,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Entry, LinkError, McuError, Reason, RomError, SmpError};

    extern crate std;
    use std::collections::BTreeMap;
    use std::string::{String, ToString};

    /// The table of `docs/mcu.md` names each error that is not the host's own will, once.
    #[test]
    fn is_as_documented() {
        let page = include_str!("../../../docs/mcu.md");
        let (_, table) = page.split_once("## What the Center hears").unwrap();
        let mut written = BTreeMap::<u16, String>::new();
        let table = table.split_once("\n## ").map_or(table, |(table, _)| table);
        for row in table.lines().filter_map(|line| line.strip_prefix("| ")) {
            let mut cells = row.split('|').map(str::trim);
            let (reason, numbers) = (cells.next().unwrap(), cells.next().unwrap());
            for number in numbers
                .split([',', ' '])
                .filter_map(|word| word.parse().ok())
            {
                assert_eq!(written.insert(number, reason.to_string()), None, "{number}");
            }
        }
        let all = McuError::ALL.iter().map(|e| e.entry());
        let all = all.chain(LinkError::ALL.iter().map(|e| e.entry()));
        let all = all.chain(RomError::ALL.iter().map(|e| e.entry()));
        for Entry { number, .. } in all.chain(SmpError::ALL.iter().map(|e| e.entry())) {
            let reason = Reason::of_mcu(number);
            let told = std::format!("{} {}", reason.number(), reason.name());
            match reason {
                Reason::RefusedByHost => assert_eq!(written.remove(&number), None, "{number}"),
                _ => assert_eq!(written.remove(&number), Some(told), "{number}"),
            }
        }
        assert!(written.is_empty(), "of no error: {written:?}");
    }
}
