//! Clocks, entropy, sockets and interfaces.

use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use drywire::time::{Instant, UnixTime};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::TcpListener,
    sync::OnceLock,
    time::{Instant as StdInstant, SystemTime},
};

/// Connections the operating system keeps waiting to be accepted.
const BACKLOG: i32 = 1024;

/// When drywire's time is zero, in this process: all of its instants can be compared.
pub fn epoch() -> StdInstant {
    static EPOCH: OnceLock<StdInstant> = OnceLock::new();
    // One hour back, so that the first instants of a process are not zero.
    *EPOCH.get_or_init(|| {
        let now = StdInstant::now();
        now.checked_sub(Duration::from_secs(3600)).unwrap_or(now)
    })
}

/// Monotonic time since the [`epoch`].
#[must_use]
pub fn now() -> Instant {
    Instant::from_nanos(u64::try_from(epoch().elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// An instant as the operating system's, which [`now`] has reached when that one has come. One beyond what the platform
/// can tell becomes as good as a year away.
#[must_use]
pub fn std_instant(instant: Instant) -> StdInstant {
    const YEAR: Duration = Duration::from_secs(31_536_000);
    let after = Duration::from_nanos(instant.as_nanos());
    epoch()
        .checked_add(after)
        .or_else(|| StdInstant::now().checked_add(YEAR))
        .unwrap_or_else(StdInstant::now)
}

/// The wall clock; 1970 if it is set to before that.
#[must_use]
pub fn unix() -> UnixTime {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    UnixTime::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// 32 bytes no adversary can guess, for [`Seed::from_entropy`](drywire::seed::Seed::from_entropy).
///
/// # Errors
/// If the operating system has none to give.
pub fn entropy() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// A listening socket that does not block.
///
/// IPv6 listeners accept IPv6 only, so that both families may listen on one port. On Unix a port can be bound again whose
/// last connections are still in TIME_WAIT.
///
/// # Errors
/// As the operating system says: the port is in use, the address is not this machine's, and so on.
pub fn listen(local: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(local),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // On Windows the option means something else.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&local.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The addresses of this machine's network interfaces, for listeners bound to the unspecified address. Empty where they
/// cannot be told.
///
/// Link-local IPv6 addresses are left out: nobody can dial one without knowing the interface on which to look for it.
#[must_use]
pub fn interfaces() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let addresses = interfaces.iter().map(if_addrs::Interface::ip);
    addresses
        .filter(
            |address| !matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()),
        )
        .collect()
}

/// The number of the network interface of this name, for IPv6 addresses with a named zone. `None` where there is none, or
/// where that cannot be told.
#[must_use]
pub fn interface_index(name: &str) -> Option<u32> {
    let interfaces = if_addrs::get_if_addrs().ok()?;
    let named = interfaces
        .into_iter()
        .find(|interface| interface.name == name)?;
    named.index
}
