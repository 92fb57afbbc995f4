//! Checksums made right again, so that what lies behind them is reached.

/// Of every whole record batch (v2), one behind the other.
pub fn batches(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 21) {
        let length = i32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        let end = usize::try_from(length)
            .ok()
            .filter(|length| *length > 9)
            .and_then(|length| at.checked_add(12 + length));
        let Some(batch) = end.and_then(|end| bytes.get_mut(at..end)) else {
            return;
        };
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        at += batch.len();
    }
}

/// Of every entry of a metadata log or snapshot.
pub fn metadata(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 28) {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(entry) = at
            .checked_add(28 + length)
            .and_then(|end| bytes.get_mut(at..end))
        else {
            return;
        };
        let crc = crc32c::crc32c(&entry[8..]);
        entry[4..8].copy_from_slice(&crc.to_le_bytes());
        at += entry.len();
    }
}
