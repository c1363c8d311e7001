//! Target of the header that budgets put in front of bodies.

use drywire::protocol::request_response::{
    CodecError,
    throttled::{Header, MAX_HEADER_LEN},
};
use drywire::wire::varint;

/// Headers: what is read says the same when it is said anew, takes no more than it claims, and does not depend on what
/// follows; what ends too early may go on. The input stands for a whole body, and for the header alone.
pub fn throttled_header(data: &[u8]) {
    check(data);
    let mut framed = Vec::new();
    varint::encode(data.len() as u64, &mut framed);
    framed.extend_from_slice(data);
    check(&framed);
}

fn check(body: &[u8]) {
    match Header::decode(body) {
        Ok((header, used)) => {
            assert!(used <= body.len() && used <= MAX_HEADER_LEN + 2);
            assert_eq!(Header::decode(&body[..used]), Ok((header, used)));
            for len in (0..used).rev().take(64) {
                let shorter = Header::decode(&body[..len]);
                assert_eq!(shorter, Err(CodecError::UnexpectedEnd));
            }
            let mut again = Vec::new();
            header.encode(&mut again);
            assert!(again.len() <= 24);
            assert_eq!(Header::decode(&again), Ok((header, again.len())));
        }
        Err(CodecError::UnexpectedEnd) => {
            // Something is missing: more than there is, and not more than a header may have.
            let (len, prefix) = match varint::decode(body) {
                Ok(Some(length)) => length,
                Ok(None) => return,
                Err(error) => panic!("{error:?}"),
            };
            assert!(len as usize <= MAX_HEADER_LEN && body.len() < prefix + len as usize);
        }
        Err(CodecError::Malformed(_)) => {}
        Err(error) => panic!("{error:?}"),
    }
}
