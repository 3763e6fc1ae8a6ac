//! Plans as requests of the HTTP API, and answers as outcomes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use linearizability::keys::workload::Plan;
use linearizability::keys::{Ending, Outcome, Row, Session, Step, Told};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::live::http::{Answer, Connection};

/// The sessions of all clients, by number.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    ids: Vec<String>,
    numbers: HashMap<String, Session>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self, session: Session) -> String {
        self.lock().ids[session as usize - 1].clone()
    }

    fn number(&self, id: &str) -> anyhow::Result<Session> {
        if id.is_empty() {
            return Ok(0);
        }
        self.lock().numbers.get(id).copied().with_context(|| format!("nobody made session {id}"))
    }

    fn add(&self, id: String) -> Session {
        let mut known = self.lock();
        known.ids.push(id.clone());
        let number = known.ids.len() as Session;
        known.numbers.insert(id, number);
        number
    }

    /// Makes a session that depends on nothing and delays no lock.
    pub(super) fn create(
        &self,
        ending: Ending,
        connection: &mut Connection,
    ) -> anyhow::Result<Option<Session>> {
        let behavior = match ending {
            Ending::Release => "release",
            Ending::Delete => "delete",
        };
        let body = json!({"LockDelay": "0s", "NodeChecks": [], "Checks": [], "Behavior": behavior});
        let body = body.to_string();
        let answer = connection.ask("PUT", "/v1/session/create", body.as_bytes())?;
        if answer.status != 200 {
            return Ok(None);
        }
        #[derive(Deserialize)]
        struct Created {
            #[serde(rename = "ID")]
            id: String,
        }
        let created: Created = serde_json::from_slice(&answer.body)?;
        Ok(Some(self.add(created.id)))
    }
}

/// How a server says that there is nobody to do it.
const NO_LEADER: &str = "No cluster leader";

/// Why there is no outcome.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The connection is of no more use, and nobody knows what the server did.
    Lost,
    /// Nobody led, and so nothing was done, and nothing will be.
    NoLeader,
    /// The server said what no server may say.
    Wrong(anyhow::Error),
}

/// Asks, and says how it ended. A read may be a consistent one.
pub(super) fn ask(
    connection: &mut Connection,
    plan: &Plan,
    sessions: &Sessions,
    is_consistent: bool,
) -> Result<Outcome, Trouble> {
    let (method, mut target, body) = request(plan, sessions);
    if is_consistent && method == "GET" {
        target.push_str("?consistent");
    }
    let answer = connection.ask(method, &target, &body).map_err(|_| Trouble::Lost)?;
    if answer.status == 500 && answer.text().ends_with(NO_LEADER) {
        return Err(Trouble::NoLeader);
    }
    outcome(plan, &answer, sessions).map_err(|error| {
        Trouble::Wrong(error.context(format!(
            "{method} {target}: {} {}",
            answer.status,
            answer.text()
        )))
    })
}

/// What any server says of a key, which may be old: its value, if it has one.
pub(super) fn ask_stale(
    connection: &mut Connection,
    (group, key): (usize, usize),
    sessions: &Sessions,
) -> Result<Option<u64>, Trouble> {
    let plan = Plan { group, steps: vec![Step::Get(key)], is_txn: false };
    let target = format!("/v1/kv/{}?stale", name(group, key));
    let answer = connection.ask("GET", &target, b"").map_err(|_| Trouble::Lost)?;
    let outcome = outcome(&plan, &answer, sessions);
    let outcome = outcome.map_err(|error| Trouble::Wrong(error.context(target)))?;
    Ok(match outcome {
        Outcome::Done(told) => match told.as_slice() {
            [Told::Row(row)] => row.value,
            _ => None,
        },
        Outcome::Refused(_) | Outcome::Unknown => None,
    })
}

fn name(group: usize, key: usize) -> String {
    format!("lin/{group}/{key}")
}

fn request(plan: &Plan, sessions: &Sessions) -> (&'static str, String, Vec<u8>) {
    if plan.is_txn {
        let ops: Vec<Value> =
            plan.steps.iter().map(|step| operation(plan.group, step, sessions)).collect();
        return ("PUT", "/v1/txn".to_owned(), Value::Array(ops).to_string().into_bytes());
    }
    let path = |key: usize| format!("/v1/kv/{}", name(plan.group, key));
    let bytes = |value: u64| value.to_string().into_bytes();
    match plan.steps[0] {
        Step::Set(key, value) => ("PUT", path(key), bytes(value)),
        Step::Cas(key, value, index) => ("PUT", format!("{}?cas={index}", path(key)), bytes(value)),
        Step::Lock(key, value, session) => {
            ("PUT", format!("{}?acquire={}", path(key), sessions.id(session)), bytes(value))
        }
        Step::Unlock(key, value, session) => {
            ("PUT", format!("{}?release={}", path(key), sessions.id(session)), bytes(value))
        }
        Step::Delete(key) => ("DELETE", path(key), Vec::new()),
        Step::DeleteCas(key, index) => ("DELETE", format!("{}?cas={index}", path(key)), Vec::new()),
        Step::Destroy(session, _) => {
            ("PUT", format!("/v1/session/destroy/{}", sessions.id(session)), Vec::new())
        }
        Step::Get(key) | Step::CheckIndex(key, _) | Step::CheckNotExists(key) => {
            ("GET", path(key), Vec::new())
        }
    }
}

fn operation(group: usize, step: &Step, sessions: &Sessions) -> Value {
    let verb = match step {
        Step::Get(_) => "get-or-empty",
        Step::Set(..) => "set",
        Step::Cas(..) => "cas",
        Step::Delete(_) => "delete",
        Step::DeleteCas(..) => "delete-cas",
        Step::Lock(..) => "lock",
        Step::Unlock(..) => "unlock",
        Step::CheckIndex(..) => "check-index",
        Step::CheckNotExists(_) => "check-not-exists",
        Step::Destroy(..) => unreachable!("transactions do not end sessions"),
    };
    let mut op = json!({"Verb": verb, "Key": name(group, step.key().unwrap_or_default())});
    match *step {
        Step::Set(_, value) => op["Value"] = encoded(value),
        Step::Cas(_, value, index) => {
            (op["Value"], op["Index"]) = (encoded(value), index.into());
        }
        Step::Lock(_, value, session) | Step::Unlock(_, value, session) => {
            (op["Value"], op["Session"]) = (encoded(value), sessions.id(session).into());
        }
        Step::DeleteCas(_, index) | Step::CheckIndex(_, index) => op["Index"] = index.into(),
        _ => {}
    }
    json!({ "KV": op })
}

fn encoded(value: u64) -> Value {
    STANDARD.encode(value.to_string()).into()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    value: Option<String>,
    modify_index: u64,
    #[serde(default)]
    session: String,
}

impl Entry {
    fn told(self, tells_value: bool, sessions: &Sessions) -> anyhow::Result<Told> {
        if self.modify_index == 0 {
            return Ok(Told::Absent);
        }
        let value = match self.value {
            Some(text) => {
                ensure!(tells_value, "a value that nobody asked for");
                Some(String::from_utf8(STANDARD.decode(text)?)?.parse()?)
            }
            None => {
                ensure!(!tells_value, "a key without its value");
                None
            }
        };
        let holder = sessions.number(&self.session)?;
        Ok(Told::Row(Row { value, index: self.modify_index, holder }))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TxnAnswer {
    results: Option<Vec<TxnRow>>,
    errors: Option<Vec<TxnError>>,
}

#[derive(Deserialize)]
struct TxnRow {
    #[serde(rename = "KV")]
    kv: Entry,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TxnError {
    op_index: usize,
}

fn outcome(plan: &Plan, answer: &Answer, sessions: &Sessions) -> anyhow::Result<Outcome> {
    let is_get = matches!(plan.steps[0], Step::Get(_));
    match answer.status {
        200 | 409 if plan.is_txn => txn_outcome(plan, answer, sessions),
        404 if is_get && !plan.is_txn => Ok(Outcome::Done(vec![Told::Absent])),
        200 if is_get && !plan.is_txn => {
            let [entry]: [Entry; 1] = serde_json::from_slice(&answer.body)?;
            Ok(Outcome::Done(vec![entry.told(true, sessions)?]))
        }
        200 => match answer.text().as_str() {
            "true" => Ok(Outcome::Done(vec![Told::Done])),
            "false" => Ok(Outcome::Refused(vec![0])),
            _ => bail!("neither true nor false"),
        },
        500 if answer.text().contains("invalid session") => Ok(Outcome::Refused(vec![0])),
        // It may have been done all the same.
        500.. => Ok(Outcome::Unknown),
        _ => bail!("an answer that nobody expects"),
    }
}

fn txn_outcome(plan: &Plan, answer: &Answer, sessions: &Sessions) -> anyhow::Result<Outcome> {
    let told: TxnAnswer = serde_json::from_slice(&answer.body)?;
    if let Some(errors) = told.errors {
        ensure!(told.results.is_none() && answer.status == 409, "results beside errors");
        return Ok(Outcome::Refused(errors.iter().map(|error| error.op_index).collect()));
    }
    ensure!(answer.status == 200, "a conflict without errors");
    let mut rows = told.results.unwrap_or_default().into_iter();
    let told: anyhow::Result<Vec<Told>> = plan
        .steps
        .iter()
        .map(|step| match step.tells_row() {
            true => {
                let row = rows.next().context("too few results")?;
                row.kv.told(matches!(step, Step::Get(_)), sessions)
            }
            false => Ok(Told::Done),
        })
        .collect();
    ensure!(rows.next().is_none(), "too many results");
    told.map(Outcome::Done)
}
