//! Compressed bytes without a batch around them: the first byte names the codec, the second the bound.

use millstream_protocol::compress::{Codec, compress, decompress};

use super::Target;

pub const TARGET: Target = Target {
    name: "codecs",
    seeds,
    run,
};

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mixed: Vec<u8> = (0..3000u32)
        .flat_map(|n| (n * n / 7).to_le_bytes())
        .collect();
    let texts: [&[u8]; 4] = [b"", b"a", &[0; 70_000], &mixed];
    for codec in Codec::ALL {
        for text in texts {
            for bound in [0, 1, 9] {
                let packed = compress(codec, None, text);
                seeds.push([&[codec.id(), bound], &packed[..]].concat());
                seeds.push([&[codec.id(), bound], &packed.repeat(2)[..]].concat());
            }
        }
    }
    seeds
}

fn run(bytes: &[u8]) {
    let [codec, bound, packed @ ..] = bytes else {
        return;
    };
    let codec = Codec::ALL[usize::from(*codec) % Codec::ALL.len()];
    let max = 1 << (8 + bound % 12);
    if let Ok(plain) = decompress(codec, packed, max) {
        assert!(
            plain.len() <= max,
            "{codec:?} gave {} of {max}",
            plain.len()
        );
        let again = decompress(codec, &compress(codec, None, &plain), max);
        assert!(again.is_ok_and(|again| again == plain), "{codec:?}");
    }
}
