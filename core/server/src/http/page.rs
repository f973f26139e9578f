//! The chat page and its client library, as they are embedded in the program. A browser gets them from here and nothing
//! from elsewhere.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use mainstem_runtime::ports::Env;
use sha2::{Digest, Sha256};

use super::App;

/// Nothing of other servers, nothing inline, no text as markup, and nobody frames it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! file {
    ($path:literal, $kind:literal, $name:literal) => {
        File { path: $path, kind: $kind, text: include_str!(concat!("../../page/", $name)) }
    };
}

const FILES: [File; 11] = [
    file!("/", "text/html; charset=utf-8", "index.html"),
    file!("/mainstem.js", "text/javascript; charset=utf-8", "mainstem.js"),
    file!("/page/announcer.js", "text/javascript; charset=utf-8", "announcer.js"),
    file!("/page/chats.js", "text/javascript; charset=utf-8", "chats.js"),
    file!("/page/dialogs.js", "text/javascript; charset=utf-8", "dialogs.js"),
    file!("/page/icon.svg", "image/svg+xml", "icon.svg"),
    file!("/page/log.js", "text/javascript; charset=utf-8", "log.js"),
    file!("/page/markdown.js", "text/javascript; charset=utf-8", "markdown.js"),
    file!("/page/page.css", "text/css; charset=utf-8", "page.css"),
    file!("/page/page.js", "text/javascript; charset=utf-8", "page.js"),
    file!("/page/parts.js", "text/javascript; charset=utf-8", "parts.js"),
];

/// Of all files at once: a page never runs with some of another release.
static TAG: LazyLock<HeaderValue> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    FILES.iter().for_each(|file| digest.update(file.text));
    let tag: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("\"{tag}\"")).expect("hexadecimal digits")
});

pub(super) fn routes<E: Env>() -> Router<Arc<App<E>>> {
    FILES.iter().fold(Router::new(), |router, file| {
        router.route(file.path, get(async |request: Request| answer(file, request.headers())))
    })
}

/// A browser asks each time whether it has the file of this release.
fn answer(file: &File, asked: &HeaderMap) -> Response {
    let is_there = asked.get_all(header::IF_NONE_MATCH).iter().any(|tag| *tag == *TAG);
    let mut response = match is_there {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => file.text.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::ETAG, TAG.clone());
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_once_and_then_that_it_is_the_same() {
        let [page, library] = [&FILES[0], &FILES[1]];
        let first = answer(page, &HeaderMap::new());
        assert_eq!(first.status(), 200);
        let tag = first.headers()["etag"].clone();
        let asked = HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)]);
        assert_eq!(answer(library, &asked).status(), 304);
        let other = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static("\"x\""))]);
        assert_eq!(answer(library, &other).status(), 200);
    }

    /// What the first visit takes, and that the library is one that can be read.
    #[test]
    fn the_page_is_small() {
        let bytes: usize = FILES.iter().map(|file| file.text.len()).sum();
        assert!(bytes < 100_000, "{bytes}");
        assert!(FILES[1].text.lines().count() <= 300, "{}", FILES[1].text.lines().count());
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_no_text_becomes_markup() {
        for File { path, text, .. } in &FILES {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                " style=",
                "import(\"http",
            ] {
                assert!(!text.contains(word), "{path}: {word}");
            }
            for reference in ["src=\"", "href=\"", "from \""] {
                for found in text.split(reference).skip(1) {
                    assert!(found.starts_with(['/', '.', '#']), "{path}: {reference}{}", &found[..20]);
                }
            }
        }
    }
}
