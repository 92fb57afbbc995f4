use super::*;

#[test]
fn every_class_inverts_and_holds_what_was_asked() {
    for bytes in (1..200_000).step_by(37).chain([
        BLOCK - 1,
        BLOCK,
        BLOCK + 1,
        1 << 20,
        (1 << 20) + 100,
        16 << 20,
    ]) {
        let size = class_size(bytes);
        assert!(size >= bytes, "{bytes} -> {size}");
        if bytes >= 4 * BLOCK {
            assert!(
                size <= bytes + bytes / 4 + 1,
                "{bytes} -> {size} wastes more than a quarter"
            );
        }
        if is_pooled(size) {
            assert_eq!(size_of_class(class_of(size)), size);
            assert_eq!(class_size(size), size, "a class is its own size");
        }
    }
}

#[test]
fn large_buffers_are_aligned() {
    for bytes in [BLOCK - 10, BLOCK, BLOCK + 1, 3 * BLOCK, 100_000, 1 << 20] {
        let mut buffer = Buffer::with_capacity(bytes);
        assert!(buffer.capacity() >= bytes);
        if buffer.capacity() >= BLOCK {
            assert_eq!(buffer.start_ptr() as usize % BLOCK, 0);
        }
    }
    let block = Block::new(1);
    assert_eq!(block.capacity(), BLOCK);
    assert_eq!(block.ptr.as_ptr() as usize % BLOCK, 0);
}

#[test]
fn buffer_edits() {
    let mut buffer = Buffer::with_capacity(100);
    buffer.extend_from_slice(b"hello world");
    buffer.consume(6);
    assert_eq!(&buffer[..], b"world");
    buffer.resize_zeroed(8);
    assert_eq!(&buffer[..], b"world\0\0\0");
    buffer.truncate(3);
    buffer[0] = b'W';
    assert_eq!(&buffer[..], b"Wor");
    buffer.consume(3);
    assert!(buffer.is_empty());
    assert_eq!(buffer.remaining(), buffer.capacity());
    assert_eq!(Buffer::with_capacity(0).freeze().len(), 0);
}

#[test]
#[should_panic(expected = "never grows")]
fn a_buffer_refuses_what_does_not_fit() {
    let mut buffer = Buffer::with_capacity(64);
    let too_much = vec![0; buffer.capacity() + 1];
    buffer.extend_from_slice(&too_much);
}

#[test]
fn freeze_and_slice_share_the_memory() {
    let mut buffer = Buffer::with_capacity(BLOCK);
    buffer.extend_from_slice(b"0123456789");
    let at = buffer.start_ptr() as usize;
    let bytes = buffer.freeze();
    let part = bytes.slice(3..7);
    assert_eq!(bytes.as_ptr() as usize, at, "freezing does not copy");
    assert_eq!(part.as_ptr() as usize, at + 3);
    drop(bytes);
    assert_eq!(&part[..], b"3456");
    assert_eq!(
        std::thread::spawn(move || part.to_vec()).join().unwrap(),
        b"3456"
    );
    assert_eq!(&Bytes::from(b"abc".to_vec())[..], b"abc");
    assert_eq!(Bytes::from_static(b"abc"), Bytes::from(b"abc".to_vec()));
    assert!(Bytes::new().slice(0..0).is_empty());
}

#[test]
#[should_panic(expected = "inside")]
fn a_slice_stays_inside() {
    let _ = Bytes::from_static(b"abc").slice(1..4);
}

#[test]
fn views_of_a_block_stay_as_they_were() {
    let mut block = Block::new(3 * BLOCK);
    block.append(&[1; 100]);
    let first = block.view(0..100);
    block.append(&[2; 5000]);
    let second = block.view(50..5100);
    block.append(&second.slice(0..50));
    block.append_zeros_to(5200);
    assert_eq!(block.len(), 5200);
    assert!(first.iter().all(|b| *b == 1));
    assert!(second[..50].iter().all(|b| *b == 1) && second[50..].iter().all(|b| *b == 2));
    let sealed = block.seal();
    assert_eq!(sealed.len(), 2 * BLOCK);
    assert_eq!(&sealed[..100], &first[..]);
    assert!(sealed[5150..].iter().all(|b| *b == 0));
    assert!(sealed[5100..5150].iter().all(|b| *b == 1));
}

#[test]
#[should_panic(expected = "only what was appended")]
fn a_view_ends_where_the_appends_end() {
    let mut block = Block::new(BLOCK);
    block.append(b"abc");
    let _ = block.view(0..4);
}

#[test]
fn the_free_list_is_hot_and_bounded() {
    let mut buffer = Buffer::with_capacity(1 << 20);
    let at = buffer.start_ptr() as usize;
    drop(buffer);
    let mut again = Buffer::with_capacity(1 << 20);
    assert_eq!(
        again.start_ptr() as usize,
        at,
        "the newest allocation is reused first"
    );
    let many: Vec<Buffer> = (0..40).map(|_| Buffer::with_capacity(1 << 20)).collect();
    drop(many);
    let small: Vec<Buffer> = (0..40).map(|_| Buffer::with_capacity(16 << 10)).collect();
    drop(small);
    drop(again);
    FREE.with(|free| {
        let free = free.borrow();
        let held: usize = free
            .lists
            .iter()
            .enumerate()
            .map(|(i, l)| l.len() * size_of_class(i))
            .sum();
        assert_eq!(held, free.bytes);
        assert!(held <= FREE_BYTES_MAX);
        assert!(
            !free.lists[class_of(16 << 10)].is_empty(),
            "a full list makes room for what is in use"
        );
    });
}

#[test]
fn memory_may_be_dropped_by_another_thread() {
    let buffer = Buffer::with_capacity(1 << 16);
    std::thread::spawn(move || drop(buffer)).join().unwrap();
}
