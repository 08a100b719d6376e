use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;

fn body(build: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    build(&mut out);
    out.freeze()
}

#[test]
fn a_bind_with_a_null_and_a_value() {
    let bytes = body(|out| {
        out.put_slice(b"portal\0statement\0");
        out.put_i16(1);
        out.put_i16(1);
        out.put_i16(2);
        out.put_i32(-1);
        out.put_i32(3);
        out.put_slice(b"abc");
        out.put_i16(0);
    });
    let Ok(Frontend::Bind(bind)) = Frontend::decode(b'B', bytes) else { panic!("a bind was expected") };
    assert_eq!(bind.portal, "portal");
    assert_eq!(bind.statement, "statement");
    assert_eq!(bind.parameter_formats, [1]);
    assert_eq!(bind.parameters, [None, Some(Bytes::from_static(b"abc"))]);
    assert!(bind.result_formats.is_empty());
}

#[test]
fn text_that_is_not_utf8_is_refused_not_replaced() {
    assert!(matches!(Frontend::decode(b'Q', Bytes::from_static(b"select '\xff'\0")), Err(WireError::NotUtf8)));
}

#[test]
fn a_parameter_longer_than_its_message_is_refused() {
    let bytes = body(|out| {
        out.put_slice(b"\0\0");
        out.put_i16(0);
        out.put_i16(1);
        out.put_i32(i32::MAX);
    });
    assert!(matches!(Frontend::decode(b'B', bytes), Err(WireError::Malformed(_))));
}

#[test]
fn a_message_with_something_left_over_is_refused() {
    assert!(matches!(Frontend::decode(b'S', Bytes::from_static(b"x")), Err(WireError::Malformed(_))));
}

proptest! {
    /// Whatever bytes arrive, the answer is a message or an error.
    #[test]
    fn garbage_never_panics(kind in any::<u8>(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Frontend::decode(kind, Bytes::from(bytes.clone()));
        let _ = StartupPacket::decode(Bytes::from(bytes));
    }
}
