//! `sota center` and `sota center backup`.

mod settings;

use crate::failure::Failure;
use crate::names;
use crate::out::Out;
use crate::stop::on_stop;
use serde_json::json;
use settings::Settings;
use sota_center::Center;
use sota_errors::{CenterError, ProgramError};
use std::path::PathBuf;

/// Options of `sota center`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// TOML file with any of the settings below, under the flags' names; a flag or variable wins over it.
    #[arg(long, env = "SOTA_CENTER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Copies database and packages into a folder, also while the Center runs. Restore: start with `--data` that folder.
    Backup(Backup),
}

/// Options of `sota center backup`.
#[derive(clap::Args)]
struct Backup {
    /// Folder to be made; it must not be there yet.
    #[arg(value_name = "TO")]
    to: PathBuf,
    /// The Center's data folder [default: sota-center]
    #[arg(long, env = "SOTA_CENTER_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The Center's configuration file, for its `data`.
    #[arg(long, env = "SOTA_CENTER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Serves until it is stopped, or does the one thing asked for.
pub(crate) fn run(args: Args, out: Out, until_eof: bool) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Runtime::new().map_err(|e| Failure::new(ProgramError::SocketFailed, e))?;
    match args.command {
        Some(Command::Backup(args)) => runtime.block_on(backup(args, out)),
        None => {
            let settings = args.settings.over(args.config.as_deref())?;
            runtime.block_on(serve(settings, out, until_eof))
        }
    }
}

async fn backup(args: Backup, out: Out) -> Result<(), Failure> {
    let settings = Settings {
        data: args.data,
        ..Settings::default()
    };
    let data = settings.over(args.config.as_deref())?.data();
    let copied = sota_center::backup(&data, &args.to).await?;
    out.line(
        format_args!(
            "{} as it is now is in {}: the database ({} bytes) and {} files of packages ({} bytes).",
            data.display(),
            args.to.display(),
            copied.database_bytes,
            copied.files,
            copied.file_bytes
        ),
        json!({ "to": args.to, "database_bytes": copied.database_bytes, "files": copied.files, "file_bytes": copied.file_bytes }),
    );
    Ok(())
}

async fn serve(settings: Settings, out: Out, until_eof: bool) -> Result<(), Failure> {
    let config = settings.config();
    if config.insecure_no_encryption {
        let warning = CenterError::UnencryptedWarning.entry();
        eprintln!(
            "warning {} {}: {}",
            warning.number, warning.name, warning.meaning
        );
    }
    names::folder(&config.data)?;
    let data = config.data.clone();
    let center = Center::open(config).await?;
    let handle = center.stop_handle();
    on_stop(until_eof, move || handle.stop())?;
    let (http, coap) = (center.http_address(), center.coap_address());
    out.line(
        format_args!(
            "Center: pages on http://{http}, REST on http://{http}/api/v1 (description: /api-docs), \
             devices on coap://{coap}, data in {}{}",
            data.display(),
            match center.set_up_link() {
                Some(link) => format!("\nMake the first account here (the link works once): {link}"),
                None => String::new(),
            }
        ),
        json!({ "http": http.to_string(), "coap": coap.to_string(), "set_up": center.set_up_link() }),
    );
    center.serve().await?;
    Ok(())
}
