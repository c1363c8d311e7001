//! Hosts over real sockets on the loopback interface, whatever executor runs them: the tests of drywire-smol and of
//! drywire-async-std.

#[cfg(feature = "dns")]
pub(crate) mod dnsaddr;
pub(crate) mod loopback;
#[cfg(feature = "recording")]
pub(crate) mod recording;
pub(crate) mod sockets;

use drywire::{
    connection::Slot,
    swarm::{Context, Input, Protocol},
    time::Instant,
};
use drywire_engine::Host;
use drywire_smol::{AsyncIoRuntime, Spawn};

/// Runs a test on an executor.
pub(crate) trait Environment {
    type Spawn: Spawn;

    fn run(test: impl AsyncFnOnce(AsyncIoRuntime<Self::Spawn>));
}

/// A node without protocols of its own.
pub(crate) struct Nothing;

impl Protocol for Nothing {
    type Event = ();

    fn start(&mut self, _: &mut Context<'_, ()>) {}

    fn handle(&mut self, _: Slot, _: Input<'_>, _: &mut Context<'_, ()>) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

pub(crate) fn host<S: Spawn>(runtime: &AsyncIoRuntime<S>) -> Host<Nothing> {
    Host::builder(runtime.clone(), Nothing).start().unwrap()
}

/// Every test in every environment, each environment a module.
macro_rules! in_environments {
    ($($module:ident: $environment:ty),+ $(,)?) => {$(
        mod $module {
            use crate::shared::{Environment as _, loopback, sockets};

            #[test]
            fn bytes_echo_over_ip4() {
                <$environment>::run(async |runtime| loopback::transfer(runtime, "/ip4/127.0.0.1/tcp/0").await);
            }

            #[test]
            fn bytes_echo_over_ip6() {
                <$environment>::run(async |runtime| loopback::transfer(runtime, "/ip6/::1/tcp/0").await);
            }

            #[test]
            fn an_answer_follows_the_end_of_the_question() {
                <$environment>::run(loopback::half_close);
            }

            #[test]
            fn a_reader_that_waits_holds_up_the_writer() {
                <$environment>::run(loopback::slow_reader);
            }

            #[test]
            fn many_connections_at_once() {
                <$environment>::run(loopback::many_connections);
            }

            #[test]
            fn troubles_are_told_apart() {
                <$environment>::run(loopback::troubles);
            }

            #[cfg(target_os = "linux")]
            #[test]
            fn zones_have_names() {
                <$environment>::run(loopback::zones);
            }

            #[test]
            fn shutdown_says_goodbye() {
                <$environment>::run(loopback::shutdown);
            }

            #[test]
            fn dropping_the_last_handle_ends_the_node() {
                <$environment>::run(loopback::last_handle);
            }

            #[test]
            fn a_listener_everywhere_tells_where_it_can_be_dialed() {
                <$environment>::run(loopback::everywhere);
            }

            #[test]
            fn timers_are_never_early_and_fire_once() {
                <$environment>::run(sockets::timers);
            }

            #[test]
            fn sockets_tell_whether_there_is_more_without_asking() {
                <$environment>::run(sockets::readiness);
            }

            #[test]
            fn a_full_socket_is_written_again_when_there_is_room() {
                <$environment>::run(sockets::full);
            }

            #[test]
            fn names_are_looked_up() {
                <$environment>::run(sockets::lookup);
            }

            #[cfg(feature = "dns")]
            #[test]
            fn a_chain_of_names_leads_to_the_peer() {
                <$environment>::run(crate::shared::dnsaddr::chain);
            }

            #[cfg(feature = "dns")]
            #[test]
            fn answers_are_taken_in_part() {
                <$environment>::run(crate::shared::dnsaddr::large);
            }

            #[cfg(feature = "dns")]
            #[test]
            fn bad_answers_and_none_are_told_apart() {
                <$environment>::run(crate::shared::dnsaddr::bad);
            }

            #[cfg(feature = "recording")]
            #[test]
            fn a_real_run_runs_again() {
                <$environment>::run(crate::shared::recording::real_run);
            }
        }
    )+};
}
pub(crate) use in_environments;
