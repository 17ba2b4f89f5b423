//! Kinds of requests to an object store, as they are counted, limited and paid for.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// What a request asks of an object store.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum RequestKind { $($(#[$doc])* $variant,)* }

        impl RequestKind {
            /// All kinds, in the order that they are told.
            #[cfg(test)]
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in reports: lower case, words joined by `_`.
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
    /// What is kept with an object, without its content.
    Head => "head",
    /// A whole object.
    Put => "put",
    /// A whole object from another one, within the store.
    Copy => "copy",
    /// One object removed.
    Delete => "delete",
    /// Up to 1,000 objects removed.
    DeleteMany => "delete_many",
    /// The beginning of an upload in parts.
    CreateUpload => "create_upload",
    /// One part.
    UploadPart => "upload_part",
    /// One part from another object, within the store.
    CopyPart => "copy_part",
    /// The end of an upload in parts.
    CompleteUpload => "complete_upload",
    /// An upload in parts given up.
    AbortUpload => "abort_upload",
    /// A page of the uploads under way.
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
