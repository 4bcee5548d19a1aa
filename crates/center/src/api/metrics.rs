//! Metrics in the OpenMetrics text format, as Prometheus scrapes them. Everything is read at the scrape: the counters
//! of the store and of the device endpoint, nothing is counted twice.
//!
//! | metric | labels | what |
//! |---|---|---|
//! | `sota_center_info` | version | 1 |
//! | `sota_plan_devices` | plan, name, state | devices of a running plan by state |
//! | `sota_plan_group` | plan, name | index of the last open group |
//! | `sota_plan_suspended_by` | plan, name | number of the rule that suspended it; 0 = none |
//! | `sota_package_blocks_total` | package, name, kind | answers with a block; kind: all, again, duplicate |
//! | `sota_device_port_trouble_total` | kind | datagrams and registrations that were refused or dropped |

use axum::http::header;
use axum::response::IntoResponse;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use sota_errors::CenterError;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::call::Call;
use super::{Answer, Api, ErrorBody};
use crate::domain::{Counters, DeviceState, Problem};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(metrics))
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlanLabels {
    plan: i64,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    plan: i64,
    name: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PackageLabels {
    package: i64,
    name: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

const STATES: [DeviceState; 5] = [
    DeviceState::NotUpgraded,
    DeviceState::InUpgrade,
    DeviceState::Upgraded,
    DeviceState::UpgradeFailed,
    DeviceState::NoUpdateRequired,
];

/// Metrics of the running plans, the packages and the device port, in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics",
    responses((status = 200, content_type = "application/openmetrics-text", body = String),
        (status = "5XX", body = ErrorBody)))]
async fn metrics(api: Call) -> Answer<impl IntoResponse> {
    let mut registry = Registry::default();
    let info = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("sota_center", "The Center", info);
    plans(&api, &mut registry).await?;
    packages(&api, &mut registry).await?;
    trouble(&api, &mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|e| Problem::new(CenterError::Internal, e.to_string()))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text))
}

async fn plans(api: &Call, registry: &mut Registry) -> Result<(), Problem> {
    let devices = Family::<StateLabels, Gauge>::default();
    let group = Family::<PlanLabels, Gauge>::default();
    let suspended = Family::<PlanLabels, Gauge>::default();
    let (scope, store) = (api.scope(), api.service.store());
    for plan in store.running_plans(scope, None).await? {
        let mut counters: Counters = store.counters(scope, plan.id).await?;
        for state in STATES {
            let labels = StateLabels {
                plan: plan.id.0,
                name: plan.name.clone(),
                state: state.name(),
            };
            let count = i64::try_from(*counters.of(state)).unwrap_or(i64::MAX);
            devices.get_or_create(&labels).set(count);
        }
        let labels = PlanLabels {
            plan: plan.id.0,
            name: plan.name,
        };
        let progress = plan.progress;
        group.get_or_create(&labels).set(progress.group.into());
        let rule = progress.suspended_by.unwrap_or(0);
        suspended.get_or_create(&labels).set(rule.into());
    }
    registry.register(
        "sota_plan_devices",
        "Devices of a running plan by state",
        devices,
    );
    registry.register("sota_plan_group", "Index of the last open group", group);
    registry.register(
        "sota_plan_suspended_by",
        "Number of the rule that suspended the plan, 0 = none",
        suspended,
    );
    Ok(())
}

async fn packages(api: &Call, registry: &mut Registry) -> Result<(), Problem> {
    let blocks = Family::<PackageLabels, Counter>::default();
    for package in api.service.store().packages(api.scope()).await? {
        for file in &package.files {
            let mut digest = [0; 32];
            if hex::decode_to_slice(&file.sha256, &mut digest).is_err() {
                continue;
            }
            let served = api.service.served(&digest);
            let kinds = [
                ("all", served.blocks),
                ("again", served.again),
                ("duplicate", served.duplicates),
            ];
            for (kind, count) in kinds {
                let labels = PackageLabels {
                    package: package.id.0,
                    name: package.name.clone(),
                    kind,
                };
                blocks.get_or_create(&labels).inc_by(count);
            }
        }
    }
    registry.register(
        "sota_package_blocks",
        "Answers that carried a block of the package",
        blocks,
    );
    Ok(())
}

fn trouble(api: &Call, registry: &mut Registry) {
    let trouble = api.service.trouble();
    let kinds = [
        ("malformed_message", trouble.malformed_messages),
        ("malformed_payload", trouble.malformed_payloads),
        ("dropped", trouble.dropped),
        ("refused_registration", trouble.refused_registrations),
        ("failed_registration", trouble.failed_registrations),
    ];
    let family = Family::<KindLabels, Counter>::default();
    for (kind, count) in kinds {
        family.get_or_create(&KindLabels { kind }).inc_by(count);
    }
    registry.register(
        "sota_device_port_trouble",
        "Datagrams and registrations that were refused or dropped",
        family,
    );
}
