//! What two nodes must be able to ask each other, written once for any two implementations: `A` asks, `B` answers. Run for
//! every pairing by `pairings!`.

use drywire_interop::requests::{
    Body, Failure,
    Format::{self, Bytes, Cbor, Json, Prefixed},
    Outcome, Refused, RequestOptions, Requester,
};
use futures::future::{join, join_all};
use std::{collections::BTreeMap, future::Future, time::Duration};

/// No scenario may take longer, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(120);

/// Longer than anything on loopback takes, shorter than the timeout of any request that would hide a hang.
const SOON: Duration = Duration::from_secs(30);

/// The timeout of requests that are to run into it.
const SHORT: Duration = Duration::from_millis(300);

const FORMATS: [Format; 4] = [Cbor, Json, Bytes, Prefixed];

/// The longest body where lengths matter: no body of any format is longer by itself.
const CAP: u32 = 5000;

/// Runs a scenario in a runtime of its own.
pub(crate) fn run<F: Future<Output = ()>>(scenario: F) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(DEADLINE, scenario)
            .await
            .expect("the scenario hangs");
    });
    runtime.shutdown_background();
}

pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future)
        .await
        .expect("nothing happened")
}

/// A connected pair.
pub(crate) struct Pair<A, B> {
    pub(crate) a: A,
    pub(crate) b: B,
    /// `b` as `a` knows it, and the other way round.
    pub(crate) b_id: String,
    pub(crate) a_id: String,
}

impl<A: Requester, B: Requester> Pair<A, B> {
    async fn new(a: RequestOptions, b: RequestOptions) -> Self {
        let pair = Pair::of(A::start(a).unwrap(), B::start(b).unwrap());
        pair.await
    }

    pub(crate) async fn of(a: A, b: B) -> Self {
        let address = b.listen().await.unwrap();
        let b_id = a.connect(&address).await.unwrap();
        assert_eq!(b_id, b.id());
        let a_id = a.id();
        Self { a, b, b_id, a_id }
    }

    /// `a` asks and `b` answers; both see what the other said.
    async fn exchange(&self, request: Body, response: Body) {
        let asking = self.a.ask(&self.b_id, request.clone());
        let answering = async {
            let asked = self.b.asked().await;
            assert_eq!(asked.from, self.a_id);
            assert!(asked.body == request, "the request");
            let answered = self.b.answer(asked.channel, response.clone()).await;
            assert_eq!(answered, Ok(()));
        };
        let (answer, ()) = soon(join(asking, answering)).await;
        assert!(answer.unwrap() == response, "the response");
    }

    /// The same, with the last word on it.
    async fn exchange_and_hear(&self, request: Body, response: Body) {
        self.exchange(request, response).await;
        assert_eq!(soon(self.b.outcome()).await, Outcome::Sent);
    }

    /// A failure has not harmed the connection, and what it was about is not surfaced.
    async fn still_works(&self) {
        self.exchange(Body::text("still"), Body::text("here")).await;
    }
}

/// Two nodes of one kind, with the same settings but for what `change` does to the second.
async fn pair<A: Requester, B: Requester>(
    format: Format,
    change: impl Fn(&mut RequestOptions, &mut RequestOptions),
) -> Pair<A, B> {
    let (mut a, mut b) = (RequestOptions::new(format), RequestOptions::new(format));
    change(&mut a, &mut b);
    Pair::new(a, b).await
}

/// Values of every shape arrive as they were said, whoever connected.
pub(crate) async fn says_everything<A: Requester, B: Requester>() {
    for format in [Cbor, Json] {
        let pair = pair::<A, B>(format, |_, _| {}).await;
        pair.exchange_and_hear(Body::rich(), Body::rich()).await;
        pair.exchange_and_hear(Body::default(), Body::rich()).await;
        let Pair { a, b, a_id, b_id } = pair;
        let back = Pair {
            a: b,
            b: a,
            b_id: a_id,
            a_id: b_id,
        };
        back.exchange_and_hear(Body::rich(), Body::default()).await;
    }
}

/// The shortest bodies, one byte more, and as many as are allowed.
pub(crate) async fn says_any_length<A: Requester, B: Requester>() {
    for format in FORMATS {
        let pair = pair::<A, B>(format, |a, b| {
            for options in [a, b] {
                (options.max_request, options.max_response) = (CAP, 2 * CAP);
            }
        })
        .await;
        let least = Body::default().len(format);
        assert_eq!(least == 0, matches!(format, Bytes | Prefixed));
        let request = |len| Body::of_len(format, len).unwrap();
        for len in [least, least + 1, CAP as usize - 1, CAP as usize] {
            let response = if len > 1000 { len + CAP as usize } else { len };
            pair.exchange_and_hear(request(len), request(response))
                .await;
        }
    }
}

/// The default limits, to the byte.
pub(crate) async fn says_the_longest<A: Requester, B: Requester>() {
    for format in [Cbor, Json, Bytes] {
        let pair = pair::<A, B>(format, |_, _| {}).await;
        let longest = |len| Body::of_len(format, len).unwrap();
        pair.exchange_and_hear(longest(1 << 20), longest(10 << 20))
            .await;
    }
}

/// The stream was dropped by who should have answered. rust-libp2p finishes it then, if it has seen its end, and reads an end
/// where the other side has reset it: where an empty body is a body, it looks like one.
fn expect_nothing(format: Format, answer: Result<Body, Failure>) {
    match answer {
        Err(Failure::Stream(_) | Failure::Omitted) => {}
        Ok(body) if format == Bytes && body == Body::default() => {}
        other => panic!("{format:?}: {other:?}"),
    }
}

fn too_long(format: Format) -> Body {
    Body::of_len(format, CAP as usize + 1).unwrap()
}

/// A request that is too long is refused before it is sent, where the implementation looks.
pub(crate) async fn writes_no_long_request<A: Requester, B: Requester>() {
    for format in FORMATS {
        let pair = pair::<A, B>(format, |a, _| a.max_request = CAP).await;
        if A::TELLS_TOO_LARGE {
            let refused = soon(pair.a.ask(&pair.b_id, too_long(format))).await;
            assert_eq!(refused, Err(Failure::TooLarge));
        } else {
            pair.exchange(too_long(format), Body::default()).await;
        }
        pair.still_works().await;
    }
}

/// A request that is too long fails where it is read, and is not surfaced.
pub(crate) async fn reads_no_long_request<A: Requester, B: Requester>() {
    for format in FORMATS {
        for body in [
            too_long(format),
            Body::of_len(format, 300 * CAP as usize).unwrap(),
        ] {
            let pair = pair::<A, B>(format, |a, b| {
                a.max_request = u32::MAX;
                b.max_request = CAP;
            })
            .await;
            let answer = soon(pair.a.ask(&pair.b_id, body)).await;
            expect_nothing(format, answer);
            pair.still_works().await;
        }
    }
}

/// A response that is too long is refused before it is sent, where the implementation looks.
pub(crate) async fn writes_no_long_response<A: Requester, B: Requester>() {
    for format in FORMATS {
        let pair = pair::<A, B>(format, |_, b| b.max_response = CAP).await;
        if !B::TELLS_TOO_LARGE {
            pair.exchange(Body::default(), too_long(format)).await;
            continue;
        }
        let answering = async {
            let asked = pair.b.asked().await;
            let refused = pair.b.answer(asked.channel, too_long(format)).await;
            assert_eq!(refused, Err(Refused::TooLarge));
            // The channel is dropped with the error.
            assert_eq!(pair.b.outcome().await, Outcome::Omitted);
        };
        let asking = pair.a.ask(&pair.b_id, Body::default());
        let (answer, ()) = soon(join(asking, answering)).await;
        expect_omission(format, answer);
        pair.still_works().await;
    }
}

/// Where an empty body is a body, it is what omission looks like.
fn expect_omission(format: Format, answer: Result<Body, Failure>) {
    if format == Bytes {
        assert_eq!(answer, Ok(Body::default()));
    } else {
        assert_eq!(answer, Err(Failure::Omitted));
    }
}

/// A response that is too long fails where it is read, with an error of its own where the implementation has one.
pub(crate) async fn reads_no_long_response<A: Requester, B: Requester>() {
    let longer = |format| Body::of_len(format, 300 * CAP as usize).unwrap();
    let bodies = FORMATS.map(|format| [(format, too_long(format)), (format, longer(format))]);
    join_all(bodies.into_iter().flatten().map(long_response::<A, B>)).await;
}

async fn long_response<A: Requester, B: Requester>((format, body): (Format, Body)) {
    let pair = pair::<A, B>(format, |a, b| {
        a.max_response = CAP;
        b.max_response = u32::MAX;
    })
    .await;
    // What its last word is depends on how much has left when the other end gives up. rust-libp2p drops the stream without a
    // reset: what does not fit into its window waits for its time to run out.
    let answering = async {
        let asked = pair.b.asked().await;
        let answered = pair.b.answer(asked.channel, body).await;
        assert_eq!(answered, Ok(()));
    };
    let asking = pair.a.ask(&pair.b_id, Body::default());
    let (answer, ()) = soon(join(asking, answering)).await;
    let failed = answer.unwrap_err();
    match A::TELLS_TOO_LARGE {
        true => assert_eq!(failed, Failure::TooLarge),
        false => expect_nothing(format, Err(failed)),
    }
    // What is stuck holds up nothing else.
    pair.still_works().await;
}

/// Dropping the channel tells the other end at once that there is no answer: no timeout is waited for.
pub(crate) async fn omits<A: Requester, B: Requester>() {
    for format in FORMATS {
        let pair = pair::<A, B>(format, |_, _| {}).await;
        let dropping = async {
            drop(pair.b.asked().await.channel);
            assert_eq!(pair.b.outcome().await, Outcome::Omitted);
        };
        let asking = pair.a.ask(&pair.b_id, Body::text("?"));
        let (answer, ()) = soon(join(asking, dropping)).await;
        expect_omission(format, answer);
        pair.still_works().await;
    }
}

/// Who asks does not wait for ever, and who answers too late is told.
pub(crate) async fn gives_up_asking<A: Requester, B: Requester>() {
    let pair = pair::<A, B>(Cbor, |a, _| a.timeout = SHORT).await;
    let asked = async {
        let asked = pair.b.asked().await;
        assert_eq!(asked.body, Body::text("?"));
        asked.channel
    };
    let asking = pair.a.ask(&pair.b_id, Body::text("?"));
    let (answer, channel) = soon(join(asking, asked)).await;
    assert_eq!(answer, Err(Failure::Timeout));
    // Whether it is taken depends on what has arrived; in any case there is one last word.
    let _ = pair.b.answer(channel, Body::text("late")).await;
    let outcome = soon(pair.b.outcome()).await;
    assert!(
        matches!(outcome, Outcome::Stream | Outcome::Sent | Outcome::Omitted),
        "{outcome:?}"
    );
}

/// An application that does not answer in time is told so, and so is who asked.
pub(crate) async fn gives_up_answering<A: Requester, B: Requester>() {
    let pair = pair::<A, B>(Json, |_, b| b.timeout = SHORT).await;
    let answering = async {
        let asked = pair.b.asked().await;
        assert_eq!(pair.b.outcome().await, Outcome::Timeout);
        let late = pair.b.answer(asked.channel, Body::text("late")).await;
        assert_eq!(late, Err(Refused::Closed));
    };
    let asking = pair.a.ask(&pair.b_id, Body::text("?"));
    let (answer, ()) = soon(join(asking, answering)).await;
    expect_nothing(Json, answer);
    pair.still_works().await;
}

/// A peer that speaks none of the names says so, and stays connected.
pub(crate) async fn refuses_other_names<A: Requester, B: Requester>() {
    let pair = pair::<A, B>(Cbor, |a, b| {
        a.names = vec!["/one/1", "/both/1"];
        b.names = vec!["/two/1"];
    })
    .await;
    for _ in 0..3 {
        let refused = soon(pair.a.ask(&pair.b_id, Body::text("?"))).await;
        assert_eq!(refused, Err(Failure::Unsupported));
    }
}

/// The first name of who asks that the other one speaks.
pub(crate) async fn prefers_names<A: Requester, B: Requester>() {
    for (asks, answers, agreed) in [
        (vec!["/new/2", "/old/1"], vec!["/new/2", "/old/1"], "/new/2"),
        (vec!["/new/2", "/old/1"], vec!["/old/1", "/new/2"], "/new/2"),
        (vec!["/new/2", "/old/1"], vec!["/old/1"], "/old/1"),
        (vec!["/old/1"], vec!["/new/2", "/old/1"], "/old/1"),
    ] {
        let pair = pair::<A, B>(Cbor, |a, b| {
            a.names = asks.clone();
            b.names = answers.clone();
        })
        .await;
        let answering = async {
            let asked = pair.b.asked().await;
            if let Some(name) = asked.name {
                assert_eq!(name, agreed);
            }
            let answered = pair.b.answer(asked.channel, Body::text("!")).await;
            assert_eq!(answered, Ok(()));
        };
        let asking = pair.a.ask(&pair.b_id, Body::text("?"));
        let (answer, ()) = soon(join(asking, answering)).await;
        assert_eq!(answer, Ok(Body::text("!")));
    }
}

/// Hundreds at once, answered in another order: each gets its own answer. A peer need acknowledge no more than 256.
pub(crate) async fn asks_much_at_once<A: Requester, B: Requester>() {
    const MANY: usize = 250;
    let pair = pair::<A, B>(Cbor, |_, _| {}).await;
    let (a, b_id) = (&pair.a, &pair.b_id);
    let asking = (0..MANY).map(|number| async move {
        let answer = a.ask(b_id, Body::text(number.to_string()));
        assert_eq!(answer.await, Ok(Body::text(format!("{number}!"))));
    });
    let answering = async {
        let mut waiting = BTreeMap::new();
        for _ in 0..MANY {
            let asked = pair.b.asked().await;
            waiting.insert(asked.body.text, asked.channel);
        }
        // By their text: 0, 1, 10, 100, ..
        for (number, channel) in waiting {
            let answered = pair.b.answer(channel, Body::text(format!("{number}!")));
            assert_eq!(answered.await, Ok(()));
        }
        for _ in 0..MANY {
            assert_eq!(pair.b.outcome().await, Outcome::Sent);
        }
    };
    soon(join(join_all(asking), answering)).await;
}

/// The end of a connection is the end of what is pending on it, at both ends, whoever ended it.
pub(crate) async fn ends_with_the_connection<A: Requester, B: Requester>() {
    for asker_closes in [true, false] {
        let pair = pair::<A, B>(Cbor, |_, _| {}).await;
        let closing = async {
            let asked = pair.b.asked().await;
            if asker_closes {
                pair.a.disconnect(&pair.b_id).await;
            } else {
                pair.b.disconnect(&pair.a_id).await;
            }
            assert_eq!(pair.b.outcome().await, Outcome::ConnectionClosed);
            let late = pair.b.answer(asked.channel, Body::text("late")).await;
            assert_eq!(late, Err(Refused::Closed));
        };
        let asking = pair.a.ask(&pair.b_id, Body::text("?"));
        let (answer, ()) = soon(join(asking, closing)).await;
        assert_eq!(answer, Err(Failure::ConnectionClosed));
    }
}

/// Makes a module of tests that runs every scenario with this asker and this answerer.
macro_rules! pairings {
    ($($module:ident: $asks:ty => $answers:ty;)*) => { $(
        mod $module {
            use super::*;

            pairings!(@tests $asks, $answers:
                says_everything says_any_length says_the_longest writes_no_long_request reads_no_long_request
                writes_no_long_response reads_no_long_response omits gives_up_asking gives_up_answering
                refuses_other_names prefers_names asks_much_at_once ends_with_the_connection);
        }
    )* };
    (@tests $asks:ty, $answers:ty: $($scenario:ident)*) => { $(
        #[test]
        fn $scenario() {
            crate::scenarios::run(crate::scenarios::$scenario::<$asks, $answers>());
        }
    )* };
}
