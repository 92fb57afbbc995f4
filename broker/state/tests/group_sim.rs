//! A coordinator, its log and many clients on one seeded schedule: requests and replies are late or lost, appends fail,
//! the coordinator is unloaded and loaded again from what it wrote; after every event the named invariants are checked.
//!
//! `MILLSTREAM_SEED=n` repeats one run, `MILLSTREAM_RUNS=n` sets how many seeds are tried.

#[path = "group_sim/client.rs"]
mod client;
#[path = "group_sim/invariants.rs"]
mod invariants;
#[path = "group_sim/world.rs"]
mod world;

use world::World;

const RUNS: u64 = 150;
/// Simulated time of a run, ms; then nobody sends any more and everything open must come to its end.
const DURATION_MS: i64 = 240_000;

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {text}"))
    })
}

/// Names the seed when a run panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed; repeat with MILLSTREAM_SEED={}", self.0);
        }
    }
}

#[test]
fn groups_keep_their_promises() {
    let seeds = match from_env("MILLSTREAM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + from_env("MILLSTREAM_RUNS").unwrap_or(RUNS),
    };
    let mut seen = world::Seen::default();
    for seed in seeds.clone() {
        let named = Seed(seed);
        let mut world = World::new(seed);
        world.run(DURATION_MS);
        world.settle();
        seen.add(&world.seen);
        drop(named);
    }
    println!("{seen:?}");
    if seeds.end - seeds.start >= RUNS {
        seen.assert_everything_happened();
    }
}

/// The same seed gives the same run, event by event: nothing in the machine depends on anything but its inputs.
#[test]
fn a_run_can_be_repeated() {
    let run = || {
        let mut world = World::new(7);
        world.run(DURATION_MS);
        world.settle();
        (world.log, world.seen)
    };
    assert!(run() == run());
}
