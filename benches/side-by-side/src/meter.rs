//! What a process used: processor time and memory, of this process and of the server's.

use std::{fs, io, time::Duration};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit},
    time::{ClockId, clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

/// Reads the clocks of a client process (this one) and its server.
///
/// The kernel lets any process read another one's processor-time clock: user and system time of all its threads, to
/// the nanosecond. So the server need not be asked, and the asking costs it nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    server: Pid,
    server_clock: ClockId,
}

/// Processor time of both ends since their start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) client: Duration,
    pub(crate) server: Duration,
}

impl Meter {
    pub(crate) fn new(server: i32) -> io::Result<Self> {
        let server = Pid::from_raw(server);
        Ok(Self {
            server,
            server_clock: clock_getcpuclockid(server)?,
        })
    }

    pub(crate) fn usage(self) -> io::Result<Usage> {
        Ok(Usage {
            client: clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into(),
            server: clock_gettime(self.server_clock)?.into(),
        })
    }

    /// Resident bytes of the client and of the server.
    pub(crate) fn resident(self) -> io::Result<(u64, u64)> {
        Ok((resident(Pid::this())?, resident(self.server)?))
    }
}

/// Processor time of this process since its start.
pub(crate) fn own_time() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// Resident bytes of this process.
pub(crate) fn own_resident() -> io::Result<u64> {
    resident(Pid::this())
}

/// The exact count: `statm` and `status` show one that lags by up to 64 pages and more per processor.
fn resident(process: Pid) -> io::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let kilobytes = rollup.lines().find_map(|line| {
        line.strip_prefix("Rss:")?
            .trim()
            .strip_suffix("kB")?
            .trim()
            .parse::<u64>()
            .ok()
    });
    kilobytes
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no Rss line in smaps_rollup"))
}

/// Binds this process, and the threads it starts from now on, to one processor.
pub(crate) fn pin(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Allows as many open files as the system does: a thousand connections need them.
pub(crate) fn raise_file_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// How much processor time the rest of the machine used, as a number of processors: what makes a figure doubtful.
#[derive(Debug)]
pub(crate) struct Others {
    start: std::time::Instant,
    busy: Duration,
    own: Duration,
}

impl Others {
    pub(crate) fn watch() -> io::Result<Self> {
        Ok(Self {
            start: std::time::Instant::now(),
            busy: busy()?,
            own: own()?,
        })
    }

    pub(crate) fn processors(&self) -> io::Result<f64> {
        let busy = busy()?.saturating_sub(self.busy);
        let own = own()?.saturating_sub(self.own);
        Ok(busy.saturating_sub(own).as_secs_f64() / self.start.elapsed().as_secs_f64())
    }
}

/// Everything but idle and waiting for a disk, of all processors; time stolen by the hypervisor included.
fn busy() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; what follows is counted in user already.
    let busy: u64 = ticks
        .iter()
        .take(8)
        .enumerate()
        .filter(|(place, _)| ![3, 4].contains(place))
        .map(|(_, t)| t)
        .sum();
    Ok(Duration::from_millis(busy * 10))
}

/// This process and its children that have ended.
fn own() -> io::Result<Duration> {
    let mut sum = 0;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        for time in [usage.user_time(), usage.system_time()] {
            sum += time.tv_sec() * 1_000_000 + time.tv_usec();
        }
    }
    Ok(Duration::from_micros(sum.unsigned_abs()))
}
