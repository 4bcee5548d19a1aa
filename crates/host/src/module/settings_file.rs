//! What `AT+QIOTCFG` and `AT+QIOTREG` set, as lines `key=value` in the state folder.
//!
//! Only what differs from the program's defaults is kept: another default counts at the next start unless an
//! AT command has set the item.

use sota::bridge::{ConnectMode, Settings};
use std::fs;
use std::io;
use std::path::Path;

const FILE: &str = "settings.txt";

/// The settings kept in the folder `state`; those of `defaults` where there are none. A line that cannot
/// be understood is passed over.
///
/// # Errors
/// The file is there but cannot be read.
pub fn load(state: &Path, defaults: &Settings) -> io::Result<Settings> {
    let text = match fs::read_to_string(state.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    Ok(parse(&text, defaults.clone()))
}

/// Keeps the settings: the whole new file or the whole old one.
///
/// # Errors
/// The folder cannot be written.
pub fn store(state: &Path, settings: &Settings, defaults: &Settings) -> io::Result<()> {
    let new = state.join("settings.new");
    fs::write(&new, text(settings, defaults))?;
    fs::rename(new, state.join(FILE))
}

fn text(s: &Settings, d: &Settings) -> String {
    let mut text = String::new();
    for (key, value, default) in [
        ("product_key", &s.product_key, &d.product_key),
        ("product_secret", &s.product_secret, &d.product_secret),
        ("device_key", &s.device_key, &d.device_key),
        ("device_secret", &s.device_secret, &d.device_secret),
    ] {
        if value != default {
            text += &format!("{key}={value}\n");
        }
    }
    if s.server != d.server {
        text += &format!("server={}\n", s.server);
    }
    if s.lifetime_s != d.lifetime_s {
        text += &format!("lifetime_s={}\n", s.lifetime_s);
    }
    if s.connect != d.connect {
        text += &format!("connect={}\n", s.connect as u8);
    }
    text
}

fn parse(text: &str, mut s: Settings) -> Settings {
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
        let mut defaults = Settings::new();
        set(&mut defaults.device_key, "d1");
        assert_eq!(load(dir.path(), &defaults).unwrap(), defaults);
        let mut settings = defaults.clone();
        set(&mut settings.product_key, "p1");
        set(&mut settings.server, "coap://127.0.0.1:5683");
        settings.lifetime_s = 300;
        settings.connect = ConnectMode::Auto;
        store(dir.path(), &settings, &defaults).unwrap();
        assert_eq!(load(dir.path(), &defaults).unwrap(), settings);
        // A new default counts where nothing was set.
        set(&mut defaults.device_key, "d2");
        set(&mut defaults.server, "coap://other");
        let loaded = load(dir.path(), &defaults).unwrap();
        assert_eq!(
            (&*loaded.device_key, &*loaded.server),
            ("d2", "coap://127.0.0.1:5683")
        );
        // A deleted one stays deleted.
        settings.device_key.clear();
        store(dir.path(), &settings, &defaults).unwrap();
        assert_eq!(load(dir.path(), &defaults).unwrap().device_key, "");
    }

    #[test]
    fn a_garbled_file_is_no_panic() {
        let s = parse(
            "connect=9\nlifetime_s=x\n=\nproduct_key\nserver=a=b\n",
            Settings::new(),
        );
        assert_eq!(s.lifetime_s, 86_400);
        assert_eq!(s.server, "a=b");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,300}") {
            parse(&text, Settings::new());
        }
    }
}
