//! Tags of devices, saved filters, devices found by a filter.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sota_errors::CenterError;
use utoipa::ToSchema;

use super::offers::Occasion;
use super::{ATTEMPTS, BATCH, Service, audit, audit_device};
use crate::domain::{
    Action, Audience, Device, Endpoint, FILTERS_LIMIT, Filter, FilterId, Model, PLAN_LIST_LIMIT,
    Plan, Problem, Product, ProductId, ProjectId, Role, SavedFilter, Surroundings, Time,
    check_tags,
};
use crate::store::{Change, Page, Scope};

/// Devices looked at for one page of a filtered list at most.
const LOOKED_AT: usize = 20_000;
/// Unknown device keys that the answer to an import names.
const NAMED: usize = 100;

/// A filter to be saved.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFilter {
    /// Project.
    pub project: ProjectId,
    /// Name, unique in the project.
    pub name: String,
    /// The expression.
    pub expression: String,
}

/// What an import of tags did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct TagsImported {
    /// Devices whose tags changed.
    pub changed: usize,
    /// Devices that had them already.
    pub unchanged: usize,
    /// Devices that are not known: made by their first contact, they can be given tags then.
    pub unknown: usize,
    /// The first 100 of them.
    pub unknown_devices: Vec<String>,
}

impl Service {
    /// Gives a device these tags and no others. One that comes to match a plan so is offered it.
    pub async fn set_tags(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
        tags: BTreeSet<String>,
        now: Time,
    ) -> Result<Device, Problem> {
        check_tags(&tags)?;
        let missing = || Problem::new(CenterError::NoSuchDevice, endpoint.to_string());
        for _ in 0..ATTEMPTS {
            let device = self.store.device(scope, endpoint).await?;
            let mut device = device.ok_or_else(missing)?;
            scope.need(device.project, Role::Operator)?;
            if device.tags == tags {
                return Ok(device);
            }
            device.tags.clone_from(&tags);
            let all: Vec<&str> = tags.iter().map(String::as_str).collect();
            let (project, action) = (device.project, Action::TagsSet);
            let done = audit_device(scope, project, endpoint, now, action, all.join(" "));
            let changes = vec![Change::Device(device.clone()), done];
            if self.try_commit(scope, changes).await? {
                device.revision += 1;
                self.look_at(&device, now).await?;
                return Ok(device);
            }
        }
        Err(CenterError::Conflict.into())
    }

    /// A device may match another plan now.
    async fn look_at(&self, device: &Device, now: Time) -> Result<(), Problem> {
        if !self.online(device, now) {
            return Ok(());
        }
        // by the Center, whoever set the tags
        let owner = Scope::OWNER;
        let looked = self.consider(&owner, &device.endpoint, Occasion::Push, now);
        if let Err(rule) = looked.await {
            tracing::info!(device = %device.endpoint, "not offered: {rule}");
        }
        Ok(())
    }

    /// Sets the tags of many devices of a product from CSV: in each line a device key, then its tags, one a column or
    /// with blanks or semicolons between them. A first line that begins with `device_key` is a head. A line that
    /// cannot be read refuses the whole; the rest is done a few hundred devices at a time.
    pub async fn import_tags(
        &self,
        scope: &Scope,
        product: ProductId,
        csv: &[u8],
        now: Time,
    ) -> Result<TagsImported, Problem> {
        let found = self.store.product(scope, product).await?;
        let missing = || Problem::new(CenterError::NoSuchProduct, product.to_string());
        let product: Product = found.ok_or_else(missing)?;
        scope.need(product.project, Role::Operator)?;
        let lines = read_tags(csv)?;
        let mut done = TagsImported::default();
        for batch in lines.chunks(BATCH) {
            self.import_batch(scope, &product, batch, &mut done, now)
                .await?;
        }
        Ok(done)
    }

    async fn import_batch(
        &self,
        scope: &Scope,
        product: &Product,
        batch: &[(String, BTreeSet<String>)],
        done: &mut TagsImported,
        now: Time,
    ) -> Result<(), Problem> {
        for _ in 0..ATTEMPTS {
            let (mut changes, mut changed) = (Vec::new(), Vec::new());
            let (mut unchanged, mut unknown) = (0, Vec::new());
            for (key, tags) in batch {
                let endpoint = Endpoint::new(&product.product_key, key);
                match self.store.device(scope, &endpoint).await? {
                    None => unknown.push(key.clone()),
                    Some(device) if device.tags == *tags => unchanged += 1,
                    Some(mut device) => {
                        device.tags.clone_from(tags);
                        changes.push(Change::Device(device.clone()));
                        changed.push(device);
                    }
                }
            }
            if !changed.is_empty() {
                let object = format!("product/{}", product.id);
                let detail = format!("{}: {} devices", product.name, changed.len());
                let (project, action) = (product.project, Action::TagsImported);
                changes.push(audit(scope, project, now, action, object, detail));
            }
            if changes.is_empty() || self.try_commit(scope, changes).await? {
                for device in &changed {
                    self.look_at(device, now).await?;
                }
                done.changed += changed.len();
                done.unchanged += unchanged;
                done.unknown += unknown.len();
                let room = NAMED.saturating_sub(done.unknown_devices.len());
                done.unknown_devices.extend(unknown.into_iter().take(room));
                return Ok(());
            }
        }
        Err(CenterError::Conflict.into())
    }

    /// Saves a filter.
    pub async fn create_filter(
        &self,
        scope: &Scope,
        new: NewFilter,
        now: Time,
    ) -> Result<SavedFilter, Problem> {
        self.need_project(scope, new.project, Role::Operator)
            .await?;
        let mut filter = SavedFilter {
            id: FilterId(0),
            account: scope.account,
            project: new.project,
            name: new.name,
            expression: new.expression.trim().to_owned(),
            created_at: now,
            revision: 0,
        };
        filter.check()?;
        let all = self.store.filters(scope).await?;
        if all.iter().filter(|f| f.project == new.project).count() >= FILTERS_LIMIT {
            return Err(CenterError::TooManyFilters.into());
        }
        filter.id = FilterId(self.store.next_id(scope).await?);
        let object = format!("filter/{}", filter.id);
        let detail = format!("{}: {}", filter.name, filter.expression);
        let changes = vec![
            Change::Filter(filter.clone()),
            audit(
                scope,
                filter.project,
                now,
                Action::FilterCreated,
                object,
                detail,
            ),
        ];
        self.store.commit(scope, changes).await?;
        filter.revision = 1;
        Ok(filter)
    }

    /// Deletes a saved filter. Plans that were activated with it go on with its expression.
    pub async fn delete_filter(
        &self,
        scope: &Scope,
        id: FilterId,
        now: Time,
    ) -> Result<(), Problem> {
        let filter = self.need_filter(scope, id).await?;
        scope.need(filter.project, Role::Operator)?;
        let object = format!("filter/{id}");
        let (project, action) = (filter.project, Action::FilterDeleted);
        let changes = vec![
            Change::DeleteFilter(id, filter.revision),
            audit(scope, project, now, action, object, filter.name),
        ];
        Ok(self.store.commit(scope, changes).await?)
    }

    pub(super) async fn need_filter(
        &self,
        scope: &Scope,
        id: FilterId,
    ) -> Result<SavedFilter, Problem> {
        let all = self.store.filters(scope).await?;
        let missing = || Problem::of(CenterError::NoSuchFilter, "audience", id.to_string());
        all.into_iter().find(|f| f.id == id).ok_or_else(missing)
    }

    /// Models that a filter asks for.
    pub(super) async fn models_for(
        &self,
        scope: &Scope,
        filter: &Filter,
    ) -> Result<Vec<Model>, Problem> {
        match filter.asks_models() {
            true => Ok(self.store.models(scope).await?),
            false => Ok(Vec::new()),
        }
    }

    /// Devices of a product that a filter takes, in order of their keys, and after which key the next page begins. A
    /// page ends early when many devices were looked at.
    pub async fn find_devices(
        &self,
        scope: &Scope,
        product_key: &str,
        filter: &Filter,
        page: &Page,
        now: Time,
    ) -> Result<(Vec<Device>, Option<String>), Problem> {
        let models = self.models_for(scope, filter).await?;
        let (mut found, mut looked) = (Vec::new(), 0);
        let mut step = Page {
            limit: BATCH,
            ..page.clone()
        };
        loop {
            let devices = self.store.devices(scope, product_key, &step).await?;
            let all = devices.len() < BATCH;
            for device in devices {
                let around = Surroundings {
                    models: &models,
                    online: self.online(&device, now),
                    now,
                };
                looked += 1;
                step.after = Some(device.endpoint.device_key.clone());
                if filter.takes(&device, around) {
                    found.push(device);
                }
                if found.len() >= page.limit {
                    return Ok((found, step.after));
                }
            }
            if all {
                return Ok((found, None));
            }
            if looked >= LOOKED_AT {
                return Ok((found, step.after));
            }
        }
    }

    /// The audience of a plan as it is activated: the filter as it is now. A fixed one becomes the whitelist.
    pub(super) async fn fix_audience(
        &self,
        scope: &Scope,
        plan: &mut Plan,
        now: Time,
    ) -> Result<(), Problem> {
        let Some(audience) = plan.audience.clone() else {
            return Ok(());
        };
        let saved = self.need_filter(scope, audience.filter).await?;
        plan.audience = Some(Audience {
            expression: saved.expression.clone(),
            ..audience
        });
        if audience.live {
            return Ok(());
        }
        let filter = Filter::parse(&saved.expression)?;
        let mut page = Page {
            limit: BATCH,
            ..Page::default()
        };
        loop {
            let (found, next) = self
                .find_devices(scope, &plan.product_key, &filter, &page, now)
                .await?;
            let keys = found.into_iter().map(|d| d.endpoint.device_key);
            plan.whitelist.extend(keys);
            if plan.whitelist.len() > PLAN_LIST_LIMIT {
                return Err(Problem::of(CenterError::ListTooLong, "audience", ""));
            }
            match next {
                Some(after) => page.after = Some(after),
                None => break,
            }
        }
        // an empty whitelist would be every device
        match plan.whitelist.is_empty() {
            true => Err(Problem::of(
                CenterError::FilterMatchesNothing,
                "audience",
                saved.expression,
            )),
            false => Ok(()),
        }
    }
}

/// Device keys and their tags.
fn read_tags(csv: &[u8]) -> Result<Vec<(String, BTreeSet<String>)>, Problem> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(csv);
    let mut all = Vec::new();
    for (i, record) in reader.records().enumerate() {
        let at = |detail: &str| {
            let detail = format!("line {}: {detail}", i + 1);
            Problem::of(CenterError::TagUnfit, "csv", detail)
        };
        let record = record.map_err(|e| at(&e.to_string()))?;
        let key = record.get(0).unwrap_or_default();
        if key.is_empty() || (i == 0 && key == "device_key") {
            continue;
        }
        let cells = record.iter().skip(1);
        let divides = |c: char| c.is_whitespace() || c == ';';
        let tags = cells.flat_map(|cell| cell.split(divides));
        let tags: BTreeSet<String> = tags.filter(|t| !t.is_empty()).map(str::to_owned).collect();
        check_tags(&tags).map_err(|p| at(&p.detail))?;
        if all.len() >= PLAN_LIST_LIMIT {
            return Err(Problem::of(CenterError::ListTooLong, "csv", ""));
        }
        // what an export put before it for spreadsheets is not part of the key
        let key = match key.strip_prefix('\'') {
            Some(rest) if rest.starts_with(['=', '+', '-', '@']) => rest,
            _ => key,
        };
        all.push((key.to_owned(), tags));
    }
    if all.is_empty() {
        return Err(Problem::of(CenterError::TagsMissing, "csv", ""));
    }
    Ok(all)
}
