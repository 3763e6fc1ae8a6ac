//! Decisions read from bytes, so that a fuzzer can steer them.

/// A supply of decisions. When the bytes have run out, every decision is zero.
#[derive(Clone, Debug)]
pub struct Choices<'b> {
    rest: &'b [u8],
}

impl<'b> Choices<'b> {
    /// Decides by `bytes`.
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether nothing is left to decide by.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        byte
    }

    /// A number below `limit`; zero if `limit` is zero. One byte decides small
    /// limits, three decide larger ones.
    pub fn below(&mut self, limit: usize) -> usize {
        let number = match limit {
            0 => return 0,
            1..=256 => usize::from(self.byte()),
            _ => (0..3).fold(0, |number, _| number << 8 | usize::from(self.byte())),
        };
        number % limit
    }

    /// One of `items`, of which there must be some.
    pub fn pick<'i, T>(&mut self, items: &'i [T]) -> &'i T {
        &items[self.below(items.len())]
    }

    /// What is left.
    pub fn rest(self) -> &'b [u8] {
        self.rest
    }
}
