//! `drywire request`

use crate::{
    args::{FramingKind, RequestOptions},
    clients::pattern,
    failure::Failure,
    output::{Output, printable, rate},
    session::{Hosts, Protocols, REQRES, Role, Session, within},
};
use bytes::Bytes;
use drywire::protocol::request_response::Framing;
use drywire_engine::RequestError;
use std::time::Instant;

/// Sends one request, and shows the response.
pub(crate) async fn run(
    options: RequestOptions,
    hosts: &Hosts,
    output: &Output,
) -> Result<(), Failure> {
    let RequestOptions {
        peer,
        protocol,
        framing,
        data,
        size,
    } = options;
    let framing = match framing {
        Some(FramingKind::ToEnd) => Framing::ToEnd,
        Some(FramingKind::LengthPrefixed) => Framing::LengthPrefixed,
        None if protocol == REQRES => Framing::LengthPrefixed,
        None => Framing::ToEnd,
    };
    let role = Role::Asker(peer.timeout, protocol, framing);
    let body = match size {
        None => Bytes::from(data.unwrap_or_else(|| "hello from drywire".to_owned())),
        Some(size) => block(size)?,
    };
    let (sent, in_numbers) = (body.len(), size.is_some());
    let session = Session::connect_as(role, &peer, hosts, output).await?;
    let start = Instant::now();
    let answer = ask(&session, body);
    let response = within(peer.timeout, "no response", answer).await?;
    let seconds = start.elapsed().as_secs_f64();
    session.close().await;

    let text = core::str::from_utf8(&response).ok().filter(|_| !in_numbers);
    let shown = match text {
        Some(text) => printable(text),
        None => format!(
            "{sent} bytes asked, {} bytes answered in {seconds:.3} s ({})",
            response.len(),
            rate((sent as u64).saturating_add(response.len() as u64), seconds)
        ),
    };
    let fields = [
        ("data", text.map(str::to_owned).into()),
        ("bytes", response.len().into()),
        ("seconds", seconds.into()),
    ];
    output.say(&shown, "response", &fields)
}

/// So many bytes.
fn block(size: u64) -> Result<Bytes, Failure> {
    let block = pattern();
    let size = usize::try_from(size).map_err(Failure::usage)?;
    // More is refused before anything is sent; no need to have it first.
    let size = size.min(MOST);
    Ok(block.iter().copied().cycle().take(size).collect())
}

/// One byte more than is taken.
const MOST: usize = 16 * 1024 * 1024 + 1;

async fn ask(session: &Session, body: Bytes) -> Result<Bytes, Failure> {
    let requests = session.host().requests(Protocols::Asking);
    let answer = requests.request(session.peer(), body).await;
    answer.map_err(|error| match error {
        RequestError::Refused(reason) => {
            Failure::failed(format!("the request was not sent: {reason}"))
        }
        error => Failure::failed(format!("the request failed: {error}")),
    })
}
