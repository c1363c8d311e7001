//! The drywire program: run a libp2p node, ping, identify, echo, measure.
#![forbid(unsafe_code)]
// A program needs std, and says so plainly.
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

mod args;
mod clients;
mod demo;
mod executor;
mod explore;
mod failure;
mod kad;
mod keys;
mod node;
mod output;
mod perf;
mod record_key;
mod replay;
mod request;
mod services;
mod session;
mod sim;

use args::{Arguments, Command};
use clap::Parser;
use core::future::Future;
use executor::interrupted;
use failure::Failure;
use output::Output;
use session::{Hosts, race};
use std::{
    io,
    process::{self, ExitCode},
};

fn main() -> ExitCode {
    let (result, output) = match Arguments::try_parse() {
        Ok(arguments) => {
            let output = Output::new(arguments.json);
            (run(arguments, &output), output)
        }
        Err(error) => {
            // Nobody has understood the command line, so this looks for the one word that matters now.
            let mut words = std::env::args_os().skip(1).take_while(|word| word != "--");
            let output = Output::new(words.any(|word| word == "--json"));
            (unparsed(&error), output)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failed(&failure);
            ExitCode::from(failure.code())
        }
    }
}

/// Shows the help or the version, if that is what was asked for.
fn unparsed(error: &clap::Error) -> Result<(), Failure> {
    if error.use_stderr() {
        return Err(Failure::unparsed(error));
    }
    output::written(
        error
            .print()
            .and_then(|()| io::Write::flush(&mut io::stdout())),
    )
}

fn run(arguments: Arguments, output: &Output) -> Result<(), Failure> {
    if let Command::Key(command) = arguments.command {
        return keys::run(&command, output);
    }
    if let Command::Replay(options) = arguments.command {
        return replay::run(&options, output);
    }
    executor::run(arguments.runtime, async {
        let first = interrupted();
        executor::spawn(async move {
            first.await;
            // Who insists is obeyed.
            interrupted().await;
            process::exit(130);
        });
        let hosts = Hosts::default();
        let result = command(arguments.command, &hosts, output).await;
        hosts.goodbye().await;
        let recorded = hosts.finish_recording();
        result.and(recorded)
    })?
}

async fn command(command: Command, hosts: &Hosts, output: &Output) -> Result<(), Failure> {
    match command {
        // These have an end of their own for whom stops them.
        Command::Node(options) => node::run(options, hosts, output).await,
        Command::Ping(options) => clients::ping(options, hosts, output).await,
        Command::Sim(options) => sim::run(options, output).await,
        Command::Explore(options) => explore::run(options, output).await,
        Command::Identify(options) => {
            let work = clients::identify(options, hosts, output);
            unless_interrupted("the peer said who it is", work).await
        }
        Command::Echo(options) => {
            let work = clients::echo(options, hosts, output);
            unless_interrupted("all of the echo was back", work).await
        }
        Command::Request(options) => {
            let work = request::run(options, hosts, output);
            unless_interrupted("the response was there", work).await
        }
        Command::Kad(command) => {
            // Providing has an end of its own for whom stops it.
            let work = kad::run(command, hosts, output);
            work.await
        }
        Command::Perf(options) => {
            let work = perf::run(options, hosts, output);
            unless_interrupted("the measurement was complete", work).await
        }
        Command::Demo => unless_interrupted("the demo was over", demo::run(hosts, output)).await,
        Command::Key(_) | Command::Replay(_) => Ok(()),
    }
}

async fn unless_interrupted(
    before: &str,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    race(interrupted(), work)
        .await
        .unwrap_or_else(|| Err(Failure::interrupted(before)))
}
