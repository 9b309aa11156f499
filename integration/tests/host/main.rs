//! What people see of palisade on a host, file by file. Needs root.
//!
//! One program: to link each file by itself takes longer than to run it. What keeps a machine busy by itself, or runs elsewhere,
//! stands beside it.

mod accounting;
mod boot;
mod callers;
mod connections;
mod crash;
mod doctor;
mod faults;
mod first_start;
mod flows;
mod foreign;
mod host_changes;
mod isolation;
mod last_call;
mod learn;
mod listing;
mod live;
mod log_rules;
mod order_and_tiers;
mod panic;
mod protect;
mod protocols;
mod queries;
mod questions;
mod records;
mod reload;
mod reports;
mod safety_net;
mod sandbox;
mod services;
mod sinks;
mod staging;
mod top;
mod unconfirmed;
