//! Every scenario at every host, on sockets that do what they should and on sockets that do not.

use drywire_async_std::AsyncStdRuntime;
use drywire_host_tests::{
    Place, engine::EnginePlace, mio_host::MioPlace, scenarios, worker_host::WorkerPlace,
};
use drywire_mio::executor::Executor;
use drywire_sim::{SimRuntime, World};
use drywire_smol::SmolRuntime;
use drywire_tokio::TokioRuntime;
use std::sync::Arc;

/// Seeds of trouble for each scenario; more with `DRYWIRE_TROUBLE_SEEDS=N`.
fn seeds() -> u64 {
    let wanted = std::env::var("DRYWIRE_TROUBLE_SEEDS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// Runs a scenario at a new place, without trouble and then with that of some seeds.
macro_rules! scenario {
    ($on:ident, $name:ident) => {
        #[test]
        fn $name() {
            for seed in 0..=super::seeds() {
                println!("trouble of seed {seed}");
                super::$on!(place => {
                    if seed > 0 {
                        place.trouble().begin(seed);
                    }
                    scenarios::run(place.clone(), scenarios::$name(place)).await
                });
            }
        }
    };
}

macro_rules! suite {
    ($module:ident, $on:ident) => {
        mod $module {
            use super::*;

            scenario!($on, transfers_both_ways_at_once);
            scenario!($on, thousand_streams);
            scenario!($on, half_close);
            scenario!($on, reset);
            scenario!($on, a_dropped_stream_is_reset);
            scenario!($on, futures_cancelled_at_every_await);
            scenario!($on, a_slow_reader_stops_its_writer_and_no_other);
            scenario!($on, a_slow_writer);
            scenario!($on, no_listener_where_there_is_one);
            scenario!($on, accepting_goes_on_after_failures);
            scenario!($on, dial_storms);
            scenario!($on, a_listener_that_does_not_accept);
            scenario!($on, errors_anywhere);
            scenario!($on, shutting_down_delivers_what_was_finished);
            scenario!($on, shutting_down_in_the_middle_of_everything);
            scenario!($on, a_dropped_node_ends_by_itself);
            scenario!($on, ending_at_once);
            scenario!($on, requests_and_responses);
            scenario!($on, records_of_a_dht);
            scenario!($on, recordings_are_replayed);
        }
    };
}

/// What needs sockets of the operating system.
macro_rules! with_sockets {
    ($module:ident, $on:ident) => {
        mod $module {
            use super::*;

            scenario!($on, peers_that_are_none);
        }
    };
}

macro_rules! on_tokio_multi_thread {
    ($place:ident => $run:expr) => {{
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let $place = EnginePlace::new(TokioRuntime::current().unwrap());
            $run
        });
    }};
}

macro_rules! on_tokio_current_thread {
    ($place:ident => $run:expr) => {{
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let $place = EnginePlace::new(TokioRuntime::current().unwrap());
            $run
        });
    }};
}

macro_rules! on_simulator {
    ($place:ident => $run:expr) => {{
        let mut world = World::new(7);
        let runtime: SimRuntime = world.add_runtime("machine").unwrap();
        let done = world.block_on(async {
            let $place = EnginePlace::new(runtime);
            $run
        });
        done.unwrap();
    }};
}

macro_rules! on_workers {
    ($place:ident => $run:expr) => {{
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let $place = WorkerPlace::default();
            $run
        });
    }};
}

macro_rules! on_mio {
    ($place:ident => $run:expr) => {{
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let $place = MioPlace::default();
            $run
        });
    }};
}

macro_rules! on_engine_over_mio {
    ($place:ident => $run:expr) => {{
        let mut executor = Executor::new().unwrap();
        let runtime = executor.runtime();
        let done = executor.block_on(async {
            let $place = EnginePlace::new(runtime);
            $run
        });
        done.unwrap();
    }};
}

macro_rules! on_async_std {
    ($place:ident => $run:expr) => {
        ::async_std::task::block_on(async {
            let $place = EnginePlace::new(AsyncStdRuntime::default());
            $run
        })
    };
}

macro_rules! on_smol {
    ($place:ident => $run:expr) => {{
        let executor = Arc::new(::smol::Executor::new());
        let runtime = SmolRuntime::on(&executor);
        ::smol::block_on(executor.run(async {
            let $place = EnginePlace::new(runtime);
            $run
        }));
    }};
}

use {
    on_async_std, on_engine_over_mio, on_mio, on_simulator, on_smol, on_tokio_current_thread,
    on_tokio_multi_thread, on_workers,
};

suite!(tokio_multi_thread, on_tokio_multi_thread);
suite!(tokio_current_thread, on_tokio_current_thread);
suite!(async_std, on_async_std);
suite!(smol, on_smol);
suite!(simulator, on_simulator);
suite!(mio, on_mio);
suite!(workers, on_workers);
suite!(engine_over_mio, on_engine_over_mio);

with_sockets!(tokio_multi_thread_sockets, on_tokio_multi_thread);
with_sockets!(tokio_current_thread_sockets, on_tokio_current_thread);
with_sockets!(async_std_sockets, on_async_std);
with_sockets!(smol_sockets, on_smol);
with_sockets!(mio_sockets, on_mio);
with_sockets!(engine_over_mio_sockets, on_engine_over_mio);
with_sockets!(workers_sockets, on_workers);
