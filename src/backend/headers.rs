//! What is kept with an object beside its content.

/// What a store keeps with an object beside its content, and another store can take over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// The type of the content.
    pub content_type: Option<String>,
    /// `cache-control`, `content-disposition`, `content-encoding`, `content-language`, `expires`.
    pub other: Vec<(String, String)>,
    /// The user's own metadata: names in lower case, without what a protocol puts before them
    /// (`x-amz-meta-` on S3).
    pub user: Vec<(String, String)>,
}
