//! `drywire replay`: runs a recording again, and says whether everything came out the same.

use crate::{
    args::ReplayOptions,
    failure::Failure,
    output::{Output, printable},
    session::{Protocols, Role},
};
use core::fmt;
use drywire::recording::{Entry, Script};
use drywire_engine::recording::RecordingFile;

pub(crate) fn run(options: &ReplayOptions, output: &Output) -> Result<(), Failure> {
    let file = options.file.display();
    let failed = |error: &dyn fmt::Display| Failure::failed(format!("{file}: {error}"));
    let mut recording = RecordingFile::open(&options.file).map_err(|error| failed(&error))?;
    if options.print {
        let mut number = 0u64;
        while let Some(entry) = recording.next_entry().map_err(|error| failed(&error))? {
            let text = match Entry::decode(entry.machine, entry.bytes) {
                Ok(decoded) => printable(&decoded.to_string()),
                Err(malformed) => malformed.to_string(),
            };
            let (host, machine) = (entry.host, entry.machine.to_string());
            let fields = [
                ("number", number.into()),
                ("host", host.into()),
                ("machine", machine.as_str().into()),
                ("text", text.as_str().into()),
            ];
            output.say(
                &format!("{number} {host} {machine} {text}"),
                "entry",
                &fields,
            )?;
            number = number.saturating_add(1);
        }
    }
    let roles = recording.hosts().iter().map(|name| Role::named(name));
    let nodes = Nodes(roles.collect());
    let report = recording.replay(nodes).map_err(|error| failed(&error))?;
    let text = format!(
        "OK {} entries; {} nodes and {} connections ran again; {} outputs, each the same{}",
        report.entries,
        report.swarms,
        report.connections,
        report.outputs,
        match report.swarms_left_out {
            0 => String::new(),
            count => format!("; {count} nodes that this program cannot run again were left out"),
        }
    );
    let fields = [
        ("entries", report.entries.into()),
        ("nodes", report.swarms.into()),
        ("nodes_left_out", report.swarms_left_out.into()),
        ("connections", report.connections.into()),
        ("outputs", report.outputs.into()),
    ];
    output.say(&text, "replayed", &fields)
}

/// What each host of a recording was, if it was one of this program's.
struct Nodes(Vec<Option<Role>>);

impl Script for Nodes {
    type Protocols = Protocols;

    fn protocols(&mut self, host: u32) -> Option<Protocols> {
        let role = self.0.get(usize::try_from(host).ok()?)?;
        role.as_ref().map(Role::protocols)
    }
}
