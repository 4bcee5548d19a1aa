//! What `AT+QIOTCFG` and `AT+QIOTREG` set, as lines `key=value` in the state folder.

use sota::bridge::{ConnectMode, Settings};
use std::fs;
use std::io;
use std::path::Path;

const FILE: &str = "settings.txt";

/// The settings kept in the folder `state`; [`Settings::new`] where there are none. A line that cannot
/// be understood is passed over.
///
/// # Errors
/// The file is there but cannot be read.
pub fn load(state: &Path) -> io::Result<Settings> {
    let text = match fs::read_to_string(state.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    Ok(parse(&text))
}

/// Keeps the settings: the whole new file or the whole old one.
///
/// # Errors
/// The folder cannot be written.
pub fn store(state: &Path, settings: &Settings) -> io::Result<()> {
    let new = state.join("settings.new");
    fs::write(&new, text(settings))?;
    fs::rename(new, state.join(FILE))
}

fn text(s: &Settings) -> String {
    let connect = s.connect as u8;
    format!(
        "product_key={}\nproduct_secret={}\ndevice_key={}\ndevice_secret={}\nserver={}\nlifetime_s={}\nconnect={connect}\n",
        s.product_key, s.product_secret, s.device_key, s.device_secret, s.server, s.lifetime_s
    )
}

fn parse(text: &str) -> Settings {
    let mut s = Settings::new();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match key {
            "product_key" => set(&mut s.product_key, value),
            "product_secret" => set(&mut s.product_secret, value),
            "device_key" => set(&mut s.device_key, value),
            "device_secret" => set(&mut s.device_secret, value),
            "server" => set(&mut s.server, value),
            "lifetime_s" => s.lifetime_s = value.parse().unwrap_or(s.lifetime_s),
            "connect" => {
                s.connect = match value {
                    "1" => ConnectMode::Request,
                    "2" => ConnectMode::Auto,
                    _ => ConnectMode::Idle,
                }
            }
            _ => {}
        }
    }
    s
}

fn set<'a, T: TryFrom<&'a str>>(field: &mut T, value: &'a str) {
    if let Ok(value) = value.try_into() {
        *field = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()).unwrap(), Settings::new());
        let mut settings = Settings::new();
        set(&mut settings.product_key, "p1");
        set(&mut settings.server, "coap://127.0.0.1:5683");
        settings.lifetime_s = 300;
        settings.connect = ConnectMode::Auto;
        store(dir.path(), &settings).unwrap();
        assert_eq!(load(dir.path()).unwrap(), settings);
    }

    #[test]
    fn a_garbled_file_is_no_panic() {
        let s = parse("connect=9\nlifetime_s=x\n=\nproduct_key\nserver=a=b\n");
        assert_eq!(s.lifetime_s, 86_400);
        assert_eq!(s.server, "a=b");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,300}") {
            parse(&text);
        }
    }
}
