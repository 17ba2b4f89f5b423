//! S3 and what speaks its protocol.
//!
//! `settings` tells how a store is reached, from a location, the environment and the profiles of
//! `~/.aws` (`profile`).

mod profile;
mod settings;

pub use settings::{Settings, resolve};
