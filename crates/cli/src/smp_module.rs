//! `sota module --protocol smp`: what the module is told of an MCU with MCUmgr.

use crate::failure::Failure;
use crate::names;
use crate::out::Out;
use crate::rom_module;
use serde_json::json;
use sota::bridge::smp::{Config, Line};
use sota_errors::ProgramError;
use sota_host::module::SideProtocol;
use sota_smp::message::Refusal;
use std::path::Path;

/// Options that only this back end has.
#[derive(clap::Args, Clone, Debug)]
#[group(id = "smp")]
pub(crate) struct Options {
    /// With smp: the image's number in the MCU.
    #[arg(long, default_value_t = 0)]
    pub(crate) smp_image: u8,
    /// With smp: parts of the image on their way at once; the MCU's buffers but one bound it too.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=4))]
    pub(crate) smp_window: u8,
    /// With smp: the MCU takes no image that is not newer than the one it runs.
    #[arg(long)]
    pub(crate) smp_upgrade_only: bool,
    /// With smp: milliseconds from a reset until the MCU is asked again.
    #[arg(long, default_value_t = 2_000, value_name = "MS")]
    pub(crate) smp_boot_ms: u32,
    /// With smp: how often the new image is started before the upgrade counts as reverted.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) smp_trials: u8,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            smp_image: 0,
            smp_window: 4,
            smp_upgrade_only: false,
            smp_boot_ms: 2_000,
            smp_trials: 3,
        }
    }
}

impl Options {
    pub(crate) fn smp(
        &self,
        mcu: &rom_module::Options,
        baud: u32,
    ) -> Result<SideProtocol, Failure> {
        names::component(&mcu.mcu_component)?;
        let unusable = |name: &str| Failure::new(ProgramError::NameUnusable, name);
        let component = mcu.mcu_component.as_str().try_into();
        let component = component.map_err(|_| unusable(&mcu.mcu_component))?;
        let mut version = None;
        if let Some(text) = &mcu.mcu_version {
            names::version(text)?;
            version = Some(text.as_str().try_into().map_err(|_| unusable(text))?);
        }
        Ok(SideProtocol::Smp(Box::new(Config {
            version,
            give_up_ms: mcu.give_up.saturating_mul(1000),
            boot_ms: self.smp_boot_ms,
            trials: self.smp_trials,
            client: sota_smp::Config {
                image: self.smp_image,
                upgrade: self.smp_upgrade_only,
                baud,
                window: self.smp_window,
                ..sota_smp::Config::DEFAULT
            },
            ..Config::new(component)
        })))
    }
}

/// What the SMP server's side says.
pub(crate) fn show(out: Out, uart: &Path, line: Line) {
    let uart = uart.display().to_string();
    match line {
        Line::Started => out.line(
            "the new image runs in the MCU and is confirmed",
            json!({ "event": "mcu started" }),
        ),
        Line::Trouble(fault) | Line::Failed(fault) => {
            let failed = matches!(line, Line::Failed(_));
            let end = if failed { "; the upgrade ends" } else { "" };
            let (error, remedy) = (fault.error, fault.error.remedy());
            let refusal = fault.refusal.map(|Refusal { group, rc }| (group, rc));
            out.line(
                format_args!("warning {fault} ({uart}){end}; {remedy}"),
                json!({
                    "warning": error.number(), "name": error.name(), "group": fault.group,
                    "command": fault.command, "refusal": refusal,
                    "uart": uart, "remedy": remedy, "failed": failed,
                }),
            );
        }
    }
}
