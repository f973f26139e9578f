//! How this program calls others over HTTP, be it a model's provider or a server of its own kind: whom it trusts,
//! and when it goes through a proxy.
//!
//! It trusts the system's store of certificates, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name in its place.
//! Roots of its own are for systems without a store, and never beside those that somebody chose.

use std::net::IpAddr;

use reqwest::{Client, ClientBuilder, Url};

/// What names the certificates to trust.
const CERTIFICATES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// A client for requests to `url`. What runs on this machine is reached without a proxy.
pub(crate) fn client_to(url: &Url) -> ClientBuilder {
    let are_chosen = CERTIFICATES.iter().any(|name| std::env::var_os(name).is_some_and(|it| !it.is_empty()));
    let client = Client::builder().tls_built_in_webpki_certs(!are_chosen);
    if is_loopback(url) { client.no_proxy() } else { client }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).trim_end_matches('.');
    let address = host.parse().map(|address: IpAddr| address.to_canonical());
    host == "localhost"
        || host.ends_with(".localhost")
        || address.is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_here_is_asked_without_a_proxy() {
        for (url, wanted) in [
            ("http://localhost:1", true),
            ("http://LOCALHOST.:1", true),
            ("http://a.localhost", true),
            ("http://127.0.0.2", true),
            ("http://[::1]:8", true),
            ("http://[::ffff:127.0.0.1]:8", true),
            ("http://0.0.0.0:8", true),
            ("http://10.0.0.1", false),
            ("http://a.example", false),
            ("http://localhost.example", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), wanted, "{url}");
        }
    }
}
