//! Rows of a directory that was renamed in the target.

use super::State;
use crate::model::{Error, Key};
use rusqlite::params;

/// The rows in the directory.
const WITHIN: &str = "key >= ?1 AND key < ?2";
/// The key that a row gets.
const MOVED: &str = "CAST(?3 || substr(moved.key, ?4) AS BLOB)";

impl State {
    /// Gives the rows of a directory, and of all in it, the keys that they have now. The caller made
    /// the rename durable, and no [`Writer`](super::Writer) has rows that it didn't commit.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the state can't be written.
    pub fn rename_directory(&self, from: &Key, to: &Key) -> Result<(), Error> {
        let tracks = self.published()?.is_some();
        let (from, to) = (from.as_bytes(), to.as_bytes());
        // Keys in the directory come before the byte after its `/`.
        let mut end = from.to_vec();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        let rest = from.len() as i64 + 1;
        let rename = || {
            let transaction = self.connection.unchecked_transaction()?;
            if tracks {
                let old = format!(
                    "INSERT OR IGNORE INTO changed SELECT key, 1 FROM entries WHERE {WITHIN}"
                );
                transaction.execute(&old, params![from, end])?;
                let new = format!(
                    "INSERT OR IGNORE INTO changed SELECT {MOVED}, EXISTS \
                     (SELECT 1 FROM entries AS there WHERE there.key = {MOVED}) \
                     FROM entries AS moved WHERE {WITHIN}"
                );
                transaction.execute(&new, params![from, end, to, rest])?;
            }
            for change in [
                format!(
                    "INSERT OR IGNORE INTO links SELECT id, {MOVED} FROM links AS moved \
                     WHERE {WITHIN}"
                ),
                format!("UPDATE OR REPLACE entries AS moved SET key = {MOVED} WHERE {WITHIN}"),
            ] {
                transaction.execute(&change, params![from, end, to, rest])?;
            }
            transaction.commit()
        };
        rename().map_err(|error| self.failed("write", error))
    }
}
