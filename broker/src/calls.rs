//! Work handed from one core to another.
//!
//! A core never touches what another owns; it sends a closure that runs there (the data path of Produce has messages of its
//! own: [`crate::handover`]). Closures sent from one core to another run
//! in the order they were sent, each to its end; the future a closure returns is only begun then, beside those of others.
//! What has to happen in order, like taking the next place in a partition, is therefore done in the closure, not in its
//! future. The result travels back the same way.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use millstream_ring::{Mailbox, Ring};
use slab::Slab;

use crate::handover::Handed;
use crate::shard::Shard;

/// What crosses a core boundary.
pub(crate) enum Message {
    /// Runs on the receiving core with that core's shard.
    Job(Job),
    /// Produced batches for partitions of the receiving core.
    Append(Handed),
    /// What became of them.
    Appended(Handed),
}

type Job = Box<dyn FnOnce(&Rc<Shard>) + Send>;

/// Messages in flight between any two cores; past that the sender waits.
pub(crate) const MAILBOX_MESSAGES_MAX: usize = 1024;

/// Messages worked off before other tasks get their turn, however many wait.
const MESSAGES_IN_A_ROW: u32 = 64;

/// One core's end of the mesh, and the calls it waits for.
pub(crate) struct Calls {
    mailbox: Rc<Mailbox<Message>>,
    waiting: Rc<RefCell<Slab<Waiting>>>,
}

#[derive(Default)]
struct Waiting {
    value: Option<Box<dyn Any + Send>>,
    waker: Option<Waker>,
    /// Nobody waits any more: the value is dropped when it comes.
    abandoned: bool,
}

impl Calls {
    pub(crate) fn new(mailbox: Mailbox<Message>) -> Self {
        Self {
            mailbox: Rc::new(mailbox),
            waiting: Rc::default(),
        }
    }

    /// Runs what other cores send, in order, until the process ends.
    pub(crate) async fn serve(shard: Rc<Shard>) {
        let mut in_a_row = 0;
        loop {
            let (from, message) = shard.calls.mailbox.recv().await;
            match message {
                Message::Job(job) => job(&shard),
                Message::Append(handed) => shard.append_handed(from, handed),
                Message::Appended(handed) => shard.answer_handed(handed),
            }
            in_a_row += 1;
            if in_a_row % MESSAGES_IN_A_ROW == 0 {
                shard.ring.yield_now().await;
            }
        }
    }

    /// Queues a message for `core` and returns when it is there.
    pub(crate) async fn send(&self, core: usize, message: Message) {
        self.mailbox.send(core, message).await;
    }

    /// Sends a message whose order does not matter, at once if there is room.
    pub(crate) fn post(&self, ring: &Ring, core: usize, message: Message) {
        if let Err(message) = self.mailbox.try_send(core, message) {
            let mailbox = self.mailbox.clone();
            ring.spawn(async move { mailbox.send(core, message).await });
        }
    }

    fn complete(&self, key: usize, value: Box<dyn Any + Send>) {
        let mut waiting = self.waiting.borrow_mut();
        let Some(entry) = waiting.get_mut(key) else {
            return;
        };
        if entry.abandoned {
            waiting.remove(key);
            return;
        }
        entry.value = Some(value);
        let waker = entry.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Shard {
    /// Sends `work` to `core`. When this returns, the work is queued there in order; awaiting the returned [`Called`]
    /// gives its result. On the own core `work` itself has run, and its future runs as the returned one is awaited.
    pub(crate) async fn call<R, F, Fut>(self: &Rc<Self>, core: usize, work: F) -> Called<R>
    where
        R: Send + 'static,
        F: FnOnce(Rc<Shard>) -> Fut + Send + 'static,
        Fut: Future<Output = R> + 'static,
    {
        if core == self.index {
            return Called::Local(Box::pin(work(self.clone())));
        }
        let origin = self.index;
        let key = self.calls.waiting.borrow_mut().insert(Waiting::default());
        let job = move |there: &Rc<Shard>| {
            let answer = work(there.clone());
            let there = there.clone();
            there.ring.clone().spawn(async move {
                let value: Box<dyn Any + Send> = Box::new(answer.await);
                let back = move |home: &Rc<Shard>| home.calls.complete(key, value);
                let back = Message::Job(Box::new(back));
                there.calls.mailbox.send(origin, back).await;
            });
        };
        let job = Message::Job(Box::new(job));
        self.calls.mailbox.send(core, job).await;
        Called::Remote(RemoteCall {
            waiting: self.calls.waiting.clone(),
            key,
            done: false,
            result: std::marker::PhantomData,
        })
    }

    /// Has `work` done on `core`, after all that was sent there before. Nothing comes back.
    pub(crate) async fn tell(
        self: &Rc<Self>,
        core: usize,
        work: impl FnOnce(&Rc<Shard>) + Send + 'static,
    ) {
        if core == self.index {
            return work(self);
        }
        let job = Message::Job(Box::new(work));
        self.calls.mailbox.send(core, job).await;
    }

    /// [`Shard::call`] and its result in one.
    pub(crate) async fn on<R, F, Fut>(self: &Rc<Self>, core: usize, work: F) -> R
    where
        R: Send + 'static,
        F: FnOnce(Rc<Shard>) -> Fut + Send + 'static,
        Fut: Future<Output = R> + 'static,
    {
        self.call(core, work).await.await
    }
}

/// The result of work sent to a core.
pub(crate) enum Called<R> {
    Local(Pin<Box<dyn Future<Output = R>>>),
    Remote(RemoteCall<R>),
}

/// A call whose answer comes back through the mailbox.
pub(crate) struct RemoteCall<R> {
    waiting: Rc<RefCell<Slab<Waiting>>>,
    key: usize,
    done: bool,
    result: std::marker::PhantomData<fn() -> R>,
}

impl<R: Send + 'static> Future for Called<R> {
    type Output = R;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        match self.get_mut() {
            Called::Local(future) => future.as_mut().poll(cx),
            Called::Remote(call) => call.poll(cx),
        }
    }
}

impl<R: Send + 'static> RemoteCall<R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<R> {
        let mut waiting = self.waiting.borrow_mut();
        let entry = &mut waiting[self.key];
        match entry.value.take() {
            Some(value) => {
                waiting.remove(self.key);
                self.done = true;
                // `complete` was given exactly what `work` for this key returned.
                Poll::Ready(
                    *value
                        .downcast::<R>()
                        .expect("the answer has the type of the call"),
                )
            }
            None => {
                entry.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<R> Drop for RemoteCall<R> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting
            .get(self.key)
            .is_some_and(|entry| entry.value.is_some())
        {
            waiting.remove(self.key);
        } else if let Some(entry) = waiting.get_mut(self.key) {
            entry.abandoned = true;
        }
    }
}
