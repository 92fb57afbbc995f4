//! How many connections there may be, in all and from one address (`ConnectionQuotas`).
//!
//! Counted for the whole process when a connection comes and goes, which is no part of the data path.

use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::relations;
use crate::limits;
use crate::shard::Shard;

/// Kafka's default for all of these limits: none.
const UNLIMITED: usize = i32::MAX as usize;

/// The connections of all cores. Clones share the count.
#[derive(Clone, Default)]
pub(crate) struct ConnectionQuotas(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    all: usize,
    from: HashMap<IpAddr, usize>,
    /// When the last connection would have come if all had come at the rate allowed.
    due: Option<Instant>,
}

/// What applies to a connection that wants in.
pub(crate) struct Limits {
    /// `max.connections`, unless the listener is exempt, and what the limit of open files allows.
    all: usize,
    /// `max.connections.per.ip`, or the exception made for this address.
    from_one: usize,
    /// `max.connection.creation.rate`, unless the listener is exempt: connections a second.
    rate: usize,
}

/// Why a connection has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// This many are open, all that may be: Kafka lets the newcomer wait.
    All(usize),
    /// More have come within a second than may: Kafka lets the newcomer wait so long.
    TooFast(Duration),
    /// So many are open from its address: Kafka closes it.
    FromOne(usize),
}

/// A connection that is counted, until this is dropped.
pub(crate) struct Place {
    quotas: ConnectionQuotas,
    from: IpAddr,
}

impl Limits {
    /// The limits in force now for a connection from `from` to a listener.
    pub(crate) fn of(shard: &Shard, listener: usize, from: IpAddr) -> Self {
        let layers = shard.layers();
        let exceptions = layers
            .text("max.connections.per.ip.overrides")
            .unwrap_or_default();
        let exceptions = relations::overrides_per_ip(&exceptions).unwrap_or_default();
        let exception = exceptions
            .iter()
            .find(|(host, _)| is_at(host, from))
            .map(|(_, count)| *count);
        // Kafka keeps the listener of the brokers among themselves open to them when it has others for clients.
        let between_brokers = layers
            .text("inter.broker.listener.name")
            .or_else(|| layers.text("security.inter.broker.protocol"))
            .is_some_and(|name| name.to_uppercase() == shard.config.listeners[listener].name);
        let exempt = between_brokers && shard.config.listeners.len() > 1;
        let all = if exempt {
            usize::MAX
        } else {
            layers.size("max.connections")
        };
        let allowed = limits::descriptors(&shard.config, shard.cores).connections;
        Self {
            all: all.min(allowed),
            rate: match exempt {
                true => usize::MAX,
                false => layers.size("max.connection.creation.rate"),
            },
            from_one: exception.unwrap_or_else(|| layers.size("max.connections.per.ip")),
        }
    }
}

/// An exception names an address or a host, which is looked up as Kafka does.
fn is_at(host: &str, address: IpAddr) -> bool {
    match host.parse::<IpAddr>() {
        Ok(named) => named == address,
        Err(_) => (host, 0)
            .to_socket_addrs()
            .is_ok_and(|mut found| found.any(|found| found.ip() == address)),
    }
}

impl Counts {
    /// Lets one in if those of the last second, at an even pace, leave room for it: a second's worth may come at once.
    fn pace(&mut self, rate: usize, now: Instant) -> Result<(), Full> {
        const BURST: Duration = Duration::from_secs(1);
        if rate >= UNLIMITED {
            return Ok(());
        }
        if rate == 0 {
            return Err(Full::TooFast(BURST));
        }
        let due = self.due.map_or(now, |due| due.max(now))
            + BURST / u32::try_from(rate).unwrap_or(u32::MAX);
        let early = due.saturating_duration_since(now + BURST);
        if early > Duration::ZERO {
            return Err(Full::TooFast(early));
        }
        self.due = Some(due);
        Ok(())
    }
}

impl ConnectionQuotas {
    /// Counts a connection from `from`, if there is room for it.
    pub(crate) fn enter(&self, from: IpAddr, limits: &Limits) -> Result<Place, Full> {
        let mut counts = self.counts();
        if counts.all >= limits.all {
            return Err(Full::All(limits.all));
        }
        if counts
            .from
            .get(&from)
            .is_some_and(|open| *open >= limits.from_one)
            || limits.from_one == 0
        {
            return Err(Full::FromOne(limits.from_one));
        }
        counts.pace(limits.rate, Instant::now())?;
        counts.all += 1;
        *counts.from.entry(from).or_default() += 1;
        Ok(Place {
            quotas: self.clone(),
            from,
        })
    }

    /// Nothing can fail while the lock is held: a poisoned count is a right one.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.quotas.counts();
        counts.all -= 1;
        if let Some(open) = counts.from.get_mut(&self.from) {
            *open -= 1;
            if *open == 0 {
                counts.from.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionQuotas, Counts, Duration, Full, Instant, IpAddr, Limits, UNLIMITED};

    #[test]
    fn newcomers_come_at_the_rate_that_is_allowed() {
        let mut counts = Counts::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        for _ in 0..10 {
            assert_eq!(counts.pace(10, at(0)), Ok(()), "a second's worth at once");
        }
        let Err(Full::TooFast(wait)) = counts.pace(10, at(0)) else {
            panic!("the eleventh waits")
        };
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(counts.pace(10, at(100)), Ok(()));
        assert!(counts.pace(10, at(150)).is_err());
        assert_eq!(counts.pace(10, at(200)), Ok(()));
        assert_eq!(counts.pace(UNLIMITED, at(200)), Ok(()), "no limit");
        assert!(counts.pace(0, at(9000)).is_err(), "none at all");
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let quotas = ConnectionQuotas::default();
        let limits = Limits {
            all: 3,
            from_one: 2,
            rate: usize::MAX,
        };
        let first = quotas.enter(one, &limits).expect("there is room");
        let _second = quotas.enter(one, &limits).expect("there is room");
        assert_eq!(quotas.enter(one, &limits).err(), Some(Full::FromOne(2)));
        let _third = quotas
            .enter(other, &limits)
            .expect("there is room for another address");
        assert_eq!(
            quotas.enter(other, &limits).err(),
            Some(Full::All(3)),
            "the broker is asked before the address"
        );
        let exempt = Limits {
            all: usize::MAX,
            from_one: 2,
            rate: usize::MAX,
        };
        let fourth = quotas
            .enter(other, &exempt)
            .expect("a listener that is exempt");
        drop((first, fourth));
        assert_eq!(quotas.counts().all, 2);
        assert_eq!(quotas.counts().from.len(), 2);
        assert!(quotas.enter(one, &limits).is_ok());
        assert_eq!(
            quotas
                .enter(
                    one,
                    &Limits {
                        all: usize::MAX,
                        from_one: 0,
                        rate: usize::MAX,
                    }
                )
                .err(),
            Some(Full::FromOne(0))
        );
    }
}
