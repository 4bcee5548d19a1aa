//! Accounts; API tokens of the caller; members and invitations of a project.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::call::Call;
use super::extract::{Body, Path};
use super::{Answer, Api, ErrorBody};
use crate::access::{
    AccountInfo, Invited, Member, NewMember, NewName, NewPassword, NewToken, PasswordShown,
    ResetLink, TokenInfo, TokenMade,
};
use crate::domain::ProjectId;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(tokens, create_token))
        .routes(routes!(delete_token))
        .routes(routes!(members))
        .routes(routes!(set_member, remove_member))
        .routes(routes!(invite))
        .routes(routes!(account, rename))
        .routes(routes!(change_password))
        .routes(routes!(remove_own))
        .routes(routes!(accounts))
        .routes(routes!(remove_account))
        .routes(routes!(reset_link))
}

/// The caller's own account.
#[utoipa::path(get, path = "/api/v1/account",
    responses((status = 200, body = AccountInfo), (status = "4XX", body = ErrorBody)))]
async fn account(api: Call) -> Answer<Json<AccountInfo>> {
    Ok(Json(api.access.own(&api.caller).await?))
}

/// Renames the caller's account. Not by an API token.
#[utoipa::path(put, path = "/api/v1/account", request_body = NewName,
    responses((status = 200, body = AccountInfo), (status = "4XX", body = ErrorBody)))]
async fn rename(
    api: Call,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    Body(new): Body<NewName>,
) -> Answer<Json<AccountInfo>> {
    let (caller, now) = (&api.caller, api.now());
    let renamed = api.access.rename(caller, new, address.ip(), now).await?;
    Ok(Json(renamed))
}

/// Gives the caller's account a new password; its other log-ins end. Not by an API token.
#[utoipa::path(put, path = "/api/v1/account/password", request_body = NewPassword,
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
async fn change_password(
    api: Call,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    Body(new): Body<NewPassword>,
) -> Answer<StatusCode> {
    let (caller, now) = (&api.caller, api.now());
    let changed = api.access.change_password(caller, new, address.ip(), now);
    changed.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes the caller's account with its tokens and log-ins; not the last owner of a project. Not by an API token.
#[utoipa::path(post, path = "/api/v1/account/remove", request_body = PasswordShown,
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
async fn remove_own(
    api: Call,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    Body(shown): Body<PasswordShown>,
) -> Answer<StatusCode> {
    let (caller, now) = (&api.caller, api.now());
    let removed = api.access.remove_own(caller, &shown, address.ip(), now);
    removed.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Every account of the Center; for who set it up, and for the machine's user.
#[utoipa::path(get, path = "/api/v1/accounts",
    responses((status = 200, body = [AccountInfo]), (status = "4XX", body = ErrorBody)))]
async fn accounts(api: Call) -> Answer<Json<Vec<AccountInfo>>> {
    Ok(Json(api.access.accounts(&api.caller).await?))
}

/// Removes an account with its tokens and log-ins; for who set the Center up, and for the machine's user.
#[utoipa::path(delete, path = "/api/v1/accounts/{name}", params(("name" = String, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
async fn remove_account(api: Call, Path(name): Path<String>) -> Answer<StatusCode> {
    let now = api.now();
    api.access.remove(&api.caller, &name, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a one-time link by which an account gets a new password; for an owner of all its projects, for who set the
/// Center up, and for the machine's user. Not by an API token.
#[utoipa::path(post, path = "/api/v1/accounts/{name}/password-reset", params(("name" = String, Path)),
    responses((status = 201, body = ResetLink), (status = "4XX", body = ErrorBody)))]
async fn reset_link(api: Call, Path(name): Path<String>) -> Answer<(StatusCode, Json<ResetLink>)> {
    let link = api.access.reset_link(&api.caller, &name, api.now()).await?;
    Ok((StatusCode::CREATED, Json(link)))
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
    let made = api.access.create_token(&api.caller, new, api.now()).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Ends an API token.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", params(("id" = i64, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
async fn delete_token(api: Call, Path(id): Path<i64>) -> Answer<StatusCode> {
    let now = api.now();
    api.access.delete_token(&api.caller, id, now).await?;
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
    let (scope, now) = (api.scope(), api.now());
    let set = api.access.set_member(scope, id, &name, new.role, now);
    set.await?;
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
    let (scope, now) = (api.scope(), api.now());
    api.access.remove_member(scope, id, &name, now).await?;
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
