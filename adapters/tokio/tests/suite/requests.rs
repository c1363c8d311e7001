//! Requests over real sockets, by tasks on many threads: no wake-up is lost, whoever is at work on the swarm meanwhile.

use bytes::Bytes;
use drywire::{
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::request_response::{BytesCodec, Config, ProtocolSupport, RequestResponse},
    swarm::{DialOptions, Part},
};
use drywire_engine::{Host, Requests};
use drywire_tokio::TokioRuntime;

type Machine = RequestResponse<BytesCodec>;

const NAME: ProtocolName = ProtocolName::from_static("/requests/1");
const TASKS: usize = 16;
const REQUESTS: usize = 200;

struct Site {
    host: Host<Machine>,
    requests: Requests<Machine, BytesCodec>,
    address: Multiaddr,
}

impl Site {
    /// A host that answers with what it is asked.
    async fn start() -> Self {
        let machine = Machine::new([(NAME, ProtocolSupport::Full)], Config::default());
        let runtime = TokioRuntime::current().unwrap();
        let host = Host::builder(runtime, machine).start().unwrap();
        let bound = host
            .listen("/ip4/127.0.0.1/tcp/0".parse().unwrap())
            .await
            .unwrap();
        let address = bound.address.with_peer_id(host.peer_id()).unwrap();
        let requests = host.requests(Part::whole());
        let mut incoming = requests.incoming(1024);
        tokio::spawn(async move {
            while let Some(asked) = incoming.next().await {
                let gives_up = asked.request.first().is_some_and(|first| first % 7 == 0);
                let respond = async move {
                    // The asker may be gone.
                    let _ = asked.responder.respond(asked.request);
                };
                if gives_up {
                    respond.await;
                } else {
                    tokio::spawn(respond);
                }
            }
        });
        Self {
            host,
            requests,
            address,
        }
    }

    /// Asks from many tasks; every now and then a future is dropped before it completes.
    fn ask(&self, other: &Self) -> Vec<tokio::task::JoinHandle<()>> {
        let peer = other.host.peer_id();
        let task = |task: usize| {
            let requests = self.requests.clone();
            tokio::spawn(async move {
                for number in 0..REQUESTS {
                    let question = Bytes::from(vec![number as u8; 1 + (number * task) % 3000]);
                    let request = requests.request(peer, question.clone());
                    if number % 10 == task % 10 {
                        tokio::select! {
                            biased;
                            answer = request => assert_eq!(answer.unwrap(), question),
                            () = yield_times(number % 5) => {}
                        }
                    } else {
                        assert_eq!(request.await.unwrap(), question);
                    }
                }
            })
        };
        (0..TASKS).map(task).collect()
    }
}

async fn yield_times(times: usize) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

async fn both_ways() {
    let (one, other) = (Site::start().await, Site::start().await);
    for (site, peer) in [(&one, &other), (&other, &one)] {
        site.host.add_address(peer.host.peer_id(), &peer.address);
    }
    let peer = DialOptions::peer(other.host.peer_id());
    one.host.dial(peer).await.unwrap();
    let mut tasks = one.ask(&other);
    tasks.extend(other.ask(&one));
    for task in tasks {
        task.await.unwrap();
    }
    for site in [&one, &other] {
        let pending = site.host.with(|machine, _| machine.pending_outbound());
        assert_eq!(pending, 0);
    }
    one.host.shutdown().await;
    other.host.shutdown().await;
}

#[tokio::test]
async fn requests_on_one_thread() {
    both_ways().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_on_many_threads() {
    both_ways().await;
}
