//! `/openapi.json`: it is valid, it is of the routes that are there, and what servers say is what it says.

mod answers;
mod events;
mod generated;
mod routes;
