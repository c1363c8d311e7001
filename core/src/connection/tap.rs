//! How machines write down what goes in and out of them: not at all, unless the feature `recording` is on and somebody wants
//! it.

/// Runs `$write` if `$machine` is recorded. With the feature off nothing is left of it.
macro_rules! when_recorded {
    ($machine:ident, $write:expr) => {
        #[cfg(feature = "recording")]
        if $machine.tap.is_on() {
            $write;
        }
    };
}

pub(crate) use when_recorded;
