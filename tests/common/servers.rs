//! What every server of these tests has in common.

/// The key that servers know, with its secret. Both are recognisable, to find where they leak.
pub const ACCESS_KEY: &str = "VIDIMUSCANARYKEY";

/// The secret of [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "canary/secret+that/must/never/be/shown";

/// The region that requests are signed for.
pub const REGION: &str = "us-east-1";

/// The variables that lead an S3 client to an endpoint, with the keys that the servers know.
pub fn environment(endpoint: &str) -> Vec<(&'static str, String)> {
    [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_REGION", REGION),
        // Nothing asks for credentials over the network.
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}
