//! Cutting a target's input into choices and payload.

/// Takes choices from the front of a target's input; an input that ends early gives zeros.
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) const fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// One byte.
    pub(crate) fn byte(&mut self) -> u8 {
        match self.rest {
            [first, rest @ ..] => {
                self.rest = rest;
                *first
            }
            [] => 0,
        }
    }

    /// A number of bytes or the like: mostly small, up to 64 KiB.
    pub(crate) fn size(&mut self) -> usize {
        match self.byte() {
            small @ 0..192 => usize::from(small),
            large => usize::from(large - 191) * 1024 + usize::from(self.byte()),
        }
    }

    /// What has not been taken.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.rest
    }
}
