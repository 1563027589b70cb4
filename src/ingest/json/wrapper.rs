//! Objects that wrap records: how the exports of many services arrange them.

use crate::record::json::Scanner;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Keys under which services put their records, as an array of objects.
const KEYS: &[&[u8]] = &[
    b"\"Records\"",
    b"\"records\"",
    b"\"logEvents\"",
    b"\"value\"",
    b"\"events\"",
    b"\"Events\"",
    b"\"logs\"",
    b"\"entries\"",
    b"\"items\"",
    b"\"results\"",
    b"\"data\"",
    b"\"hits\"",
];

/// The keys that nothing but a wrapper has: CloudTrail, Azure Event Hubs, CloudWatch.
const CERTAIN: usize = 3;

/// Members, in lower case, that tell of the page or batch and not of an event.
const OF_THE_PAGE: &[&str] = &[
    "next",
    "nexttoken",
    "next_token",
    "nextlink",
    "next_link",
    "nextforwardtoken",
    "nextbackwardtoken",
    "nextpagetoken",
    "count",
    "total",
    "totalcount",
    "total_count",
    "took",
    "timed_out",
    "_shards",
    "_scroll_id",
    "status",
    "success",
    "page",
    "pages",
    "pagesize",
    "page_size",
    "perpage",
    "per_page",
    "limit",
    "offset",
    "init_offset",
    "cursor",
    "preview",
    "lastrow",
    "messages",
    "fields",
    "kind",
    "apiversion",
    "metadata",
    "istruncated",
    "has_more",
    "hasmore",
    "links",
    "meta",
    "pagination",
    "paging",
    "searchedlogstreams",
    "requestid",
    "resultcount",
    "result_count",
    "object",
];

/// How sure it is that an array of objects under these names holds the records of its object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wraps {
    No,
    /// Also an event of its own may have such a member (`items` of an order): the other members decide.
    Perhaps,
    Certainly,
}

/// What the array is that has just opened in the value that begins with `text`.
pub(super) fn wraps(text: &[u8], scanner: &Scanner) -> Wraps {
    let names: Vec<&[u8]> = (1..scanner.depth()).map(|depth| &text[scanner.name(depth)]).collect();
    match names[..] {
        [name] if KEYS[..CERTAIN].contains(&name) => Wraps::Certainly,
        [b"\"hits\"", b"\"hits\""] => Wraps::Certainly,
        _ if names.iter().all(|name| KEYS.contains(name)) => Wraps::Perhaps,
        _ => Wraps::No,
    }
}

/// The names that an object has beside the array under a wrapper key, also in the wrappers around it. `None` where they
/// cannot be read.
pub(super) fn others(object: &[u8]) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut inner: Option<&RawValue> = Some(serde_json::from_slice(object).ok()?);
    while let Some(text) = inner.take() {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(text.get()).ok()?;
        for (name, value) in members {
            let wraps =
                KEYS.iter().any(|key| key[1..key.len() - 1] == *name.as_bytes()) && value.get().starts_with(['{', '[']);
            match wraps && inner.is_none() {
                true => inner = Some(value).filter(|value| value.get().starts_with('{')),
                false => found.push(name),
            }
        }
    }
    Some(found)
}

/// Whether a member tells of the page, as OData's `@odata.context` does.
pub(super) fn is_of_the_page(name: &str) -> bool {
    name.starts_with('@') || OF_THE_PAGE.contains(&name.to_ascii_lowercase().as_str())
}
