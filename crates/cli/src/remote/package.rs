//! `sota package`.

use super::{Connection, done, of_project, show};
use crate::failure::Failure;
use crate::out::Out;
use crate::rest::form_name;
use sota_errors::ProgramError;
use std::path::{Path, PathBuf};
use ureq::unversioned::multipart::{Form, Part};

/// Options of `sota package`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// The packages.
    List {
        /// Id of a project: only those of this one.
        #[arg(long)]
        project: Option<i64>,
    },
    /// One package with its files and digests.
    Show {
        /// Id of the package.
        id: i64,
    },
    /// Uploads files as a new package.
    Upload(Box<Upload>),
    /// Deletes a package that no plan uses.
    Delete {
        /// Id of the package.
        id: i64,
    },
}

#[derive(clap::Args)]
struct Upload {
    /// Id of the project.
    #[arg(long)]
    project: i64,
    /// Name, unique in the project.
    #[arg(long)]
    name: String,
    /// Kind of component it is for.
    #[arg(long = "type", value_parser = ["MCU", "Firmware"])]
    component_type: String,
    /// Version that the component reports when it runs this package.
    #[arg(long, value_name = "VERSION")]
    target: String,
    /// Makes it a delta: version it can start from; may be repeated.
    #[arg(long, value_name = "VERSION")]
    source: Vec<String>,
    /// Id of the only product it is for.
    #[arg(long)]
    product: Option<i64>,
    /// Remark.
    #[arg(long)]
    remark: Option<String>,
    /// SHA-256 that the first file must have: what comes damaged is refused.
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// 1 to 5 files, in the order in which a device takes them.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

const COLUMNS: super::table::Columns = &[
    ("id", "id"),
    ("project", "project"),
    ("name", "name"),
    ("type", "component_type"),
    ("kind", "package_type"),
    ("target", "target_version"),
    ("from", "source_versions"),
];

/// Does it.
pub(crate) fn run(args: Args, out: Out) -> Result<(), Failure> {
    let rest = args.connection.open()?;
    match args.command {
        Command::List { project } => {
            let all = rest.get("/packages")?;
            show(out, COLUMNS, &of_project(all, project));
        }
        Command::Show { id } => show(out, COLUMNS, &rest.get(&format!("/packages/{id}"))?),
        Command::Upload(upload) => {
            let made = upload.send(&rest)?;
            show(out, COLUMNS, &made);
        }
        Command::Delete { id } => {
            let answer = rest.delete(&format!("/packages/{id}"))?;
            done(out, &format!("package {id} is deleted"), &answer);
        }
    }
    Ok(())
}

impl Upload {
    fn send(&self, rest: &crate::rest::Rest) -> Result<serde_json::Value, Failure> {
        let (project, product) = (
            self.project.to_string(),
            self.product.map(|p| p.to_string()),
        );
        let mut form = Form::new()
            .text("project", &project)
            .text("name", &self.name)
            .text("component_type", &self.component_type)
            .text("target_version", &self.target);
        if !self.source.is_empty() {
            form = form.text("package_type", "Delta");
        }
        for source in &self.source {
            form = form.text("source_version", source);
        }
        let optional = [("product", &product), ("remark", &self.remark)];
        for (name, value) in optional {
            if let Some(value) = value {
                form = form.text(name, value);
            }
        }
        for (index, path) in self.files.iter().enumerate() {
            form = form.part("file", file(path)?);
            if let (0, Some(sha256)) = (index, &self.sha256) {
                form = form.text("expected_sha256", sha256);
            }
        }
        rest.upload("/packages", form)
    }
}

fn file<'a>(path: &Path) -> Result<Part<'a>, Failure> {
    let unreadable = |e: &dyn std::fmt::Display| {
        let detail = format!("{}: {e}", path.display());
        Failure::new(ProgramError::PackageUnreadable, detail)
    };
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| unreadable(&"its name is not UTF-8"))?;
    let part = Part::file(path).map_err(|e| unreadable(&e))?;
    Ok(part.file_name(&form_name(name)))
}
