//! Target of running machines again from entries that nobody wrote, or not so.

use crate::input::Input;
use drywire::{
    connection::ConnectionId,
    protocol::Standard,
    recording::{Entry, Machine, Replay, Script},
    swarm::{Config, SecurityConfig},
};
use drywire_tests::{
    net::{Manner, Net, Together},
    tape::{Line, Tape},
};
use std::{sync::LazyLock, time::Duration};

/// Entries of one run; the rest of the input is not looked at.
const MAX_ENTRIES: usize = 400;

/// Two nodes that meet, ping each other, say who they are, and part. Without encryption, so that what is altered goes deep.
static MEETING: LazyLock<Vec<Line>> = LazyLock::new(|| {
    let tape = Tape::default();
    let manner = Manner {
        tape: Some(tape.clone()),
        ..Manner::default()
    };
    let config = Config::new(SecurityConfig::InsecurePlaintext);
    let mut net = Net::<Together<Standard>>::new(2, &config, 1, &manner, Standard::default);
    net.dial(0, 1).expect("may dial");
    net.run_for(Duration::from_secs(1));
    let connection = net.connections(0)[0];
    net.request(0, connection, "/unknown", 100).expect("open");
    net.run_for(Duration::from_secs(20));
    net.cut(0, connection);
    net.run_for(Duration::from_secs(1));
    drop(net);
    tape.lines()
});

struct Standards;

impl Script for Standards {
    type Protocols = Standard;

    fn protocols(&mut self, _: u32) -> Option<Standard> {
        Some(Standard::default())
    }
}

/// Entries of a recording, altered, left out, repeated or made up, end in an error or in nothing; what can be read can be
/// shown.
pub fn recording(data: &[u8]) {
    let mut input = Input::new(data);
    let lines = match input.byte() {
        0 => made_up(&mut input),
        _ => altered(&mut input),
    };
    let mut replay = Replay::with_swarms(Standards);
    for (host, machine, bytes) in lines {
        if let Ok(entry) = Entry::decode(machine, &bytes) {
            let _ = entry.to_string();
        }
        // It goes on for as long as it is told to.
        let _ = replay.apply(host, machine, &bytes);
    }
    let _ = replay.finish();
}

fn made_up(input: &mut Input<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    while !input.is_empty() && lines.len() < MAX_ENTRIES {
        let machine = match input.byte() {
            0 => Machine::Swarm,
            number => Machine::Connection(ConnectionId::new(number.into())),
        };
        let length = input.size();
        let bytes = (0..length).map_while(|_| (!input.is_empty()).then(|| input.byte()));
        lines.push((0, machine, bytes.collect()));
    }
    lines
}

fn altered(input: &mut Input<'_>) -> Vec<Line> {
    let mut lines = MEETING.clone();
    for _ in 0..MAX_ENTRIES {
        if input.is_empty() || lines.is_empty() {
            break;
        }
        let index = input.size() % lines.len();
        let bytes = &mut lines[index].2;
        match input.byte() {
            0 => drop(lines.remove(index)),
            1 => {
                let line = lines[index].clone();
                lines.insert(index, line);
            }
            2 => {
                let other = input.size() % lines.len();
                lines.swap(index, other);
            }
            3 => bytes.truncate(input.size()),
            4 => bytes.insert(input.size() % (bytes.len() + 1), input.byte()),
            // The largest number, in place of what was there.
            5 => {
                let at = input.size() % bytes.len().max(1);
                let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
                bytes.splice(at..bytes.len().min(at + 1), huge);
            }
            _ => {
                let at = input.size() % bytes.len().max(1);
                let byte = input.byte();
                if let Some(old) = bytes.get_mut(at) {
                    *old = byte;
                }
            }
        }
    }
    lines
}
