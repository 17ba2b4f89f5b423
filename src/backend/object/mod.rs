//! Object stores: flat sets of keys with content, reached over HTTP.
//!
//! `store` holds what is common to all of them, `s3` is the client for S3 and what speaks its
//! protocol.

mod error;
pub mod s3;
mod store;

pub use error::{StoreError, StoreErrorKind};
pub use store::{Condition, Head, Headers, ListQuery, Listed, Outcome, Page, RequestLimits};
