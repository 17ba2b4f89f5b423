//! Object stores: flat sets of keys with content, reached over HTTP.

pub mod s3;
