//! The few ASN.1 DER shapes in which keys are stored, read strictly and without recursion.

/// Splits off one element with this tag; returns its content and the rest. Only the shortest form of a length is
/// taken, as DER demands.
pub(crate) fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = input.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        short @ 0..=0x7f => (usize::from(*short), rest),
        0x81 => {
            let (len, rest) = rest.split_first()?;
            (
                usize::from(*len)
                    .checked_sub(0x80)
                    .map(|_| usize::from(*len))?,
                rest,
            )
        }
        0x82 => {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            (
                Some(usize::from(u16::from_be_bytes(*len))).filter(|len| *len > 0xff)?,
                rest,
            )
        }
        _ => return None,
    };
    if *found == tag {
        rest.split_at_checked(len)
    } else {
        None
    }
}

/// The content of the only element of `input`.
pub(crate) fn only(input: &[u8], tag: u8) -> Option<&[u8]> {
    element(input, tag)
        .filter(|(_, rest)| rest.is_empty())
        .map(|(content, _)| content)
}

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn lengths_have_one_form() {
        assert_eq!(
            element(&[4, 1, 7, 9], 4),
            Some(([7].as_slice(), [9].as_slice()))
        );
        assert_eq!(element(&[4, 1, 7], 2), None);
        assert_eq!(element(&[4, 0x81, 1, 7], 4), None);
        assert_eq!(element(&[4, 0x82, 0, 0x80], 4), None);
        assert_eq!(element(&[4, 0x80, 7, 0, 0], 4), None);
        assert_eq!(element(&[4, 0x83, 1, 0, 0], 4), None);
        for len in [0u16, 1, 127, 128, 255, 256, 65535] {
            let [high, low] = len.to_be_bytes();
            let mut bytes = vec![4];
            match len {
                0..=0x7f => bytes.push(low),
                0x80..=0xff => bytes.extend([0x81, low]),
                _ => bytes.extend([0x82, high, low]),
            }
            bytes.extend(vec![1; len.into()]);
            assert_eq!(only(&bytes, 4).map(<[u8]>::len), Some(len.into()));
            for cut in 0..bytes.len().min(300) {
                assert_eq!(element(&bytes[..cut], 4), None);
            }
            bytes.push(0);
            assert_eq!(only(&bytes, 4), None);
        }
    }
}
