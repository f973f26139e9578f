//! Proxies that are believed, and what they say of whom a request is from: `X-Forwarded-For`, or `Forwarded` (RFC 7239). One of
//! the two, which the operator names: a proxy that writes the one hands on whatever a client says in the other.
//!
//! Each proxy adds, at the right, whom it was asked by. So entries count from the right for as long as they are proxies that are
//! believed; the first that is none is whom the request is from, and what stands to the left of it says a stranger.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

use super::Address;
use crate::config::{ForwardedHeader, RatesConfig};
use crate::limits::rates::HOPS_MAX;

#[derive(Clone, Debug, Default)]
pub(super) struct Proxies {
    believed: Vec<IpNet>,
    header: ForwardedHeader,
}

impl Proxies {
    pub(super) fn of(config: &RatesConfig) -> Self {
        Self { believed: config.trusted_proxies.clone(), header: config.trusted_header }
    }

    /// Whether what it says is believed.
    pub(super) fn have(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.believed.iter().any(|network| network.contains(&address))
    }

    /// Where the request of a connection from `peer` comes from. Where a proxy says nothing that can be understood, it is from the
    /// last one that did.
    pub(super) fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> Address {
        let mut from = peer;
        if !self.have(peer) {
            return from.into();
        }
        let name = match self.header {
            ForwardedHeader::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            ForwardedHeader::Forwarded => header::FORWARDED,
        };
        let read = |field: &HeaderValue| match self.header {
            ForwardedHeader::XForwardedFor => listed(field),
            ForwardedHeader::Forwarded => forwarded(field),
        };
        let fields: Vec<_> = headers.get_all(name).iter().collect();
        let entries = fields.into_iter().rev().flat_map(|field| read(field).into_iter().rev());
        for entry in entries.take(HOPS_MAX) {
            let Some(address) = entry else { break };
            from = address;
            if !self.have(address) {
                break;
            }
        }
        from.into()
    }
}

/// An address, which may have a port; one of IPv6 is in brackets then.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    address.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

fn listed(field: &HeaderValue) -> Vec<Option<IpAddr>> {
    // What is no text is no address either.
    let text = String::from_utf8_lossy(field.as_bytes());
    text.split(',').map(node).collect()
}

fn forwarded(field: &HeaderValue) -> Vec<Option<IpAddr>> {
    let text = String::from_utf8_lossy(field.as_bytes());
    split(&text, ',').into_iter().map(of_element).collect()
}

/// The `for` of one element: a token, or a quoted string. Names of which nobody knows the address (`unknown`, `_hidden`) are none.
fn of_element(element: &str) -> Option<IpAddr> {
    let mut nodes = split(element, ';').into_iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    });
    let (value, None) = (nodes.next()?, nodes.next()) else { return None };
    node(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// Splits where it is not quoted.
fn split(text: &str, at: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let splits = text.split(move |c: char| {
        let splits = c == at && !quoted;
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        splits
    });
    splits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn origin(header: ForwardedHeader, peer: &str, fields: &[(&str, &str)]) -> String {
        let believed = ["10.0.0.0/8", "2001:db8:ffff::/48"].map(|net| net.parse().expect("a network"));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::try_from(*name).expect("a name");
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        let proxies = Proxies { believed: believed.to_vec(), header };
        proxies.origin(peer.parse().expect("an address"), &headers).to_string()
    }

    fn listed(peer: &str, fields: &[&str]) -> String {
        let fields: Vec<_> = fields.iter().map(|value| ("x-forwarded-for", *value)).collect();
        origin(ForwardedHeader::XForwardedFor, peer, &fields)
    }

    fn forwarded(fields: &[&str]) -> String {
        let fields: Vec<_> = fields.iter().map(|value| ("forwarded", *value)).collect();
        origin(ForwardedHeader::Forwarded, PROXY, &fields)
    }

    #[test]
    fn the_right_most_entry_that_is_no_proxy_is_whom_a_request_is_from() {
        assert_eq!(listed(PROXY, &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(listed(PROXY, &["203.0.113.1, 192.0.2.7"]), "192.0.2.7", "the client said the first");
        assert_eq!(listed(PROXY, &["192.0.2.7, 10.9.9.9,10.1.1.1"]), "192.0.2.7", "through more proxies");
        assert_eq!(listed(PROXY, &["203.0.113.1", "192.0.2.7", "10.1.1.1"]), "192.0.2.7", "line by line");
        assert_eq!(listed(PROXY, &["192.0.2.7:4711"]), "192.0.2.7");
        assert_eq!(listed(PROXY, &["[2001:db8:1:2::3]:4711"]), "2001:db8:1:2::/64");
        assert_eq!(listed(PROXY, &["2001:db8:1:2::3"]), "2001:db8:1:2::/64");
        assert_eq!(listed(PROXY, &["::ffff:192.0.2.7"]), "192.0.2.7");
        assert_eq!(listed("::ffff:10.0.0.1", &["192.0.2.7"]), "192.0.2.7", "a listener of both kinds");
        assert_eq!(listed("2001:db8:ffff::9", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(listed(PROXY, &["10.1.1.1"]), "10.1.1.1", "proxies all the way");
        assert_eq!(listed(PROXY, &[]), PROXY, "a proxy itself asks");
    }

    #[test]
    fn who_is_no_proxy_is_not_believed() {
        assert_eq!(listed("192.0.2.9", &["203.0.113.1"]), "192.0.2.9");
        assert_eq!(listed("2001:db8:1:2::3", &["203.0.113.1"]), "2001:db8:1:2::/64");
        let other = [("forwarded", "for=203.0.113.1"), ("x-real-ip", "203.0.113.2")];
        assert_eq!(
            origin(ForwardedHeader::XForwardedFor, PROXY, &other),
            PROXY,
            "a header that the proxy hands on as it came"
        );
    }

    #[test]
    fn what_makes_no_sense_is_the_last_proxys_that_did() {
        for nonsense in ["", ",", "unknown", "1.2.3", "1.2.3.4.5", "1.2.3.4:99999", "[::1", "é", "10.0.0.0/8"]
        {
            assert_eq!(
                listed(PROXY, &[&format!("203.0.113.1, {nonsense}, 10.1.1.1")]),
                "10.1.1.1",
                "{nonsense:?}"
            );
        }
        let many = format!("203.0.113.1{}", ", 10.1.1.1".repeat(HOPS_MAX));
        assert_eq!(listed(PROXY, &[&many]), "10.1.1.1", "B1");
        let few = format!("203.0.113.1{}", ", 10.1.1.1".repeat(HOPS_MAX - 1));
        assert_eq!(listed(PROXY, &[&few]), "203.0.113.1");
    }

    #[test]
    fn the_standard_header_is_read_with_its_quotes() {
        assert_eq!(forwarded(&["for=192.0.2.7"]), "192.0.2.7");
        assert_eq!(forwarded(&["For=\"192.0.2.7:80\";proto=https;by=10.0.0.1"]), "192.0.2.7");
        assert_eq!(forwarded(&["proto=http; for=\"[2001:db8:1:2::3]:4711\""]), "2001:db8:1:2::/64");
        assert_eq!(forwarded(&["for=203.0.113.1, for=192.0.2.7;by=10.0.0.2, for=10.0.0.2"]), "192.0.2.7");
        assert_eq!(forwarded(&["for=\"203.0.113.1, for=192.0.2.8", "for=192.0.2.7"]), "192.0.2.7");
        assert_eq!(forwarded(&["by=\"a,b\\\",c\";for=192.0.2.7"]), "192.0.2.7", "commas within quotes");
        for nobody in
            ["for=unknown", "for=_hidden", "proto=https", "for=\"192.0.2.7", "for=192.0.2.7;for=192.0.2.8"]
        {
            assert_eq!(forwarded(&[nobody]), PROXY, "{nobody}");
        }
        assert_eq!(listed(PROXY, &["for=192.0.2.7"]), PROXY);
    }
}
