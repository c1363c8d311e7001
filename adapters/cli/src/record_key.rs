//! Keys of a DHT as people write them.

use drywire::{identity::PeerId, protocol::kad::RecordKey};

/// `/pk/` or `/ipns/` and a peer id, a CID, which stands for its multihash, or any text.
pub(crate) fn record_key(text: &str) -> Result<RecordKey, String> {
    if text.is_empty() {
        return Err("a key has at least one character".to_owned());
    }
    let peer = |text: &str| -> Result<PeerId, String> {
        let wrong = |error| format!("what follows the namespace is no peer id: {error}");
        text.parse().map_err(wrong)
    };
    if let Some(name) = text.strip_prefix("/pk/") {
        return Ok(RecordKey::of_public_key(&peer(name)?));
    }
    if let Some(name) = text.strip_prefix("/ipns/") {
        return Ok(RecordKey::of_ipns_name(&peer(name)?));
    }
    Ok(multihash_of_cid(text).map_or_else(|| text.into(), RecordKey::from))
}

/// How a key is shown.
pub(crate) fn shown(key: &RecordKey) -> String {
    if let Some((namespace @ (b"pk" | b"ipns"), name)) = key.namespace()
        && let Ok(peer) = PeerId::from_bytes(name)
    {
        let namespace = String::from_utf8_lossy(namespace);
        return format!("/{namespace}/{peer}");
    }
    text_or_hex(key.as_bytes())
}

/// Text as it is, other bytes as hexadecimal digits.
pub(crate) fn text_or_hex(bytes: &[u8]) -> String {
    core::str::from_utf8(bytes).map_or_else(|_| format!("0x{}", hex(bytes)), str::to_owned)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const BASE16: &[u8] = b"0123456789abcdef";
const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const BASE36: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const BASE58: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// Longer texts are no CIDs.
const MAX_CID: usize = 256;

/// The multihash of a [CID](https://github.com/multiformats/cid) of version 0 or 1; `None` if the text is none.
fn multihash_of_cid(text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_CID {
        return None;
    }
    if text.len() == 46 && text.starts_with("Qm") {
        let multihash = number(text, BASE58)?;
        return (multihash.len() == 34 && multihash.starts_with(&[0x12, 0x20]))
            .then_some(multihash);
    }
    // The multibase prefix: of each base those letters that CIDs are written with.
    let (prefix, digits) = text.split_at_checked(1)?;
    let lower = || digits.to_ascii_lowercase();
    let upper = !digits.contains(|c: char| c.is_ascii_lowercase());
    let bytes = match prefix {
        "z" => number(digits, BASE58)?,
        "k" => number(digits, BASE36)?,
        "K" if upper => number(&lower(), BASE36)?,
        "b" => bits(digits, BASE32, 5)?,
        "B" if upper => bits(&lower(), BASE32, 5)?,
        "f" => bits(digits, BASE16, 4)?,
        "F" if upper => bits(&lower(), BASE16, 4)?,
        _ => return None,
    };
    let (version, rest) = varint(&bytes)?;
    let (_codec, multihash) = varint(rest)?;
    let (_hash, rest) = varint(multihash)?;
    let (length, digest) = varint(rest)?;
    let whole = usize::try_from(length).ok() == Some(digest.len());
    (version == 1 && whole && length > 0).then(|| multihash.to_vec())
}

fn digit(c: u8, alphabet: &[u8]) -> Option<u32> {
    let at = alphabet.iter().position(|digit| *digit == c)?;
    u32::try_from(at).ok()
}

/// Digits that are one large number; leading zeros are bytes of their own.
fn number(digits: &str, alphabet: &[u8]) -> Option<Vec<u8>> {
    let base = u32::try_from(alphabet.len()).ok()?;
    let zero = alphabet.first()?;
    let zeros = digits.bytes().take_while(|c| c == zero).count();
    // The last byte first.
    let mut bytes: Vec<u8> = Vec::new();
    for c in digits.bytes() {
        let mut carry = digit(c, alphabet)?;
        for byte in &mut bytes {
            let sum = u32::from(*byte).checked_mul(base)?.checked_add(carry)?;
            let [low, ..] = sum.to_le_bytes();
            *byte = low;
            carry = sum >> 8;
        }
        while carry > 0 {
            let [low, ..] = carry.to_le_bytes();
            bytes.push(low);
            carry >>= 8;
        }
    }
    bytes.extend(core::iter::repeat_n(0, zeros));
    bytes.reverse();
    Some(bytes)
}

/// Digits of so many bits each; those left over at the end must be zero, and fewer than a digit's.
fn bits(digits: &str, alphabet: &[u8], width: u32) -> Option<Vec<u8>> {
    let (mut buffer, mut count) = (0u32, 0u32);
    let mut bytes = Vec::new();
    for c in digits.bytes() {
        buffer = (buffer << width) | digit(c, alphabet)?;
        count = count.checked_add(width)?;
        if let Some(left) = count.checked_sub(8) {
            let [byte, ..] = (buffer >> left).to_le_bytes();
            bytes.push(byte);
            count = left;
        }
        buffer &= (1u32 << count).wrapping_sub(1);
    }
    (buffer == 0 && count < width).then_some(bytes)
}

/// An unsigned varint, and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        let shift = u32::try_from(index).ok()?.checked_mul(7)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index.checked_add(1)?..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file in IPFS, in all its forms; those of version 1 as `ipfs cid format -b` writes them.
    const MULTIHASH: &str = "1220c3c4733ec8affd06cf9e9ff50ffc6bcd2ec85a6170004bb709669c31de94391a";
    const FORMS: [&str; 4] = [
        "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR",
        "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
        "BAFYBEIGDYRZT5SFP7UDM7HU76UH7Y26NF3EFUYLQABF3OCLGTQY55FBZDI",
        "f01701220c3c4733ec8affd06cf9e9ff50ffc6bcd2ec85a6170004bb709669c31de94391a",
    ];

    #[test]
    fn a_cid_stands_for_its_multihash() {
        for form in FORMS {
            let key = record_key(form).unwrap();
            assert_eq!(hex(key.as_bytes()), MULTIHASH, "{form}");
        }
    }

    /// Peer ids are CIDs in base 36, too, with leading zeros in their multihash.
    #[test]
    fn a_peer_id_as_a_cid_stands_for_its_bytes() {
        let peer: PeerId = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
            .parse()
            .unwrap();
        let key = record_key(&peer.to_cid()).unwrap();
        assert_eq!(key.as_bytes(), peer.as_bytes());
        for (namespace, expected) in [
            ("pk", RecordKey::of_public_key(&peer)),
            ("ipns", RecordKey::of_ipns_name(&peer)),
        ] {
            for name in [peer.to_base58(), peer.to_cid()] {
                let key = record_key(&format!("/{namespace}/{name}")).unwrap();
                assert_eq!(key, expected);
                assert_eq!(shown(&key), format!("/{namespace}/{peer}"));
            }
        }
        for bad in ["/pk/", "/ipns/me", "/pk/12D3", ""] {
            assert!(record_key(bad).is_err(), "{bad}");
        }
    }

    /// Fails if what merely looks like a CID is taken for one.
    #[test]
    fn any_other_text_is_itself() {
        let cut = &FORMS[1][..58];
        let longer = format!("{}a", FORMS[1]);
        let upper = FORMS[0].to_ascii_uppercase();
        for text in [
            "b",
            "bob",
            "f",
            "f00",
            "z",
            "k",
            "Qm",
            "key",
            "/app/key",
            "Grüße",
            "f0170122000",
            cut,
            &longer,
            &upper,
        ] {
            assert_eq!(record_key(text).unwrap().as_bytes(), text.as_bytes());
            assert_eq!(shown(&text.into()), text);
        }
    }
}
