//! What nodes of a DHT must be able to do with each other, written once for any two implementations: `A` acts, `B` is there for
//! it. Run for every pairing by `pairings!`.

use drywire_interop::kad::{JsKad, KadNode, KadOptions, Told};
use futures::future::join_all;
use libp2p::identity::Keypair;
use std::{any::TypeId, collections::BTreeSet, future::Future, time::Duration};

/// No scenario may take longer, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(180);

/// Longer than anything on loopback takes.
const SOON: Duration = Duration::from_secs(60);

/// How often something is looked at that nobody tells.
const AGAIN: Duration = Duration::from_millis(50);

/// Runs a scenario in a runtime of its own; or prints why it cannot.
pub(crate) fn run<A: KadNode, B: KadNode, F: Future<Output = ()>>(scenario: impl FnOnce() -> F) {
    let js = TypeId::of::<JsKad>();
    let needs_js = TypeId::of::<A>() == js || TypeId::of::<B>() == js;
    if needs_js && let Err(reason) = JsKad::available() {
        println!("skipped, there is no js-libp2p here: {reason}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(DEADLINE, scenario())
            .await
            .expect("the scenario hangs");
    });
    runtime.shutdown_background();
}

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !so().await {
            tokio::time::sleep(AGAIN).await;
        }
    };
    let waited = tokio::time::timeout(SOON, waiting).await;
    waited.unwrap_or_else(|_| panic!("it never happened that {what}"));
}

pub(crate) async fn start<N: KadNode>(options: KadOptions) -> N {
    N::start(options).await.unwrap()
}

/// `a` knows `b`, and has it in its routing table.
pub(crate) async fn acquaint<A: KadNode, B: KadNode>(a: &A, b: &B) {
    a.introduce(&b.id(), &b.address()).await.unwrap();
    a.connect(&b.id(), &b.address()).await.unwrap();
    knows(a, b).await;
}

/// Waits until `a` has `b` in its routing table.
async fn knows<A: KadNode, B: KadNode>(a: &A, b: &B) {
    let known = async || a.table().await.unwrap().contains(&b.id());
    eventually("one node knows the other", known).await;
}

fn names(told: &[Told]) -> BTreeSet<&str> {
    told.iter().map(|told| told.peer.as_str()).collect()
}

/// `/pk/` and the hash of a public key; and the key.
fn public_key() -> (Vec<u8>, Vec<u8>) {
    let key = Keypair::generate_ed25519().public();
    let name = key.to_peer_id().to_bytes();
    ([b"/pk/".as_slice(), &name].concat(), key.encode_protobuf())
}

/// The SHA-256 multihash of something.
fn multihash(digest: u8) -> Vec<u8> {
    [[0x12, 32].as_slice(), &[digest; 32]].concat()
}

/// A client is told of those that its server knows, asks them too, and stays unknown itself.
pub(crate) async fn looks_for_peers<A: KadNode, B: KadNode>() {
    let a: A = start(KadOptions::client()).await;
    let (b, far): (B, B) = (
        start(KadOptions::new()).await,
        start(KadOptions::new()).await,
    );
    acquaint(&b, &far).await;
    acquaint(&a, &b).await;
    if A::NAME == "js" {
        // It goes on only to those who are closer than whoever told of them, which is up to their keys. It takes all of them
        // into its table, and asks them the next time.
        a.closest(b"anything").await.unwrap();
        knows(&a, &far).await;
    }
    let found = a.closest(b"anything").await.unwrap();
    assert_eq!(names(&found), [b.id().as_str(), &far.id()].into());
    // What it does not itself provide it does not answer either: it is nobody's neighbour.
    for server in [&b, &far] {
        assert!(!server.table().await.unwrap().contains(&a.id()));
    }
}

/// Keys and values of any bytes arrive as they are, and are found by others.
pub(crate) async fn keeps_records<A: KadNode, B: KadNode>() {
    let roomy = KadOptions {
        roomy: true,
        ..KadOptions::new()
    };
    let (a, b): (A, B) = (start(roomy.clone()).await, start(roomy.clone()).await);
    let other: A = start(KadOptions {
        server: false,
        ..roomy
    })
    .await;
    acquaint(&a, &b).await;
    acquaint(&other, &b).await;
    let binary: Vec<u8> = (0..=255).collect();
    for (key, value) in [
        (b"/interop/text".to_vec(), b"value".to_vec()),
        (vec![0], vec![0; 1]),
        (binary.clone(), binary.repeat(15)),
        (vec![255; 32], vec![7; 16 * 1024]),
        (b"longest".to_vec(), vec![9; 65 * 1024]),
    ] {
        let put = a.put(&key, &value, 1, None).await.unwrap();
        assert!(put.enough, "{} bytes", value.len());
        assert_eq!(b.stored(&key).await.unwrap(), Some(value.clone()));
        let found = other.get(&key).await.unwrap().expect("it is there");
        assert!(found.value == value, "{} bytes", value.len());
        assert_eq!(found.publisher, Some(a.id()));
    }
    assert_eq!(other.get(b"nobody has it").await.unwrap(), None);
}

/// What the other one puts is found here.
pub(crate) async fn keeps_public_keys<A: KadNode, B: KadNode>() {
    let options = KadOptions::new().public();
    let (a, b): (A, B) = (start(options.clone()).await, start(options.clone()).await);
    let other: A = start(KadOptions::client().public()).await;
    acquaint(&a, &b).await;
    acquaint(&other, &b).await;
    let (key, value) = public_key();
    let put = a.put(&key, &value, 1, None).await.unwrap();
    assert!(put.enough);
    let found = other.get(&key).await.unwrap().expect("it is there");
    assert_eq!(found.value, value);
    let (nowhere, _) = public_key();
    assert_eq!(other.get(&nowhere).await.unwrap(), None);
}

/// Whoever looks for a provider learns where it is, and reaches it there.
pub(crate) async fn tells_providers<A: KadNode, B: KadNode>() {
    let (a, b): (A, B) = (
        start(KadOptions::new()).await,
        start(KadOptions::new()).await,
    );
    let (same, other): (A, B) = (
        start(KadOptions::client()).await,
        start(KadOptions::client()).await,
    );
    acquaint(&a, &b).await;
    acquaint(&same, &b).await;
    acquaint(&other, &b).await;
    let key = multihash(7);
    assert_eq!(other.providers(&key).await.unwrap(), []);
    a.provide(&key).await.unwrap();
    // Announcements are not acknowledged.
    let told = async || !other.providers(&key).await.unwrap().is_empty();
    eventually("the provider is known", told).await;
    async fn reaches<N: KadNode, P: KadNode>(node: &N, provider: &P, key: &[u8]) {
        let providers = node.providers(key).await.unwrap();
        let told = providers.iter().find(|told| told.peer == provider.id());
        let told = told.expect("it provides");
        // A provider may be told more than once.
        let all = providers.iter().filter(|told| told.peer == provider.id());
        let mut addresses = all.flat_map(|told| &told.addresses);
        let suffix = format!("/p2p/{}", provider.id());
        let address = addresses.find(|it| it.trim_end_matches(&suffix) == provider.address());
        let address = address.unwrap_or_else(|| panic!("no address in {told:?}"));
        let address = address.trim_end_matches(&suffix);
        node.connect(&provider.id(), address).await.unwrap();
    }
    reaches(&other, &a, &key).await;
    reaches(&same, &a, &key).await;
    assert_eq!(other.providers(&multihash(8)).await.unwrap(), []);
}

async fn introduce_all<A: KadNode, B: KadNode>(nodes: &[A], first: &B) {
    for node in nodes.iter().filter(|node| node.id() != first.id()) {
        node.introduce(&first.id(), &first.address()).await.unwrap();
    }
}

/// Everybody finds everybody, through nodes of both kinds, having been told of one.
async fn joins_of<A: KadNode, B: KadNode>(each: usize) {
    let a: Vec<A> = join_all((0..each).map(|_| start(KadOptions::new()))).await;
    let b: Vec<B> = join_all((0..each).map(|_| start(KadOptions::new()))).await;
    // Each knows one of the other kind, which is where the two halves meet.
    introduce_all(&a, &b[0]).await;
    introduce_all(&b, &a[0]).await;
    let all: BTreeSet<String> = a
        .iter()
        .map(KadNode::id)
        .chain(b.iter().map(KadNode::id))
        .collect();
    async fn finds_all<N: KadNode>(node: &N, all: &BTreeSet<String>) -> bool {
        let found = node.closest(b"somewhere").await.unwrap();
        let others = all.iter().filter(|id| **id != node.id());
        let others: BTreeSet<&str> = others.map(String::as_str).collect();
        names(&found) == others
    }
    let joined = async || {
        // One after another, as identify takes its time.
        for node in &a {
            let _ = node.bootstrap().await;
        }
        for node in &b {
            let _ = node.bootstrap().await;
        }
        let a = join_all(a.iter().map(|node| finds_all(node, &all))).await;
        let b = join_all(b.iter().map(|node| finds_all(node, &all))).await;
        a.iter().chain(&b).all(|all| *all)
    };
    eventually("all find all", joined).await;
}

/// Four of each.
pub(crate) async fn joins<A: KadNode, B: KadNode>() {
    joins_of::<A, B>(4).await;
}

/// Two of each, where nodes are processes.
pub(crate) async fn joins_two<A: KadNode, B: KadNode>() {
    joins_of::<A, B>(2).await;
}

/// Who no longer serves leaves the routing table, who serves again comes back: identify tells.
pub(crate) async fn follows_modes<A: KadNode, B: KadNode>() {
    let (a, b): (A, B) = (
        start(KadOptions::new()).await,
        start(KadOptions::new()).await,
    );
    a.connect(&b.id(), &b.address()).await.unwrap();
    for _ in 0..2 {
        knows(&a, &b).await;
        b.serve(false).await.unwrap();
        let gone = async || !a.table().await.unwrap().contains(&b.id());
        eventually("a client is forgotten", gone).await;
        b.serve(true).await.unwrap();
    }
    knows(&a, &b).await;
}

/// Who begins to serve comes into the routing table, as [`follows_modes`] has it too.
pub(crate) async fn learns_of_servers<A: KadNode, B: KadNode>() {
    let a: A = start(KadOptions::new()).await;
    let (b, before): (B, B) = (
        start(KadOptions::client()).await,
        start(KadOptions::new()).await,
    );
    a.connect(&b.id(), &b.address()).await.unwrap();
    // By the time that one is known, what the other said of itself has come.
    acquaint(&a, &before).await;
    assert!(!a.table().await.unwrap().contains(&b.id()));
    b.serve(true).await.unwrap();
    knows(&a, &b).await;
}

/// How long a record is valid travels with it.
pub(crate) async fn tells_expiry<A: KadNode, B: KadNode>() {
    let (a, b): (A, B) = (
        start(KadOptions::new()).await,
        start(KadOptions::new()).await,
    );
    let other: A = start(KadOptions::client()).await;
    acquaint(&a, &b).await;
    acquaint(&other, &b).await;
    let ttl = Duration::from_secs(1000);
    assert!(a.put(b"long", b"1", 1, Some(ttl)).await.unwrap().enough);
    let found = other.get(b"long").await.unwrap().expect("it is there");
    let left = found.ttl.expect("it expires");
    assert!(left <= ttl && left > ttl - SOON, "{left:?}");
    let short = Duration::from_secs(3);
    assert!(a.put(b"short", b"2", 1, Some(short)).await.unwrap().enough);
    let expired = async || other.get(b"short").await.unwrap().is_none();
    eventually("it expires", expired).await;
}

/// Success is what as many took as should.
pub(crate) async fn counts_quorums<A: KadNode, B: KadNode>() {
    let a: A = start(KadOptions::new()).await;
    let b: Vec<B> = join_all((0..3).map(|_| start(KadOptions::new()))).await;
    for b in &b {
        acquaint(&a, b).await;
    }
    assert!(a.put(b"three", b"1", 3, None).await.unwrap().enough);
    for b in &b {
        assert_eq!(b.stored(b"three").await.unwrap(), Some(b"1".to_vec()));
    }
    let put = a.put(b"four", b"1", 4, None).await.unwrap();
    assert!(!put.enough);
    assert_eq!(put.by, b.iter().map(KadNode::id).collect());
}

/// A record that is left to the application is acknowledged, and kept only if the application does.
pub(crate) async fn leaves_records_to_the_application<A: KadNode, B: KadNode>() {
    let a: A = start(KadOptions::new()).await;
    let filter = KadOptions {
        filter: true,
        ..KadOptions::new()
    };
    let b: B = start(filter).await;
    acquaint(&a, &b).await;
    assert!(a.put(b"key", b"value", 1, None).await.unwrap().enough);
    let offered = tokio::time::timeout(SOON, b.offered()).await.unwrap();
    assert_eq!(offered.unwrap(), (b"key".to_vec(), b"value".to_vec()));
    assert_eq!(b.stored(b"key").await.unwrap(), None);
}

/// A server that knows many peers with many addresses is still understood.
pub(crate) async fn reads_long_responses<A: KadNode, B: KadNode>() {
    let a: A = start(KadOptions::client()).await;
    let b: B = start(KadOptions {
        // rust-libp2p makes responses longer than it reads itself.
        roomy: true,
        ..KadOptions::new()
    })
    .await;
    let roomy_reader: A = start(KadOptions {
        roomy: true,
        ..KadOptions::client()
    })
    .await;
    for _ in 0..40 {
        let nobody = Keypair::generate_ed25519()
            .public()
            .to_peer_id()
            .to_string();
        for port in 0..16 {
            // Nobody here speaks QUIC, so that the name is never looked up.
            let host = "a-very-long-name-of-a-host.in-a-very-long-domain.invalid";
            let address = format!("/dns4/{host}/udp/{}/quic-v1", 4000 + port);
            b.introduce(&nobody, &address).await.unwrap();
        }
    }
    acquaint(&roomy_reader, &b).await;
    let found = roomy_reader.closest(b"anything").await.unwrap();
    assert_eq!(names(&found), [b.id().as_str()].into());
    // With the limits that everybody has by default; rust-libp2p cannot read all that it writes.
    if B::NAME == "drywire" || A::NAME == "drywire" {
        acquaint(&a, &b).await;
        let found = a.closest(b"anything").await.unwrap();
        assert_eq!(names(&found), [b.id().as_str()].into());
    }
}

/// Makes a module of tests that runs scenarios with this node that acts and that other one.
macro_rules! pairings {
    ($($module:ident: $acts:ty => $other:ty: $which:ident;)*) => { $(
        mod $module {
            use super::*;

            pairings!(@$which $acts, $other);
        }
    )* };
    (@all $acts:ty, $other:ty) => {
        pairings!(@tests $acts, $other:
            looks_for_peers keeps_records keeps_public_keys tells_providers joins follows_modes tells_expiry
            counts_quorums leaves_records_to_the_application reads_long_responses);
    };
    (@to_js $acts:ty, $other:ty) => {
        pairings!(@tests $acts, $other:
            looks_for_peers keeps_public_keys tells_providers joins_two follows_modes);
    };
    // Not `follows_modes`: js-libp2p learns who serves, and never forgets who no longer does. Its routing table hears of peers
    // with the protocol (`onConnect` of its topology) and of none without; a peer leaves it only where a full k-bucket has a
    // newcomer, and then for want of an answer to a ping.
    (@from_js $acts:ty, $other:ty) => {
        pairings!(@tests $acts, $other:
            looks_for_peers keeps_public_keys tells_providers joins_two learns_of_servers);
    };
    (@tests $acts:ty, $other:ty: $($scenario:ident)*) => { $(
        #[test]
        fn $scenario() {
            crate::scenarios::run::<$acts, $other, _>(crate::scenarios::$scenario::<$acts, $other>);
        }
    )* };
}
