//! API tokens of the caller; members and invitations of a project.

use axum::Json;
use axum::http::StatusCode;
use sota_errors::CenterError;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::call::Call;
use super::extract::{Body, Path};
use super::{Answer, Api, ErrorBody};
use crate::access::{Invited, Member, NewMember, NewToken, TokenInfo, TokenMade};
use crate::domain::ProjectId;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(tokens, create_token))
        .routes(routes!(delete_token))
        .routes(routes!(members))
        .routes(routes!(set_member, remove_member))
        .routes(routes!(invite))
}

/// API tokens of the caller's account.
#[utoipa::path(get, path = "/api/v1/tokens", responses((status = 200, body = [TokenInfo]),
    (status = "4XX", body = ErrorBody)))]
async fn tokens(api: Call) -> Answer<Json<Vec<TokenInfo>>> {
    Ok(Json(api.access.tokens(api.scope()).await?))
}

/// Makes an API token; the token itself is in this answer only. Not by another API token.
#[utoipa::path(post, path = "/api/v1/tokens", request_body = NewToken,
    responses((status = 201, body = TokenMade), (status = "4XX", body = ErrorBody)))]
async fn create_token(
    api: Call,
    Body(new): Body<NewToken>,
) -> Answer<(StatusCode, Json<TokenMade>)> {
    if !api.caller.makes_tokens {
        // a token that was stolen would outlive its end
        return Err(CenterError::Forbidden.into());
    }
    let made = api.access.create_token(api.scope(), new, api.now()).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Ends an API token.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", params(("id" = i64, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
async fn delete_token(api: Call, Path(id): Path<i64>) -> Answer<StatusCode> {
    api.access.delete_token(api.scope(), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Members of a project.
#[utoipa::path(get, path = "/api/v1/projects/{id}/members", params(("id" = i64, Path)),
    responses((status = 200, body = [Member]), (status = "4XX", body = ErrorBody)))]
async fn members(api: Call, Path(id): Path<ProjectId>) -> Answer<Json<Vec<Member>>> {
    Ok(Json(api.access.members(api.scope(), id).await?))
}

/// Makes an account that exists a member, or changes its role.
#[utoipa::path(put, path = "/api/v1/projects/{id}/members/{name}", request_body = NewMember,
    params(("id" = i64, Path), ("name" = String, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
async fn set_member(
    api: Call,
    Path((id, name)): Path<(ProjectId, String)>,
    Body(new): Body<NewMember>,
) -> Answer<StatusCode> {
    let scope = api.scope();
    api.access.set_member(scope, id, &name, new.role).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a member out.
#[utoipa::path(delete, path = "/api/v1/projects/{id}/members/{name}",
    params(("id" = i64, Path), ("name" = String, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
async fn remove_member(
    api: Call,
    Path((id, name)): Path<(ProjectId, String)>,
) -> Answer<StatusCode> {
    api.access.remove_member(api.scope(), id, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a one-time link for a new account that becomes a member with this role.
#[utoipa::path(post, path = "/api/v1/projects/{id}/invitations", request_body = NewMember,
    params(("id" = i64, Path)),
    responses((status = 201, body = Invited), (status = "4XX", body = ErrorBody)))]
async fn invite(
    api: Call,
    Path(id): Path<ProjectId>,
    Body(new): Body<NewMember>,
) -> Answer<(StatusCode, Json<Invited>)> {
    let invited = api.access.invite(api.scope(), id, new.role, api.now());
    Ok((StatusCode::CREATED, Json(invited.await?)))
}
