//! Models; packages and their upload.

use askama::Template;
use axum::extract::{DefaultBodyLimit, Multipart, Path};
use axum::handler::Handler;

use super::form::{Faults, Fields};
use super::visit::{Shell, Visit};
use super::{Page, Route, get, post, show, show_as, to};
use crate::api::packages::{remove, take};
use crate::api::status;
use crate::domain::{
    Component, ComponentKind, Model, ModelId, Package, PackageId, PackageType, Problem, Product,
    ProductId, ProjectId,
};
use crate::service::NewModel;
use sota_errors::CenterError;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/projects/{project}/models", models),
        get("/projects/{project}/models/new", new_model),
        post("/projects/{project}/models/new", create_model),
        post("/projects/{project}/models/{model}/delete", delete_model),
        get("/projects/{project}/packages", packages),
        get("/projects/{project}/packages/new", new_package),
        post(
            "/projects/{project}/packages/new",
            // its limit is per file
            upload.layer(DefaultBodyLimit::disable()),
        ),
        get("/projects/{project}/packages/{package}", package),
        post(
            "/projects/{project}/packages/{package}/delete",
            delete_package,
        ),
    ]
}

#[derive(Template)]
#[template(path = "models.html")]
struct Models {
    shell: Shell,
    models: Vec<Model>,
}

async fn models(visit: Visit, Path(id): Path<i64>) -> Page {
    let (scope, shell) = visit.within(id, "models", "Models").await?;
    let models = visit.service.store().models(&scope).await?;
    show(&Models { shell, models })
}

#[derive(Template)]
#[template(path = "model-new.html")]
struct NewModelPage {
    shell: Shell,
    fields: Fields,
    faults: Faults,
    /// Rows for components: identifier, name, type.
    rows: Vec<(usize, String, String, String)>,
}

/// Rows of components in the form.
const ROWS: usize = 4;

fn rows(fields: &Fields) -> Vec<(usize, String, String, String)> {
    let row = |i: usize| {
        let (identifier, kind) = match i {
            0 => ("MODULE", "Firmware"),
            _ => ("", "MCU"),
        };
        let name = if i == 0 { "Module" } else { "" };
        let text = |field: &str, default: &str| {
            let name = format!("{field}_{i}");
            fields.or(&name, default).to_owned()
        };
        (
            i,
            text("identifier", identifier),
            text("component", name),
            text("kind", kind),
        )
    };
    (0..ROWS).map(row).collect()
}

async fn new_model(visit: Visit, Path(id): Path<i64>) -> Page {
    let (_, shell) = visit.within(id, "models", "New model").await?;
    let fields = Fields::default();
    show(&NewModelPage {
        shell,
        rows: rows(&fields),
        fields,
        faults: Faults::none(),
    })
}

async fn create_model(visit: Visit, Path(id): Path<i64>, fields: Fields) -> Page {
    let scope = visit.operating(id)?;
    let mut kept = Vec::new();
    let mut components = Vec::new();
    for (i, identifier, name, kind) in rows(&fields) {
        let (identifier, name) = (identifier.trim().to_owned(), name.trim().to_owned());
        if identifier.is_empty() && name.is_empty() {
            continue;
        }
        kept.push(i);
        components.push(Component {
            // a component that is given no name of its own is called as the device calls it
            name: if name.is_empty() {
                identifier.clone()
            } else {
                name
            },
            identifier,
            kind: match kind.as_str() {
                "Firmware" => ComponentKind::Firmware,
                _ => ComponentKind::Mcu,
            },
            remark: String::new(),
        });
    }
    let new = NewModel {
        project: ProjectId(id),
        name: fields.get("name").trim().to_owned(),
        device_model: fields.get("device_model").trim().to_owned(),
        version: fields.get("version").trim().to_owned(),
        components,
    };
    match visit.service.create_model(&scope, new, visit.now()).await {
        Ok(_) => to(format!("/projects/{id}/models")),
        Err(mut problem) => {
            // components[2].name is the third that was given; its row may be further down
            let row = problem.field.strip_prefix("components[");
            let row = row.and_then(|r| r.split(']').next()?.parse::<usize>().ok());
            if let Some(row) = row.and_then(|r| kept.get(r)) {
                problem.field = format!("identifier_{row}");
            }
            let (_, shell) = visit.within(id, "models", "New model").await?;
            let page = NewModelPage {
                shell,
                rows: rows(&fields),
                fields,
                faults: Faults::of(&problem),
            };
            show_as(status(problem.error), &page)
        }
    }
}

async fn delete_model(visit: Visit, Path((id, model)): Path<(i64, i64)>) -> Page {
    let scope = visit.operating(id)?;
    let now = visit.now();
    let deleted = visit.service.delete_model(&scope, ModelId(model), now);
    deleted.await?;
    to(format!("/projects/{id}/models"))
}

#[derive(Template)]
#[template(path = "packages.html")]
struct Packages {
    shell: Shell,
    packages: Vec<Package>,
}

async fn packages(visit: Visit, Path(id): Path<i64>) -> Page {
    let (scope, shell) = visit.within(id, "packages", "Packages").await?;
    let mut packages = visit.service.store().packages(&scope).await?;
    packages.reverse();
    show(&Packages { shell, packages })
}

#[derive(Template)]
#[template(path = "package-new.html")]
struct NewPackagePage {
    shell: Shell,
    products: Vec<Product>,
    faults: Faults,
}

async fn upload_page(visit: &Visit, id: i64, problem: Option<Problem>) -> Page {
    let (scope, shell) = visit.within(id, "packages", "New package").await?;
    let code = problem.as_ref().map(|p| status(p.error));
    let page = NewPackagePage {
        shell,
        products: visit.service.store().products(&scope).await?,
        faults: problem.as_ref().map(Faults::of).unwrap_or_default(),
    };
    show_as(code.unwrap_or_default(), &page)
}

async fn new_package(visit: Visit, Path(id): Path<i64>) -> Page {
    upload_page(&visit, id, None).await
}

/// The upload of a browser without the script; with it the same form goes to REST and shows how far it is.
async fn upload(visit: Visit, Path(id): Path<i64>, form: Multipart) -> Page {
    visit.operating(id)?;
    match take(&visit, form).await {
        Ok(package) => to(format!("/projects/{id}/packages/{}", package.id)),
        Err(problem) => upload_page(&visit, id, Some(problem)).await,
    }
}

#[derive(Template)]
#[template(path = "package.html")]
struct PackagePage {
    shell: Shell,
    package: Package,
    product: Option<String>,
    plans: Vec<(i64, String)>,
}

impl PackagePage {
    fn delta(&self) -> bool {
        self.package.package_type == PackageType::Delta
    }
}

async fn package(visit: Visit, Path((id, package)): Path<(i64, i64)>) -> Page {
    let (scope, mut shell) = visit.within(id, "packages", "Package").await?;
    let store = visit.service.store();
    let found = store.package(&scope, PackageId(package)).await?;
    let package = found.ok_or(CenterError::NoSuchPackage)?;
    let product = match package.product {
        Some(id) => product_name(&visit, &scope, id).await?,
        None => None,
    };
    let plans = store.plans(&scope).await?;
    let plans = plans
        .into_iter()
        .filter(|p| p.components.iter().any(|c| c.package == package.id))
        .map(|p| (p.id.0, p.name));
    shell.title.clone_from(&package.name);
    show(&PackagePage {
        shell,
        product,
        plans: plans.collect(),
        package,
    })
}

async fn product_name(
    visit: &Visit,
    scope: &crate::store::Scope,
    id: ProductId,
) -> Result<Option<String>, Problem> {
    let product = visit.service.store().product(scope, id).await?;
    Ok(product.map(|p| p.name))
}

async fn delete_package(visit: Visit, Path((id, package)): Path<(i64, i64)>) -> Page {
    let scope = visit.operating(id)?;
    remove(&visit, &scope, PackageId(package)).await?;
    to(format!("/projects/{id}/packages"))
}
