//! Entities for tests: good ones, to be spoiled one field at a time.

use std::collections::BTreeSet;

use crate::domain::{
    Action, Actor, AuditEntry, Component, ComponentKind, Device, Endpoint, Model, ModelId, Package,
    PackageFile, PackageId, PackageType, Plan, PlanComponent, PlanDevice, PlanId, PlanState,
    Product, ProductId, Progress, Project, ProjectId, Rollout, Strategy,
};

pub(crate) fn project(id: i64, name: &str) -> Project {
    Project {
        id: ProjectId(id),
        account: 1,
        name: name.into(),
        created_at: 5,
        revision: 0,
    }
}

pub(crate) fn audit(project: Option<i64>, action: Action, at: i64) -> AuditEntry {
    AuditEntry {
        id: 0,
        project: project.map(ProjectId),
        account: project.is_none().then_some(2),
        at,
        actor: Actor::of("ada", None),
        action,
        object: "plan/5".into(),
        detail: "spring".into(),
    }
}

pub(crate) fn product(id: i64, project: i64, key: &str) -> Product {
    Product {
        id: ProductId(id),
        account: 1,
        project: ProjectId(project),
        name: format!("product {key}"),
        product_key: key.into(),
        product_secret: "secret".into(),
        created_at: 5,
        revision: 0,
    }
}

pub(crate) fn model(id: i64, project: i64) -> Model {
    let component = |identifier: &str, kind| Component {
        identifier: identifier.into(),
        name: format!("the {identifier}"),
        kind,
        remark: String::new(),
    };
    Model {
        id: ModelId(id),
        account: 1,
        project: ProjectId(project),
        name: format!("model {id}"),
        device_model: "BC660K".into(),
        version: String::new(),
        components: vec![
            component("module", ComponentKind::Firmware),
            component("STM32", ComponentKind::Mcu),
            component("ESP", ComponentKind::Mcu),
        ],
        created_at: 5,
        revision: 0,
    }
}

pub(crate) fn package(id: i64, project: i64, kind: ComponentKind, target: &str) -> Package {
    Package {
        id: PackageId(id),
        account: 1,
        project: ProjectId(project),
        name: format!("package {id}"),
        product: None,
        component_type: kind,
        package_type: PackageType::Full,
        source_versions: Vec::new(),
        target_version: target.into(),
        files: vec![PackageFile {
            file_name: "a.bin".into(),
            length: 27_954,
            md5: "00".repeat(16),
            crc32: 7,
            sha256: format!("{id:064x}"),
        }],
        remark: String::new(),
        created_at: 5,
        revision: 0,
    }
}

pub(crate) fn plan(id: i64, project: i64, product_key: &str, package: i64) -> Plan {
    Plan {
        id: PlanId(id),
        account: 1,
        project: ProjectId(project),
        name: format!("plan {id}"),
        product: ProductId(2),
        product_key: product_key.into(),
        model: ModelId(3),
        whitelist: BTreeSet::new(),
        blacklist: BTreeSet::new(),
        audience: None,
        time_zone: "UTC".into(),
        start_at: 0,
        end_at: None,
        strategy: Strategy::default(),
        rollout: Rollout::default(),
        progress: Progress::default(),
        components: vec![PlanComponent {
            component: "STM32".into(),
            package: PackageId(package),
        }],
        upgrade_text: String::new(),
        state: PlanState::Saved,
        created_at: 5,
        activated_at: None,
        revision: 0,
    }
}

pub(crate) fn device(product_key: &str, device_key: &str) -> Device {
    let product = product(2, 1, product_key);
    Device::first_contact(&product, Endpoint::new(product_key, device_key), 7)
}

pub(crate) fn enrolled(plan_id: i64, device_key: &str) -> PlanDevice {
    let steps =
        plan(plan_id, 1, "pk", 4).steps(&model(3, 1), &[package(4, 1, ComponentKind::Mcu, "2")]);
    PlanDevice::enrol(
        &plan(plan_id, 1, "pk", 4),
        &steps,
        &device("pk", device_key),
        &[],
    )
}
