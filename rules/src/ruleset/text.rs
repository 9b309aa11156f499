//! A ruleset as nft text.
