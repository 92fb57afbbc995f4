//! What lies on the disk is not what was written: ends of files torn off, single bits flipped. Start works, or says in one
//! line what is gone; no consumer sees a wrong byte; all else is served; and a second start finds what the first one found.
//!
//! `MILLSTREAM_TORN=1` tries every byte of the last 64 KiB of each file, 64 every 64th; without it a few of them are tried. `MILLSTREAM_FLIPS`
//! says how many bits are flipped, `MILLSTREAM_WILD` how many directories have something in them that nobody wrote. A failure prints `MILLSTREAM_SEED` and what was done to which file.

#[path = "corrupt/flips.rs"]
mod flips;
#[path = "corrupt/image.rs"]
mod image;
#[path = "power_cut/model.rs"]
mod model;
#[path = "corrupt/scrub.rs"]
mod scrub;
#[path = "corrupt/torn.rs"]
mod torn;
#[path = "corrupt/wild.rs"]
mod wild;
