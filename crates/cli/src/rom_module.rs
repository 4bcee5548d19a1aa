//! `sota module` with protocol stm32: what the module is told of an MCU that tells nothing itself.

use crate::failure::Failure;
use crate::names;
use crate::out::Out;
use clap::ValueEnum;
use serde_json::json;
use sota::bridge::rom::{Config, Line};
use sota_errors::ProgramError;
use sota_host::module::{Rom, SideProtocol};
use sota_stm32::{Erase, Start, Times, chips};
use std::path::{Path, PathBuf};

/// Options that only this back end has.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// With stm32 and smp: component identifier of the MCU.
    #[arg(long, default_value = "STM32")]
    pub(crate) mcu_component: String,
    /// With stm32 and smp: the version the MCU is delivered with; counts until the first upgrade (default: with stm32 V1_0,
    /// with smp the one of the image that runs).
    #[arg(long)]
    pub(crate) mcu_version: Option<String>,
    /// With stm32: which chip; its pages are in crates/stm32/src/chips.rs.
    #[arg(long, default_value = "f103", value_parser = ["f103", "f405", "g071"])]
    pub(crate) chip: String,
    /// With stm32: the socket of the MCU's reset and boot lines (docs/stm32.md).
    #[arg(long, default_value = "lines")]
    pub(crate) lines: PathBuf,
    /// With stm32: how flash is erased.
    #[arg(long, value_enum, default_value = "pages")]
    pub(crate) erase: EraseArg,
    /// With stm32: jump to the image in place of a reset.
    #[arg(long)]
    pub(crate) go: bool,
    /// With stm32: take packages that come in pieces, though the MCU's only image is then overwritten before the whole
    /// package was verified.
    #[arg(long)]
    pub(crate) allow_pieces: bool,
    /// With stm32 and smp: seconds without anything done after which the upgrade is given up.
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) give_up: u32,
}

/// How flash is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EraseArg {
    /// Only the pages that the image needs.
    Pages,
    /// All of it at once.
    Mass,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            mcu_component: "STM32".into(),
            mcu_version: None,
            chip: "f103".into(),
            lines: "lines".into(),
            erase: EraseArg::Pages,
            go: false,
            allow_pieces: false,
            give_up: 600,
        }
    }
}

impl Options {
    pub(crate) fn rom(&self, baud: u32) -> Result<SideProtocol, Failure> {
        names::component(&self.mcu_component)?;
        let version = self.mcu_version.as_deref().unwrap_or("V1_0");
        names::version(version)?;
        let unusable = |name: &str| Failure::new(ProgramError::NameUnusable, name);
        let chip = chips::by_name(&self.chip).ok_or_else(|| unusable(&self.chip))?;
        let loader = sota_stm32::Config {
            layout: chip.layout,
            chip: Some(chip.id),
            erase: match self.erase {
                EraseArg::Pages => Erase::Pages,
                EraseArg::Mass => Erase::Mass,
            },
            start: match self.go {
                true => Start::Go,
                false => Start::Reset,
            },
            baud,
            tries: 5,
            times: Times::DEFAULT,
        };
        let component = self.mcu_component.as_str().try_into();
        Ok(SideProtocol::Rom(Box::new(Rom {
            bridge: Config {
                component: component.map_err(|_| unusable(&self.mcu_component))?,
                version: version.try_into().map_err(|_| unusable(version))?,
                pieces: self.allow_pieces,
                give_up_ms: self.give_up.saturating_mul(1000),
                loader,
            },
            lines: self.lines.clone(),
        })))
    }
}

/// What the ROM loader's side says.
pub(crate) fn show(out: Out, uart: &Path, line: Line) {
    let uart = uart.display().to_string();
    match line {
        Line::Lines { .. } => {}
        Line::Started => out.line(
            "the image was verified in the MCU's flash and started",
            json!({ "event": "mcu started" }),
        ),
        Line::Trouble(fault) | Line::Failed(fault) => {
            let failed = matches!(line, Line::Failed(_));
            let end = if failed { "; the upgrade ends" } else { "" };
            let (error, remedy) = (fault.error, fault.error.remedy());
            out.line(
                format_args!("warning {fault} ({uart}){end}; {remedy}"),
                json!({
                    "warning": error.number(), "name": error.name(), "command": fault.command,
                    "detail": fault.detail, "uart": uart, "remedy": remedy, "failed": failed,
                }),
            );
        }
    }
}
