//! Cores beside each other: mailboxes, signals, the end of a core, idling, the probe.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use millstream_ring::{
    Buffer, CoreOptions, ListenOptions, Listener, Mailbox, MeshEnd, Ring, allowed_cpus, block_on,
    block_signals, mesh, probe, probe_for, start,
};

fn options(name: &str, cpu: Option<usize>) -> CoreOptions {
    CoreOptions {
        name: name.into(),
        cpu,
        ..CoreOptions::default()
    }
}

/// Runs `main` on one core for each end of the mesh.
fn on_all<T, F, Fut>(ends: Vec<MeshEnd<T>>, main: F)
where
    T: Send + 'static,
    F: Fn(Ring, Rc<Mailbox<T>>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let threads: Vec<_> = ends
        .into_iter()
        .enumerate()
        .map(|(number, end)| {
            let main = main.clone();
            start(
                options(&format!("core-{number}"), None),
                async move |ring: Ring| {
                    let mailbox = Rc::new(end.join(&ring));
                    main(ring, mailbox).await;
                },
            )
            .unwrap()
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn mailboxes_under_load_keep_every_message_in_order() {
    const MESSAGES: u64 = 200_000;
    // The queue is far smaller than the load: senders wait for room all the time.
    on_all(mesh::<u64>(3, 64), |ring, mailbox| async move {
        let others: Vec<usize> = (0..3).filter(|core| *core != mailbox.own()).collect();
        let sending = Rc::new(Cell::new(others.len()));
        for to in others.clone() {
            let (mailbox, sending) = (mailbox.clone(), sending.clone());
            ring.spawn(async move {
                for message in 0..MESSAGES {
                    mailbox.send(to, message).await;
                }
                sending.set(sending.get() - 1);
            });
        }
        let mut next = [0u64; 3];
        while others.iter().any(|from| next[*from] < MESSAGES) {
            let (from, message) = mailbox.recv().await;
            assert_eq!(message, next[from]);
            next[from] += 1;
        }
        // A core that ended now would take what it has not sent yet with it.
        while sending.get() > 0 {
            ring.sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn sleeping_cores_wake_each_other() {
    on_all(mesh::<u32>(2, 4), |ring, mailbox| async move {
        let peer = 1 - mailbox.own();
        for round in 0..30u32 {
            if mailbox.own() == 0 {
                // Long enough to be asleep on both sides; sometimes long enough for the slow guard.
                ring.sleep(Duration::from_millis(if round == 20 { 120 } else { 3 }))
                    .await;
                mailbox.send(peer, round).await;
                assert_eq!(mailbox.recv().await, (peer, round + 1000));
            } else {
                assert_eq!(mailbox.recv().await, (peer, round));
                mailbox.send(peer, round + 1000).await;
            }
        }
    });
}

#[test]
fn messages_wait_for_a_core_that_joins_late() {
    let mut ends = mesh::<Buffer>(2, 8);
    let (late, early) = (ends.pop().unwrap(), ends.pop().unwrap());
    let early = start(options("early", None), async move |ring: Ring| {
        let mailbox = early.join(&ring);
        for i in 0..20u8 {
            let mut buffer = Buffer::with_capacity(4096);
            buffer.extend_from_slice(&[i]);
            mailbox.send(1, buffer).await;
        }
        let (_, answer) = mailbox.recv().await;
        assert_eq!(&answer[..], b"thanks");
    });
    std::thread::sleep(Duration::from_millis(30));
    let late = start(options("late", None), async move |ring: Ring| {
        let mailbox = late.join(&ring);
        for i in 0..20u8 {
            let (from, buffer) = mailbox.recv().await;
            assert_eq!((from, &buffer[..]), (0, &[i][..]));
        }
        let mut answer = Buffer::with_capacity(16);
        answer.extend_from_slice(b"thanks");
        mailbox.send(0, answer).await;
        // To itself, too.
        mailbox.send(1, Buffer::with_capacity(16)).await;
        assert_eq!(mailbox.recv().await.0, 1);
    });
    early.unwrap().join().unwrap();
    late.unwrap().join().unwrap();
}

#[test]
fn messages_to_a_core_that_has_ended_are_dropped() {
    let mut ends = mesh::<Arc<()>>(2, 2);
    let (gone, alive) = (ends.pop().unwrap(), ends.pop().unwrap());
    start(options("gone", None), async move |ring: Ring| {
        drop(gone.join(&ring))
    })
    .unwrap()
    .join()
    .unwrap();
    block_on(async move |ring: Ring| {
        let mailbox = alive.join(&ring);
        let message = Arc::new(());
        for _ in 0..10 {
            mailbox.send(1, message.clone()).await;
        }
        assert_eq!(Arc::strong_count(&message), 1);
    });
}

#[test]
fn a_sender_that_waits_for_room_is_released_when_the_other_core_ends() {
    for round in 0..20 {
        let mut ends = mesh::<u32>(2, 1);
        let (gone, alive) = (ends.pop().unwrap(), ends.pop().unwrap());
        let gone = start(options("gone", None), async move |ring: Ring| {
            let mailbox = gone.join(&ring);
            mailbox.recv().await;
            // Sometimes before the sender waits, sometimes after.
            ring.sleep(Duration::from_micros(round * 100)).await;
        });
        block_on(async move |ring: Ring| {
            let mailbox = alive.join(&ring);
            for message in 0..5 {
                mailbox.send(1, message).await;
            }
        });
        gone.unwrap().join().unwrap();
    }
}

#[test]
fn the_end_of_a_core_drops_its_tasks() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = dropped.clone();
    let addr = block_on(async move |ring: Ring| {
        let listener = Listener::bind(
            &ring,
            "127.0.0.1:0".parse().unwrap(),
            ListenOptions::default(),
        )
        .unwrap();
        let addr = listener.local_addr();
        let counted = Counted(count.clone());
        ring.spawn(async move {
            let _counted = counted;
            loop {
                let _ = listener.accept().await;
            }
        });
        let (counted, sleeper) = (Counted(count.clone()), ring.clone());
        ring.spawn_background(async move {
            let _counted = counted;
            sleeper.sleep(Duration::from_secs(3600)).await;
        });
        let (counted, finished) = (Counted(count), ring.clone());
        ring.spawn(async move {
            let _counted = counted;
            finished.yield_now().await;
        });
        ring.sleep(Duration::from_millis(5)).await;
        addr
    });
    assert_eq!(dropped.load(Ordering::SeqCst), 3);
    millstream_ring::check_free(addr).expect("the listener went with its task");
}

#[test]
fn a_core_ends_with_the_value_or_the_panic_of_its_main() {
    assert_eq!(block_on(async |_| 7), 7);
    let thread = start(options("doomed", None), async |ring: Ring| {
        ring.yield_now().await;
        panic!("on purpose");
    });
    let thread: millstream_ring::CoreThread<()> = thread.unwrap();
    assert!(thread.join().is_err());
}

#[test]
fn pinned_cores_run_where_they_should() {
    let cpus = allowed_cpus();
    assert!(!cpus.is_empty());
    for cpu in cpus {
        let thread = start(options("pinned", Some(cpu)), async move |ring: Ring| {
            ring.yield_now().await;
            allowed_cpus()
        });
        assert_eq!(thread.unwrap().join().unwrap(), [cpu]);
    }
    assert!(start(options("nowhere", Some(1000)), async |_| ()).is_err());
}

#[test]
fn background_tasks_run_beside_a_busy_data_queue() {
    block_on(async |ring: Ring| {
        let done = Rc::new(Cell::new(false));
        let (finished, ring2) = (done.clone(), ring.clone());
        ring.spawn_background(async move {
            for _ in 0..10 {
                ring2.yield_now().await;
            }
            finished.set(true);
        });
        while !done.get() {
            ring.yield_now().await;
        }
        let (before, wall) = (ring.now(), ring.wall_ms());
        ring.sleep(Duration::from_millis(3)).await;
        assert!(ring.now() - before >= Duration::from_millis(3));
        assert!(wall > 1_700_000_000_000);
    });
}

#[test]
fn an_idle_core_sleeps() {
    let thread = start(options("idle", None), async |ring: Ring| {
        let listener = Listener::bind(
            &ring,
            "127.0.0.1:0".parse().unwrap(),
            ListenOptions::default(),
        )
        .unwrap();
        ring.spawn(async move { drop(listener.accept().await) });
        ring.sleep(Duration::from_millis(200)).await;
        let (before, start) = (thread_cpu(), Instant::now());
        ring.sleep(Duration::from_secs(2)).await;
        (thread_cpu() - before).as_secs_f64() / start.elapsed().as_secs_f64()
    });
    let busy = thread.unwrap().join().unwrap();
    // 1 % is the promise; a loaded machine makes every wake-up dearer, a busy loop would show 100 %.
    assert!(
        busy < 0.05,
        "an idle core used {:.2} % of its CPU",
        busy * 100.0
    );
    eprintln!("an idle core used {:.3} % of its CPU", busy * 100.0);
}

/// User and system time of the calling thread.
fn thread_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn a_signal_is_received() {
    const USR2: i32 = 12;
    // Before any other thread exists this would be one call in main; here every thread of the test
    // harness is older, so the signal is sent to the core's thread alone.
    let thread = start(options("signal", None), async |ring: Ring| {
        block_signals(&[USR2]).unwrap();
        let id = std::fs::read_link("/proc/thread-self").unwrap();
        let id = id.file_name().unwrap().to_str().unwrap().to_string();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            // kill(1) with a thread id reaches the process; tgkill is what is needed.
            let script = "import ctypes,os,sys\nctypes.CDLL(None).syscall(234,int(sys.argv[1]),int(sys.argv[2]),12)";
            let (pid, id) = (std::process::id().to_string(), id);
            assert!(
                std::process::Command::new("python3")
                    .args(["-c", script, &pid, &id])
                    .status()
                    .unwrap()
                    .success()
            );
        });
        ring.signal(&[USR2]).await.unwrap()
    });
    assert_eq!(thread.unwrap().join().unwrap(), USR2);
    block_on(async |ring: Ring| assert!(ring.signal(&[4000]).await.is_err()));
}

#[test]
fn io_uring_is_available_here() {
    probe().unwrap();
    probe_for(allowed_cpus().len()).unwrap();
    let too_many = probe_for(usize::MAX);
    match too_many {
        // Without any limit, any number of cores will do.
        Ok(()) => {}
        Err(denied) => assert!(denied.to_string().contains("RLIMIT_MEMLOCK"), "{denied}"),
    }
}

#[test]
fn a_task_that_yields_for_ever_holds_up_nobody() {
    for spins_in_background in [false, true] {
        block_on(move |ring: Ring| async move {
            let (slept, waited) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
            let spinner = {
                let (ring, slept, waited) = (ring.clone(), slept.clone(), waited.clone());
                async move {
                    while slept.get() < 2 {
                        ring.yield_now().await;
                    }
                    waited.set(true);
                }
            };
            let sleeper = || {
                let (ring, slept) = (ring.clone(), slept.clone());
                async move {
                    ring.sleep(Duration::from_millis(5)).await;
                    slept.set(slept.get() + 1);
                }
            };
            match spins_in_background {
                true => ring.spawn_background(spinner),
                false => ring.spawn(spinner),
            }
            ring.spawn(sleeper());
            ring.spawn_background(sleeper());
            while !waited.get() {
                ring.sleep(Duration::from_millis(1)).await;
            }
        });
    }
}
