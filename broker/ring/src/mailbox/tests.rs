//! Two cores and the mailboxes between them, as a model: loom runs each scene once for every order of what
//! the cores do and every value that a load may see, as far as `PREEMPTIONS` goes. A wake-up that gets lost
//! is a core that sleeps for ever: there is no longest sleep here, and loom ends a scene in which nobody can
//! go on.
//!
//! The mailboxes are the real ones. The queue between them, the ring and the kernel stand in: atomics that are
//! not loom's would be no part of the model.

pub(super) mod flag;
pub(super) mod queue;
pub(super) mod ring;

use self::ring::{Kernel, run};
use super::{Mailbox, mesh};

/// How often a core is interrupted where it could go on. Five (`LOOM_MAX_PREEMPTIONS`, 12 s) found nothing more.
const PREEMPTIONS: usize = 3;

/// Every course of two cores that run `first` and `second`, with room for `capacity` messages each way.
fn model<A, B>(capacity: usize, first: A, second: B)
where
    A: AsyncFn(Mailbox<u8>) + Copy + Send + Sync + 'static,
    B: AsyncFn(Mailbox<u8>) + Copy + Send + Sync + 'static,
{
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(PREEMPTIONS));
    builder.check(move || {
        let kernel = Kernel::new(2);
        let mut ends = mesh::<u8>(2, capacity).into_iter();
        let (one, other) = (ends.next().unwrap(), ends.next().unwrap());
        let theirs = kernel.clone();
        let thread = loom::thread::spawn(move || run(theirs, 1, other, second));
        run(kernel, 0, one, first);
        thread.join().unwrap();
    });
}

async fn send(mailbox: &Mailbox<u8>, messages: std::ops::Range<u8>) {
    for message in messages {
        mailbox.send(1 - mailbox.own(), message).await;
    }
}

async fn receive(mailbox: &Mailbox<u8>, messages: std::ops::Range<u8>) {
    for message in messages {
        assert_eq!(mailbox.recv().await, (1 - mailbox.own(), message));
    }
}

#[test]
fn mail_wakes_a_core_that_sleeps_or_is_about_to() {
    model(
        2,
        async |mailbox: Mailbox<u8>| send(&mailbox, 0..2).await,
        async |mailbox: Mailbox<u8>| receive(&mailbox, 0..2).await,
    );
}

#[test]
fn room_wakes_a_sender_that_waits_for_it() {
    model(
        1,
        async |mailbox: Mailbox<u8>| send(&mailbox, 0..2).await,
        async |mailbox: Mailbox<u8>| receive(&mailbox, 0..2).await,
    );
}

#[test]
fn answers_come_back() {
    model(
        1,
        async |mailbox: Mailbox<u8>| {
            send(&mailbox, 0..1).await;
            receive(&mailbox, 1..2).await;
        },
        async |mailbox: Mailbox<u8>| {
            receive(&mailbox, 0..1).await;
            send(&mailbox, 1..2).await;
        },
    );
}

#[test]
fn the_end_of_a_core_releases_who_waits_for_room() {
    model(
        1,
        async |mailbox: Mailbox<u8>| send(&mailbox, 0..3).await,
        async |mailbox: Mailbox<u8>| receive(&mailbox, 0..1).await,
    );
}
