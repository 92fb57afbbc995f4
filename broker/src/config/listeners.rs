//! `listeners`, `advertised.listeners` and what belongs to them: where to bind, and what clients are told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use super::error::ConfigError;
use super::sources::Settings;
use crate::knobs::layers::Layers;

/// A listener to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, in upper case.
    pub name: String,
    /// Addresses to bind, all on one port, IPv6 ones for IPv6 only. Never empty. Port 0 lets the
    /// kernel choose; the further addresses then take the port that the first one got.
    pub bind: Vec<SocketAddr>,
    /// Host that Metadata names to clients that came in here.
    pub advertised_host: String,
    /// Port that Metadata names; 0 means the one that was bound.
    pub advertised_port: u16,
}

/// What listeners need to know about the machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// IPv6 addresses can be bound.
    pub ipv6: bool,
    /// The machine's name, advertised for an empty host.
    pub name: String,
}

impl Machine {
    /// Asks the kernel.
    pub fn ask() -> Machine {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = Some(name.trim().to_owned()).filter(|name| !name.is_empty());
        Machine {
            ipv6: UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok(),
            name: name.unwrap_or_else(|| "localhost".to_owned()),
        }
    }
}

/// Listeners to open, and the names of the controller's.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) open: Vec<Listener>,
    pub(super) controller: Vec<String>,
}

/// `NAME://host:port`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    name: String,
    host: String,
    port: u16,
}

const LISTENERS: &str = "listeners";
const ADVERTISED: &str = "advertised.listeners";

/// Checks all of it, and finds the addresses of hosts that are names.
pub(super) fn resolve(
    settings: &Settings,
    layers: &Layers,
    machine: &Machine,
) -> Result<Resolved, ConfigError> {
    let endpoints = parse(settings, LISTENERS, &layers.list(LISTENERS))?;
    check_distinct(settings, &endpoints)?;
    let controller: Vec<String> = layers
        .list("controller.listener.names")
        .iter()
        .map(|name| name.to_uppercase())
        .collect();
    let advertised = parse(settings, ADVERTISED, &layers.list(ADVERTISED))?;
    check_advertised(settings, &endpoints, &advertised)?;
    let protocols = protocols(settings, layers)?;
    let (closed, open): (Vec<_>, Vec<_>) = endpoints
        .into_iter()
        .partition(|endpoint| controller.contains(&endpoint.name));
    check_controller(settings, layers, &controller, &closed)?;
    if open.is_empty() {
        let advice = "add one for clients, as PLAINTEXT://:9092";
        return Err(settings.error(LISTENERS, "all of them are controller listeners", advice));
    }
    check_inter_broker(settings, layers, &open)?;
    let mut listeners = Vec::new();
    for endpoint in open {
        check_protocol(settings, &protocols, &endpoint)?;
        let bind = addresses(settings, &endpoint, machine)?;
        let told = advertised.iter().find(|told| told.name == endpoint.name);
        let (advertised_host, advertised_port) = match told {
            Some(told) => (told.host.clone(), told.port),
            None => (own_name(settings, &endpoint, machine)?, endpoint.port),
        };
        listeners.push(Listener {
            name: endpoint.name,
            bind,
            advertised_host,
            advertised_port,
        });
    }
    Ok(Resolved {
        open: listeners,
        controller: closed.into_iter().map(|endpoint| endpoint.name).collect(),
    })
}

/// `metrics.listener`: `host:port`, without a host for every address of the machine.
pub(super) fn metrics(
    settings: &Settings,
    layers: &Layers,
    machine: &Machine,
) -> Result<Option<SocketAddr>, ConfigError> {
    const METRICS: &str = "metrics.listener";
    let Some(text) = layers.text(METRICS).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let endpoint = endpoint(&format!("HTTP://{text}")).ok_or_else(|| {
        let what = format!("{text:?} is not host:port");
        settings.error(METRICS, what, "write it as 127.0.0.1:9404")
    })?;
    let every = match machine.ipv6 {
        true => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        false => IpAddr::from(Ipv4Addr::UNSPECIFIED),
    };
    if endpoint.host.is_empty() {
        return Ok(Some(SocketAddr::new(every, endpoint.port)));
    }
    let found = (endpoint.host.as_str(), endpoint.port).to_socket_addrs();
    found
        .ok()
        .and_then(|mut all| all.next())
        .map(Some)
        .ok_or_else(|| {
            let what = format!("{} has no address", endpoint.host);
            settings.error(METRICS, what, "name an address of this machine")
        })
}

fn parse(settings: &Settings, key: &str, texts: &[String]) -> Result<Vec<Endpoint>, ConfigError> {
    let wrong = |text: &String| {
        let advice = "write NAME://host:port, as PLAINTEXT://:9092, with a port up to 65535";
        settings.error(key, format!("{text:?} is not a listener"), advice)
    };
    texts
        .iter()
        .map(|text| endpoint(text).ok_or_else(|| wrong(text)))
        .collect()
}

/// Kafka's own pattern: `^(.*)://\[?([0-9a-zA-Z\-%._:]*)\]?:(-?[0-9]+)`.
fn endpoint(text: &str) -> Option<Endpoint> {
    let (name, rest) = text.split_once("://")?;
    let (host, port) = rest.rsplit_once(':')?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-%._:".contains(&byte);
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let good = !name.is_empty() && name.bytes().all(in_name) && bare.bytes().all(in_host);
    good.then_some(())?;
    Some(Endpoint {
        name: name.to_uppercase(),
        host: bare.to_owned(),
        port: port.parse().ok()?,
    })
}

fn check_distinct(settings: &Settings, endpoints: &[Endpoint]) -> Result<(), ConfigError> {
    let refuse = |what: String, advice: &str| Err(settings.error(LISTENERS, what, advice));
    if endpoints.is_empty() {
        return refuse(
            "empty".to_owned(),
            "name at least one, as PLAINTEXT://:9092",
        );
    }
    let (mut names, mut ports) = (BTreeSet::new(), BTreeMap::new());
    for endpoint in endpoints {
        if !names.insert(&endpoint.name) {
            return refuse(
                format!("two listeners are called {}", endpoint.name),
                "give each its own name",
            );
        }
        // Two listeners may share a port where each has an address of its own.
        let other = (endpoint.port != 0)
            .then(|| ports.insert(endpoint.port, &endpoint.host))
            .flatten();
        if other.is_some_and(|other| {
            other == &endpoint.host || other.is_empty() || endpoint.host.is_empty()
        }) {
            return refuse(
                format!("two listeners have port {}", endpoint.port),
                "give each its own port",
            );
        }
    }
    Ok(())
}

fn check_advertised(
    settings: &Settings,
    listeners: &[Endpoint],
    advertised: &[Endpoint],
) -> Result<(), ConfigError> {
    let refuse = |what: String, advice: &str| Err(settings.error(ADVERTISED, what, advice));
    let mut names = BTreeSet::new();
    for told in advertised {
        if !names.insert(&told.name) {
            return refuse(
                format!("{} stands there twice", told.name),
                "name each listener once",
            );
        }
        if !listeners.iter().any(|listener| listener.name == told.name) {
            let what = format!("{} is not one of listeners", told.name);
            return refuse(what, "use the names of listeners");
        }
        if told.host.is_empty() || is_unspecified(&told.host) {
            let what = format!("{:?} is no address that a client can connect to", told.host);
            return refuse(what, "name the host as clients see it");
        }
    }
    Ok(())
}

fn is_unspecified(host: &str) -> bool {
    host.parse::<IpAddr>()
        .is_ok_and(|address| address.is_unspecified())
}

/// The protocol of each listener name: the map, or each protocol under its own name.
fn protocols(
    settings: &Settings,
    layers: &Layers,
) -> Result<BTreeMap<String, String>, ConfigError> {
    const MAP: &str = "listener.security.protocol.map";
    const PROTOCOLS: &[&str] = &["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
    let mut map = BTreeMap::new();
    for entry in crate::knobs::value::split_list(&layers.text(MAP).unwrap_or_default()) {
        let advice = "write NAME:PROTOCOL, as CLIENT:PLAINTEXT; Kafka's protocols are PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL";
        let wrong = || settings.error(MAP, format!("{entry:?} maps nothing to a protocol"), advice);
        let (name, protocol) = entry.rsplit_once(':').ok_or_else(wrong)?;
        let protocol = protocol.trim().to_uppercase();
        if !PROTOCOLS.contains(&protocol.as_str()) {
            return Err(wrong());
        }
        if map.insert(name.trim().to_uppercase(), protocol).is_some() {
            return Err(settings.error(
                MAP,
                format!("{name} stands there twice"),
                "name each listener once",
            ));
        }
    }
    Ok(map)
}

fn check_protocol(
    settings: &Settings,
    protocols: &BTreeMap<String, String>,
    endpoint: &Endpoint,
) -> Result<(), ConfigError> {
    let name = &endpoint.name;
    match protocols.get(name).map(String::as_str) {
        Some("PLAINTEXT") => Ok(()),
        Some(protocol) => Err(settings.error(
            LISTENERS,
            format!("listener {name} asks for {protocol}, but TLS and SASL are not built yet"),
            "use PLAINTEXT on a network you trust",
        )),
        None => Err(settings.error(
            LISTENERS,
            format!("no security protocol is defined for listener {name}"),
            format!("add {name}:PLAINTEXT to listener.security.protocol.map"),
        )),
    }
}

/// Kafka's own demands on a controller, where one is asked for by name.
fn check_controller(
    settings: &Settings,
    layers: &Layers,
    names: &[String],
    closed: &[Endpoint],
) -> Result<(), ConfigError> {
    let asked = settings.get("controller.listener.names").is_some();
    let is_controller = layers
        .list("process.roles")
        .iter()
        .any(|role| role == "controller");
    let missing = names
        .iter()
        .find(|name| !closed.iter().any(|endpoint| endpoint.name == **name));
    match missing {
        Some(missing) if asked && is_controller => Err(settings.error(
            "controller.listener.names",
            format!("{missing} is not one of listeners"),
            format!("add {missing}://:9093 to listeners"),
        )),
        _ => Ok(()),
    }
}

fn check_inter_broker(
    settings: &Settings,
    layers: &Layers,
    open: &[Endpoint],
) -> Result<(), ConfigError> {
    const NAME: &str = "inter.broker.listener.name";
    let Some(name) = layers.text(NAME) else {
        return Ok(());
    };
    if settings.get("security.inter.broker.protocol").is_some() {
        let what = "excludes security.inter.broker.protocol";
        return Err(settings.error(NAME, what, "leave security.inter.broker.protocol out"));
    }
    if open
        .iter()
        .any(|endpoint| endpoint.name == name.to_uppercase())
    {
        return Ok(());
    }
    Err(settings.error(
        NAME,
        format!("{name} is not one of listeners"),
        "use the name of a listener for clients",
    ))
}

/// The addresses to bind.
fn addresses(
    settings: &Settings,
    endpoint: &Endpoint,
    machine: &Machine,
) -> Result<Vec<SocketAddr>, ConfigError> {
    let both = |v6: Ipv6Addr, v4: Ipv4Addr| {
        let v6 = machine.ipv6.then(|| SocketAddr::from((v6, endpoint.port)));
        v6.into_iter()
            .chain([SocketAddr::from((v4, endpoint.port))])
            .collect()
    };
    match endpoint.host.as_str() {
        "" => return Ok(both(Ipv6Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED)),
        "localhost" => return Ok(both(Ipv6Addr::LOCALHOST, Ipv4Addr::LOCALHOST)),
        _ => (),
    }
    let advice = "use an address or name of this machine, or none for all";
    let wrong = |what: String| settings.error(LISTENERS, what, advice);
    let found = (endpoint.host.as_str(), endpoint.port).to_socket_addrs();
    let found =
        found.map_err(|error| wrong(format!("host {} cannot be found: {error}", endpoint.host)))?;
    let distinct: BTreeSet<SocketAddr> = found
        .filter(|address| machine.ipv6 || address.is_ipv4())
        .collect();
    if distinct.is_empty() {
        return Err(wrong(format!(
            "host {} has only IPv6 addresses, and this machine has no IPv6",
            endpoint.host
        )));
    }
    Ok(distinct.into_iter().collect())
}

/// What is advertised when nothing says it: the listener's host, or the machine's name where that is empty.
fn own_name(
    settings: &Settings,
    endpoint: &Endpoint,
    machine: &Machine,
) -> Result<String, ConfigError> {
    match endpoint.host.as_str() {
        "" => Ok(machine.name.clone()),
        host if is_unspecified(host) => Err(settings.error(
            LISTENERS,
            format!("clients cannot connect to {host}, and nothing else is advertised"),
            format!(
                "set advertised.listeners={}://host:{}",
                endpoint.name, endpoint.port
            ),
        )),
        host => Ok(host.to_owned()),
    }
}
