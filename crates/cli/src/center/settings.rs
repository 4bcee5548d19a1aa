//! What `sota center` can be told: by flags, else by the environment, else by a file, else by what stands here.
//!
//! The table in `docs/center.md` is written from this file by a test.

use crate::failure::Failure;
use serde::Deserialize;
use sota_center::Config;
use sota_errors::ProgramError;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// One field, one setting, under one name in all three places.
#[derive(clap::Args, Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Address and port of pages and REST; port 0 = any free one [default: 127.0.0.1:8080]
    #[arg(long, env = "SOTA_CENTER_LISTEN_HTTP", value_name = "ADDRESS:PORT")]
    pub(super) listen_http: Option<SocketAddr>,
    /// Address and port for devices (CoAP over UDP); port 0 = any free one [default: 127.0.0.1:5683]
    #[arg(long, env = "SOTA_CENTER_LISTEN_COAP", value_name = "ADDRESS:PORT")]
    pub(super) listen_coap: Option<SocketAddr>,
    /// Where devices reach the packages, when that is not the address above [default: the address above]
    #[arg(long, env = "SOTA_CENTER_COAP_PUBLIC", value_name = "HOST:PORT")]
    pub(super) coap_public: Option<String>,
    /// Folder of the database and the packages; made if it is not there [default: sota-center]
    #[arg(long, env = "SOTA_CENTER_DATA", value_name = "FOLDER")]
    pub(super) data: Option<PathBuf>,
    /// Id of the Plan object [default: 42769]
    #[arg(long, env = "SOTA_CENTER_PLAN_OBJECT", value_name = "ID")]
    pub(super) plan_object: Option<u16>,
    /// Address under which people reach the Center when a proxy speaks TLS for it, e.g. https://ota.example.com [default: none]
    #[arg(long, env = "SOTA_CENTER_PUBLIC_URL", value_name = "URL")]
    pub(super) public_url: Option<String>,
    /// Let anyone make an account; otherwise only by an owner's invitation [default: false]
    #[arg(
        long,
        env = "SOTA_CENTER_OPEN_SIGN_UP",
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) open_sign_up: Option<bool>,
    /// File for a token of this run, for programs of the same user: with it they may do everything [default: none]
    #[arg(long, env = "SOTA_CENTER_TOKEN_FILE", value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Further host name under which REST may be called; repeated, with commas in the environment, a list in the file [default: none]
    #[arg(
        long,
        env = "SOTA_CENTER_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub(super) host: Option<Vec<String>>,
    /// Allow addresses that others can reach, although nothing is encrypted in this version [default: false]
    #[arg(
        long,
        env = "SOTA_CENTER_INSECURE_NO_ENCRYPTION",
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) insecure_no_encryption: Option<bool>,
}

impl Settings {
    /// The settings of a TOML file.
    pub(super) fn read(path: &Path) -> Result<Settings, Failure> {
        let failed = |detail: String| {
            let detail = format!("{}: {}", path.display(), detail.trim_end());
            Failure::new(ProgramError::ConfigUnusable, detail)
        };
        let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
        toml::from_str(&text).map_err(|e| failed(e.to_string()))
    }

    /// These, and what they leave out from those of the file, if there is one.
    pub(super) fn over(self, file: Option<&Path>) -> Result<Settings, Failure> {
        let Some(path) = file else { return Ok(self) };
        let file = Settings::read(path)?;
        Ok(Settings {
            listen_http: self.listen_http.or(file.listen_http),
            listen_coap: self.listen_coap.or(file.listen_coap),
            coap_public: self.coap_public.or(file.coap_public),
            data: self.data.or(file.data),
            plan_object: self.plan_object.or(file.plan_object),
            public_url: self.public_url.or(file.public_url),
            open_sign_up: self.open_sign_up.or(file.open_sign_up),
            token_file: self.token_file.or(file.token_file),
            host: self.host.or(file.host),
            insecure_no_encryption: self.insecure_no_encryption.or(file.insecure_no_encryption),
        })
    }

    /// The data folder.
    pub(super) fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| "sota-center".into())
    }

    /// With the defaults for what nobody said.
    pub(super) fn config(self) -> Config {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Config {
            http: self.listen_http.unwrap_or(local(8080)),
            coap: self.listen_coap.unwrap_or(local(5683)),
            coap_public: self.coap_public.clone(),
            insecure_no_encryption: self.insecure_no_encryption.unwrap_or(false),
            hosts: self.host.clone().unwrap_or_default(),
            public_url: self.public_url.clone(),
            open_sign_up: self.open_sign_up.unwrap_or(false),
            token_file: self.token_file.clone(),
            plan_object: self.plan_object.unwrap_or(sota_center::DEFAULT_PLAN_OBJECT),
            ..Config::new(self.data())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command};

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        file
    }

    #[test]
    fn what_was_said_goes_over_the_file_and_the_file_over_the_defaults() {
        let file = file(
            "listen-http = \"127.0.0.1:9000\"\nhost = [\"a\", \"b\"]\nopen-sign-up = true\nplan-object = 10\n\
             data = \"/srv/ota\"\ncoap-public = \"h:1\"\npublic-url = \"https://x\"\ntoken-file = \"t\"\n\
             listen-coap = \"127.0.0.1:9001\"\ninsecure-no-encryption = true\n",
        );
        let all = Settings::read(file.path()).expect("readable");
        // Every field is there: a field that `over` forgets shows here.
        assert_eq!(
            Settings::default().over(Some(file.path())).expect("merged"),
            all
        );
        let said = Settings {
            open_sign_up: Some(false),
            data: Some("here".into()),
            ..Settings::default()
        };
        let config = said.over(Some(file.path())).expect("merged").config();
        assert!(!config.open_sign_up && config.insecure_no_encryption);
        assert_eq!((config.http.port(), config.coap.port()), (9000, 9001));
        assert_eq!(config.data, Path::new("here"));
        assert_eq!((config.plan_object, config.hosts.len()), (10, 2));
        let config = Settings::default().over(None).expect("none").config();
        assert_eq!((config.http.port(), config.coap.port()), (8080, 5683));
    }

    #[test]
    fn a_file_with_a_mistake_says_where() {
        for (text, says) in [
            ("listen_http = \"127.0.0.1:1\"", "listen_http"),
            ("\nplan-object = 70000", "line 2"),
            ("listen-http = \"here\"", "socket address"),
            ("data = ", "line 1"),
        ] {
            let refused = Settings::read(file(text).path()).expect_err(text);
            let message = refused.json()["message"].to_string();
            assert!(message.contains(says), "{text}: {message}");
        }
        assert!(Settings::read(Path::new("/nowhere.toml")).is_err());
    }

    /// The table of `docs/center.md`: `SOTA_BLESS=1 cargo test -p sota-cli table` writes it.
    #[test]
    fn the_table_of_settings_is_true() {
        let command = Settings::augment_args(Command::new("center"));
        let config = Settings::default().config();
        let defaults = [
            ("listen-http", config.http.to_string()),
            ("listen-coap", config.coap.to_string()),
            ("data", config.data.display().to_string()),
            ("plan-object", config.plan_object.to_string()),
            ("open-sign-up", config.open_sign_up.to_string()),
        ];
        let mut table = String::from(
            "| flag, key of the file | environment | what | default |\n|---|---|---|---|\n",
        );
        for argument in command.get_arguments() {
            let long = argument.get_long().expect("a long flag");
            let env = argument.get_env().expect("a variable").to_string_lossy();
            let help = argument.get_help().expect("a help text").to_string();
            let (what, default) = help
                .strip_suffix(']')
                .and_then(|help| help.split_once(" [default: "))
                .unwrap_or_else(|| panic!("{long}: its help must end with [default: …]"));
            let value = match argument.get_value_names() {
                Some([name]) if name == "true|false" => "[=true\\|false]".to_owned(),
                Some([name]) => format!(" {name}"),
                _ => panic!("{long}: one value name"),
            };
            if let Some(config) = defaults.iter().find(|(name, _)| *name == long) {
                assert_eq!(config.1, default, "{long}");
            }
            table += &format!("| `--{long}{value}` | `{env}` | {what} | {default} |\n");
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/center.md");
        let text = std::fs::read_to_string(path).expect("docs/center.md");
        let (begin, end) = ("<!-- settings -->\n", "<!-- /settings -->\n");
        let (before, rest) = text.split_once(begin).expect("the table's begin");
        let (stands, after) = rest.split_once(end).expect("the table's end");
        if std::env::var_os("SOTA_BLESS").is_some() {
            let text = format!("{before}{begin}{table}{end}{after}");
            std::fs::write(path, text).expect("written");
            return;
        }
        assert_eq!(stands, table, "SOTA_BLESS=1 cargo test -p sota-cli table");
    }
}
