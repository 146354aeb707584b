//! The document that describes the calls, and a viewer for it that asks no other host for anything.

use super::api::{self, Admin};
use super::fault::FaultBody;
use super::monitoring::OPEN_PATHS;
use axum::Router;
use axum::body::Bytes;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use std::sync::LazyLock;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, OpenApi as Document, PathItem, Ref, RefOr, ResponseBuilder,
};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// The head of the document; the calls are gathered from their handlers.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "mqtt-bouncer",
        description = "Who may reach the broker, and who is there.\n\nOver the Unix socket `control.sock` in the data directory nobody has to log in: who may open it is root or the proxy's own user."
    ),
    components(schemas(FaultBody)),
    tags(
        (name = "monitoring", description = "What the proxy does and how it is"),
        (name = "node", description = "The process and its config"),
        (name = "accounts", description = "Who may use this API"),
        (name = "lists", description = "Bans and exemptions"),
        (name = "EMQX 4.x", description = "Bans, as EMQX 4 has them"),
        (name = "clients", description = "Who is inside"),
        (name = "refused", description = "Who was turned away lately"),
        (name = "upstreams", description = "The brokers"),
        (name = "explain", description = "Why a client is refused or let in"),
        (name = "detections", description = "Who was found out"),
        (name = "document", description = "This document"),
    )
)]
pub(super) struct Head;

pub(super) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new().routes(routes!(openapi))
}

/// The calls as they are: what every one of them may answer stands with each.
pub(super) fn complete(mut document: Document) -> Document {
    let components = document.components.get_or_insert_with(Components::default);
    for (name, scheme) in [("basic", HttpAuthScheme::Basic), ("bearer", HttpAuthScheme::Bearer)] {
        let scheme = HttpBuilder::new().scheme(scheme).build();
        components.add_security_scheme(name, SecurityScheme::Http(scheme));
    }
    for (path, item) in &mut document.paths.paths {
        let is_open = OPEN_PATHS.contains(&path.as_str());
        for (may_change, operation) in operations(item) {
            if !is_open {
                protect(operation);
            }
            if may_change {
                answer(
                    operation,
                    "403",
                    "a viewer may look, and another site may not make a browser send this",
                );
            }
            if operation.parameters.is_some() {
                answer(operation, "400", "the path or the query is no text, or not as described");
            }
            if takes_json(operation) {
                answer(operation, "415", "the body is not called application/json");
            }
            if operation.request_body.is_some() {
                answer(operation, "408", "the body did not come in time");
                answer(operation, "413", "the body is too large");
            }
            answer(operation, "500", "our own trouble; it is in the log");
        }
    }
    document
}

/// The operations of a path, each with whether its method is one that changes something.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (bool, &mut Operation)> {
    let PathItem { get, head, options, trace, put, post, delete, patch, .. } = item;
    let reading = [get, head, options, trace].map(|operation| (false, operation));
    let changing = [put, post, delete, patch].map(|operation| (true, operation));
    reading
        .into_iter()
        .chain(changing)
        .filter_map(|(changes, operation)| Some((changes, operation.as_mut()?)))
}

fn takes_json(operation: &Operation) -> bool {
    matches!(&operation.request_body, Some(RefOr::T(body)) if body.content.contains_key("application/json"))
}

/// Says that a call wants credentials.
fn protect(operation: &mut Operation) {
    let none: [&str; 0] = [];
    let either = ["basic", "bearer"].map(|scheme| SecurityRequirement::new(scheme, none));
    operation.security.get_or_insert_with(|| either.into());
    answer(operation, "401", "no credentials, or wrong ones");
    answer(operation, "429", "too many attempts; try again later");
}

/// Declares an answer that a call has in common with others, unless it says itself what that means.
fn answer(operation: &mut Operation, status: &str, meaning: &str) {
    let body =
        ContentBuilder::new().schema(Some(RefOr::Ref(Ref::from_schema_name(FaultBody::name())))).build();
    let response = ResponseBuilder::new().description(meaning).content("application/json", body).build();
    operation.responses.responses.entry(status.to_owned()).or_insert(response.into());
}

/// It never changes while the process runs.
static DOCUMENT: LazyLock<Bytes> =
    LazyLock::new(|| api::document().to_json().map_or_else(|_| Bytes::new(), Bytes::from));

/// What the API can do, as OpenAPI 3.1.
#[utoipa::path(
    get,
    path = "/api/v5/openapi.json",
    tag = "document",
    responses((status = OK, description = "this document", body = Value))
)]
async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.clone()).into_response()
}

/// The viewer. Everything that it needs is in the program.
pub(super) fn viewer() -> Router<Admin> {
    // Else it would have the document looked at by a service on the internet.
    let config = Config::new(["/api/v5/openapi.json"]).validator_url("none").deep_linking(true);
    let viewer: Router<Admin> = SwaggerUi::new(VIEWER).config(config).into();
    viewer.layer(map_response(async |mut response: Response| {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(STAY_HERE));
        response
    }))
}

/// Where the viewer is.
const VIEWER: &str = "/api-docs";

/// A browser asks nobody else for anything, whatever the page says.
const STAY_HERE: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
