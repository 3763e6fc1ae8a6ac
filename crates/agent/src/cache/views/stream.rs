//! Keeps one view as a server tells it: subscribes, and subscribes again.

use std::time::Duration;

use contract::CallError;
use grpc::messages::subscribe_request::Subject;
use grpc::messages::{Event, NamedSubject, SubscribeRequest, Topic};
use grpc::{Code, EventStream, Failure, Status, paths};
use rpc::ServerAddr;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::materialised::{Materialised, Unfit};
use super::{Key, Shared, Slot, Trouble, UNSUPPORTED_FOR};

/// After a failure the next try waits this long, twice as long after each further one.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// How often it is looked whether another server is to be asked by now.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);

/// How long a server may take for the first word of what there is.
const FIRST_WORD: Duration = Duration::from_secs(60);

/// A server that has nothing new to tell may say nothing at all: one that has not refused to
/// go on within this time goes on.
const RESUMED_AFTER: Duration = Duration::from_secs(1);

/// How long a view stays after its last use.
const LINGER: Duration = Duration::from_secs(30);

/// Why a subscription ended.
#[derive(Debug)]
enum Ended {
    /// Another server is to be asked.
    Moved,
    /// What is known is of no use any more.
    Reset,
    /// The server does not tell of changes, or not in a way that is understood here.
    Unsupported(String),
    Broken(CallError),
}

/// Keeps a view until nobody wants it.
pub(super) async fn keep(shared: Shared, key: Key, slot: Slot) {
    let mut made = Materialised::default();
    let mut failures: u32 = 0;
    loop {
        let ended = tokio::select! {
            ended = follow(&shared, &key, &slot, &mut made, &mut failures) => ended,
            () = unwanted(&shared, &key, &slot) => return,
        };
        let trouble = match ended {
            Ended::Moved => continue,
            Ended::Reset => {
                made.reset();
                // The first time at once: the server knows why.
                failures += 1;
                if failures == 1 {
                    continue;
                }
                Trouble::Broken
            }
            Ended::Unsupported(why) => {
                if failures == 0 {
                    tracing::info!(target: "agent.viewstore", service = key.service, reason = why, "Servers do not stream this, and are asked again and again for it");
                }
                failures = failures.saturating_add(1);
                Trouble::Unsupported
            }
            Ended::Broken(error) => {
                failures = failures.saturating_add(1);
                tracing::warn!(target: "agent.viewstore", service = key.service, %error, failures, "The subscription broke");
                Trouble::Broken
            }
        };
        slot.fail(trouble);
        let wait = match trouble {
            Trouble::Unsupported => UNSUPPORTED_FOR,
            Trouble::Broken => wait_after(failures),
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = another_server(&shared), if trouble == Trouble::Unsupported => {}
            () = unwanted(&shared, &key, &slot) => return,
        }
    }
}

/// One subscription, to its end.
async fn follow(
    shared: &Shared,
    key: &Key,
    slot: &Slot,
    made: &mut Materialised,
    failures: &mut u32,
) -> Ended {
    let server = match shared.client.server() {
        Ok(server) => server,
        Err(error) => return Ended::Broken(error),
    };
    if shared.is_unsupported(&server) {
        return Ended::Unsupported(format!("{server} was found not to"));
    }
    let ended = match subscribe(shared, key, slot, made, &server).await {
        Ok(stream) => listen(shared, slot, made, &server, stream, failures).await,
        Err(ended) => ended,
    };
    match &ended {
        Ended::Unsupported(_) => shared.note_unsupported(&server),
        Ended::Broken(_) => shared.client.fail_server(&server),
        Ended::Moved | Ended::Reset => {}
    }
    ended
}

/// Subscribes: from the beginning, or from where it broke off.
async fn subscribe(
    shared: &Shared,
    key: &Key,
    slot: &Slot,
    made: &mut Materialised,
    server: &ServerAddr,
) -> Result<EventStream<Event>, Ended> {
    let index = made.begin();
    let topic = if key.connect { Topic::ServiceHealthConnect } else { Topic::ServiceHealth };
    let named = NamedSubject { key: key.service.clone(), ..NamedSubject::default() };
    let request = SubscribeRequest {
        topic: topic.into(),
        token: key.token.as_str().to_owned(),
        index: index.0,
        datacenter: key.datacenter.as_str().to_owned(),
        subject: Some(Subject::NamedSubject(named)),
        ..SubscribeRequest::default()
    };
    let mut asked = std::pin::pin!(shared.client.grpc().stream(server, paths::SUBSCRIBE, &request));
    let answer = match index.0 {
        0 => match timeout(FIRST_WORD, asked).await {
            Ok(answer) => answer,
            Err(_) => return Err(broken("the server did not answer in time")),
        },
        _ => match timeout(RESUMED_AFTER, &mut asked).await {
            Ok(answer) => answer,
            Err(_) => {
                slot.publish(made);
                asked.await
            }
        },
    };
    let stream = answer.map_err(|failure| match failure {
        Failure::NotSpoken => Ended::Unsupported(failure.to_string()),
        Failure::Connect(error) => Ended::Broken(CallError::from_remote(error.to_string())),
        Failure::Status(status) => of_status(&status),
    })?;
    if index.0 > 0 {
        slot.publish(made);
    }
    Ok(stream)
}

/// Takes what the server tells.
async fn listen(
    shared: &Shared,
    slot: &Slot,
    made: &mut Materialised,
    server: &ServerAddr,
    mut stream: EventStream<Event>,
    failures: &mut u32,
) -> Ended {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begun = Instant::now();
    let mut is_silent = true;
    loop {
        let event = tokio::select! {
            event = stream.next() => event,
            _ = looks.tick() => {
                if shared.client.server().is_ok_and(|now| now != *server) {
                    return Ended::Moved;
                }
                if is_silent && made.view().is_none() && begun.elapsed() > FIRST_WORD {
                    return broken("the server did not tell of anything in time");
                }
                // A subscription that lasts is none that failed.
                if made.view().is_some() {
                    *failures = 0;
                }
                continue;
            }
        };
        is_silent = false;
        let event = match event {
            Ok(Some(event)) => event,
            Ok(None) => return broken("the server ended the subscription"),
            Err(status) => return of_status(&status),
        };
        match made.handle(event) {
            Ok(true) => {
                *failures = 0;
                slot.publish(made);
            }
            Ok(false) => {}
            Err(behind @ Unfit::Behind { .. }) => return broken(&behind.to_string()),
            Err(unfit @ Unfit::OtherTopic) => return Ended::Unsupported(unfit.to_string()),
        }
    }
}

fn of_status(status: &Status) -> Ended {
    match status.code() {
        Code::Aborted => Ended::Reset,
        Code::Unimplemented => Ended::Unsupported(status.message().to_owned()),
        // What cannot be decoded is told by this end as such.
        Code::Internal if status.message().contains("failed to decode") => {
            Ended::Unsupported(status.message().to_owned())
        }
        _ => broken(status.message()),
    }
}

fn broken(text: &str) -> Ended {
    Ended::Broken(CallError::from_remote(format!("rpc error making call: {text}")))
}

/// Completes when a server is to be asked of which nothing bad is known.
async fn another_server(shared: &Shared) {
    loop {
        sleep(LOOK_INTERVAL).await;
        if shared.client.server().is_ok_and(|server| !shared.is_unsupported(&server)) {
            return;
        }
    }
}

/// Completes when nobody wanted the view for a while; it is taken out then.
async fn unwanted(shared: &Shared, key: &Key, slot: &Slot) {
    loop {
        slot.unread().await;
        sleep(LINGER).await;
        if shared.take_out(key, slot) {
            return;
        }
    }
}

/// How long to wait after this many failures in a row, some of it by chance.
fn wait_after(failures: u32) -> Duration {
    let doubled = RETRY_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(RETRY_MAX).mul_f64(0.5 + fastrand::f64() / 2.0)
}
