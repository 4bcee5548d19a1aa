//! The judgement, from the MCU's flash itself and the Center's word, and the table.

use super::Args;
use super::follow::{Follow, PHASES};
use super::qemu::Board;
use super::setup::Served;
use crate::failure::Failure;
use crate::out::Out;
use crate::protocol::Protocol;
use crate::rom_mcu::flash_path as flash_path_of_rom;
use crate::smp_mcu::kept_image;
use md5::Md5;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sota_errors::ProgramError;
use sota_host::link_mcu::running_image;
use sota_host::lossy::Passed;
use sota_host::mcu_port::{open_flash, running};
use sota_host::module::PAGE;
use sota_host::wire::Carried;
use std::path::Path;

/// What the report is made of.
pub(super) struct Facts<'a> {
    pub(super) args: &'a Args,
    pub(super) package: Vec<u8>,
    pub(super) folder: &'a Path,
    pub(super) slot: u32,
    pub(super) board: Option<Board>,
    pub(super) follow: Follow,
    pub(super) served: Served,
    pub(super) network: Passed,
    pub(super) wire: Carried,
    pub(super) kills: u32,
    pub(super) mcu_kills: u32,
    pub(super) seconds: f64,
}

/// Of the image in the MCU's flash, in hexadecimal: what the Center announces of a package.
struct Digests {
    sha256: String,
    md5: String,
    crc32: String,
}

impl Digests {
    fn of(image: &[u8]) -> Digests {
        let crc32 = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(image);
        Digests {
            sha256: hex::encode(Sha256::digest(image)),
            md5: hex::encode(Md5::digest(image)),
            crc32: format!("{crc32:08x}"),
        }
    }
}

/// What happened.
pub(super) struct Report {
    component: String,
    from: String,
    wanted: String,
    /// What the MCU boots now, read from its flash after every process has ended.
    version: String,
    flash_holds_package: bool,
    bytes: usize,
    block: usize,
    digests: Digests,
    follow: Follow,
    served: Served,
    network: Passed,
    wire: Carried,
    kills: u32,
    kills_wanted: u32,
    mcu_kills: u32,
    mcu_kills_wanted: u32,
    /// A ROM loader's image in pieces begins anew with a module that was reset (docs/stm32.md). An MCU whose power goes while an
    /// image is on trial goes back to the old one, and the Center offers anew.
    fetches_again: bool,
    seconds: f64,
}

impl Report {
    pub(super) fn new(facts: Facts<'_>) -> Result<Report, Failure> {
        let state = facts.folder.join("mcu");
        // What tells no version of a flash that lies there: it holds the package, or it does not.
        let judged = |image: Vec<u8>| {
            let version = match image == facts.package {
                true => &facts.args.to,
                false => &facts.args.from,
            };
            (version.clone(), image)
        };
        let (version, image) = match facts.args.protocol {
            _ if facts.board.is_some() => {
                let board = facts.board.as_ref();
                judged(board.map_or(Ok(Vec::new()), |b| b.active(facts.package.len()))?)
            }
            Protocol::At => {
                let flash = open_flash(&state, facts.slot)
                    .map_err(|e| Failure::new(ProgramError::FlashFile, e))?;
                running(flash, facts.slot)?
            }
            Protocol::Link => running_image(&state, facts.slot)?,
            Protocol::Stm32 => {
                let path = flash_path_of_rom(&state);
                let mut image = std::fs::read(&path).map_err(|e| {
                    Failure::new(ProgramError::FlashFile, format!("{}: {e}", path.display()))
                })?;
                image.truncate(facts.package.len());
                judged(image)
            }
            Protocol::Smp => {
                let image = kept_image(&state, facts.slot)?;
                let version = match image == facts.package {
                    true => &facts.args.to,
                    false => &facts.args.from,
                };
                (version.clone(), image)
            }
        };
        let cut_on_trial = facts.args.kill_mcu > 0 && facts.board.is_some();
        Ok(Report {
            component: facts.args.component.clone(),
            from: facts.args.from.clone(),
            wanted: facts.args.to.clone(),
            version,
            flash_holds_package: image == facts.package,
            bytes: facts.package.len(),
            block: facts.args.block.bytes(),
            digests: Digests::of(&image),
            follow: facts.follow,
            served: facts.served,
            network: facts.network,
            wire: facts.wire,
            kills: facts.kills,
            kills_wanted: facts.args.kill_module,
            mcu_kills: facts.mcu_kills,
            mcu_kills_wanted: facts.args.kill_mcu,
            fetches_again: cut_on_trial
                || facts.args.protocol == Protocol::Stm32 && {
                    let staging = facts.args.staging.saturating_sub(PAGE as u32);
                    let piece = facts.args.piece.map_or(staging, |piece| piece.min(staging));
                    facts.package.len() > piece as usize
                },
            seconds: facts.seconds,
        })
    }

    /// Whether the thing asked for is true.
    pub(super) fn judge(&self) -> Result<(), Failure> {
        if !self.follow.center_success {
            return Err(Failure::new(ProgramError::UpgradeFailed, ""));
        }
        if !self.flash_holds_package
            || self.version != self.wanted
            || self.follow.center_version != self.wanted
        {
            let detail = format!(
                "the flash boots {} (SHA-256 {}), the Center has {}",
                self.version, self.digests.sha256, self.follow.center_version
            );
            return Err(Failure::new(ProgramError::FlashDiffers, detail));
        }
        // One block is in flight with Block2; each retransmission may have one more served, which the
        // Center can only tell apart when it knows the address already.
        let bound = u64::from(self.kills) + self.follow.retransmissions();
        if (self.twice() > bound && !self.fetches_again)
            || self.kills < self.kills_wanted
            || self.mcu_kills < self.mcu_kills_wanted
        {
            let detail = format!(
                "{} blocks, {} of {} kills of the module, {} of {} of the MCU",
                self.twice(),
                self.kills,
                self.kills_wanted,
                self.mcu_kills,
                self.mcu_kills_wanted
            );
            return Err(Failure::new(ProgramError::BlocksTwice, detail));
        }
        Ok(())
    }

    /// Blocks served more than once, without those asked for again by a retransmission. Counted from the
    /// whole, because a module that starts again asks for blocks before it has registered anew.
    fn twice(&self) -> u64 {
        let once = self.bytes.div_ceil(self.block) as u64;
        self.served
            .blocks
            .saturating_sub(once + self.served.duplicates)
    }

    /// The table, or the one object. A failed judgement prints its own object.
    pub(super) fn show(&self, out: Out) {
        if self.judge().is_ok() {
            out.line(self.table(), self.object());
        }
    }

    fn object(&self) -> Value {
        let phases: serde_json::Map<_, _> = PHASES
            .iter()
            .zip(self.follow.seconds)
            .map(|(name, seconds)| ((*name).to_owned(), json!(round(seconds))))
            .collect();
        json!({
            "result": "success",
            "component": self.component,
            "from": self.from,
            "to": self.version,
            "bytes": self.bytes,
            "pieces": self.follow.pieces(),
            "sha256": self.digests.sha256,
            "md5": self.digests.md5,
            "crc32": self.digests.crc32,
            "seconds": round(self.seconds),
            "phases": phases,
            "hand_over_seconds": self.follow.hand_over.map(round),
            "retransmissions": self.follow.retransmissions(),
            "at_retries": self.follow.at_retries,
            "blocks_served": self.served.blocks,
            "blocks_fetched_twice": self.twice(),
            "blocks_retransmitted": self.served.duplicates,
            "datagrams_carried": self.network.carried,
            "datagrams_lost": self.network.lost,
            "uart_bytes_to_mcu": self.wire.a_to_b,
            "uart_bytes_from_mcu": self.wire.b_to_a,
            "module_kills": self.kills,
            "mcu_kills": self.mcu_kills,
        })
    }

    fn table(&self) -> String {
        let mut rows = vec![
            ("component", self.component.clone()),
            ("version", format!("{} -> {}", self.from, self.version)),
            (
                "package",
                format!("{} bytes, {} pieces", self.bytes, self.follow.pieces()),
            ),
            (
                "SHA-256",
                format!("{} (read from the MCU's flash)", self.digests.sha256),
            ),
            ("MD5", self.digests.md5.clone()),
            ("CRC-32", self.digests.crc32.clone()),
            (
                "blocks served",
                format!(
                    "{}, of these fetched twice {}, asked again by a retransmission {}",
                    self.served.blocks,
                    self.twice(),
                    self.served.duplicates
                ),
            ),
            (
                "datagrams",
                format!(
                    "{} carried, {} lost",
                    self.network.carried, self.network.lost
                ),
            ),
            (
                "retransmissions",
                format!(
                    "{} by the module, {} AT commands by the MCU",
                    self.follow.retransmissions(),
                    self.follow.at_retries
                ),
            ),
            (
                "UART",
                format!(
                    "{} bytes to the MCU, {} from it, {} lost",
                    self.wire.a_to_b, self.wire.b_to_a, self.wire.lost
                ),
            ),
            ("module killed", format!("{} times", self.kills)),
            ("MCU's power cut", format!("{} times", self.mcu_kills)),
        ];
        for (name, seconds) in PHASES.iter().zip(self.follow.seconds) {
            rows.push((name, format!("{seconds:.2} s")));
        }
        rows.push(("all", format!("{:.2} s", self.seconds)));
        let lines = rows
            .iter()
            .map(|(name, value)| format!("  {name:16} {value}\n"));
        format!("\nsuccess\n{}", lines.collect::<String>())
    }
}

fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_the_check_string() {
        let digests = Digests::of(b"123456789");
        assert_eq!(digests.crc32, "cbf43926");
        assert_eq!(digests.md5, "25f9e794323b453885f5181f1b624d0b");
        assert!(digests.sha256.starts_with("15e2b0d3c33891eb"));
    }
}
