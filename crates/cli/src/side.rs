//! `sota module --mcu`: components with a back end and a UART of their own, beside the one on `--uart`.

use crate::failure::Failure;
use crate::rom_module::{EraseArg, Options};
use clap::ValueEnum;
use sota::bridge::route::SIDES;
use sota_errors::ProgramError;
use sota_host::module::SideConfig;
use sota_host::serial::{Serial, Source};

/// Shown by `--help`.
pub(crate) const HELP: &str = "A further MCU with a UART of its own, beside the one on --uart; up to four times. Keys with their \
values between commas: component, protocol (stm32) and uart (a path, or pty) must be there; with stm32 also version, baud, \
lines, chip, erase, give-up as the options of these names, and go and allow-pieces without a value. For example \
--mcu component=STM32,protocol=stm32,uart=/dev/ttyUSB1,lines=lines,chip=f103,version=V1_0";

/// One `--mcu`, not opened yet.
#[derive(Clone, Debug)]
struct Mcu {
    uart: String,
    baud: u32,
    options: Options,
}

/// Opens the UART of each.
pub(crate) fn open(texts: &[String]) -> Result<Vec<SideConfig>, Failure> {
    let mut sides: Vec<SideConfig> = Vec::new();
    for text in texts {
        let wrong = |what: &str| Failure::new(ProgramError::McuOption, format!("{text}: {what}"));
        let mcu = parse(text).map_err(|what| wrong(&what))?;
        let protocol = mcu.options.rom(mcu.baud)?;
        let serial = serial(&mcu.uart, mcu.baud)?;
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
pub(crate) fn serial(uart: &str, baud: u32) -> Result<Serial, Failure> {
    let source = match uart {
        "pty" => Source::Pty,
        path => Source::Path(path.into()),
    };
    Serial::open(source, baud)
        .map_err(|e| Failure::new(ProgramError::UartNotOpened, format!("{uart}: {e}")))
}

fn parse(text: &str) -> Result<Mcu, String> {
    let mut options = Options::default();
    let (mut component, mut protocol, mut uart, mut baud) = (None, None, None, 115_200);
    for part in text.split(',') {
        let (key, value) = match part.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (part, None),
        };
        let number = |value: &str, most: u32| {
            let number = value
                .parse()
                .ok()
                .filter(|number| (1..=most).contains(number));
            number.ok_or_else(|| format!("{key} is a number from 1 to {most}"))
        };
        match (key, value) {
            ("component", Some(value)) => component = Some(value.to_owned()),
            ("protocol", Some("stm32")) => protocol = Some(()),
            ("protocol", _) => return Err("protocol is stm32".into()),
            ("uart", Some(value)) => uart = Some(value.to_owned()),
            ("baud", Some(value)) => baud = number(value, 4_000_000)?,
            ("version", Some(value)) => options.mcu_version = value.to_owned(),
            ("lines", Some(value)) => options.lines = value.into(),
            ("chip", Some(value)) => options.chip = value.to_owned(),
            ("erase", Some(value)) => options.erase = EraseArg::from_str(value, false)?,
            ("give-up", Some(value)) => options.give_up = number(value, 86_400)?,
            ("go", None) => options.go = true,
            ("allow-pieces", None) => options.allow_pieces = true,
            ("component" | "uart" | "baud" | "version" | "lines", None)
            | ("chip" | "erase" | "give-up", None) => return Err(format!("{key} has no value")),
            ("go" | "allow-pieces", Some(_)) => return Err(format!("{key} takes no value")),
            _ => return Err(format!("there is no key {key:?}")),
        }
    }
    protocol.ok_or("protocol is missing")?;
    options.mcu_component = component.ok_or("component is missing")?;
    let uart = uart.ok_or("uart is missing")?;
    if sota_stm32::chips::by_name(&options.chip).is_none() {
        return Err(format!("there is no chip {:?}", options.chip));
    }
    Ok(Mcu {
        uart,
        baud,
        options,
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
        assert_eq!(
            (options.mcu_component.as_str(), options.mcu_version.as_str()),
            ("A", "2")
        );
        assert_eq!((options.chip.as_str(), options.give_up), ("g071", 9));
        assert!(options.go && options.allow_pieces && options.erase == EraseArg::Mass);
        assert_eq!(options.lines.to_str(), Some("l"));
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
            ("component=A,protocol=at,uart=x", "protocol is stm32"),
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
