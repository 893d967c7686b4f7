//! Long lists, a page at a time.

use prost::Message;

use crate::CallError;

/// A page ends early once it is this long.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// A page that is being filled, some items at a time.
#[derive(Debug)]
pub(super) struct Page<M> {
    items: Vec<M>,
    size: usize,
    bytes: usize,
    /// Whether something follows what was put in, once that is known.
    more: Option<bool>,
}

impl<M: Message> Page<M> {
    /// For at most `size` items.
    pub(super) fn new(size: usize) -> Self {
        Self { items: Vec::new(), size, bytes: 0, more: None }
    }

    /// How many items to look up next, at most `chunk`. None: the page is full, or nothing is left.
    pub(super) fn wanted(&self, chunk: usize) -> Option<usize> {
        let full = self.items.len() >= self.size || self.bytes >= PAGE_BYTES_MAX || self.more == Some(false);
        (!full).then(|| chunk.min(self.size - self.items.len()))
    }

    /// Puts in what was looked up; `more` follows it.
    pub(super) fn fill(&mut self, items: impl IntoIterator<Item = M>, more: bool) {
        self.more = Some(more);
        for item in items {
            if self.bytes >= PAGE_BYTES_MAX {
                self.more = Some(true);
                return;
            }
            self.bytes += item.encoded_len();
            self.items.push(item);
        }
    }

    /// The items, and whether another page follows.
    pub(super) fn into_parts(self) -> (Vec<M>, bool) {
        (self.items, self.more == Some(true))
    }
}

/// A page token is the last name of the page before, in hexadecimal behind a version digit: opaque, and safe in any header.
pub(super) fn token(last: &str) -> String {
    use std::fmt::Write;
    let mut token = String::with_capacity(1 + 2 * last.len());
    token.push('1');
    for byte in last.bytes() {
        // Writing to a String cannot fail.
        let _always = write!(token, "{byte:02x}");
    }
    token
}

/// A token that no page gave out.
pub(super) fn foreign() -> CallError {
    CallError::invalid("page_token", "is not a token of a previous page")
}

/// The last name of the page before; None for the first page.
pub(super) fn start(token: &str) -> Result<Option<String>, CallError> {
    if token.is_empty() {
        return Ok(None);
    }
    let digits = token.strip_prefix('1').ok_or_else(foreign)?;
    if digits.len() % 2 != 0 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(foreign());
    }
    let bytes: Option<Vec<u8>> = (0..digits.len())
        .step_by(2)
        .map(|i| digits.get(i..i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    String::from_utf8(bytes.ok_or_else(foreign)?).map(Some).map_err(|_| foreign())
}

#[cfg(test)]
mod tests {
    use leasehold_proto::v1::LockInfo;

    use super::*;

    #[test]
    fn page_tokens_lead_back_to_their_name() {
        for name in ["a", "ä/ö", "x y", ""] {
            assert_eq!(start(&token(name)).unwrap().as_deref(), Some(name));
        }
        assert_eq!(start("").unwrap(), None);
    }

    #[test]
    fn foreign_page_tokens_are_refused() {
        for bad in ["x", "1zz", "2", "0061", "1ff", "161f1", "1+1", "1é1"] {
            let refused = matches!(start(bad), Err(CallError::Invalid { field, .. }) if field == "page_token");
            assert!(refused, "{bad}");
        }
    }

    #[test]
    fn a_page_ends_by_size_by_bytes_or_with_the_list() {
        let item = |bytes: usize| LockInfo { name: "x".repeat(bytes), ..Default::default() };
        let mut by_size = Page::new(3);
        assert_eq!(by_size.wanted(2), Some(2));
        by_size.fill([item(1), item(1)], true);
        assert_eq!(by_size.wanted(2), Some(1));
        by_size.fill([item(1)], true);
        assert_eq!((by_size.wanted(2), by_size.into_parts().1), (None, true));

        let mut by_bytes = Page::new(100);
        by_bytes.fill([item(PAGE_BYTES_MAX), item(1)], false);
        assert_eq!(by_bytes.wanted(2), None);
        let (items, more) = by_bytes.into_parts();
        assert_eq!((items.len(), more), (1, true), "what no longer fitted is for the next page");

        let mut all = Page::new(100);
        all.fill([item(1)], false);
        assert_eq!((all.wanted(2), all.into_parts().1), (None, false));
    }
}
