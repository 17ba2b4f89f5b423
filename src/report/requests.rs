//! Requests to stores, as a person reads them: by kind, and how many were sent again.

use super::format::{count, counted};
use crate::model::Totals;

/// The requests by kind, those sent again behind them: `21 list, 4 lock; 3 retried`. `None` where
/// no store took part.
pub(crate) fn requests_by_kind(totals: &Totals) -> Option<String> {
    let told = |numbers: &[(u64, &str)]| {
        let told = numbers.iter().filter(|(number, _)| *number > 0);
        told.map(|(number, word)| format!("{} {word}", count(*number))).collect::<Vec<_>>()
    };
    let kinds = told(&[
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
        told(&[(totals.requests_retried, "retried"), (totals.requests_throttled, "throttled")]);
    if kinds.is_empty() {
        return None;
    }
    let parts = [kinds, again].map(|part| part.join(", "));
    Some(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; "))
}

/// That a store is in trouble, if it is: `3 requests retried, 2 throttled`.
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
    fn requests_are_told_by_kind_and_only_where_there_are_any() {
        assert_eq!(requests_by_kind(&Totals::default()), None);
        let totals = Totals { requests_list: 1021, requests_lock: 4, ..Totals::default() };
        assert_eq!(requests_by_kind(&totals).as_deref(), Some("1,021 list, 4 lock"));
        let totals = Totals { requests_retried: 3, requests_throttled: 2, ..totals };
        let text = "1,021 list, 4 lock; 3 retried, 2 throttled";
        assert_eq!(requests_by_kind(&totals).as_deref(), Some(text));
    }

    #[test]
    fn trouble_is_told_once_there_is_any() {
        assert_eq!(trouble(&Totals { requests_get: 9, ..Totals::default() }), None);
        let totals = Totals { requests_retried: 1, ..Totals::default() };
        assert_eq!(trouble(&totals).as_deref(), Some("1 request retried"));
        let totals = Totals { requests_throttled: 2, ..totals };
        assert_eq!(trouble(&totals).as_deref(), Some("1 request retried, 2 throttled"));
    }
}
