//! The commands and their forms; `docs/at.md` is the same table with the answers.

use super::args::{self, Arg, Form};
use super::settings::{KEY_LEN, LIFETIME_MAX};
use super::tx::Part::{Number, Quoted, Text};
use super::{Bridge, ConnectMode, Output, Pending, READ_MAX, State};
use crate::message::{Command, Reason};
use crate::{
    text::{put, split},
    utf8,
};
use heapless::{String, string::StringView};

/// `Ok`: the line's answer is written and `OK` follows, or the caller must find out what stands in [`Asked`].
type Result = core::result::Result<(), Reason>;
type Asked = Option<Output>;
/// In place of a value: what is asked goes straight where the caller wants it.
type Run = fn(&mut Bridge, &Form, &mut Asked) -> Result;

const BAD: Reason = Reason::AtBadParameter;

/// A name or a version.
fn text(to: &mut StringView, arg: &Arg) -> Result {
    put(to, arg.string()).ok_or(Reason::NameTooLong)
}

/// The number that is the only parameter.
#[inline(never)]
fn only(form: &Form) -> core::result::Result<u32, Reason> {
    match form {
        Form::Write(args) => match args.as_slice() {
            [number] => number.number(),
            _ => None,
        },
        _ => None,
    }
    .ok_or(BAD)
}

/// A key or a secret.
fn fitting<'a>(arg: &Arg<'a>) -> core::result::Result<&'a str, Reason> {
    let text = arg.string();
    match text.len() <= KEY_LEN {
        true => Ok(text),
        false => Err(BAD),
    }
}

impl Bridge {
    /// Acts on one line without its CR.
    pub(super) fn command(&mut self, line: &[u8], out: &mut Asked) -> Result {
        let line = line.trim_ascii();
        let Some((at, rest)) = line.split_at_checked(2) else {
            return Err(Reason::AtUnknownCommand);
        };
        if !at.eq_ignore_ascii_case(b"AT") {
            return Err(Reason::AtUnknownCommand);
        }
        match rest {
            b"" => return Ok(()),
            b"E0" | b"e0" | b"E" | b"e" => {
                self.echo = false;
                return Ok(());
            }
            b"E1" | b"e1" => {
                self.echo = true;
                return Ok(());
            }
            _ => {}
        }
        // A line of the right name but a broken form is a bad parameter, not an unknown command.
        let (name, form) = match args::parse(rest) {
            Some((name, form)) => (name, Some(form)),
            None => {
                let end = rest
                    .iter()
                    .position(|byte| matches!(byte, b'=' | b'?'))
                    .unwrap_or(rest.len());
                let name = rest.get(..end).unwrap_or_default();
                (utf8(name).unwrap_or_default(), None)
            }
        };
        // The name, and behind a colon what the test form answers, where that is one line.
        static NAMES: [(&str, Run); 11] = [
            ("+QIOTREG: (0-2)", Bridge::reg),
            (
                "+QIOTMCUVER: <MCU_number>,<MCU_version>",
                Bridge::mcu_version,
            ),
            ("+QIOTOTAREQ: (0,1)", Bridge::ota_request),
            ("+QIOTUPDATE: (0-3)", Bridge::update),
            ("+QIOTOTARD", Bridge::read),
            ("+QIOTCFG", Bridge::config),
            ("+QIOTSTATE", Bridge::link_status),
            ("+QIOTINFO", Bridge::info),
            ("+QIOTRST", Bridge::reset_secret),
            ("+SOTAREWIND: <offset>", Bridge::rewind),
            ("+SOTAERR: (0,1)", Bridge::last_error),
        ];
        for (known, run) in &NAMES {
            let (its, test) = split(known, b":");
            if !its.eq_ignore_ascii_case(name) {
                continue;
            }
            return match form.as_ref().ok_or(BAD)? {
                Form::Test if !test.is_empty() => {
                    self.tx.line(&[Text(known)]);
                    Ok(())
                }
                form => run(self, form, out),
            };
        }
        Err(Reason::AtUnknownCommand)
    }

    /// What is answered with OK or ERROR.
    fn ask(&mut self, out: &mut Asked, command: Command) -> Result {
        *out = Some(Output::Command(command));
        self.state = State::Asked(Pending::Plain);
        Ok(())
    }

    fn reg(&mut self, form: &Form, out: &mut Asked) -> Result {
        if matches!(form, Form::Read) {
            self.tx.line(&[
                Text("+QIOTREG: "),
                Number(self.settings.connect as u8 as u32),
            ]);
            return Ok(());
        }
        let mode = match only(form)? {
            0 => ConnectMode::Idle,
            1 => ConnectMode::Request,
            2 => ConnectMode::Auto,
            _ => return Err(BAD),
        };
        let connect = mode != ConnectMode::Idle;
        if connect && self.settings.product_key.is_empty() {
            return Err(Reason::NoProductInfo);
        }
        if connect && self.settings.server.is_empty() {
            return Err(Reason::NoServerAddress);
        }
        self.ask(out, Command::Connect(connect))?;
        self.state = State::Asked(Pending::Connect(mode));
        Ok(())
    }

    fn mcu_version(&mut self, form: &Form, out: &mut Asked) -> Result {
        let mut name = String::new();
        match form {
            Form::Read => {}
            Form::Write(args) => match args.as_slice() {
                [one] if !one.string().is_empty() => text(&mut name, one)?,
                [component, new] => {
                    let mut version = String::new();
                    text(&mut name, component)?;
                    text(&mut version, new)?;
                    return self.ask(out, Command::SetMcuVersion(name, version));
                }
                _ => return Err(BAD),
            },
            _ => return Err(BAD),
        }
        *out = Some(Output::Versions);
        self.state = State::Asked(Pending::Versions { name, found: false });
        Ok(())
    }

    fn ota_request(&mut self, form: &Form, out: &mut Asked) -> Result {
        let mode = match form {
            Form::Execute => 0,
            _ => only(form)?,
        };
        match mode {
            0 | 1 => self.ask(out, Command::Request(mode)),
            _ => Err(BAD),
        }
    }

    fn update(&mut self, form: &Form, out: &mut Asked) -> Result {
        let action = only(form)?;
        if action > 3 {
            return Err(BAD);
        }
        self.ask(out, Command::Action(action as u8))?;
        if action == 2 {
            self.state = State::Asked(Pending::NextPiece);
        }
        Ok(())
    }

    fn read(&mut self, form: &Form, out: &mut Asked) -> Result {
        match form {
            Form::Test => {
                *out = Some(Output::Command(Command::Announce));
                self.state = State::Asked(Pending::Announce);
                Ok(())
            }
            Form::Write(args) => {
                let [start, len] = args.as_slice() else {
                    return Err(BAD);
                };
                let (Some(start), Some(len)) = (start.number(), len.number()) else {
                    return Err(BAD);
                };
                if len == 0 || len > READ_MAX as u32 {
                    return Err(BAD);
                }
                *out = Some(Output::Command(Command::Read { start, len }));
                self.state = State::Asked(Pending::Read {
                    start,
                    len: len as usize,
                });
                Ok(())
            }
            _ => Err(BAD),
        }
    }

    fn config(&mut self, form: &Form, _: &mut Asked) -> Result {
        let args = match form {
            Form::Test => {
                for line in [
                    "\"productinfo\",<pk>,<ps>",
                    "\"server\",(0),<server_URL>",
                    "\"lifetime\",(1-864000)",
                    "\"dk_ds\",<dk>,<ds>",
                ] {
                    self.tx.line(&[Text("+QIOTCFG: "), Text(line)]);
                }
                return Ok(());
            }
            Form::Write(args) => args,
            _ => return Err(BAD),
        };
        let (item, values) = args.split_first().ok_or(BAD)?;
        let settings = &mut self.settings;
        // Two items are a key and a secret; behind those of the product stands the version of the protocol spoken, LwM2M's.
        let pair = match item.string() {
            "productinfo" => Some((
                &mut settings.product_key,
                &mut settings.product_secret,
                ",\"1.1\"",
            )),
            "dk_ds" => Some((&mut settings.device_key, &mut settings.device_secret, "")),
            _ => None,
        };
        if let Some((key, secret, end)) = pair {
            let (new_key, new_secret) = match values {
                [] => {
                    self.tx.line(&[
                        Text("+QIOTCFG: "),
                        Quoted(item.string()),
                        Text(","),
                        Quoted(key),
                        Text(","),
                        Quoted(secret),
                        Text(end),
                    ]);
                    return Ok(());
                }
                [key, secret] => (fitting(key)?, fitting(secret)?),
                // A device may do without a secret.
                [key] if end.is_empty() => (fitting(key)?, ""),
                _ => return Err(BAD),
            };
            let _ = put(key, new_key);
            let _ = put(secret, new_secret);
            self.settings_changed = true;
            return Ok(());
        }
        match (item.string(), values) {
            ("server", []) => self
                .tx
                .line(&[Text("+QIOTCFG: \"server\",0,"), Quoted(&settings.server)]),
            ("server", [kind, url]) => {
                if kind.number() != Some(0) {
                    return Err(Reason::UnsupportedProtocol);
                }
                if url.string().len() > settings.server.capacity() {
                    return Err(BAD);
                }
                let _ = put(&mut settings.server, url.string());
                self.settings_changed = true;
            }
            ("lifetime", []) => self
                .tx
                .line(&[Text("+QIOTCFG: \"lifetime\","), Number(settings.lifetime_s)]),
            ("lifetime", [seconds]) => match seconds.number() {
                Some(seconds @ 1..=LIFETIME_MAX) => {
                    settings.lifetime_s = seconds;
                    self.settings_changed = true;
                }
                _ => return Err(BAD),
            },
            _ => return Err(BAD),
        }
        Ok(())
    }

    fn link_status(&mut self, form: &Form, _: &mut Asked) -> Result {
        if !matches!(form, Form::Read) {
            return Err(BAD);
        }
        self.tx
            .line(&[Text("+QIOTSTATE: "), Number(self.link as u8 as u32)]);
        Ok(())
    }

    fn info(&mut self, form: &Form, _: &mut Asked) -> Result {
        if !matches!(form, Form::Read) {
            return Err(BAD);
        }
        let settings = &self.settings;
        for (item, value) in [
            ("product_key", settings.product_key.as_str()),
            ("device_key", settings.device_key.as_str()),
            ("component_version", env!("CARGO_PKG_VERSION")),
        ] {
            self.tx
                .line(&[Text("+QIOTINFO: "), Quoted(item), Text(","), Quoted(value)]);
        }
        Ok(())
    }

    fn reset_secret(&mut self, form: &Form, _: &mut Asked) -> Result {
        match form {
            Form::Test => {}
            Form::Execute => {
                self.settings.device_secret.clear();
                self.settings_changed = true;
            }
            _ => return Err(BAD),
        }
        Ok(())
    }

    fn rewind(&mut self, form: &Form, out: &mut Asked) -> Result {
        self.ask(out, Command::Rewind(only(form)?))
    }

    fn last_error(&mut self, form: &Form, _: &mut Asked) -> Result {
        if matches!(form, Form::Read) {
            self.error_line();
            return Ok(());
        }
        self.error_urc = match only(form)? {
            0 => false,
            1 => true,
            _ => return Err(BAD),
        };
        Ok(())
    }
}
