//! Object stores: flat sets of keys with content, reached over HTTP.
//!
//! `store` has what is common to all stores; `s3` is the client for S3 and compatible stores.
//! [`ObjectSource`] and [`ObjectTarget`] make a prefix of a bucket ([`BucketPrefix`]) a source and
//! a target, with `list`, `read`, `write`, and `metadata` for what is kept with an object. `level`
//! lists a single level, `name` a single name, and `single` finds one object by any key.

mod backup;
mod cause;
mod check;
mod conditions;
mod copies;
mod copy;
mod error;
mod habits;
mod level;
mod list;
mod listed_names;
mod marker_trial;
mod markers;
#[cfg(any(test, feature = "internals"))]
pub mod memory;
mod metadata;
mod name;
mod object_read;
mod page_cursor;
mod pages;
mod part_sizes;
mod parts;
mod prefix;
mod protocols;
mod ranges;
mod read;
pub mod s3;
mod sides;
mod single;
mod sorted;
mod split;
mod store;
mod stores;
mod uploads;
mod window;
mod write;

pub use backup::ObjectBackup;
pub use error::{StoreError, StoreErrorKind};
pub use metadata::set as set_headers;
pub use part_sizes::OWN_PART_SIZES;
pub use prefix::{BucketPrefix, PrefixOptions};
pub use protocols::StoreSettings;
pub use sides::{ObjectSource, ObjectTarget};
pub use store::{
    Body, BucketId, CompletedPart, Condition, CopySource, Head, ListQuery, Listed, LookForWritten,
    NotDeleted, ObjectReader, Outcome, Page, PartTag, PartsPage, RequestLimits, Requester, Store,
    StoreCapabilities, UploadId, UploadedPart, Wanted, WrittenObject,
};
pub use stores::Stores;

use super::Headers;

#[cfg(test)]
mod tests;
