//! The answers of the service to the calls of the endpoint: what the workers do, and the simulator's Center too.

use sota_errors::CenterError;

use super::border::{Call, Reply};
use crate::domain::{self, Problem, Time};
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
            Ok(Reply::Registered(
                register.endpoint,
                registered.registration,
            ))
        }
        Call::Update { id, update, known } => {
            if known && service.renew(&id, &update, now) {
                return Ok(Reply::Done);
            }
            let (endpoint, registration) = service.update(scope, &id, &update, now).await?;
            Ok(Reply::Registered(endpoint, registration))
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
