//! Kinds of requests to an object store, by which they are counted, limited and paid for.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// The kind of a request to an object store.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum RequestKind { $($(#[$doc])* $variant,)* }

        impl RequestKind {
            /// All kinds, in the order of reports.
            #[cfg(test)]
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name in reports: lower case, words joined by `_`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    /// A page of a listing.
    List => "list",
    /// An object's content, or a range of it.
    Get => "get",
    /// An object's metadata without its content.
    Head => "head",
    /// Writing a whole object.
    Put => "put",
    /// A server-side copy of a whole object.
    Copy => "copy",
    /// Deletion of one object.
    Delete => "delete",
    /// Deletion of up to 1,000 objects.
    DeleteMany => "delete_many",
    /// The start of a multipart upload.
    CreateUpload => "create_upload",
    /// One part of a multipart upload.
    UploadPart => "upload_part",
    /// A server-side copy of one part.
    CopyPart => "copy_part",
    /// The completion of a multipart upload.
    CompleteUpload => "complete_upload",
    /// The abortion of a multipart upload.
    AbortUpload => "abort_upload",
    /// A page of the multipart uploads in progress.
    ListUploads => "list_uploads",
    /// A page of an upload's parts.
    ListParts => "list_parts",
}

impl fmt::Display for RequestKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_serialised_by_its_name() {
        for kind in RequestKind::ALL {
            let json = serde_json::to_string(kind).expect("a name");
            assert_eq!(json, format!("\"{kind}\""));
        }
    }
}
