//! What goes in and out of the machines, written down and run again.

use super::{ECHO, anywhere, exchange, pattern, serve_echo, until};
use crate::{
    node::{Node as _, Place},
    protocols::{Protocols, config},
};
use core::sync::atomic::{AtomicUsize, Ordering};
use drywire::recording::Script;
use drywire_system::recording::{FileRecorder, RecordingFile};
use std::{fs, process};

/// Every node is made of the same protocols.
struct Same;

impl Script for Same {
    type Protocols = Protocols;

    fn protocols(&mut self, _host: u32) -> Option<Protocols> {
        Some(Protocols::default())
    }
}

/// The machines do the same without the host that drove them.
pub async fn recordings_are_replayed<L: Place>(place: L) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let name = format!("drywire-hosts-{}-{number}.recording", process::id());
    let path = std::env::temp_dir().join(name);
    let _ = fs::remove_file(&path);
    let recorder = FileRecorder::create(&path).unwrap();
    let node = |name| {
        let mut config = config();
        config.recorder = Some(recorder.host(name));
        place.node(config)
    };
    let (client, server) = (node("client"), node("server"));
    serve_echo(&place, &server).await;
    let address = server.listen(anywhere()).await.unwrap();
    let peer = client.dial(address).await.unwrap();
    for number in 0..3 {
        let stream = client.open(peer, ECHO).await.unwrap();
        let data = pattern(number, 100_000);
        assert!(exchange(stream, data.clone()).await.unwrap() == data);
    }
    client.shutdown().await;
    server.shutdown().await;
    drop((client, server));
    // Whatever still goes on behind the last word would be cut in the middle.
    until(&place, "nothing goes on", || async {
        place.trouble().count() == 0
    })
    .await;
    recorder.finish().unwrap();
    let report = RecordingFile::open(&path).unwrap().replay(Same);
    let _ = fs::remove_file(&path);
    let report = report.unwrap();
    assert_eq!((report.swarms, report.connections), (2, 2));
}
