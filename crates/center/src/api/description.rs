//! The description of the API (OpenAPI), and a reader of it where requests can be tried.
//!
//! `docs/openapi.json` is the same text: a change of the API shows in a change of that file, and a test fails until it
//! was made on purpose.

use std::collections::BTreeMap;

use axum::http::{HeaderValue, header};
use axum::middleware;
use axum::response::Response;
use axum::{Json, Router};
use utoipa::OpenApi as _;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::schema::{AdditionalProperties, Object, Schema};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::Api;

/// Where the description is.
const ADDRESS: &str = "/openapi.json";

/// What the reader's page may do: its own files and requests to this Center. It sets styles by script, which the
/// Center's own pages need not, and has icons inside its style sheet.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "SOTA Developer Center",
        description = "Packages, plans and devices. Every error is a line of docs/errors.md. Programs call with an API token."
    ),
    security(("token" = []))
)]
struct Head;

/// Title, and how a program shows who it is.
pub(super) fn head() -> OpenApi {
    let mut head = Head::openapi();
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "An API token, made on the page API tokens or by POST /api/v1/tokens.",
        ));
    let components = head.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(scheme.build()));
    head
}

/// Operations in groups, by what their address begins with.
pub(super) fn grouped(mut description: OpenApi) -> OpenApi {
    for (path, item) in &mut description.paths.paths {
        let rest = path.strip_prefix("/api/v1/").unwrap_or("/center");
        let group = rest.trim_start_matches('/').split('/').next();
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.put,
            &mut item.patch,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            operation.tags = group.map(|group| vec![group.to_owned()]);
            let open = operation.security.is_some();
            let refusals = &mut operation.responses.responses;
            if !open && !refusals.contains_key("4XX") {
                // whoever shows no proof of who it is gets a refusal everywhere
                refusals.insert("4XX".into(), refusal().into());
            }
        }
    }
    let schemas = description.components.as_mut().map(|c| &mut c.schemas);
    schemas.into_iter().for_each(extend_strict);
    description
}

/// An error as every refusal carries it.
fn refusal() -> utoipa::openapi::Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody")));
    ResponseBuilder::new()
        .content("application/json", content.build())
        .build()
}

fn is_strict(object: &Object) -> bool {
    let other = object.additional_properties.as_deref();
    matches!(other, Some(AdditionalProperties::FreeForm(false)))
}

/// A schema that forbids other fields cannot be part of one with more: there its fields stand themselves.
fn extend_strict(schemas: &mut BTreeMap<String, RefOr<Schema>>) {
    let strict: BTreeMap<String, Object> = schemas
        .iter()
        .filter_map(|(name, schema)| match schema {
            RefOr::T(Schema::Object(object)) if is_strict(object) => {
                let mut object = object.clone();
                object.additional_properties = None;
                Some((Ref::from_schema_name(name).ref_location, object))
            }
            _ => None,
        })
        .collect();
    for schema in schemas.values_mut() {
        let RefOr::T(Schema::AllOf(all)) = schema else {
            continue;
        };
        for item in &mut all.items {
            let found = match item {
                RefOr::Ref(reference) => strict.get(&reference.ref_location),
                RefOr::T(_) => None,
            };
            if let Some(object) = found {
                *item = RefOr::T(Schema::Object(object.clone()));
            }
        }
    }
}

/// The description, and its reader.
pub(super) fn router(description: OpenApi) -> Router<Api> {
    let description = Json(description);
    let config = Config::from(ADDRESS)
        .use_base_layout()
        .validator_url("none");
    let reader: Router<Api> = SwaggerUi::new("/api-docs").config(config).into();
    let guarded = |mut response: Response| async move {
        let policy = HeaderValue::from_static(CONTENT_SECURITY_POLICY);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        response
    };
    Router::new()
        .route(
            ADDRESS,
            axum::routing::get(move || async move { description.clone() }),
        )
        .merge(reader.layer(middleware::map_response(guarded)))
}

#[cfg(test)]
mod tests {
    /// `SOTA_BLESS=1 cargo test -p sota-center description` writes it.
    #[test]
    fn the_description_is_the_one_that_stands_in_the_documentation() {
        let (_, description) = super::super::rest();
        let text = description.to_pretty_json().expect("JSON") + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        if std::env::var_os("SOTA_BLESS").is_some() {
            std::fs::write(path, text).expect("written");
            return;
        }
        let stands = std::fs::read_to_string(path).unwrap_or_default();
        let first = stands.lines().zip(text.lines()).find(|(a, b)| a != b);
        assert!(
            stands == text,
            "the API is not as docs/openapi.json says, first at {first:?}; SOTA_BLESS=1 cargo test -p sota-center description"
        );
    }
}
