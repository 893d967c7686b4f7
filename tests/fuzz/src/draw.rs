//! Structure from bytes: what the fuzzer mutates are choices, and bytes that run out choose the first of everything.

/// Reads choices off a string of bytes.
pub struct Draw<'a>(&'a [u8]);

impl<'a> Draw<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// 0 to `bound - 1`.
    pub fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    /// True in one of `n` bytes, and not for 0.
    pub fn one_in(&mut self, n: u8) -> bool {
        self.below(n) == n - 1
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    /// At most `bound` bytes.
    pub fn take(&mut self, bound: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(bound.min(self.0.len()));
        self.0 = tail;
        head
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Mostly what `usual` allows, sometimes the ends of the range, sometimes anything.
    pub fn number(&mut self, usual: std::ops::RangeInclusive<u64>) -> u64 {
        match self.below(16) {
            0..=12 => {
                let (low, high) = usual.into_inner();
                let drawn = u64::from(u16::from_le_bytes([self.byte(), self.byte()]));
                low + drawn % (high - low).saturating_add(1).max(1)
            }
            13 => self.pick(&[0, 1, u64::MAX, u64::MAX - 1, 1 << 63, u64::from(u32::MAX), 1 << 53]),
            _ => {
                let mut bytes = [0; 8];
                let taken = self.take(8);
                bytes[..taken.len()].copy_from_slice(taken);
                u64::from_le_bytes(bytes)
            }
        }
    }

    pub fn small_number(&mut self, usual: std::ops::RangeInclusive<u64>) -> u32 {
        u32::try_from(self.number(usual)).unwrap_or(u32::MAX)
    }
}
