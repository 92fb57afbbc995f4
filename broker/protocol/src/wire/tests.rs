use super::*;

fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::new();
    write(&mut w);
    w.finish().unwrap().bytes
}

#[test]
fn varints_have_the_bytes_of_the_protocol_guide() {
    let unsigned: [(u32, &[u8]); 5] = [
        (0, &[0]),
        (127, &[0x7f]),
        (128, &[0x80, 1]),
        (300, &[0xac, 2]),
        (u32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ];
    for (value, bytes) in unsigned {
        assert_eq!(written(|w| w.uvarint(value)), bytes);
        assert_eq!(Reader::new(bytes).uvarint(), Ok(value));
    }
    for value in [0, -1, 1, 63, -64, 64, i32::MAX, i32::MIN] {
        assert_eq!(
            Reader::new(&written(|w| w.varint(value))).varint(),
            Ok(value)
        );
    }
    for value in [0, -1, 1, i64::from(i32::MIN), i64::MAX, i64::MIN] {
        assert_eq!(
            Reader::new(&written(|w| w.varlong(value))).varlong(),
            Ok(value)
        );
    }
    assert_eq!(written(|w| w.varint(-64)), [127]);
}

#[test]
fn varints_longer_than_their_type_are_refused() {
    assert_eq!(
        Reader::new(&[0xff; 5]).uvarint(),
        Err(DecodeError::VarintTooLong)
    );
    assert_eq!(
        Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x10]).uvarint(),
        Err(DecodeError::VarintTooLong)
    );
    assert_eq!(
        Reader::new(&[0xff; 11]).varlong(),
        Err(DecodeError::VarintTooLong)
    );
    assert_eq!(
        Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).varlong(),
        Err(DecodeError::VarintTooLong)
    );
    assert_eq!(
        Reader::new(&[0x80]).uvarint(),
        Err(DecodeError::Truncated { wanted: 1, left: 0 })
    );
}

#[test]
fn strings_and_bytes_know_null_in_both_forms() {
    for compact in [false, true] {
        for value in [
            None,
            Some(""),
            Some("a"),
            Some("größer als 127 Bytes ".repeat(9).as_str()),
        ] {
            let bytes = written(|w| w.string(compact, value));
            assert_eq!(
                Reader::new(&bytes).string(compact).unwrap().as_deref(),
                value
            );
            let bytes = written(|w| w.bytes(compact, value.map(str::as_bytes)));
            assert_eq!(
                Reader::new(&bytes).bytes(compact).unwrap(),
                value.map(str::as_bytes)
            );
        }
    }
    assert_eq!(
        Reader::new(&[0xff, 0xfe]).string(false),
        Err(DecodeError::NegativeLength(-2))
    );
    assert_eq!(
        Reader::new(&[0x80, 0, 0, 0]).bytes(false),
        Err(DecodeError::NegativeLength(i32::MIN))
    );
}

#[test]
fn text_that_is_not_utf8_is_replaced_as_kafka_does() {
    assert_eq!(
        Reader::new(&[0, 3, b'a', 0xe4, b'b'])
            .string(false)
            .unwrap()
            .as_deref(),
        Some("a\u{fffd}b")
    );
}

#[test]
fn array_counts_are_held_against_what_is_there() {
    // 2^31 - 1 elements announced by 4 bytes.
    assert!(matches!(
        Reader::new(&[0x7f, 0xff, 0xff, 0xff]).array(false, 1),
        Err(DecodeError::ArrayTooLong(_))
    ));
    let three_of_four = [0, 0, 0, 3, 1, 1, 1, 1, 2, 2, 2, 2];
    assert_eq!(
        Reader::new(&three_of_four).array(false, 4),
        Err(DecodeError::Truncated {
            wanted: 12,
            left: 8
        })
    );
    assert_eq!(Reader::new(&three_of_four).array(false, 2), Ok(Some(3)));
    assert_eq!(Reader::new(&[0]).array(true, 1), Ok(None));
    // An element of no bytes still counts as one: else a count would be free.
    assert!(Reader::new(&[3, 9]).array(true, 0).is_err());
    let mut many = written(|w| w.array(false, Some(ARRAY_ELEMENTS_MAX + 1)));
    many.resize(2 * ARRAY_ELEMENTS_MAX, 0);
    assert_eq!(
        Reader::new(&many).array(false, 1),
        Err(DecodeError::ArrayTooLong(ARRAY_ELEMENTS_MAX + 1))
    );
}

#[test]
fn tags_are_bounded_in_number_and_size() {
    assert_eq!(
        Reader::new(&written(|w| w.uvarint(TAGGED_FIELDS_MAX + 1))).tag_count(),
        Err(DecodeError::TooManyTaggedFields(TAGGED_FIELDS_MAX + 1))
    );
    assert_eq!(
        Reader::new(&[1, 7, 5, 0]).skip_tags(),
        Err(DecodeError::Truncated { wanted: 5, left: 1 })
    );
    let mut r = Reader::new(&[2, 7, 1, 0xaa, 9, 0, 0xbb]);
    r.skip_tags().unwrap();
    assert_eq!(r.rest(), [0xbb]);
}

#[test]
fn tag_and_size_go_in_front_of_what_was_written() {
    let bytes = written(|w| {
        w.i8(1);
        let start = w.len();
        w.raw(&[0xcc; 200]);
        w.tag_from(start, 300);
    });
    let mut r = Reader::new(&bytes);
    assert_eq!(r.i8(), Ok(1));
    let (tag, value) = r.tagged().unwrap();
    assert_eq!((tag, value.rest()), (300, &[0xcc; 200][..]));
    assert!(r.is_empty());
}

#[test]
fn what_does_not_fit_its_length_is_reported_by_finish() {
    let mut w = Writer::new();
    w.string(false, Some(&"x".repeat(40_000)));
    w.fail(EncodeError::UnexpectedNull(3));
    assert_eq!(w.finish(), Err(EncodeError::TooLong(40_000)));
}
