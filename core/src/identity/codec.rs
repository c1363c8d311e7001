//! Unsigned varints and the two-field key message, until the wire floor provides them.

use alloc::vec::Vec;

/// Reads a minimal unsigned varint of at most 10 bytes; returns it and the rest.
pub(crate) fn read_varint(input: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in input.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        let shift = u32::try_from(index).ok()?.checked_mul(7)?;
        let shifted = bits.checked_shl(shift)?;
        if shifted.checked_shr(shift)? != bits {
            return None;
        }
        value |= shifted;
        if byte & 0x80 == 0 {
            if *byte == 0 && index > 0 {
                return None;
            }
            return Some((value, input.get(index.checked_add(1)?..)?));
        }
    }
    None
}

/// Appends `value` as an unsigned varint.
pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Reads a varint length and that many bytes; returns them and the rest.
pub(crate) fn read_prefixed(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = read_varint(input)?;
    rest.split_at_checked(usize::try_from(len).ok()?)
}
