//! Projects, products, models, packages; which devices are disabled.

use serde::Deserialize;
use sota_errors::CenterError;
use utoipa::ToSchema;

use super::{ATTEMPTS, Service, audit, audit_device, line};
use crate::commands::DeviceCommand;
use crate::domain::{
    Action, Component, ComponentKind, Device, Endpoint, Membership, Model, ModelId, Package,
    PackageFile, PackageId, PackageType, Problem, Product, ProductId, Project, ProjectId, Role,
    Time,
};
use crate::store::{Change, Scope};

/// A project to be made.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProject {
    /// Name, unique, at most 100 characters.
    pub name: String,
}

/// A product to be made.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProduct {
    /// Project.
    pub project: ProjectId,
    /// Name, unique in the project.
    pub name: String,
    /// Product key of the devices; unique in the Center.
    pub product_key: String,
    /// Product secret of the devices.
    pub product_secret: String,
}

/// A model to be made.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewModel {
    /// Project.
    pub project: ProjectId,
    /// Name, unique in the project.
    pub name: String,
    /// Device model: letters, digits, `_`.
    pub device_model: String,
    /// A remark about the version.
    #[serde(default)]
    pub version: String,
    /// Components; at least one of type Firmware.
    pub components: Vec<Component>,
}

/// A package to be made, without its files.
#[derive(Clone, Debug)]
pub struct NewPackage {
    /// Project.
    pub project: ProjectId,
    /// Name, unique in the project.
    pub name: String,
    /// Product it is valid for; none = all.
    pub product: Option<ProductId>,
    /// Firmware or MCU.
    pub component_type: ComponentKind,
    /// Full or Delta.
    pub package_type: PackageType,
    /// Delta only.
    pub source_versions: Vec<String>,
    /// Target version.
    pub target_version: String,
    /// Remark.
    pub remark: String,
}

impl Service {
    /// Makes a project.
    pub async fn create_project(
        &self,
        scope: &Scope,
        new: NewProject,
        now: Time,
    ) -> Result<Project, Problem> {
        let mut project = Project {
            id: ProjectId(0),
            account: scope.account,
            name: new.name,
            created_at: now,
            revision: 0,
        };
        project.check()?;
        if !scope.makes_projects() {
            return Err(CenterError::Forbidden.into());
        }
        project.id = ProjectId(self.store.next_id(scope).await?);
        let owner = Membership {
            account: scope.account,
            project: project.id,
            role: Role::Owner,
        };
        let object = format!("project/{}", project.id);
        let changes = vec![
            Change::Project(project.clone()),
            Change::Membership(owner),
            audit(
                scope,
                project.id,
                now,
                Action::ProjectCreated,
                object,
                &project.name,
            ),
        ];
        self.store.commit(scope, changes).await?;
        Ok(Project {
            revision: 1,
            ..project
        })
    }

    /// The project, if the caller has at least this role in it.
    pub(crate) async fn need_project(
        &self,
        scope: &Scope,
        id: ProjectId,
        least: Role,
    ) -> Result<Project, Problem> {
        let project = self.store.project(scope, id).await?;
        let missing = || Problem::of(CenterError::NoSuchProject, "project", id.to_string());
        let project = project.ok_or_else(missing)?;
        scope.need(id, least)?;
        Ok(project)
    }

    /// Makes a product.
    pub async fn create_product(
        &self,
        scope: &Scope,
        new: NewProduct,
        now: Time,
    ) -> Result<Product, Problem> {
        let project = self
            .need_project(scope, new.project, Role::Operator)
            .await?;
        let mut product = Product {
            id: ProductId(0),
            account: project.account,
            project: new.project,
            name: new.name,
            product_key: new.product_key,
            product_secret: new.product_secret,
            created_at: now,
            revision: 0,
        };
        product.check()?;
        product.id = ProductId(self.store.next_id(scope).await?);
        let object = format!("product/{}", product.id);
        let detail = format!("{}, key {}", product.name, product.product_key);
        let changes = vec![
            Change::Product(product.clone()),
            audit(
                scope,
                product.project,
                now,
                Action::ProductCreated,
                object,
                detail,
            ),
        ];
        self.store.commit(scope, changes).await?;
        Ok(Product {
            revision: 1,
            ..product
        })
    }

    /// Makes a model.
    pub async fn create_model(
        &self,
        scope: &Scope,
        new: NewModel,
        now: Time,
    ) -> Result<Model, Problem> {
        let project = self
            .need_project(scope, new.project, Role::Operator)
            .await?;
        let mut model = Model {
            id: ModelId(0),
            account: project.account,
            project: new.project,
            name: new.name,
            device_model: new.device_model,
            version: new.version,
            components: new.components,
            created_at: now,
            revision: 0,
        };
        model.check()?;
        model.id = ModelId(self.store.next_id(scope).await?);
        let object = format!("model/{}", model.id);
        let changes = vec![
            Change::Model(model.clone()),
            audit(
                scope,
                model.project,
                now,
                Action::ModelCreated,
                object,
                &model.name,
            ),
        ];
        self.store.commit(scope, changes).await?;
        Ok(Model {
            revision: 1,
            ..model
        })
    }

    /// Deletes a model that no plan uses.
    pub async fn delete_model(&self, scope: &Scope, id: ModelId, now: Time) -> Result<(), Problem> {
        let model = self
            .store
            .model(scope, id)
            .await?
            .ok_or(CenterError::NoSuchModel)?;
        scope.need(model.project, Role::Operator)?;
        if let Some(plan) = self
            .store
            .plans(scope)
            .await?
            .iter()
            .find(|p| p.model == id)
        {
            return Err(Problem::new(CenterError::ModelInUse, &plan.name));
        }
        let object = format!("model/{id}");
        let changes = vec![
            Change::DeleteModel(id, model.revision),
            audit(
                scope,
                model.project,
                now,
                Action::ModelDeleted,
                object,
                model.name,
            ),
        ];
        Ok(self.store.commit(scope, changes).await?)
    }

    /// Makes a package of files that are in the store already. If it is refused, the caller removes the files with
    /// [`Service::unused_files`].
    pub async fn create_package(
        &self,
        scope: &Scope,
        new: NewPackage,
        files: Vec<PackageFile>,
        now: Time,
    ) -> Result<Package, Problem> {
        let project = self
            .need_project(scope, new.project, Role::Operator)
            .await?;
        let mut package = Package {
            id: PackageId(0),
            account: project.account,
            project: new.project,
            name: new.name,
            product: new.product,
            component_type: new.component_type,
            package_type: new.package_type,
            source_versions: new.source_versions,
            target_version: new.target_version,
            files,
            remark: new.remark,
            created_at: now,
            revision: 0,
        };
        package.check()?;
        if let Some(id) = package.product {
            let product = self.store.product(scope, id).await?;
            let missing = || Problem::of(CenterError::NoSuchProduct, "product", id.to_string());
            if product.ok_or_else(missing)?.project != package.project {
                return Err(Problem::of(CenterError::ProjectMismatch, "product", ""));
            }
        }
        package.id = PackageId(self.store.next_id(scope).await?);
        let object = format!("package/{}", package.id);
        let detail = format!("{}, to {}", package.name, package.target_version);
        let changes = vec![
            Change::Package(package.clone()),
            audit(
                scope,
                package.project,
                now,
                Action::PackageCreated,
                object,
                detail,
            ),
        ];
        self.store.commit(scope, changes).await?;
        Ok(Package {
            revision: 1,
            ..package
        })
    }

    /// Deletes a package that no plan uses; its files that no other package has are the caller's to remove.
    pub async fn delete_package(
        &self,
        scope: &Scope,
        id: PackageId,
        now: Time,
    ) -> Result<Vec<String>, Problem> {
        let package = self
            .store
            .package(scope, id)
            .await?
            .ok_or(CenterError::NoSuchPackage)?;
        scope.need(package.project, Role::Operator)?;
        let plans = self.store.plans(scope).await?;
        let user = plans
            .iter()
            .find(|p| p.components.iter().any(|c| c.package == id));
        if let Some(plan) = user {
            return Err(Problem::new(CenterError::PackageInUse, &plan.name));
        }
        let object = format!("package/{id}");
        let (project, name) = (package.project, &package.name);
        let changes = vec![
            Change::DeletePackage(id, package.revision),
            audit(scope, project, now, Action::PackageDeleted, object, name),
        ];
        self.store.commit(scope, changes).await?;
        self.unused_files(&package.files).await
    }

    /// Disables a device: its registration is gone, a new one is refused, and it is offered and sent nothing. What it
    /// says of an upgrade that is under way still counts.
    pub async fn disable_device(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
        now: Time,
    ) -> Result<Device, Problem> {
        self.set_disabled(scope, endpoint, true, now).await
    }

    /// Enables a device: its next registration is taken, and then it gets what it is owed.
    pub async fn enable_device(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
        now: Time,
    ) -> Result<Device, Problem> {
        self.set_disabled(scope, endpoint, false, now).await
    }

    async fn set_disabled(
        &self,
        scope: &Scope,
        endpoint: &Endpoint,
        disabled: bool,
        now: Time,
    ) -> Result<Device, Problem> {
        let missing = || Problem::new(CenterError::NoSuchDevice, endpoint.to_string());
        for _ in 0..ATTEMPTS {
            let device = self.store.device(scope, endpoint).await?;
            let mut device = device.ok_or_else(missing)?;
            scope.need(device.project, Role::Operator)?;
            let registration = device.registration.as_ref().map(|r| r.id.clone());
            if !device.set_disabled(disabled) {
                return Ok(device);
            }
            let (number, text, command) = match disabled {
                true => (
                    Some(CenterError::DeviceDisabled.number()),
                    "disabled by an operator",
                    DeviceCommand::Disabled {
                        endpoint: endpoint.clone(),
                    },
                ),
                false => (
                    None,
                    "enabled by an operator",
                    DeviceCommand::Enabled {
                        endpoint: endpoint.clone(),
                    },
                ),
            };
            let log = line(None, endpoint, now, number, text);
            let action = match disabled {
                true => Action::DeviceDisabled,
                false => Action::DeviceEnabled,
            };
            let done = audit_device(scope, device.project, endpoint, now, action, "");
            let changes = vec![Change::Device(device.clone()), log, done];
            if self.try_commit(scope, changes).await? {
                if let Some(id) = registration {
                    self.memory().expiry.remove(&id);
                }
                self.send(command);
                device.revision += 1;
                return Ok(device);
            }
        }
        Err(CenterError::Conflict.into())
    }

    /// Those of these files that no package refers to, of whatever project: files are shared by their digest.
    pub async fn unused_files(&self, files: &[PackageFile]) -> Result<Vec<String>, Problem> {
        let packages = self.store.packages(&Scope::OWNER).await?;
        let used = |sha256: &String| {
            packages
                .iter()
                .any(|p| p.files.iter().any(|f| f.sha256 == *sha256))
        };
        let unused = files.iter().map(|f| f.sha256.clone());
        Ok(unused.filter(|s| !used(s)).collect())
    }
}
