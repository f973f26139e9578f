//! The pure world: replicas, rows, bus, links, operations in flight, models, viewers and users, as one value of plain
//! data, without IO, threads or a clock. What may happen next is a list of choices, each under a name that stays the
//! same; [`World::step`] does what was chosen. The machines are the product's, the judges the laboratory's.

mod answer;
mod batch;
mod branch;
mod choice;
mod choices;
mod claims;
mod clock;
mod damage;
mod effect;
mod explore;
mod hashed;
mod laws;
mod links;
mod lives;
mod marks;
mod models;
mod nearest;
mod node;
mod only;
mod operations;
mod recording;
mod recovery;
mod setup;
mod shrink;
mod sightings;
mod situation;
mod step;
mod story;
mod strangers;
mod tools;
mod trace;
mod users;
mod viewers;
mod walk;
mod work;
mod world;

pub use batch::{Batch, Walked};
pub use choice::{ChatAt, Choice, Class, From, How, Kind, NodeAt, NotAChoice, Order, ViewerAt};
pub use damage::{
    DamageKinds, Edit, Heard, Kind as DamageKind, Measured, Row as DamageRow, Testimony, testify,
};
pub use explore::{Bounds, Seen, explore};
pub use laws::walk_by_numbers;
pub use marks::{Marks, count_marks};
pub use nearest::{Neighbour, nearest};
pub use only::{NotOne, Only};
pub use recording::{NotARecording, Recording};
pub use setup::{Budget, Setup, Tools};
pub use shrink::shrink;
pub use sightings::Sightings;
pub use story::{Missed, Telling, Untold, tell_story, untold};
pub use trace::{Line, Told};
pub use walk::{Run, Verdict, draw_setup, impossible, replay, tell, walk};
pub use world::World;
