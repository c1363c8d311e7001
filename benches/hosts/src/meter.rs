//! What a process used.

use crate::Failure;
use core::time::Duration;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit},
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use std::fs;

/// Processor time, in user space and in the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

/// Of this process.
pub(crate) fn own_times() -> Result<Times, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let duration = |time: nix::sys::time::TimeVal| {
        Duration::new(
            time.tv_sec().unsigned_abs(),
            u32::try_from(time.tv_usec()).unwrap_or(0) * 1000,
        )
    };
    Ok(Times {
        user: duration(usage.user_time()),
        system: duration(usage.system_time()),
    })
}

/// Of another process, both together.
pub(crate) fn time_of(process: u32) -> Result<Duration, Failure> {
    let clock = clock_getcpuclockid(Pid::from_raw(process.try_into()?))?;
    Ok(clock_gettime(clock)?.into())
}

/// Resident bytes of a process.
pub(crate) fn resident(process: u32) -> Result<u64, Failure> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kilobytes: u64 = kilobytes.ok_or("no Rss in smaps_rollup")?.trim().parse()?;
    Ok(kilobytes * 1024)
}

/// Binds this process to one processor.
pub(crate) fn pin(processor: usize) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    set.set(processor)?;
    sched_setaffinity(Pid::from_raw(0), &set)?;
    Ok(())
}

/// As many descriptors as may be.
pub(crate) fn all_descriptors() -> Result<(), Failure> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(())
}
