//! `sota module --mcu`: components with a back end and a UART of their own, beside the one on `--uart`.

use crate::failure::Failure;
use crate::rom_module::{EraseArg, Options};
use crate::smp_module;
use clap::ValueEnum;
use sota::bridge::route::SIDES;
use sota_errors::ProgramError;
use sota_host::module::SideConfig;
use sota_host::serial::{Serial, Source};
use std::path::Path;

/// Shown by `--help`.
pub(crate) const HELP: &str = "A further MCU with a UART of its own, beside the one on --uart; up to four times. Keys with their \
values between commas: component, protocol (stm32 or smp) and uart (a path, or pty) must be there; also version, baud and give-up, with stm32 lines, \
chip, erase, go and allow-pieces, with smp image, window, boot-ms, trials and upgrade-only, as the options of these names \
(go, allow-pieces and upgrade-only without a value). For example \
--mcu component=STM32,protocol=stm32,uart=/dev/ttyUSB1,lines=lines,chip=f103,version=V1_0";

/// One `--mcu`, not opened yet.
#[derive(Clone, Debug)]
struct Mcu {
    uart: String,
    baud: u32,
    is_smp: bool,
    options: Options,
    smp: smp_module::Options,
}

/// Opens the UART of each.
pub(crate) fn open(texts: &[String]) -> Result<Vec<SideConfig>, Failure> {
    let mut sides: Vec<SideConfig> = Vec::new();
    for text in texts {
        let wrong = |what: &str| Failure::new(ProgramError::McuOption, format!("{text}: {what}"));
        let mcu = parse(text).map_err(|what| wrong(&what))?;
        let protocol = match mcu.is_smp {
            true => mcu.smp.smp(&mcu.options, mcu.baud)?,
            false => mcu.options.rom(mcu.baud)?,
        };
        let serial = serial(mcu.uart.as_ref(), mcu.baud)?;
        add(&mut sides, SideConfig { serial, protocol })?;
    }
    Ok(sides)
}

/// One more, if its component has none yet.
pub(crate) fn add(sides: &mut Vec<SideConfig>, new: SideConfig) -> Result<(), Failure> {
    let component = new.protocol.component();
    let wrong = |what: &str| {
        let detail = format!("component {component}: {what}");
        Err(Failure::new(ProgramError::McuOption, detail))
    };
    if sides
        .iter()
        .any(|side| side.protocol.component() == component)
    {
        return wrong("it has a back end already");
    }
    if sides.len() == SIDES {
        return wrong("there are four back ends already");
    }
    sides.push(new);
    Ok(())
}

/// Opens a path, or makes a pseudo-terminal for `pty`.
pub(crate) fn serial(uart: &Path, baud: u32) -> Result<Serial, Failure> {
    let source = match uart.to_str() {
        Some("pty") => Source::Pty,
        _ => Source::Path(uart.to_owned()),
    };
    Serial::open(source, baud).map_err(|e| {
        let detail = format!("{}: {e}", uart.display());
        Failure::new(ProgramError::UartNotOpened, detail)
    })
}

fn parse(text: &str) -> Result<Mcu, String> {
    let (mut options, mut smp) = (Options::default(), smp_module::Options::default());
    // The keys that only one of the protocols has.
    let mut only = [None; 2];
    let (mut component, mut protocol, mut uart, mut baud) = (None, None, None, 115_200);
    for part in text.split(',') {
        let (key, value) = match part.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (part, None),
        };
        let number = |value: &str, least: u32, most: u32| {
            let number = value
                .parse()
                .ok()
                .filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| format!("{key} is a number from {least} to {most}"))
        };
        match key {
            "lines" | "chip" | "erase" | "go" | "allow-pieces" => only[1] = Some(key),
            "image" | "window" | "boot-ms" | "trials" | "upgrade-only" => only[0] = Some(key),
            _ => {}
        }
        match (key, value) {
            ("component", Some(value)) => component = Some(value.to_owned()),
            ("protocol", Some("stm32")) => protocol = Some(false),
            ("protocol", Some("smp")) => protocol = Some(true),
            ("protocol", _) => return Err("protocol is stm32 or smp".into()),
            ("uart", Some(value)) => uart = Some(value.to_owned()),
            ("baud", Some(value)) => baud = number(value, 1, 4_000_000)?,
            ("version", Some(value)) => options.mcu_version = Some(value.to_owned()),
            ("lines", Some(value)) => options.lines = value.into(),
            ("chip", Some(value)) => options.chip = value.to_owned(),
            ("erase", Some(value)) => options.erase = EraseArg::from_str(value, false)?,
            ("give-up", Some(value)) => options.give_up = number(value, 1, 86_400)?,
            ("image", Some(value)) => smp.smp_image = number(value, 0, 255)? as u8,
            ("window", Some(value)) => smp.smp_window = number(value, 1, 4)? as u8,
            ("boot-ms", Some(value)) => smp.smp_boot_ms = number(value, 0, 3_600_000)?,
            ("trials", Some(value)) => smp.smp_trials = number(value, 1, 100)? as u8,
            ("go", None) => options.go = true,
            ("allow-pieces", None) => options.allow_pieces = true,
            ("upgrade-only", None) => smp.smp_upgrade_only = true,
            ("component" | "uart" | "baud" | "version" | "lines", None)
            | ("chip" | "erase" | "give-up" | "image" | "window" | "boot-ms" | "trials", None) => {
                return Err(format!("{key} has no value"));
            }
            ("go" | "allow-pieces" | "upgrade-only", Some(_)) => {
                return Err(format!("{key} takes no value"));
            }
            _ => return Err(format!("there is no key {key:?}")),
        }
    }
    let is_smp = protocol.ok_or("protocol is missing")?;
    if let Some(key) = only[usize::from(is_smp)] {
        return Err(format!("{key} is not for this protocol"));
    }
    options.mcu_component = component.ok_or("component is missing")?;
    let uart = uart.ok_or("uart is missing")?;
    if sota_stm32::chips::by_name(&options.chip).is_none() {
        return Err(format!("there is no chip {:?}", options.chip));
    }
    Ok(Mcu {
        uart,
        baud,
        is_smp,
        options,
        smp,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_taken() {
        let mcu = parse(
            "component=A,protocol=stm32,uart=/dev/x,baud=57600,version=2,lines=l,chip=g071,erase=mass,give-up=9,go,allow-pieces",
        )
        .unwrap();
        assert_eq!((mcu.uart.as_str(), mcu.baud), ("/dev/x", 57_600));
        let options = mcu.options;
        assert_eq!(options.mcu_component, "A");
        assert_eq!(options.mcu_version.as_deref(), Some("2"));
        assert_eq!((options.chip.as_str(), options.give_up), ("g071", 9));
        assert!(options.go && options.allow_pieces && options.erase == EraseArg::Mass);
        assert_eq!(options.lines.to_str(), Some("l"));
        let mcu = parse(
            "component=A,protocol=smp,uart=x,image=1,window=2,boot-ms=0,trials=9,upgrade-only",
        )
        .unwrap();
        assert!(mcu.is_smp && mcu.smp.smp_upgrade_only);
        assert_eq!((mcu.smp.smp_image, mcu.smp.smp_window), (1, 2));
        assert_eq!((mcu.smp.smp_boot_ms, mcu.smp.smp_trials), (0, 9));
        // what is not given is as in the single options
        let mcu = parse("component=A,protocol=stm32,uart=pty").unwrap();
        assert_eq!((mcu.baud, mcu.options.chip.as_str()), (115_200, "f103"));
        assert_eq!(mcu.options.give_up, 600);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, says) in [
            ("", "no key"),
            ("component=A,uart=x", "protocol is missing"),
            ("protocol=stm32,uart=x", "component is missing"),
            ("component=A,protocol=stm32", "uart is missing"),
            ("component=A,protocol=at,uart=x", "protocol is stm32 or smp"),
            (
                "component=A,protocol=smp,uart=x,chip=f103",
                "not for this protocol",
            ),
            (
                "component=A,protocol=stm32,uart=x,window=1",
                "not for this protocol",
            ),
            ("component=A,protocol=smp,uart=x,window=5", "from 1 to 4"),
            ("component=A,protocol=stm32,uart=x,chip=z80", "no chip"),
            ("component=A,protocol=stm32,uart=x,baud=fast", "from 1 to"),
            ("component=A,protocol=stm32,uart=x,give-up=0", "from 1 to"),
            ("component=A,protocol=stm32,uart", "no value"),
            ("component=A,protocol=stm32,uart=x,go=1", "takes no value"),
            ("component=A,protocol=stm32,uart=x,colour=red", "no key"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(says), "{text}: {said}");
        }
    }

    #[test]
    fn a_component_twice_or_unusable_is_an_error() {
        let failure = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            open(&texts).unwrap_err().json()["number"].as_u64().unwrap() as u16
        };
        let one = "component=A,protocol=stm32,uart=pty";
        assert_eq!(failure(&[one, one]), ProgramError::McuOption.number());
        assert_eq!(failure(&["nonsense"]), ProgramError::McuOption.number());
        let name = "component=A:B,protocol=stm32,uart=pty";
        assert_eq!(failure(&[name]), ProgramError::NameUnusable.number());
        let uart = "component=A,protocol=stm32,uart=/nonexistent/tty";
        assert_eq!(failure(&[uart]), ProgramError::UartNotOpened.number());
        let names = ["A", "B", "C", "D", "E"];
        let many = names.map(|name| format!("component={name},protocol=stm32,uart=pty"));
        let texts: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(failure(&texts), ProgramError::McuOption.number());
        assert_eq!(open(&many[..4]).unwrap().len(), 4);
    }
}
