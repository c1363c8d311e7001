//! The drywire program: run a libp2p node, ping, identify, echo, measure.
#![forbid(unsafe_code)]
// A program needs std, and says so plainly.
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

mod args;
mod clients;
mod demo;
mod failure;
mod keys;
mod node;
mod output;
mod perf;
mod services;
mod session;

use args::{Arguments, Command, RuntimeKind};
use clap::Parser;
use failure::Failure;
use output::Output;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::new(arguments.json);
    match run(arguments, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failed(&failure);
            ExitCode::from(failure.code())
        }
    }
}

fn run(arguments: Arguments, output: &Output) -> Result<(), Failure> {
    if let Command::Key(command) = arguments.command {
        return keys::run(&command, output);
    }
    let RuntimeKind::Tokio = arguments.runtime;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("tokio does not start: {error}")))?;
    let result = runtime.block_on(async {
        match arguments.command {
            Command::Node(options) => node::run(options, output).await,
            Command::Ping(options) => clients::ping(options, output).await,
            Command::Identify(options) => clients::identify(options, output).await,
            Command::Echo(options) => clients::echo(options, output).await,
            Command::Perf(options) => perf::run(options, output).await,
            Command::Demo => demo::run(output).await,
            Command::Key(_) => Ok(()),
        }
    });
    // Tasks left over (a resolver's thread, say) must not keep the program.
    runtime.shutdown_background();
    result
}
