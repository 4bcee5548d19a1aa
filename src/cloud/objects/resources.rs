//! The resources each object has, and what the server may do with them.

use sota_lwm2m::client::dispatch::{E, Operations, R, W};
use sota_lwm2m::objects::plan::resource as plan;

/// /1, LwM2M Server.
pub(super) const SERVER: &[(u16, Operations)] = &[
    (0, R),
    (1, R | W),
    (2, R | W),
    (3, R | W),
    (6, R),
    (7, R),
    (8, E),
];
/// /3, Device.
pub(super) const DEVICE: &[(u16, Operations)] =
    &[(3, R), (4, E), (9, R), (11, R), (16, R), (19, R)];
/// /4, Connectivity Monitoring.
pub(super) const CONNECTIVITY: &[(u16, Operations)] = &[(0, R), (1, R), (2, R), (8, R)];
/// /5, Firmware Update.
pub(super) const FIRMWARE: &[(u16, Operations)] = &[
    (0, W),
    (1, R | W),
    (2, E),
    (3, R),
    (5, R),
    (7, R),
    (8, R),
    (9, R),
    (10, E),
];
/// /9, Software Management.
pub(super) const SOFTWARE: &[(u16, Operations)] = &[
    (0, R),
    (1, R),
    (2, W),
    (3, W),
    (4, E),
    (6, E),
    (7, R),
    (9, R),
    (10, E),
    (11, E),
    (12, R),
];
/// /33629, Advanced Firmware Update.
pub(super) const ADVANCED_FIRMWARE: &[(u16, Operations)] = &[
    (0, W),
    (1, R | W),
    (2, E),
    (3, R),
    (5, R),
    (7, R),
    (8, R),
    (9, R),
    (10, E),
    (14, R),
    (15, R),
];
/// The Plan object, docs/lwm2m.md.
pub(super) const PLAN: &[(u16, Operations)] = &[
    (plan::PLAN, R | W),
    (plan::COMPONENT, R | W),
    (plan::COMPONENT_TYPE, R | W),
    (plan::SOURCE_VERSION, W),
    (plan::TARGET_VERSION, R | W),
    (plan::BATTERY_LIMIT, W),
    (plan::MINIMUM_SIGNAL, W),
    (plan::USE_SPACE, W),
    (plan::PACKAGE_LENGTH, R | W),
    (plan::MD5, W),
    (plan::CRC32, W),
    (plan::SHA256, W),
    (plan::PACKAGE_URI, W),
    (plan::STATE, R),
    (plan::HOST_ANSWER, R),
    (plan::FAILURE_NUMBER, R),
    (plan::FAILURE_TEXT, R),
    (plan::CANCEL, E),
    (plan::CURRENT_VERSION, R),
    (plan::PROGRESS, R),
    (plan::COMPONENTS, W),
];
