//! The resources each object has, and what the server may do with them.

use sota_lwm2m::client::dispatch::{E, R, Resource, W};
use sota_lwm2m::objects::plan::resource as plan;

/// /1, LwM2M Server.
pub(super) const SERVER: &[Resource] = &[
    (0, R),
    (1, R | W),
    (2, R | W),
    (3, R | W),
    (6, R),
    (7, R),
    (8, E),
];
/// /3, Device.
pub(super) const DEVICE: &[Resource] = &[(3, R), (4, E), (9, R), (11, R), (16, R), (19, R)];
/// /4, Connectivity Monitoring.
pub(super) const CONNECTIVITY: &[Resource] = &[(0, R), (1, R), (2, R), (8, R)];
/// /5, Firmware Update: the first nine of Advanced Firmware Update, which has the same numbers.
pub(super) const FIRMWARE: &[Resource] = ADVANCED_FIRMWARE.split_at(9).0;
/// /9, Software Management.
pub(super) const SOFTWARE: &[Resource] = &[
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
pub(super) static ADVANCED_FIRMWARE: [Resource; 11] = [
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
pub(super) const PLAN: &[Resource] = &[
    (plan::PLAN as u8, R | W),
    (plan::COMPONENT as u8, R | W),
    (plan::COMPONENT_TYPE as u8, R | W),
    (plan::SOURCE_VERSION as u8, W),
    (plan::TARGET_VERSION as u8, R | W),
    (plan::BATTERY_LIMIT as u8, W),
    (plan::MINIMUM_SIGNAL as u8, W),
    (plan::USE_SPACE as u8, W),
    (plan::PACKAGE_LENGTH as u8, R | W),
    (plan::MD5 as u8, W),
    (plan::CRC32 as u8, W),
    (plan::SHA256 as u8, W),
    (plan::PACKAGE_URI as u8, W),
    (plan::STATE as u8, R),
    (plan::HOST_ANSWER as u8, R),
    (plan::FAILURE_NUMBER as u8, R),
    (plan::FAILURE_TEXT as u8, R),
    (plan::CANCEL as u8, E),
    (plan::CURRENT_VERSION as u8, R),
    (plan::PROGRESS as u8, R),
    (plan::COMPONENTS as u8, W),
];
