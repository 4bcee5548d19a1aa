//! A plan in the seed's four steps: what and for whom, when and under which conditions, which versions, and a look at
//! it all. Nothing is stored before the last one: what was typed goes along in hidden fields.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::Path;
use jiff::tz::TimeZone;
use sota_errors::CenterError;

use super::form::{Faults, Fields};
use super::groups::{self, GROUP, Row};
use super::rollout::{self, keys, rollout, rollout_fields};
use super::show::local;
use super::visit::{Shell, Visit};
use super::{Page, Route, get, post, show_as, to};
use crate::api::plans::time;
use crate::api::status;
use crate::domain::{
    Component, FilterId, Model, ModelId, Package, PackageId, Plan, PlanAction, PlanComponent,
    PlanId, Problem, Product, ProductId, ProjectId, Rollout, SavedFilter, Strategy, check_name,
};
use crate::service::NewPlan;
use crate::store::Scope;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/projects/{project}/plans/new", new_page),
        post("/projects/{project}/plans/new", new_step),
        get("/projects/{project}/plans/{plan}/edit", edit_page),
        post("/projects/{project}/plans/{plan}/edit", edit_step),
    ]
}

/// Fields of each step; the others go along hidden. Versions have one field per component, `package_<identifier>`, and
/// each group of the second step a row, `group_<row>_<what>`.
const FIELDS: [&[&str]; 4] = [
    &[
        "name",
        "product",
        "model",
        "audience",
        "audience_live",
        "whitelist",
        "blacklist",
    ],
    &[
        "time_zone",
        "start",
        "end",
        "retry_times",
        "min_rsrp_dbm",
        "min_battery_percent",
        "test_devices",
        "at_once",
        "start_spread_s",
        "push_from",
        "push_to",
        "cell_downloads",
        "cell_weak_below_dbm",
        "cell_weak_downloads",
        "retry_first_wait_s",
        "retry_greatest_wait_s",
        "retry_never_after",
        "mode",
    ],
    &["upgrade_text"],
    &[],
];
/// Head of the fields of the third step.
const PACKAGE: &str = "package_";

/// A component of the model, what may be chosen for it, and what is.
struct Choice {
    component: Component,
    packages: Vec<Package>,
    chosen: String,
}

#[derive(Template)]
#[template(path = "wizard.html")]
struct Wizard {
    shell: Shell,
    step: usize,
    fields: Fields,
    faults: Faults,
    products: Vec<Product>,
    models: Vec<Model>,
    choices: Vec<Choice>,
    zones: Vec<String>,
    filters: Vec<SavedFilter>,
}

impl Wizard {
    /// What the present step does not show.
    fn hidden(&self) -> Vec<(String, String)> {
        let shown = |name: &str| {
            let own = self.step.checked_sub(1).and_then(|i| FIELDS.get(i));
            own.is_some_and(|own| own.contains(&name))
                || (self.step == 2 && name.starts_with(GROUP))
                || (self.step == 3 && name.starts_with(PACKAGE))
                || ["mark", "step", "go"].contains(&name)
        };
        let all = self.fields.0.iter();
        all.filter(|(name, _)| !shown(name)).cloned().collect()
    }

    /// The plan is made now: the script may put in the reader's zone.
    fn fresh(&self) -> bool {
        self.fields.get("name").is_empty() && self.step == 1
    }

    fn product_name(&self) -> String {
        let chosen = self.fields.get("product");
        let found = self.products.iter().find(|p| p.id.to_string() == chosen);
        found.map(|p| p.name.clone()).unwrap_or_default()
    }

    fn model_name(&self) -> String {
        let chosen = self.fields.get("model");
        let found = self.models.iter().find(|m| m.id.to_string() == chosen);
        found.map(|m| m.name.clone()).unwrap_or_default()
    }

    /// Name and expression of the chosen filter.
    fn audience(&self) -> Option<(&str, &str)> {
        let chosen = self.fields.get("audience");
        let found = self.filters.iter().find(|f| f.id.to_string() == chosen);
        found.map(|f| (f.name.as_str(), f.expression.as_str()))
    }

    fn groups(&self) -> Vec<Row> {
        groups::rows(&self.fields)
    }

    fn unshown_groups(&self) -> Option<usize> {
        rollout::unshown(&self.fields)
    }

    fn devices(&self, list: &str) -> usize {
        keys(self.fields.get(list)).len()
    }

    /// Components with the package chosen for each.
    fn versions(&self) -> Vec<(String, String, String)> {
        let version = |choice: &Choice| {
            let mut packages = choice.packages.iter();
            let package = packages.find(|p| p.id.to_string() == choice.chosen)?;
            let component = choice.component.name.clone();
            Some((
                component,
                package.name.clone(),
                package.target_version.clone(),
            ))
        };
        self.choices.iter().filter_map(version).collect()
    }
}

/// What is chosen before anybody typed anything.
fn defaults() -> Fields {
    let strategy = Strategy::default();
    let fields = [
        ("time_zone", "UTC".to_owned()),
        ("retry_times", strategy.retry_times.to_string()),
        ("min_rsrp_dbm", strategy.min_rsrp_dbm.to_string()),
        (
            "min_battery_percent",
            strategy.min_battery_percent.to_string(),
        ),
    ];
    let mut all: Vec<_> = fields.map(|(name, value)| (name.to_owned(), value)).into();
    all.extend(rollout_fields(&Rollout::default()));
    Fields(all)
}

fn typed(plan: &Plan) -> Fields {
    let lines = |list: &BTreeSet<String>| list.iter().cloned().collect::<Vec<_>>().join("\n");
    let audience = plan.audience.as_ref().map(|a| a.filter.to_string());
    let live = plan.audience.as_ref().is_some_and(|a| a.live);
    let end = plan.end_at.map(|end| local(end, &plan.time_zone));
    let mut fields = vec![
        ("name".to_owned(), plan.name.clone()),
        ("product".to_owned(), plan.product.to_string()),
        ("model".to_owned(), plan.model.to_string()),
        ("audience".to_owned(), audience.unwrap_or_default()),
        (
            "audience_live".to_owned(),
            if live { "yes" } else { "" }.to_owned(),
        ),
        ("whitelist".to_owned(), lines(&plan.whitelist)),
        ("blacklist".to_owned(), lines(&plan.blacklist)),
        ("time_zone".to_owned(), plan.time_zone.clone()),
        ("start".to_owned(), local(plan.start_at, &plan.time_zone)),
        ("end".to_owned(), end.unwrap_or_default()),
        (
            "retry_times".to_owned(),
            plan.strategy.retry_times.to_string(),
        ),
        (
            "min_rsrp_dbm".to_owned(),
            plan.strategy.min_rsrp_dbm.to_string(),
        ),
        (
            "min_battery_percent".to_owned(),
            plan.strategy.min_battery_percent.to_string(),
        ),
        ("upgrade_text".to_owned(), plan.upgrade_text.clone()),
        ("revision".to_owned(), plan.revision.to_string()),
    ];
    fields.extend(rollout_fields(&plan.rollout));
    for chosen in &plan.components {
        let name = format!("{PACKAGE}{}", chosen.component);
        fields.push((name, chosen.package.to_string()));
    }
    Fields(fields)
}

/// The plan as typed. Its components are in the model's order, which is the sequence.
fn read(
    project: i64,
    fields: &Fields,
    model: Option<&Model>,
    now: i64,
) -> Result<NewPlan, Problem> {
    let name = fields.get("name").trim().to_owned();
    // first, as it stands first
    check_name("name", &name)?;
    let zone_name = fields.or("time_zone", "UTC").trim().to_owned();
    let zone = TimeZone::get(&zone_name)
        .map_err(|_| Problem::of(CenterError::TimeUnreadable, "time_zone", &zone_name))?;
    let at = |field: &str| match fields.get(field).trim() {
        "" => Ok(None),
        text => time(field, text, &zone).map(Some),
    };
    let components = model.map(|m| m.components.as_slice()).unwrap_or_default();
    let mut chosen = Vec::new();
    for component in components {
        let field = format!("{PACKAGE}{}", component.identifier);
        if !fields.get(&field).is_empty() {
            chosen.push(PlanComponent {
                component: component.identifier.clone(),
                package: PackageId(fields.number(&field)?),
            });
        }
    }
    Ok(NewPlan {
        project: ProjectId(project),
        name,
        product: ProductId(fields.number("product")?),
        model: ModelId(fields.number("model")?),
        audience: match fields.get("audience") {
            "" => None,
            _ => {
                let live = fields.is("audience_live", "yes");
                Some((FilterId(fields.number("audience")?), live))
            }
        },
        whitelist: keys(fields.get("whitelist")),
        blacklist: keys(fields.get("blacklist")),
        start_at: at("start")?.unwrap_or(now),
        end_at: at("end")?,
        time_zone: zone_name,
        strategy: Strategy {
            retry_times: fields.number("retry_times")?,
            min_rsrp_dbm: fields.number("min_rsrp_dbm")?,
            min_battery_percent: fields.number("min_battery_percent")?,
        },
        rollout: rollout(fields)?,
        components: chosen,
        upgrade_text: fields.get("upgrade_text").trim().to_owned(),
    })
}

/// The step on which an error's field stands, and the field as the page calls it.
fn place(problem: &Problem, fields: &Fields, model: Option<&Model>) -> (usize, String) {
    let heads = ["strategy.", "rollout."];
    let mut inner = heads
        .iter()
        .filter_map(|head| problem.field.strip_prefix(head));
    let field = &rollout::place(inner.next().unwrap_or(&problem.field));
    if let Some(index) = field.strip_prefix("components[") {
        let index = index
            .split(']')
            .next()
            .and_then(|i| i.parse::<usize>().ok());
        // counts those that were chosen
        let components = model.map(|m| m.components.as_slice()).unwrap_or_default();
        let names = components
            .iter()
            .map(|c| format!("{PACKAGE}{}", c.identifier));
        let mut chosen = names.filter(|name| !fields.get(name).is_empty());
        let name = index.and_then(|i| chosen.nth(i));
        return (3, name.unwrap_or_default());
    }
    if field == "components" || field.starts_with(PACKAGE) {
        return (3, field.to_owned());
    }
    if field.starts_with(GROUP) {
        return (2, field.to_owned());
    }
    let step = FIELDS.iter().position(|own| own.contains(&field.as_str()));
    let step = match problem.error {
        CenterError::ListTooLong if field != "test_devices" => Some(0),
        _ => step,
    };
    (step.map_or(1, |i| i + 1), field.to_owned())
}

async fn page(
    visit: &Visit,
    project: i64,
    plan: Option<i64>,
    step: usize,
    fields: Fields,
    problem: Option<Problem>,
) -> Page {
    let title = if plan.is_some() {
        "Edit plan"
    } else {
        "New plan"
    };
    let (scope, shell) = visit.within(project, "plans", title).await?;
    let store = visit.service.store();
    let packages = store.packages(&scope).await?;
    let models = store.models(&scope).await?;
    let model = models
        .iter()
        .find(|m| m.id.to_string() == fields.get("model"));
    let mut choices = Vec::new();
    for component in model.map(|m| m.components.as_slice()).unwrap_or_default() {
        let product = fields.get("product");
        let fits = |p: &&Package| {
            let own = p.product.is_none_or(|id| id.to_string() == product);
            own && p.component_type == component.kind
        };
        let field = format!("{PACKAGE}{}", component.identifier);
        choices.push(Choice {
            component: component.clone(),
            packages: packages.iter().filter(fits).cloned().collect(),
            chosen: fields.get(&field).to_owned(),
        });
    }
    let code = problem.as_ref().map(|p| status(p.error));
    let zones = jiff::tz::db().available().map(|z| z.to_string());
    let wizard = Wizard {
        products: store.products(&scope).await?,
        filters: store.filters(&scope).await?,
        zones: if step == 2 {
            zones.collect()
        } else {
            Vec::new()
        },
        models,
        choices,
        shell,
        step,
        faults: problem.as_ref().map(Faults::of).unwrap_or_default(),
        fields,
    };
    show_as(code.unwrap_or_default(), &wizard)
}

async fn new_page(visit: Visit, Path(project): Path<i64>) -> Page {
    page(&visit, project, None, 1, defaults(), None).await
}

async fn edit_page(visit: Visit, Path((project, plan)): Path<(i64, i64)>) -> Page {
    let scope = visit.inside(project)?;
    let stored = visit.service.need_plan(&scope, PlanId(plan)).await?;
    stored.check_editable()?;
    page(&visit, project, Some(plan), 1, typed(&stored), None).await
}

async fn new_step(visit: Visit, Path(project): Path<i64>, fields: Fields) -> Page {
    step(visit, project, None, fields).await
}

async fn edit_step(visit: Visit, Path((project, plan)): Path<(i64, i64)>, fields: Fields) -> Page {
    step(visit, project, Some(plan), fields).await
}

/// What a button of the wizard does: `go` is `back`, `next`, `save`, `activate`, or a button of a group's row.
async fn step(visit: Visit, project: i64, plan: Option<i64>, mut fields: Fields) -> Page {
    let scope = visit.operating(project)?;
    let at = fields.number::<usize>("step")?.clamp(1, 4);
    let go = fields.get("go").to_owned();
    match groups::press(&go, &mut fields) {
        Ok(false) => {}
        Ok(true) => return page(&visit, project, plan, 2, fields, None).await,
        Err(problem) => return page(&visit, project, plan, 2, fields, Some(problem)).await,
    }
    if go == "back" {
        return page(
            &visit,
            project,
            plan,
            at.saturating_sub(1).max(1),
            fields,
            None,
        )
        .await;
    }
    let models = visit.service.store().models(&scope).await?;
    let model = models
        .into_iter()
        .find(|m| m.id.to_string() == fields.get("model"));
    let now = visit.now();
    let checked = match read(project, &fields, model.as_ref(), now) {
        Ok(new) => visit
            .service
            .draft(&scope, new.clone(), now)
            .await
            .map(|_| new),
        Err(problem) => Err(problem),
    };
    // an error of a later step has its turn there
    let checked = match checked {
        Err(mut problem) => {
            let (of, field) = place(&problem, &fields, model.as_ref());
            problem.field = field;
            if of <= at || go != "next" {
                return page(&visit, project, plan, of.min(at), fields, Some(problem)).await;
            }
            None
        }
        Ok(new) => Some(new),
    };
    match (go.as_str(), checked) {
        ("save" | "activate", Some(new)) => {
            let plan = plan.map(|id| (PlanId(id), fields.number("revision").ok()));
            match store(&visit, &scope, plan, new, go == "activate").await {
                Ok(id) => to(format!("/projects/{project}/plans/{id}")),
                Err(mut problem) => {
                    let (of, field) = place(&problem, &fields, model.as_ref());
                    problem.field = field;
                    let plan = plan.map(|(id, _)| id.0);
                    page(&visit, project, plan, of, fields, Some(problem)).await
                }
            }
        }
        _ => page(&visit, project, plan, (at + 1).min(4), fields, None).await,
    }
}

async fn store(
    visit: &Visit,
    scope: &Scope,
    plan: Option<(PlanId, Option<u64>)>,
    new: NewPlan,
    activate: bool,
) -> Result<PlanId, Problem> {
    let now = visit.now();
    if activate && new.end_at.is_some_and(|end| end <= now) {
        // before it is stored
        return Err(Problem::of(
            CenterError::PlanTimes,
            "end",
            "the end is past",
        ));
    }
    let stored = match plan {
        Some((id, read)) => {
            let edited = visit.service.edit_plan(scope, id, new, read, now);
            edited.await?
        }
        None => visit.service.create_plan(scope, new, now).await?,
    };
    if activate {
        let action = PlanAction::Activate;
        let activated = visit.service.plan_action(scope, stored.id, action, now);
        activated.await?;
    }
    Ok(stored.id)
}
