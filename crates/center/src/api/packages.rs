//! Version packages: streamed uploads, lists, deletion, blocks served.

use axum::Json;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, Multipart};
use axum::http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sota_errors::CenterError;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::call::Call;
use super::extract::{Form, Path};
use super::{Answer, Api, ErrorBody};
use crate::blobs::{Expected, Upload};
use crate::domain::{
    ComponentKind, FILE_COUNT_LIMIT, Package, PackageFile, PackageId, PackageType, Problem,
    ProductId, ProjectId, Role,
};
use crate::service::{NewPackage, Served};
use crate::store::Scope;

/// Greatest length of a field that is not a file, in bytes.
const TEXT_LIMIT: usize = 4096;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(packages, upload))
        // the limit is per file and kept while the bytes stream by
        .layer(DefaultBodyLimit::disable())
        .routes(routes!(package, delete_package))
        .routes(routes!(served))
}

/// Packages of the account.
#[utoipa::path(get, path = "/api/v1/packages", responses((status = 200, body = [Package])))]
async fn packages(api: Call) -> Answer<Json<Vec<Package>>> {
    Ok(Json(api.service.store().packages(api.scope()).await?))
}

/// One package.
#[utoipa::path(get, path = "/api/v1/packages/{id}", params(("id" = i64, Path)),
    responses((status = 200, body = Package), (status = "4XX", body = ErrorBody)))]
async fn package(api: Call, Path(id): Path<PackageId>) -> Answer<Json<Package>> {
    Ok(Json(need_package(&api, id).await?))
}

async fn need_package(api: &Call, id: PackageId) -> Answer<Package> {
    let package = api.service.store().package(api.scope(), id).await?;
    Ok(package.ok_or_else(|| Problem::new(CenterError::NoSuchPackage, id.to_string()))?)
}

/// Deletes a package that no plan uses.
#[utoipa::path(delete, path = "/api/v1/packages/{id}", params(("id" = i64, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
async fn delete_package(api: Call, Path(id): Path<PackageId>) -> Answer<StatusCode> {
    remove(&api, api.scope(), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a package and those of its files that no other has.
pub(crate) async fn remove(api: &Api, scope: &Scope, id: PackageId) -> Result<(), Problem> {
    let _references = api.blobs.references().await;
    let unused = api.service.delete_package(scope, id, api.now()).await?;
    for sha256 in unused {
        api.blobs.remove(&sha256).await?;
        api.service.file_removed(&sha256);
    }
    Ok(())
}

/// Blocks served of a package.
#[derive(Debug, Serialize, ToSchema)]
struct ServedPackage {
    /// All files together.
    #[serde(flatten)]
    total: Served,
    /// Each file.
    files: Vec<ServedFile>,
}

/// Blocks served of one file.
#[derive(Debug, Serialize, ToSchema)]
struct ServedFile {
    /// SHA-256 of the file.
    sha256: String,
    /// The counters.
    #[serde(flatten)]
    served: Served,
}

/// Blocks of the package served to devices since the Center's start.
#[utoipa::path(get, path = "/api/v1/packages/{id}/served", params(("id" = i64, Path)),
    responses((status = 200, body = ServedPackage), (status = "4XX", body = ErrorBody)))]
async fn served(api: Call, Path(id): Path<PackageId>) -> Answer<Json<ServedPackage>> {
    let package = need_package(&api, id).await?;
    let mut answer = ServedPackage {
        total: Served::default(),
        files: Vec::new(),
    };
    for file in package.files {
        let mut digest = [0; 32];
        let decoded = hex::decode_to_slice(&file.sha256, &mut digest);
        decoded.map_err(|e| Problem::new(CenterError::Internal, e.to_string()))?;
        let served = api.service.served(&digest);
        answer.total.blocks += served.blocks;
        answer.total.again += served.again;
        answer.total.duplicates += served.duplicates;
        answer.files.push(ServedFile {
            sha256: file.sha256,
            served,
        });
    }
    Ok(Json(answer))
}

/// The form of an upload. Fields may come in any order; `file`, `expected_sha256` and `expected_length` may be
/// repeated, the n-th of each belongs together.
#[derive(ToSchema)]
#[allow(dead_code)] // describes the form
struct PackageForm {
    /// Project.
    project: i64,
    /// Name, unique in the project, at most 100 characters.
    name: String,
    /// Product it is valid for; without it: all.
    product: Option<i64>,
    /// Firmware or MCU.
    component_type: ComponentKind,
    /// Full (default) or Delta.
    package_type: Option<PackageType>,
    /// Delta: version it starts from; may be repeated.
    source_version: Option<Vec<String>>,
    /// Version the component reports afterwards.
    target_version: String,
    /// Remark, at most 200 characters.
    remark: Option<String>,
    /// 1 to 5 files of at most 104857600 bytes.
    #[schema(value_type = Vec<String>, format = Binary)]
    file: Vec<String>,
    /// SHA-256 that the file must have, 64 hex digits.
    expected_sha256: Option<Vec<String>>,
    /// Length that the file must have, in bytes.
    expected_length: Option<Vec<u64>>,
}

/// Makes a package of uploaded files.
#[utoipa::path(post, path = "/api/v1/packages",
    request_body(content = PackageForm, content_type = "multipart/form-data"),
    responses((status = 201, body = Package), (status = "4XX", body = ErrorBody),
        (status = 507, body = ErrorBody)))]
async fn upload(api: Call, Form(form): Form) -> Answer<(StatusCode, Json<Package>)> {
    let package = take(&api, form).await?;
    Ok((StatusCode::CREATED, Json(package)))
}

/// Takes an upload; refused, it leaves nothing.
pub(crate) async fn take(api: &Call, mut form: Multipart) -> Result<Package, Problem> {
    if !api.scope().somewhere(Role::Operator) {
        // before its bytes are taken
        return Err(CenterError::Forbidden.into());
    }
    let mut words = Words::default();
    let mut uploads: Vec<Upload> = Vec::new();
    let read = read_form(api, &mut form, &mut words, &mut uploads).await;
    let new = match read.and_then(|()| words.package()) {
        Ok(new) => new,
        Err(problem) => {
            for upload in uploads {
                upload.abort().await;
            }
            return Err(problem);
        }
    };
    let _references = api.blobs.references().await;
    let mut files = Vec::new();
    let result = store_files(&words, uploads, &mut files).await;
    let result = match result {
        Ok(()) => {
            api.service
                .create_package(api.scope(), new, files.clone(), api.now())
                .await
        }
        Err(problem) => Err(problem),
    };
    match result {
        Ok(package) => Ok(package),
        Err(problem) => {
            for sha256 in api.service.unused_files(&files).await? {
                api.blobs.remove(&sha256).await?;
            }
            Err(problem)
        }
    }
}

async fn read_form(
    api: &Call,
    form: &mut Multipart,
    words: &mut Words,
    uploads: &mut Vec<Upload>,
) -> Result<(), Problem> {
    while let Some(mut field) = form.next_field().await.map_err(cut_off)? {
        let name = field.name().unwrap_or_default().to_owned();
        if name != "file" {
            let value = text(&mut field, &name).await?;
            words.take(&name, value)?;
            continue;
        }
        if uploads.len() >= FILE_COUNT_LIMIT {
            return Err(Problem::of(CenterError::FileCount, "file", "more than 5"));
        }
        if let Some(project) = words.project {
            api.scope().need(project, Role::Operator)?;
        }
        let file_name = field.file_name().unwrap_or_default().to_owned();
        uploads.push(api.blobs.upload(&file_name).await?);
        let Some(upload) = uploads.last_mut() else {
            continue;
        };
        while let Some(bytes) = field.chunk().await.map_err(cut_off)? {
            upload.write(&bytes).await?;
        }
    }
    Ok(())
}

async fn store_files(
    words: &Words,
    uploads: Vec<Upload>,
    files: &mut Vec<PackageFile>,
) -> Result<(), Problem> {
    let more = words.expected_sha256.len().max(words.expected_length.len()) > uploads.len();
    if more {
        return Err(Problem::of(
            CenterError::FileCount,
            "file",
            "fewer files than expectations",
        ));
    }
    for (i, upload) in uploads.into_iter().enumerate() {
        let expected = Expected {
            length: words.expected_length.get(i).copied(),
            sha256: words.expected_sha256.get(i).cloned(),
        };
        files.push(upload.finish(&expected).await?);
    }
    Ok(())
}

/// The connection ended in the middle, or the form is malformed.
fn cut_off(error: MultipartError) -> Problem {
    Problem::of(CenterError::FileTruncated, "file", error.body_text())
}

async fn text(field: &mut Field<'_>, name: &str) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(cut_off)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > TEXT_LIMIT {
            return Err(Problem::of(
                CenterError::MalformedRequest,
                name,
                "longer than 4096 bytes",
            ));
        }
    }
    String::from_utf8(bytes)
        .map_err(|_| Problem::of(CenterError::MalformedRequest, name, "not UTF-8"))
}

#[derive(Default)]
struct Words {
    project: Option<ProjectId>,
    name: Option<String>,
    product: Option<ProductId>,
    component_type: Option<ComponentKind>,
    package_type: Option<PackageType>,
    source_versions: Vec<String>,
    target_version: Option<String>,
    remark: Option<String>,
    expected_sha256: Vec<String>,
    expected_length: Vec<u64>,
}

impl Words {
    fn take(&mut self, name: &str, value: String) -> Result<(), Problem> {
        match name {
            "project" => self.project = Some(ProjectId(number(name, &value)?)),
            "name" => self.name = Some(value),
            // a page's form without its script sends the fields that nobody filled in too
            "product" | "source_version" if value.is_empty() => {}
            "product" => self.product = Some(ProductId(number(name, &value)?)),
            "component_type" => self.component_type = Some(one_of(name, value)?),
            "package_type" => self.package_type = Some(one_of(name, value)?),
            "source_version" => self.source_versions.push(value),
            "target_version" => self.target_version = Some(value),
            "remark" => self.remark = Some(value),
            "expected_sha256" => self.expected_sha256.push(value),
            "expected_length" => self.expected_length.push(number(name, &value)?),
            _ => {
                return Err(Problem::of(
                    CenterError::MalformedRequest,
                    name,
                    "unknown field",
                ));
            }
        }
        Ok(())
    }

    fn package(&self) -> Result<NewPackage, Problem> {
        let missing =
            |field: &str| Problem::of(CenterError::MalformedRequest, field, "the field is missing");
        Ok(NewPackage {
            project: self.project.ok_or_else(|| missing("project"))?,
            name: self.name.clone().ok_or_else(|| missing("name"))?,
            product: self.product,
            component_type: self
                .component_type
                .ok_or_else(|| missing("component_type"))?,
            package_type: self.package_type.unwrap_or(PackageType::Full),
            source_versions: self.source_versions.clone(),
            target_version: self
                .target_version
                .clone()
                .ok_or_else(|| missing("target_version"))?,
            remark: self.remark.clone().unwrap_or_default(),
        })
    }
}

fn number<T: std::str::FromStr>(field: &str, value: &str) -> Result<T, Problem> {
    let bad = |_| Problem::of(CenterError::MalformedRequest, field, format!("{value:?}"));
    value.trim().parse().map_err(bad)
}

fn one_of<T: DeserializeOwned>(field: &str, value: String) -> Result<T, Problem> {
    serde_json::from_value(serde_json::Value::String(value))
        .map_err(|e| Problem::of(CenterError::MalformedRequest, field, e.to_string()))
}
