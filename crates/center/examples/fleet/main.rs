//! Many devices in one program, over real CoAP/UDP on loopback: each has an address of its own in 127.64.0.0/10, all
//! share one socket. They have the Plan object with one MCU, `STM32`, beside the module's own firmware.
//!
//! ```text
//! fleet upgrade --server 127.0.0.1:5683 --devices 50 --spread-s 30 --seed 1 --limit-s 300
//! fleet load --server 127.0.0.1:5683
//! ```
//!
//! `upgrade` brings every device from version 1_0 to the target of the plan that it is offered, whatever happens to the
//! Center meanwhile: the devices come one after the other over `--spread-s`, fetch the package, compare its SHA-256, and repeat
//! each report until the Center has acknowledged it. Prints one JSON object of what each device saw. Exit status 0 only
//! when all are upgraded; `tests/peers/center_kill.py` judges the rest.
//!
//! `load` does what lines of its standard input say, one JSON object each when it is done; `benches/center.sh` measures
//! with it. See the table in `load.rs`.

mod load;
mod net;
mod upgrade;
mod wire;

use std::net::SocketAddrV4;

use anyhow::{Context as _, Result, bail};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().context("fleet upgrade|load --server …")?;
    let mut server: Option<SocketAddrV4> = None;
    let mut settings = upgrade::Settings::default();
    while let Some(flag) = arguments.next() {
        let value = arguments
            .next()
            .with_context(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--server" => server = Some(value.parse()?),
            "--devices" => settings.devices = value.parse()?,
            "--spread-s" => settings.spread_ms = value.parse::<u64>()? * 1000,
            "--limit-s" => settings.limit_ms = value.parse::<u64>()? * 1000,
            "--pace-ms" => settings.pace_ms = value.parse()?,
            "--seed" => settings.seed = value.parse()?,
            _ => bail!("unknown option {flag}"),
        }
    }
    let net = net::Net::open(server.context("--server is missing")?)?;
    match command.as_str() {
        "upgrade" => upgrade::run(net, &settings),
        "load" => load::run(net),
        _ => bail!("unknown command {command}"),
    }
}
