//! What `/openapi.json` tells (OpenAPI 3.1): our own requests, objects and events. It is made of the routes themselves: [`Api`] takes a
//! route only with what is told of it. The faces are protocols of other people, and not in it.

mod bodies;
mod events;
mod objects;
mod operation;
mod parts;
pub(super) mod schema;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::State;
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use mainstem_runtime::ports::Env;
use sha2::{Digest, Sha256};
use utoipa::openapi::path::{HttpMethod, PathItem, Paths};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr};

use super::{Access, App, json, routes};
use crate::TokioEnv;
use operation::{ACCESS_TOKEN, BEARER, Described};

pub(super) use operation::{Request, answer_header, check, public, request};
pub(super) use utoipa::openapi::{Content, Required, ResponseBuilder};

/// What comes before all requests.
const WORDS: &str = "Streams AI chats from whichever replica generates them to whichever replica a viewer is connected \
    to: every token once, in order.\n\n\
    A server with `--auth-file`, `--jwt-key-file` or `--jwks-url` asks each request for a token. One without asks for none, and answers only to names of \
    its own.\n\n\
    Clients have to ignore members, kinds of parts, and types of events that they do not know: later releases add some. \
    Lengths are limited in bytes of UTF-8; a `maxLength` here is the same number of characters, which no text within the \
    limit has more of. The text of a message has at most what `--message-bytes-max` says.\n\n\
    The routes below `/ai`, `/ag-ui`, `/v1/responses`, `/v1/conversations`, `/v1/chat/completions` and `/v1/models` are \
    protocols of other people, and not told here: see docs/faces/ai-sdk.md, docs/faces/ag-ui.md and docs/faces/openai.md \
    in the repository. docs/protocol.md has all that is here, and the guarantees of the stream.";

const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// How long a client need not ask again.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// Routes, with what is told of them.
pub(super) struct Api<E: Env> {
    router: Router<Arc<App<E>>>,
    paths: Paths,
    responses: BTreeMap<String, utoipa::openapi::Response>,
    asks_for_tokens: bool,
}

/// The methods of one path.
pub(super) struct Route<E: Env> {
    path: &'static str,
    methods: MethodRouter<Arc<App<E>>>,
    told: Vec<(HttpMethod, Request)>,
}

impl<E: Env> Route<E> {
    pub(super) fn of(path: &'static str) -> Self {
        Self { path, methods: MethodRouter::new(), told: vec![] }
    }

    pub(super) fn get<H: Handler<T, Arc<App<E>>>, T: 'static>(self, told: Request, handler: H) -> Self {
        self.on(MethodFilter::GET, HttpMethod::Get, told, handler)
    }

    pub(super) fn post<H: Handler<T, Arc<App<E>>>, T: 'static>(self, told: Request, handler: H) -> Self {
        self.on(MethodFilter::POST, HttpMethod::Post, told, handler)
    }

    pub(super) fn patch<H: Handler<T, Arc<App<E>>>, T: 'static>(self, told: Request, handler: H) -> Self {
        self.on(MethodFilter::PATCH, HttpMethod::Patch, told, handler)
    }

    pub(super) fn put<H: Handler<T, Arc<App<E>>>, T: 'static>(self, told: Request, handler: H) -> Self {
        self.on(MethodFilter::PUT, HttpMethod::Put, told, handler)
    }

    pub(super) fn delete<H: Handler<T, Arc<App<E>>>, T: 'static>(self, told: Request, handler: H) -> Self {
        self.on(MethodFilter::DELETE, HttpMethod::Delete, told, handler)
    }

    fn on<H, T>(mut self, filter: MethodFilter, method: HttpMethod, told: Request, handler: H) -> Self
    where
        H: Handler<T, Arc<App<E>>>,
        T: 'static,
    {
        self.told.push((method, told));
        Self { methods: self.methods.on(filter, handler), ..self }
    }
}

impl<E: Env> Api<E> {
    /// Where everybody is one user, nobody is asked who it is.
    pub(super) fn new(asks_for_tokens: bool) -> Self {
        Self { router: Router::new(), paths: Paths::new(), responses: BTreeMap::new(), asks_for_tokens }
    }

    pub(super) fn route(mut self, route: Route<E>) -> Self {
        let mut item = PathItem::default();
        for (method, told) in route.told {
            let Described { operation, responses } = told.describe(self.asks_for_tokens);
            item.merge_operations(PathItem::new(method, operation));
            self.responses.extend(responses);
        }
        self.paths.paths.insert(route.path.into(), item);
        Self { router: self.router.route(route.path, route.methods), ..self }
    }

    pub(super) fn into_router(self) -> Router<Arc<App<E>>> {
        self.router
    }

    fn into_document(self) -> OpenApi {
        let license = LicenseBuilder::new().name(env!("CARGO_PKG_LICENSE"));
        let license = license.identifier(Some(env!("CARGO_PKG_LICENSE"))).build();
        let info = InfoBuilder::new().title("Mainstem").version(env!("CARGO_PKG_VERSION"));
        let info = info.description(Some(WORDS)).license(Some(license)).build();
        let mut components = components(self.responses);
        if self.asks_for_tokens {
            add_security_schemes(&mut components);
        }
        let docs = utoipa::openapi::external_docs::ExternalDocs::new(REPOSITORY);
        let document = OpenApiBuilder::new().info(info).paths(self.paths).components(Some(components));
        document.external_docs(Some(docs)).build()
    }
}

fn components(responses: BTreeMap<String, utoipa::openapi::Response>) -> Components {
    let mut components = Components::new();
    let responses = responses.into_iter().map(|(name, response)| (name, RefOr::T(response)));
    components.responses.extend(responses);
    let schemas = [objects::schemas(), bodies::schemas(), events::schemas()].into_iter().flatten();
    let schemas = schemas.map(|(name, schema)| (name.to_owned(), schema));
    components.schemas.extend(schemas.chain(parts::schemas()));
    components
}

fn add_security_schemes(components: &mut Components) {
    let words = "A token of `--auth-file`, or a JWT.";
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(words)).build();
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
    let words = "A ticket, or a token of the file, for a browser's stream, which can have no headers.";
    let query = ApiKeyValue::with_description("access_token", words);
    components.add_security_scheme(ACCESS_TOKEN, SecurityScheme::ApiKey(ApiKey::Query(query)));
}

struct Document {
    text: String,
    tag: HeaderValue,
}

impl Document {
    fn new(asks_for_tokens: bool) -> Self {
        let document = routes::native::<TokioEnv>(asks_for_tokens).into_document();
        let text = document.to_json().expect("it is plain data");
        let digest = Sha256::digest(&text);
        let tag: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let tag = HeaderValue::from_str(&format!("\"{tag}\"")).expect("hexadecimal digits");
        Self { text, tag }
    }
}

/// Of servers that ask for tokens, and of those that do not.
static WITH_TOKENS: LazyLock<Document> = LazyLock::new(|| Document::new(true));
static WITHOUT_TOKENS: LazyLock<Document> = LazyLock::new(|| Document::new(false));

/// `GET /openapi.json`: it is the same for everybody.
pub(super) async fn serve<E: Env>(State(app): State<Arc<App<E>>>, asked: HeaderMap) -> Response {
    let Document { text, tag } = match app.access {
        Access::Anybody(_) => &*WITHOUT_TOKENS,
        Access::Tokens(_) => &*WITH_TOKENS,
    };
    let is_there = asked.get_all(header::IF_NONE_MATCH).iter().any(|asked| asked == tag);
    let mut response = match is_there {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => json(StatusCode::OK, text.as_str()),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, CACHED);
    headers.insert(header::ETAG, tag.clone());
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::http::{all_routes, faces, page};

    /// The paths of a router, which tells them to nobody but those who look for faults.
    fn paths(router: &Router<Arc<App<TokioEnv>>>) -> BTreeSet<String> {
        let told = format!("{router:?}");
        let paths = told.split("RouteId(").filter_map(|told| told.split_once("): \"/"));
        let paths = paths.filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
        paths.map(|(_, path)| format!("/{}", path.split('"').next().unwrap_or_default())).collect()
    }

    #[test]
    fn every_route_that_is_ours_is_in_the_document_and_no_other() {
        let document: Value = serde_json::from_str(&WITH_TOKENS.text).expect("JSON");
        let told: BTreeSet<String> = document["paths"].as_object().expect("paths").keys().cloned().collect();
        let of_others = &paths(&faces::routes()) | &paths(&page::routes());
        assert!(of_others.contains("/v1/responses") && of_others.contains("/"), "{of_others:?}");
        assert_eq!(&paths(&all_routes()) - &of_others, told);
    }
}
