//! Pages: rows that belong together lie under one key of the store.
//!
//! sled does about as much for a small value as for one of a page's size, and leases that end together, or were granted together, are
//! neighbours: a page takes one step where its rows took one each.

use crate::{GROUP_ROWS, row_group};

/// Rows of one group, by their place in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page(Vec<(u8, Vec<u8>)>);

impl Page {
    /// The key of the page that a row lies in, and its place there. None: the row lies under a key of its own.
    pub(super) fn of(row_key: &[u8]) -> Option<(Vec<u8>, u8)> {
        row_group(row_key)
    }

    /// Puts a row at its place, or takes it away.
    pub(super) fn set(&mut self, place: u8, value: Option<Vec<u8>>) {
        match (self.0.binary_search_by_key(&place, |row| row.0), value) {
            (Ok(at), Some(value)) => self.0[at].1 = value,
            (Ok(at), None) => drop(self.0.remove(at)),
            (Err(at), Some(value)) => self.0.insert(at, (place, value)),
            (Err(_), None) => {}
        }
    }

    /// None when it has no row: then there is no page.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.0.iter().map(|(_, value)| 5 + value.len()).sum());
        for (place, value) in &self.0 {
            bytes.push(*place);
            bytes.extend_from_slice(&u32::try_from(value.len()).expect("a row is smaller than 4 GB").to_le_bytes());
            bytes.extend_from_slice(value);
        }
        (!bytes.is_empty()).then_some(bytes)
    }

    /// None for bytes that are no page.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut rows: Vec<(u8, Vec<u8>)> = Vec::new();
        while let Some((&place, rest)) = bytes.split_first() {
            let (length, rest) = rest.split_first_chunk()?;
            let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            if rows.last().is_some_and(|(last, _)| *last >= place) {
                return None;
            }
            rows.push((place, value.to_vec()));
            bytes = rest;
        }
        (!rows.is_empty()).then_some(Self(rows))
    }

    /// Its rows in key order, `key` being that of the page. None when a row does not belong there.
    pub(super) fn into_rows(self, key: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        let (_, 0) = Page::of(key)? else { return None };
        let row = |(place, value): (u8, Vec<u8>)| {
            let mut row_key = key.to_vec();
            *row_key.last_mut().filter(|_| place < GROUP_ROWS)? += place;
            Some((row_key, value))
        };
        self.0.into_iter().map(row).collect()
    }
}

/// Rows in key order as what a store keeps of them, in the order of its keys.
pub(super) struct IntoPages<I> {
    rows: I,
    /// The page that the last row went into.
    open: Option<(Vec<u8>, Page)>,
    /// What comes after the open page was closed.
    next: Option<(Vec<u8>, Vec<u8>)>,
}

impl<I> IntoPages<I> {
    pub(super) fn new(rows: I) -> Self {
        Self { rows, open: None, next: None }
    }

    fn close(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        let (key, page) = self.open.take()?;
        Some((key, page.encode()?))
    }
}

impl<I, E> Iterator for IntoPages<I>
where
    I: Iterator<Item = Result<(Vec<u8>, Vec<u8>), E>>,
{
    type Item = Result<(Vec<u8>, Vec<u8>), E>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(alone) = self.next.take() {
            return Some(Ok(alone));
        }
        loop {
            let (key, value) = match self.rows.next() {
                None => return self.close().map(Ok),
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(row)) => row,
            };
            let Some((page_key, place)) = Page::of(&key) else {
                let Some(closed) = self.close() else { return Some(Ok((key, value))) };
                self.next = Some((key, value));
                return Some(Ok(closed));
            };
            if let Some((_, page)) = self.open.as_mut().filter(|(open, _)| *open == page_key) {
                page.set(place, Some(value));
                continue;
            }
            let closed = self.close();
            self.open = Some((page_key, Page(vec![(place, value)])));
            if let Some(closed) = closed {
                return Some(Ok(closed));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_page_is_refused() {
        assert_eq!(Page::decode(&[]), None, "an empty page is not kept");
        let good = Page(vec![(1, vec![7, 7]), (15, vec![])]).encode().unwrap();
        assert!(Page::decode(&good).is_some());
        for length in 1..good.len() {
            assert!(Page::decode(&good[..length]).is_none_or(|page| page.0.len() == 1), "cut after {length} bytes");
        }
        let twice = [&good[..], &good[..]].concat();
        assert_eq!(Page::decode(&twice), None, "places rise");
        let key = [3, 0, 0, 0, 0, 0, 0, 0, 0x40];
        assert!(Page(vec![(15, vec![])]).into_rows(&key).is_some());
        assert_eq!(Page(vec![(16, vec![])]).into_rows(&key), None, "that is the next page's");
        let within = [3, 0, 0, 0, 0, 0, 0, 0, 0x41];
        assert_eq!(Page(vec![(0, vec![])]).into_rows(&within), None, "no page lies there");
    }

    /// Keys as the tables have them: some of a few groups, some that stand alone.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        let numbered = |tag: u8, length: usize| {
            (0..40_u8).prop_map(move |number| {
                let mut key = vec![0; length];
                (key[0], key[length - 1]) = (tag, number);
                key
            })
        };
        prop_oneof![
            Just(vec![0]),
            numbered(2, 17),
            numbered(3, 9),
            numbered(4, 9),
            numbered(5, 17),
            numbered(6, 9),
            numbered(7, 9),
            "[a-c]{1,9}".prop_map(|name| [&[9][..], name.as_bytes()].concat()),
        ]
    }

    proptest! {
        #[test]
        fn rows_come_out_of_pages_as_they_went_in(
            rows in prop::collection::btree_map(key(), prop::collection::vec(any::<u8>(), 0..20), 0..60)
        ) {
            let stored = IntoPages::new(rows.clone().into_iter().map(Ok::<_, Infallible>));
            let stored: Vec<_> = stored.map(Result::unwrap).collect();
            prop_assert!(stored.is_sorted_by(|one, next| one.0 < next.0), "in the order of keys");
            let mut out = Vec::new();
            for (key, value) in stored {
                match Page::of(&key) {
                    Some(_) => out.extend(Page::decode(&value).unwrap().into_rows(&key).unwrap()),
                    None => out.push((key, value)),
                }
            }
            prop_assert_eq!(out, rows.into_iter().collect::<Vec<_>>());
        }
    }
}
