//! A short list of tokens that mostly holds one: no allocation for the lock with one holder, the lease with one lock.

use crate::FencingToken;

/// Tokens in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Tokens {
    #[default]
    None,
    One(FencingToken),
    Many(Vec<FencingToken>),
}

impl Tokens {
    pub(super) fn as_slice(&self) -> &[FencingToken] {
        match self {
            Self::None => &[],
            Self::One(token) => std::slice::from_ref(token),
            Self::Many(tokens) => tokens,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Adds a token that is greater than all there.
    pub(super) fn push(&mut self, token: FencingToken) {
        assert!(self.as_slice().last().is_none_or(|last| *last < token), "tokens ascend");
        match self {
            Self::None => *self = Self::One(token),
            Self::One(first) => *self = Self::Many(vec![*first, token]),
            Self::Many(tokens) => tokens.push(token),
        }
    }

    pub(super) fn remove(&mut self, token: FencingToken) {
        match self {
            Self::One(only) if *only == token => *self = Self::None,
            Self::Many(tokens) => {
                if let Ok(at) = tokens.binary_search(&token) {
                    tokens.remove(at);
                }
                if tokens.is_empty() {
                    *self = Self::None;
                }
            }
            Self::None | Self::One(_) => {}
        }
    }
}
