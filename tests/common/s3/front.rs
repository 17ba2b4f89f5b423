//! The layer in front of s3s: it logs requests and applies faults.

use super::fault::{Fault, Script, code_of};
use super::reply::{Broken, Gauge, Middle, ReplyBody, UnderWay, Wire};
use super::request::Request;
use super::store::{Object, Store};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, ETAG, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use parking_lot::Mutex;
use s3s::service::S3Service;
use std::sync::Arc;
use tokio::time::sleep;

/// State shared by connections and test.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) store: Arc<Mutex<Store>>,
    pub(super) script: Mutex<Script>,
    pub(super) log: Mutex<Vec<Request>>,
    pub(super) gauge: Arc<Gauge>,
}

/// A complete reply in memory.
type Whole = Response<Bytes>;

/// Answers a request, or ends its connection.
pub(super) async fn answer(
    shared: Arc<Shared>,
    service: S3Service,
    wire: Arc<Wire>,
    incoming: hyper::Request<Incoming>,
) -> Result<Response<ReplyBody>, Broken> {
    let under_way = shared.gauge.enter();
    let request = Request::of(incoming.method(), incoming.uri(), incoming.headers());
    let faults = shared.script.lock().strike(&request);
    let number = {
        let mut log = shared.log.lock();
        log.push(request.clone());
        log.len() - 1
    };
    let mut incoming = Some(incoming);
    let mut answered = None;
    for fault in &faults {
        if let Some(reply) = before(fault, &request, &shared, &wire).await? {
            // Read the request first: a client that still sends would see a reset and no reply.
            let body = incoming.take().map(hyper::Request::into_body);
            if let Some(body) = body {
                body.collect().await.map_err(|_| Broken)?;
            }
            answered = Some(reply);
            break;
        }
    }
    let (reply, middle) = match (answered, incoming) {
        (Some(reply), _) => (reply, None),
        (None, None) => unreachable!("the request is taken only where it is answered"),
        (None, Some(incoming)) => {
            let mut reply = serve(&service, incoming).await?;
            let mut middle = None;
            for fault in &faults {
                if let Fault::Withheld(time) = fault {
                    sleep(*time).await;
                }
                after(fault, &mut reply, &mut middle, &wire)?;
            }
            (reply, middle)
        }
    };
    // The test may have cleared the log.
    if let Some(entry) = shared.log.lock().get_mut(number).filter(|entry| entry.at == request.at) {
        entry.status = Some(reply.status().as_u16());
    }
    Ok(send(reply, middle, number, wire, under_way))
}

async fn serve(service: &S3Service, incoming: hyper::Request<Incoming>) -> Result<Whole, Broken> {
    let reply = service.call(incoming.map(s3s::Body::from)).await.map_err(|_| Broken)?;
    let (parts, body) = reply.into_parts();
    let body = body.collect().await.map_err(|_| Broken)?;
    Ok(Response::from_parts(parts, body.to_bytes()))
}

fn send(
    reply: Whole,
    middle: Option<Middle>,
    number: usize,
    wire: Arc<Wire>,
    under_way: UnderWay,
) -> Response<ReplyBody> {
    let (mut parts, body) = reply.into_parts();
    parts.headers.insert("x-amz-request-id", HeaderValue::from(number));
    Response::from_parts(parts, ReplyBody::new(&body, middle, wire, under_way))
}

/// Applies a fault before the request is carried out; returns a reply if that replaces the request.
async fn before(
    fault: &Fault,
    request: &Request,
    shared: &Shared,
    wire: &Wire,
) -> Result<Option<Whole>, Broken> {
    let reply = match fault {
        Fault::Status(status) => error(*status, code_of(*status)),
        Fault::Error(status, code) => error(*status, code),
        Fault::SlowDown(seconds) => {
            let mut reply = error(503, "SlowDown");
            if let Some(seconds) = *seconds {
                reply.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            reply
        }
        Fault::ErrorInOk(code) => error(200, code),
        Fault::Reply(status, headers, body) => {
            let named = headers.iter().map(|(name, value)| {
                let value = HeaderValue::from_str(value).expect("the fault has a legal header");
                (HeaderName::from_static(name), value)
            });
            whole(*status, named.collect(), body.clone())
        }
        Fault::Reset => return Err(wire.reset()),
        Fault::Replaced(content) => {
            meddle(request, shared, |bucket, key, id| {
                bucket.put(key, Object::new(*content), || id).map(drop)
            });
            return Ok(None);
        }
        Fault::Deleted => {
            meddle(request, shared, |bucket, key, id| bucket.delete(key, None, || id).map(drop));
            return Ok(None);
        }
        Fault::Delay(time) => {
            sleep(*time).await;
            return Ok(None);
        }
        Fault::Held(hold) => {
            hold.wait().await;
            return Ok(None);
        }
        _ => return Ok(None),
    };
    Ok(Some(reply))
}

/// Changes a request's object as another client might.
fn meddle(
    request: &Request,
    shared: &Shared,
    change: impl FnOnce(
        &mut super::store::BucketState,
        &str,
        String,
    ) -> Result<(), super::store::ReadOnly>,
) {
    let mut store = shared.store.lock();
    let id = store.new_id();
    let key = str::from_utf8(&request.key).expect("the key is UTF-8");
    let bucket = store.buckets.get_mut(&request.bucket).expect("the bucket is there");
    change(bucket, key, id).expect("a synthetic bucket can't be written");
}

/// Applies a fault to the reply after the request was carried out.
fn after(
    fault: &Fault,
    reply: &mut Whole,
    middle: &mut Option<Middle>,
    wire: &Wire,
) -> Result<(), Broken> {
    match fault {
        Fault::LostReply => return Err(wire.reset()),
        Fault::ResetMidBody => *middle = Some(Middle::Reset),
        Fault::ShortBody => *middle = Some(Middle::End),
        Fault::Stall(time) => *middle = Some(Middle::Stall(*time)),
        Fault::Truncated => {
            let half = reply.body().len() / 2;
            reply.body_mut().truncate(half);
            reply.headers_mut().insert(CONTENT_LENGTH, half.into());
        }
        Fault::FlippedBit => {
            let mut body = reply.body().to_vec();
            let middle = body.len() / 2;
            *body.get_mut(middle).expect("there is a bit to flip") ^= 1;
            *reply.body_mut() = body.into();
        }
        Fault::ETag(etag) => {
            reply.headers_mut().insert(ETAG, HeaderValue::from_static(etag));
        }
        Fault::Disordered => edit(reply, disordered),
        Fault::NoToken => {
            edit(reply, |text| {
                without(&text, "<NextContinuationToken>", "</NextContinuationToken>")
            });
        }
        _ => {}
    }
    Ok(())
}

fn edit(reply: &mut Whole, change: impl FnOnce(String) -> String) {
    let text = String::from_utf8_lossy(reply.body()).into_owned();
    *reply.body_mut() = change(text).into();
    let length = reply.body().len();
    reply.headers_mut().insert(CONTENT_LENGTH, length.into());
}

/// Moves the first entry of a page to its end.
fn disordered(text: String) -> String {
    const END: &str = "</Contents>";
    let whole = text.find("<Contents>").zip(text.rfind(END));
    let Some((start, end)) = whole.map(|(start, end)| (start, end + END.len())) else {
        return text;
    };
    let first = text[start..].find(END).map_or(end, |at| start + at + END.len());
    [&text[..start], &text[first..end], &text[start..first], &text[end..]].concat()
}

fn without(text: &str, open: &str, close: &str) -> String {
    let found = text.find(open).zip(text.find(close));
    found.map_or_else(
        || text.into(),
        |(start, end)| [&text[..start], &text[end + close.len()..]].concat(),
    )
}

fn error(status: u16, code: &str) -> Whole {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>scripted</Message><RequestId>0</RequestId></Error>"
    );
    let headers = HeaderMap::from_iter([(
        hyper::header::CONTENT_TYPE,
        HeaderValue::from_static("application/xml"),
    )]);
    whole(status, headers, body.into())
}

fn whole(status: u16, headers: HeaderMap, body: Bytes) -> Whole {
    let mut reply = Response::new(body);
    *reply.status_mut() = StatusCode::from_u16(status).expect("the fault has a legal status");
    *reply.headers_mut() = headers;
    reply
}
