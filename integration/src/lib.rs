//! Helpers for tests on the real kernel.
#![forbid(unsafe_code)]
