//! The answers of the service to the calls of the endpoint: what the workers do, and the simulator's Center too.

use sota_errors::CenterError;

use super::border::{Call, Reply};
use crate::domain::{self, Problem, Registration, Time};
use crate::service::Service;
use crate::store::Scope;

/// Answers a call at the time `now`. [`Call::Load`] is not one for the service: its file is read by the caller, and
/// here it is answered [`CenterError::NoSuchPackage`].
///
/// # Errors
/// What the service answers; the endpoint hears it as [`Reply::Failed`].
pub async fn answer(
    service: &Service,
    scope: &Scope,
    call: Call,
    now: Time,
) -> Result<Reply, Problem> {
    match call {
        Call::Register(register) => {
            let registered = service.register(scope, &register, now).await?;
            stored(service, scope, &registered.id, now).await
        }
        Call::Update { id, update } => {
            service.update(scope, &id, &update, now).await?;
            stored(service, scope, &id, now).await
        }
        Call::Deregister { id } => {
            service.deregister(scope, &id, now).await?;
            Ok(Reply::Done)
        }
        Call::Told {
            endpoint,
            facts,
            reports,
            request,
        } => {
            if request.is_none() && facts != domain::DeviceFacts::default() {
                service.facts(scope, &endpoint, &facts, now).await?;
            }
            for report in reports {
                let (offer, component) = (&report.offer, report.component.as_deref());
                let (state, reason) = (report.state, report.reason);
                service
                    .report(scope, &endpoint, offer, component, state, reason, now)
                    .await?;
            }
            if let Some(sha256) = request {
                let result = service.request(scope, &endpoint, sha256, &facts, now).await;
                // A rule that gives no plan is an answer, not a failure; the service has logged it.
                if let Err(problem) = result
                    && !(1200..1300).contains(&problem.error.number())
                {
                    return Err(problem);
                }
            }
            Ok(Reply::Done)
        }
        Call::CancelAnswered {
            endpoint,
            offer,
            taken,
        } => {
            service
                .cancel_answered(scope, &endpoint, &offer, taken, now)
                .await?;
            Ok(Reply::Done)
        }
        Call::Refused {
            endpoint,
            offer,
            code,
        } => {
            let number = CenterError::OfferRefused.number();
            tracing::info!(device = %endpoint, offer, "refused with {}.{:02}", code >> 5, code & 31);
            service
                .refused(scope, &endpoint, &offer, number, now)
                .await?;
            Ok(Reply::Done)
        }
        Call::Busy { endpoint, offer } => {
            service.busy(scope, &endpoint, &offer, now).await?;
            Ok(Reply::Done)
        }
        Call::Load { .. } => Err(CenterError::NoSuchPackage.into()),
    }
}

/// The registration as the store has it, with the newest expiry.
async fn stored(service: &Service, scope: &Scope, id: &str, now: Time) -> Result<Reply, Problem> {
    let device = service.store().device_by_registration(scope, id).await?;
    let device = device.ok_or(CenterError::UnknownRegistration)?;
    let registration = device
        .registration
        .ok_or(CenterError::UnknownRegistration)?;
    let lifetime_ms = i64::from(registration.lifetime_s) * 1000;
    let registration = Registration {
        expires_at: now.saturating_add(lifetime_ms),
        ..registration
    };
    Ok(Reply::Registered(device.endpoint, registration))
}
