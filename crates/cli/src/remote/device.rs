//! `sota device`.

use super::table::Columns;
use super::{Connection, done, show, show_pages};
use crate::failure::Failure;
use crate::names;
use crate::out::Out;

/// Options of `sota device`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// The devices of a product that have been in contact.
    List {
        /// Product key.
        product_key: String,
    },
    /// One device: versions, battery, signal, when it was heard last.
    Show(Device),
    /// Which rule forbids it a plan, or that it would be offered one now.
    Why {
        #[command(flatten)]
        device: Device,
        /// Id of a plan: only this one.
        #[arg(long)]
        plan: Option<i64>,
    },
    /// What happened to it.
    Log(Device),
    /// Shuts it out until it is enabled.
    Disable(Device),
    /// Lets it in again.
    Enable(Device),
}

#[derive(clap::Args)]
struct Device {
    /// Product key.
    product_key: String,
    /// Device key.
    device_key: String,
}

impl Device {
    fn path(&self) -> Result<String, Failure> {
        names::key("product key", &self.product_key)?;
        names::key("device key", &self.device_key)?;
        Ok(format!("/devices/{}/{}", self.product_key, self.device_key))
    }
}

const DEVICES: Columns = &[
    ("device", "device_key"),
    ("components", "components"),
    ("battery %", "battery_percent"),
    ("RSRP dBm", "rsrp_dbm"),
    ("last seen", "last_seen_at"),
    ("disabled", "disabled"),
];

const WHY: Columns = &[
    ("plan", "plan"),
    ("offered", "offered"),
    ("number", "number"),
    ("rule", "rule"),
    ("why", "message"),
    ("what to do", "remedy"),
];

const LOG: Columns = &[
    ("at", "at"),
    ("plan", "plan"),
    ("number", "number"),
    ("what", "text"),
];

/// Does it.
pub(crate) fn run(args: Args, out: Out) -> Result<(), Failure> {
    let rest = args.connection.open()?;
    match args.command {
        Command::List { product_key } => {
            names::key("product key", &product_key)?;
            let path = format!("/devices?product_key={product_key}");
            show_pages(&rest, out, DEVICES, &path, "device_key")?;
        }
        Command::Show(device) => show(out, DEVICES, &rest.get(&device.path()?)?),
        Command::Why { device, plan } => {
            let plan = plan.map(|plan| format!("?plan={plan}")).unwrap_or_default();
            let path = format!("{}/why{plan}", device.path()?);
            show(out, WHY, &rest.get(&path)?);
        }
        Command::Log(device) => show(out, LOG, &rest.get(&format!("{}/log", device.path()?))?),
        Command::Disable(device) => act(&rest, out, &device, "disable")?,
        Command::Enable(device) => act(&rest, out, &device, "enable")?,
    }
    Ok(())
}

fn act(rest: &crate::rest::Rest, out: Out, device: &Device, what: &str) -> Result<(), Failure> {
    let path = format!("{}/{what}", device.path()?);
    let answer = rest.post(&path, &serde_json::json!({}))?;
    done(out, &format!("{what}d: {}", device.device_key), &answer);
    Ok(())
}
