//! The tools that may be called now, of all entries of the file. Names are unique: of two tools of one name, that of
//! the earlier entry is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use mainstem_runtime::ports::ServerTool;

use super::http::HttpTool;
use super::mcp::Link;

/// Who carries out a tool.
#[derive(Clone)]
pub(super) enum Carrier {
    Http(Arc<HttpTool>),
    Mcp(Arc<Link>),
}

/// What there is at one moment.
#[derive(Default)]
pub(super) struct Offer {
    pub(super) tools: Arc<[ServerTool]>,
    carriers: BTreeMap<Arc<str>, Carrier>,
}

#[derive(Default)]
pub(super) struct Shelf {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// By the place of the entry in the file.
    places: BTreeMap<usize, (Vec<ServerTool>, Carrier)>,
    offer: Arc<Offer>,
    /// Tools that lost their names to others, which the log knows already.
    told: BTreeSet<(usize, Arc<str>)>,
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("tools", &self.offer().tools.len()).finish()
    }
}

impl Offer {
    /// The tool that has this name, and who carries it out.
    pub(super) fn find(&self, name: &str) -> Option<(&ServerTool, Carrier)> {
        let offered = self.tools.iter().find(|offered| *offered.tool.name == *name)?;
        Some((offered, self.carriers.get(name)?.clone()))
    }
}

impl Shelf {
    pub(super) fn offer(&self) -> Arc<Offer> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).offer.clone()
    }

    /// What an entry has by now: its tools and who carries them out, or nothing.
    pub(super) fn put(&self, place: usize, tools: Vec<ServerTool>, carrier: Option<Carrier>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match carrier {
            Some(carrier) => inner.places.insert(place, (tools, carrier)),
            None => inner.places.remove(&place),
        };
        inner.offer = Arc::new(inner.offered());
    }
}

impl Inner {
    fn offered(&mut self) -> Offer {
        let mut offered = Offer::default();
        let mut all = vec![];
        for (place, (tools, carrier)) in &self.places {
            for tool in tools {
                let name = &tool.tool.name;
                if offered.carriers.contains_key(name) {
                    if self.told.insert((*place, name.clone())) {
                        tracing::warn!(tool = %name, "a tool is left out: one of an earlier entry has its name");
                    }
                    continue;
                }
                offered.carriers.insert(name.clone(), carrier.clone());
                all.push(tool.clone());
            }
        }
        offered.tools = all.into();
        offered
    }
}
