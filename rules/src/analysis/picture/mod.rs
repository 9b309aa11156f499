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

/// Why there is no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// A picture that nobody could read, and no browser show.
    #[error(
        "{rows} different rows are too many for a picture, {limit} is the most: use -o json, or fewer resources"
    )]
    TooLarge {
        /// How many rows there would be.
        rows: usize,
        /// How many there may be.
        limit: usize,
    },
}
