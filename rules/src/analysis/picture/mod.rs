//! The [matrix](super::Matrix) for the eye: as a page, as an image, and as a graph for Graphviz.
//!
//! Three views stand side by side: the enforced world, the pending one, and the pending one without its safety net if it
//! has one. What promotion changes is marked in the last two: against the enforced world, with its net and without.
//!
//! Endpoints that no policy can tell apart share a row. Nothing is fetched from anywhere: page and image are whole.

mod dot;
mod drawing;
mod html;
mod svg;
mod traces;

pub use dot::dot;
pub use html::html;
pub use svg::svg;
