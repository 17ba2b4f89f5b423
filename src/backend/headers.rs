//! Headers of an object.

/// What a store keeps with an object besides its content, and another store can take over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// The type of the content.
    pub content_type: Option<String>,
    /// `cache-control`, `content-disposition`, `content-encoding`, `content-language`, `expires`.
    pub other: Vec<(String, String)>,
    /// The user's own metadata: names in lower case, without the prefix that a protocol adds
    /// (`x-amz-meta-` on S3).
    pub user: Vec<(String, String)>,
}
