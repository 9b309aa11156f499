//! The daemon `palisaded` and the command line `palisade`.
//!
//! Folders are stretches of one road, and each knows only those before it:
//!
//! ```text
//! source ─▶ (palisade-rules) ─▶ apply ─▶ (palisade-nft) ─▶ kernel
//!                                 │
//! NFLOG, counters ─▶ flows ◀──────┤
//! conntrack, sockets ─▶ live ◀────┤
//!                                 ▼
//!                   service ─▶ api ◀─ cli
//! ```
#![forbid(unsafe_code)]

pub mod api;
pub mod apply;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod exit;
pub mod flows;
pub mod guard;
pub mod kernel;
pub mod lab;
pub mod live;
pub mod matrix;
pub mod moment;
pub mod sandbox;
pub mod service;
pub mod source;
pub mod telemetry;
