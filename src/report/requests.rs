//! Requests to stores, formatted for people: by kind, and how many were retried.

use super::format::{count, counted};
use crate::model::Totals;

/// Formats the number of requests by kind, then the retried ones: `21 list, 4 lock; 3 retried`.
/// `None` if there were no requests.
pub(crate) fn requests_by_kind(totals: &Totals) -> Option<String> {
    let counts = |numbers: &[(u64, &str)]| {
        let counts = numbers.iter().filter(|(number, _)| *number > 0);
        counts.map(|(number, word)| format!("{} {word}", count(*number))).collect::<Vec<_>>()
    };
    let kinds = counts(&[
        (totals.requests_list, "list"),
        (totals.requests_get, "get"),
        (totals.requests_head, "head"),
        (totals.requests_put, "put"),
        (totals.requests_copy, "copy"),
        (totals.requests_delete, "delete"),
        (totals.requests_multipart, "multipart"),
        (totals.requests_lock, "lock"),
    ]);
    let again =
        counts(&[(totals.requests_retried, "retried"), (totals.requests_throttled, "throttled")]);
    if kinds.is_empty() {
        return None;
    }
    let parts = [kinds, again].map(|part| part.join(", "));
    Some(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; "))
}

/// Formats a store's retries, if there are any: `3 requests retried, 2 throttled`.
pub(crate) fn trouble(totals: &Totals) -> Option<String> {
    let retried = counted(totals.requests_retried, "request retried", "requests retried");
    match (totals.requests_retried, totals.requests_throttled) {
        (0, 0) => None,
        (_, 0) => Some(retried),
        (_, throttled) => Some(format!("{retried}, {} throttled", count(throttled))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_listed_by_kind_only_if_there_are_any() {
        assert_eq!(requests_by_kind(&Totals::default()), None);
        let totals = Totals { requests_list: 1021, requests_lock: 4, ..Totals::default() };
        assert_eq!(requests_by_kind(&totals).as_deref(), Some("1,021 list, 4 lock"));
        let totals = Totals { requests_retried: 3, requests_throttled: 2, ..totals };
        let text = "1,021 list, 4 lock; 3 retried, 2 throttled";
        assert_eq!(requests_by_kind(&totals).as_deref(), Some(text));
    }

    #[test]
    fn retries_are_shown_once_there_are_any() {
        assert_eq!(trouble(&Totals { requests_get: 9, ..Totals::default() }), None);
        let totals = Totals { requests_retried: 1, ..Totals::default() };
        assert_eq!(trouble(&totals).as_deref(), Some("1 request retried"));
        let totals = Totals { requests_throttled: 2, ..totals };
        assert_eq!(trouble(&totals).as_deref(), Some("1 request retried, 2 throttled"));
    }
}
