//! `sota plan`.

use super::table::Columns;
use super::{Connection, done, of_project, show, show_pages};
use crate::failure::Failure;
use crate::names;
use crate::out::Out;
use crate::rest::Rest;
use serde_json::{Value, json};
use sota_errors::ProgramError;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Options of `sota plan`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// The plans.
    List {
        /// Id of a project: only those of this one.
        #[arg(long)]
        project: Option<i64>,
    },
    /// One plan: its state, its devices by state, its groups.
    Show(Plan),
    /// Makes a plan from a file; it is Saved, nothing is offered yet.
    Create {
        /// JSON object with the fields of POST /api/v1/plans; - = standard input.
        file: PathBuf,
    },
    /// Deletes a saved plan.
    Delete(Plan),
    /// Starts it.
    Activate(Plan),
    /// No new starts until it is resumed.
    Suspend(Plan),
    /// Goes on.
    Resume(Plan),
    /// Ends it for every device that has not begun.
    Terminate(Plan),
    /// Opens the next group of its rollout.
    NextGroup(Plan),
    /// Its devices.
    Devices {
        #[command(flatten)]
        plan: Plan,
        /// Only those in this state.
        #[arg(long, value_parser = ["NotUpgraded", "InUpgrade", "Upgraded", "UpgradeFailed", "NoUpdateRequired"])]
        state: Option<String>,
    },
    /// Gives up the upgrade of one device.
    Cancel(Device),
    /// Offers it to one device again that failed.
    Retry(Device),
    /// Waits until every device it has is done; exit status 0 only if all run their target.
    Wait {
        #[command(flatten)]
        plan: Plan,
        /// So many devices must be in the plan before it counts as done.
        #[arg(long, default_value_t = 1)]
        devices: u64,
        /// Seconds after which it gives up; 0 = never.
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        timeout: u64,
    },
}

#[derive(clap::Args)]
struct Plan {
    /// Id of the plan.
    id: i64,
}

#[derive(clap::Args)]
struct Device {
    /// Id of the plan.
    id: i64,
    /// Device key.
    device_key: String,
}

const PLANS: Columns = &[
    ("id", "id"),
    ("project", "project"),
    ("name", "name"),
    ("state", "state"),
    ("waiting", "counters.not_upgraded"),
    ("running", "counters.in_upgrade"),
    ("upgraded", "counters.upgraded"),
    ("failed", "counters.upgrade_failed"),
    ("not needed", "counters.no_update_required"),
];

const DEVICES: Columns = &[
    ("device", "device_key"),
    ("state", "state"),
    ("group", "group"),
    ("failures", "failures"),
    ("components", "steps"),
];

/// Between two looks at a plan that is waited for.
const LOOK: Duration = Duration::from_secs(1);

/// Does it.
pub(crate) fn run(args: Args, out: Out) -> Result<(), Failure> {
    let rest = &args.connection.open()?;
    match args.command {
        Command::List { project } => {
            let all = rest.get("/plans")?;
            show(out, PLANS, &of_project(all, project));
        }
        Command::Show(plan) => show(out, PLANS, &rest.get(&format!("/plans/{}", plan.id))?),
        Command::Create { file } => show(out, PLANS, &rest.post("/plans", &read(&file)?)?),
        Command::Delete(plan) => {
            let answer = rest.delete(&format!("/plans/{}", plan.id))?;
            done(out, &format!("plan {} is deleted", plan.id), &answer);
        }
        Command::Activate(plan) => act(rest, out, plan.id, "activate")?,
        Command::Suspend(plan) => act(rest, out, plan.id, "suspend")?,
        Command::Resume(plan) => act(rest, out, plan.id, "resume")?,
        Command::Terminate(plan) => act(rest, out, plan.id, "terminate")?,
        Command::NextGroup(plan) => act(rest, out, plan.id, "next-group")?,
        Command::Devices { plan, state } => {
            let state = state.map(|state| format!("state={state}"));
            let path = format!("/plans/{}/devices?{}", plan.id, state.unwrap_or_default());
            show_pages(rest, out, DEVICES, &path, "device_key")?;
        }
        Command::Cancel(device) => act_on(rest, out, &device, "cancel")?,
        Command::Retry(device) => act_on(rest, out, &device, "retry")?,
        Command::Wait {
            plan,
            devices,
            timeout,
        } => wait(rest, out, plan.id, devices, timeout)?,
    }
    Ok(())
}

fn act(rest: &Rest, out: Out, plan: i64, what: &str) -> Result<(), Failure> {
    let answer = rest.post(&format!("/plans/{plan}/{what}"), &json!({}))?;
    done(out, &format!("{what}: plan {plan}"), &answer);
    Ok(())
}

fn act_on(rest: &Rest, out: Out, device: &Device, what: &str) -> Result<(), Failure> {
    names::key("device key", &device.device_key)?;
    let path = format!("/plans/{}/devices/{}/{what}", device.id, device.device_key);
    let answer = rest.post(&path, &json!({}))?;
    done(out, &format!("{what}: {}", device.device_key), &answer);
    Ok(())
}

fn read(path: &Path) -> Result<Value, Failure> {
    let unusable = |e: &dyn std::fmt::Display| {
        let detail = format!("{}: {e}", path.display());
        Failure::new(ProgramError::PlanFileUnusable, detail)
    };
    let text = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(path),
    };
    serde_json::from_str(&text.map_err(|e| unusable(&e))?).map_err(|e| unusable(&e))
}

/// Looks at the plan's counters until nothing of it waits or runs.
fn wait(rest: &Rest, out: Out, plan: i64, devices: u64, timeout: u64) -> Result<(), Failure> {
    let began = Instant::now();
    let mut before = Value::Null;
    loop {
        let status = rest.get(&format!("/plans/{plan}"))?;
        let counters = &status["counters"];
        let count = |name: &str| counters[name].as_u64().unwrap_or(0);
        let failed = count("upgrade_failed");
        let open = count("not_upgraded") + count("in_upgrade");
        let over = count("upgraded") + count("no_update_required") + failed;
        if *counters != before {
            before = counters.clone();
            let line = json!({ "plan": plan, "state": status["state"], "counters": counters });
            let text = format!("{open} open, {} done, {failed} failed", over - failed);
            out.line(
                format_args!("plan {plan} {}: {text}", super::table::at(&status, "state")),
                line,
            );
        }
        if open == 0 && over >= devices {
            return match failed {
                0 => Ok(()),
                failed => Err(Failure::new(
                    ProgramError::DevicesFailed,
                    format!("plan {plan}: {failed} of {over}"),
                )),
            };
        }
        if timeout > 0 && began.elapsed() >= Duration::from_secs(timeout) {
            let detail = format!("plan {plan}: {open} open, {over} over");
            return Err(Failure::new(ProgramError::PlanNotOver, detail));
        }
        std::thread::sleep(LOOK);
    }
}
