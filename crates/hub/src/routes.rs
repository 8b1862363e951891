//! Every address that the hub answers at, grouped by who calls it, each with who may.
//!
//! The OpenAPI document is made from the same table, so that it has every route, and `docs/reference/openapi.json` is that document.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::{Method, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, Deprecated, HeaderBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder,
};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::access::{Access, Caller};
use crate::app::App;
use crate::audit::api as audit;
use crate::channels::api as channels;
use crate::channels::templates::api as templates;
use crate::conversations::api as conversations;
use crate::conversations::consent::api as consent;
use crate::flags::api as flags;
use crate::http::{extract, problem, request};
use crate::ingest::{events_api, webhooks};
use crate::integrations::embed;
use crate::integrations::reels::api as reels;
use crate::integrations::whatsapp::api as signed_whatsapp;
use crate::media::api as media;
use crate::sending::{comments_api, outbound_api, queue_api};
use crate::stream::api as stream;
use crate::{health, sending};

/// The hub's addresses, ready to be served.
pub fn router(app: App) -> Router {
    let (routes, _) = table().router.split_for_parts();
    request::surround(routes, app)
}

/// The OpenAPI document.
pub fn openapi() -> OpenApi {
    table().router.into_openapi()
}

/// Who may call which path.
pub fn access() -> Vec<(String, Access)> {
    table().access
}

fn table() -> Table {
    Table::new()
        // Meta
        .add(
            Access::Meta,
            routes!(webhooks::verify_whatsapp, webhooks::receive_whatsapp),
        )
        .add(
            Access::Meta,
            routes!(webhooks::verify_instagram, webhooks::receive_instagram),
        )
        .add_alias(
            "/webhook/whatsapp",
            Access::Meta,
            routes!(webhooks::verify_whatsapp, webhooks::receive_whatsapp),
        )
        .add_alias(
            "/webhook/instagram",
            Access::Meta,
            routes!(webhooks::verify_instagram, webhooks::receive_instagram),
        )
        // Websites
        .add(Access::Public, routes!(reels::list_reels, reels::allow_reels))
        .add(Access::Public, routes!(reels::show_reel_file))
        .add(Access::Public, routes!(embed::show_page))
        .add(Access::Public, routes!(embed::show_script))
        // Other systems of the business
        .add(Access::Signed, routes!(signed_whatsapp::confirm_booking))
        .add(Access::Signed, routes!(signed_whatsapp::send_custom))
        // Developers
        .add(Access::Key, routes!(sending::api::send))
        .add(Access::Key, routes!(sending::api::send_batch))
        .add(Access::Key, routes!(conversations::list_conversations))
        .add(Access::Key, routes!(conversations::show_conversation))
        .add(Access::Key, routes!(conversations::list_messages))
        .add(Access::Key, routes!(conversations::read_conversation))
        .add(Access::Key, routes!(conversations::show_typing))
        .add(
            Access::Key,
            routes!(conversations::show_message, sending::api::cancel_message),
        )
        .add(Access::Key, routes!(conversations::show_timeline))
        .add(
            Access::Key,
            routes!(comments_api::hide_comment, comments_api::show_comment),
        )
        .add(Access::Key, routes!(comments_api::delete_comment))
        .add(Access::Key, routes!(conversations::list_contacts))
        .add(Access::Key, routes!(conversations::show_contact))
        .add(Access::Key, routes!(consent::show_consent, consent::set_consent))
        .add(Access::Key, routes!(conversations::add_identity))
        .add(Access::Key, routes!(channels::list_channels, channels::add_channel))
        .add(
            Access::Key,
            routes!(
                channels::show_channel,
                channels::change_channel,
                channels::remove_channel
            ),
        )
        .add(Access::Key, routes!(channels::swap_credentials))
        .add(
            Access::Key,
            routes!(channels::switch_channel, channels::switch_channel_back),
        )
        .add(
            Access::Key,
            routes!(templates::list_templates, templates::create_template),
        )
        .add(
            Access::Key,
            routes!(templates::show_template_sync, templates::sync_templates),
        )
        .add(
            Access::Key,
            routes!(
                templates::show_template,
                templates::edit_template,
                templates::delete_template
            ),
        )
        .add(Access::Key, routes!(templates::preview_template))
        .add(Access::Key, routes!(templates::unpause_template))
        .add(Access::Key, routes!(flags::list_flags))
        .add(
            Access::Key,
            routes!(flags::show_flag, flags::set_flag, flags::unset_flag),
        )
        .add(Access::Key, routes!(audit::list_audit))
        .add(Access::Key, routes!(media::upload_media))
        .add(Access::Key, routes!(media::show_media))
        .add(Access::Key, routes!(media::read_media))
        .add(Access::Key, routes!(media::retry_media))
        .add(Access::Link, routes!(media::open_link))
        .add(Access::Key, routes!(stream::stream))
        .add(Access::Key, routes!(document))
        // Operators
        .add(Access::Key, routes!(events_api::list_events))
        .add(Access::Key, routes!(events_api::show_event))
        .add(Access::Key, routes!(events_api::replay_event))
        .add(Access::Key, routes!(events_api::replay_events))
        .add(Access::Key, routes!(events_api::list_quarantined))
        .add(Access::Key, routes!(outbound_api::show_outbound))
        .add(Access::Key, routes!(outbound_api::stop_outbound))
        .add(Access::Key, routes!(outbound_api::start_outbound))
        .add(Access::Key, routes!(queue_api::show_queue))
        .add(Access::Key, routes!(queue_api::list_recent))
        .add(Access::Key, routes!(queue_api::list_failed))
        .add(Access::Key, routes!(queue_api::retry_failed))
        .add(Access::Key, routes!(queue_api::process_queue))
        .add(Access::Key, routes!(queue_api::retry_message))
        .add(Access::Key, routes!(queue_api::cancel_queued))
        .add(Access::Key, routes!(health::metrics))
        .add(Access::Public, routes!(health::live))
        .add(Access::Public, routes!(health::ready))
}

/// The OpenAPI document of this version.
#[utoipa::path(get, path = "/openapi.json", tag = "Document",
    responses((status = 200, description = "The document, OpenAPI 3.1", body = Object)))]
pub async fn document(_: Caller) -> Response {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        openapi()
            .to_json()
            .expect("the document is made of strings and numbers")
    });
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

struct Table {
    router: OpenApiRouter<App>,
    access: Vec<(String, Access)>,
}

impl Table {
    fn new() -> Self {
        let info = InfoBuilder::new()
            .title("Tidings")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(
                "A self-hosted hub for WhatsApp and Instagram messaging. Names are camelCase, times RFC 3339 in UTC, ids opaque; \
                 absent and `null` mean the same. Lists go on at `nextCursor`. Every error is a problem document (RFC 9457) with a \
                 stable code in `error`.",
            ))
            .build();
        let mut document = OpenApiBuilder::new().info(info).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(KEY, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        Self {
            router: OpenApiRouter::with_openapi(document),
            access: Vec::new(),
        }
    }

    fn add(mut self, access: Access, mut routes: UtoipaMethodRouter<App>) -> Self {
        let mut without_query = Vec::new();
        for (path, item) in &mut routes.1.paths {
            for operation in operations(item) {
                describe(operation, access);
            }
            without_query.extend(methods_without_query(item));
            self.access.push((path.clone(), access));
        }
        // Meta, browsers and Prometheus may add what they like.
        let is_told = access == Access::Key && !routes.1.paths.contains_key("/metrics");
        if is_told && !without_query.is_empty() {
            let methods: Arc<[Method]> = without_query.into();
            routes.2 = routes
                .2
                .layer(middleware::from_fn_with_state(methods, extract::refuse_query));
        }
        self.router = self.router.routes(routes);
        self
    }

    /// Adds routes at an older spelling of their path.
    fn add_alias(self, alias: &str, access: Access, (schemas, mut paths, router): UtoipaMethodRouter<App>) -> Self {
        let item = paths.paths.pop_first().map(|(_, item)| item).unwrap_or_default();
        let mut item = item;
        for operation in operations(&mut item) {
            operation.deprecated = Some(Deprecated::True);
            operation.operation_id = operation.operation_id.take().map(|id| format!("{id}_at_older_path"));
        }
        paths.paths.insert(alias.to_owned(), item);
        self.add(access, (schemas, paths, router))
    }
}

/// The name of the API key in the document.
const KEY: &str = "apiKey";

/// What follows for the document from who may call.
fn describe(operation: &mut Operation, access: Access) {
    let responses = &mut operation.responses.responses;
    match access {
        Access::Public | Access::Meta | Access::Link | Access::Signed => operation.security = Some(Vec::new()),
        Access::Key => {
            operation.security = Some(vec![SecurityRequirement::new(KEY, Vec::<String>::new())]);
            let challenge = HeaderBuilder::new()
                .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
                .build();
            let refusal = problem_response("The API key is missing or wrong").header("WWW-Authenticate", challenge);
            responses.insert("401".to_owned(), RefOr::T(refusal.build()));
        }
    }
    responses.insert(
        "default".to_owned(),
        RefOr::T(problem_response("Any other problem").build()),
    );
}

/// The methods of a path that take no parameters in the query.
fn methods_without_query(item: &PathItem) -> impl Iterator<Item = Method> {
    let takes_query = |operation: &Operation| {
        let mut parameters = operation.parameters.iter().flatten();
        parameters
            .any(|parameter| matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query))
    };
    [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
    ]
    .into_iter()
    .filter(move |(_, operation)| operation.as_ref().is_some_and(|operation| !takes_query(operation)))
    .map(|(method, _)| method)
}

fn problem_response(description: &str) -> ResponseBuilder {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    ResponseBuilder::new()
        .description(description)
        .content(problem::CONTENT_TYPE, content)
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.patch,
        &mut item.delete,
        &mut item.options,
    ]
    .into_iter()
    .flatten()
}
