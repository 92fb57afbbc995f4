//! A seeded mutator that knows what hurts length-prefixed formats.

/// xorshift64*: small, seeded, good enough to pick bytes.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Zero would stay zero.
    pub fn new(seed: u64) -> Random {
        Random(seed.max(1))
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() >> 33) as usize % bound
    }
}

/// Lengths and numbers at the edges of what their fields hold: big and little endian, and variable.
const EDGES: &[&[u8]] = &[
    &[0, 0, 0, 0],
    &[0xff, 0xff, 0xff, 0xff],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0x80, 0, 0, 0],
    &[0, 0, 0, 0x80],
    &[0xff, 0xff],
    &[0x7f, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0x80, 0, 0, 0, 0, 0, 0, 0],
    &[0, 0x0f, 0x42, 0x40],
];

/// No input grows past this.
const BYTES_MAX: usize = 64 << 10;

/// One of the seeds, changed in one to eight places; now and then a piece of another one.
pub fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    let changes = 1 + random.below(8) * random.below(2);
    for _ in 0..changes {
        change(&mut bytes, seeds, random);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

/// One change.
pub fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    if bytes.is_empty() {
        return bytes.push(random.bits() as u8);
    }
    let at = random.below(bytes.len());
    match random.below(9) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
        2 => bytes[at] = bytes[at].wrapping_add([1, 0xff, 2, 0xfe][random.below(4)]),
        3 => bytes.truncate(at),
        4 => bytes.insert(at, random.bits() as u8),
        5 => {
            bytes.remove(at);
        }
        6 => {
            let edge = EDGES[random.below(EDGES.len())];
            for (to, from) in bytes[at..].iter_mut().zip(edge) {
                *to = *from;
            }
        }
        7 => {
            let end = at + random.below(bytes.len() - at + 1);
            let piece = bytes[at..end].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, piece);
        }
        _ => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len() + 1);
            let end = from + random.below(other.len() - from + 1);
            bytes.splice(
                at..(at + end - from).min(bytes.len()),
                other[from..end].iter().copied(),
            );
        }
    }
}
