//! The compiler against the evaluator: random policies and packets, the shape of every ruleset, and golden texts.
//!
//! The ruleset is run by a small interpreter of nftables' rules. That it reads them as the kernel does is for the
//! tests on a real kernel to show; here the question is whether the compiler and the evaluator mean the same.
#![allow(clippy::unwrap_used)] // all of this is tests

mod diff;
mod differential;
mod expectations;
mod golden;
mod incremental;
mod interpreter;
mod lint;
mod matrix;
mod questions;
mod routes;
mod shape;
mod unconfirmed;
