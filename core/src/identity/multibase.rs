//! Self-describing text encodings: the part of multibase that peer ids and certificate hashes use.

use super::PeerIdError;
use alloc::vec::Vec;
use data_encoding::{BASE32_NOPAD, BASE64_NOPAD, BASE64URL_NOPAD, Encoding, HEXLOWER_PERMISSIVE};

/// Longest text taken. Base 36 and 58 cost time quadratic in it.
const MAX_TEXT: usize = 256;

/// Decodes text whose first character names its base: `z` base58btc, `b` and `B` base 32, `k` and `K` base 36,
/// `f` and `F` base 16, `m` base 64, `u` base 64 url.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, PeerIdError> {
    if text.len() > MAX_TEXT {
        return Err(PeerIdError::Text);
    }
    let mut chars = text.chars();
    let prefix = chars.next().ok_or(PeerIdError::Text)?;
    let body = chars.as_str();
    let with =
        |encoding: &Encoding, body: &[u8]| encoding.decode(body).map_err(|_| PeerIdError::Text);
    match prefix {
        'z' => bs58::decode(body).into_vec().map_err(|_| PeerIdError::Text),
        'b' if !body.contains(|c: char| c.is_ascii_uppercase()) => {
            with(&BASE32_NOPAD, body.to_ascii_uppercase().as_bytes())
        }
        'B' => with(&BASE32_NOPAD, body.as_bytes()),
        'f' | 'F' => with(&HEXLOWER_PERMISSIVE, body.as_bytes()),
        'm' => with(&BASE64_NOPAD, body.as_bytes()),
        'u' => with(&BASE64URL_NOPAD, body.as_bytes()),
        'k' | 'K' => base36(body).ok_or(PeerIdError::Text),
        'b' => Err(PeerIdError::Text),
        other => Err(PeerIdError::UnsupportedBase(other)),
    }
}

/// Base 36 with the digits `0-9a-z`, either case; a leading `0` stands for a leading zero byte.
fn base36(text: &str) -> Option<Vec<u8>> {
    let mut little_endian: Vec<u8> = Vec::new();
    for character in text.chars() {
        let mut carry = character.to_digit(36)?;
        for byte in &mut little_endian {
            carry = u32::from(*byte).checked_mul(36)?.checked_add(carry)?;
            let [low, ..] = carry.to_le_bytes();
            *byte = low;
            carry >>= 8;
        }
        if carry > 0 {
            little_endian.push(u8::try_from(carry).ok()?);
        }
    }
    let zeros = text.bytes().take_while(|byte| *byte == b'0').count();
    let mut bytes = alloc::vec![0; zeros];
    bytes.extend(little_endian.iter().rev());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_base_decodes_the_same_bytes() {
        // "\0yes mani !" in the bases of the multibase test suite.
        let expected = b"\0yes mani !";
        for text in [
            "f00796573206d616e692021",
            "F00796573206D616E692021",
            "bab4wk4zanvqw42jaee",
            "BAB4WK4ZANVQW42JAEE",
            "z17paNL19xttacUY",
            "k02lcpzo5yikidynfl",
            "K02LCPZO5YIKIDYNFL",
            "mAHllcyBtYW5pICE",
            "uAHllcyBtYW5pICE",
        ] {
            assert_eq!(decode(text).as_deref(), Ok(expected.as_slice()), "{text}");
        }
    }

    #[test]
    fn other_bases_and_bad_digits_are_refused() {
        assert_eq!(decode("701234"), Err(PeerIdError::UnsupportedBase('7')));
        for text in ["", "k!", "bABC", "b1", "z0OIl", "mA", "fa"] {
            assert_eq!(decode(text), Err(PeerIdError::Text), "{text}");
        }
        assert_eq!(decode(&"k".repeat(MAX_TEXT + 1)), Err(PeerIdError::Text));
    }
}
