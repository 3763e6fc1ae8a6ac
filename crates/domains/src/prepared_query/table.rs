//! The queries, and the compiled forms of those that are templates.

use std::sync::Arc;

use contract::{CallError, RecordDef};
use store::{Key, KeyBuilder, Secondary, State, Table, Tx};
use types::prepared_query::PreparedQuery;
use types::{SessionId, msgpack};

use super::template::Template;
use super::uuid;
use crate::session;

/// All queries, by id.
pub const PREPARED_QUERIES: Table<PreparedQuery> = Table::with(
    "prepared-queries",
    |query| Key::from(query.id.as_bytes()),
    &[
        Secondary {
            name: "name",
            keys: |query, file| {
                if !query.name.is_empty() && !query.is_template() {
                    file(name_key(&query.name));
                }
            },
        },
        Secondary {
            name: "session",
            keys: |query, file| {
                if !query.session.is_empty() {
                    file(session_key(&query.session));
                }
            },
        },
    ],
);

/// In [`PREPARED_QUERIES`]: those that are no templates, by name.
const BY_NAME: usize = 0;

/// In [`PREPARED_QUERIES`]: by the session that they go away with.
const BY_SESSION: usize = 1;

/// What templates were compiled to, by what names begin with. Made from the rows of
/// [`PREPARED_QUERIES`], and so no part of snapshots.
pub const TEMPLATES: Table<TemplateRow> =
    Table::new("prepared-query-templates", |row| Key::from(row.prefix.as_bytes()));

/// A compiled template.
#[derive(Clone, Debug)]
pub struct TemplateRow {
    /// The name of the query in lower case.
    pub prefix: String,
    /// The id of the query.
    pub id: String,
    /// What it was compiled to.
    pub template: Template,
}

fn name_key(name: &str) -> KeyBuilder {
    KeyBuilder::new().text_ignoring_case(name)
}

fn session_key(session: &SessionId) -> KeyBuilder {
    KeyBuilder::new().text(session.as_str())
}

/// The query that has this name and is no template.
pub(super) fn named(state: &State, name: &str) -> Option<Arc<PreparedQuery>> {
    state.secondary(&PREPARED_QUERIES, BY_NAME, name_key(name).as_bytes()).next()
}

/// The template with the longest name that this one begins with.
pub(super) fn template_for(state: &State, name: &str) -> Option<Arc<TemplateRow>> {
    state.longest_prefix(&TEMPLATES, name.to_lowercase().as_bytes())
}

/// Stores a query in place of the one with its id, or says why it cannot be.
pub(super) fn store(tx: &mut Tx<'_>, query: PreparedQuery) -> Result<(), CallError> {
    require_own_name(tx, &query)?;
    if !query.session.is_empty() && !session::exists(tx, &query.session) {
        return Err(CallError::failed(format!("invalid session {:?}", query.session.as_str())));
    }
    let template = compile(&query)
        .map_err(|error| CallError::failed(format!("failed compiling template: {error}")))?;
    delete(tx, &query.id);
    if let Some(row) = template {
        tx.put(&TEMPLATES, row);
    }
    tx.put(&PREPARED_QUERIES, query);
    tx.bump(PREPARED_QUERIES.name);
    Ok(())
}

/// Deletes a query. Deleting nothing changes nothing.
pub(super) fn delete(tx: &mut Tx<'_>, id: &str) {
    let Some(query) = tx.delete(&PREPARED_QUERIES, id.as_bytes()) else { return };
    if query.is_template() {
        tx.delete(&TEMPLATES, query.name.to_lowercase().as_bytes());
    }
    tx.bump(PREPARED_QUERIES.name);
}

/// A session is gone: its queries go away.
pub(crate) fn handle_session_ended(tx: &mut Tx<'_>, session: &SessionId) {
    let key = session_key(session);
    let queries: Vec<Arc<PreparedQuery>> =
        tx.secondary(&PREPARED_QUERIES, BY_SESSION, key.as_bytes()).collect();
    for query in queries {
        delete(tx, &query.id);
    }
}

/// No other query may have the name, nor have it for an id.
fn require_own_name(state: &State, query: &PreparedQuery) -> Result<(), CallError> {
    let name = query.name.as_str();
    let same_named = named(state, name).map(|other| other.id.clone()).or_else(|| {
        let prefix = name.to_lowercase();
        state.peek(&TEMPLATES, prefix.as_bytes()).map(|row| row.id.clone())
    });
    let is_taken = same_named.is_some_and(|other| other != query.id);
    if name.is_empty() {
        if is_taken && query.is_template() {
            let text = "a query template with an empty name already exists";
            return Err(CallError::failed(text));
        }
        return Ok(());
    }
    let aliases =
        |what: &str| CallError::failed(format!("name '{name}' aliases an existing query {what}"));
    if is_taken {
        return Err(aliases("name"));
    }
    match uuid::parse(name) {
        Ok(id) if state.peek(&PREPARED_QUERIES, id.as_bytes()).is_some() => Err(aliases("ID")),
        _ => Ok(()),
    }
}

fn compile(query: &PreparedQuery) -> Result<Option<TemplateRow>, super::template::TemplateError> {
    if !query.is_template() {
        return Ok(None);
    }
    let template = Template::compile(query)?;
    Ok(Some(TemplateRow { prefix: query.name.to_lowercase(), id: query.id.clone(), template }))
}

/// How queries stand in snapshots.
pub(super) const RECORDS: &[RecordDef] = &[RecordDef { tag: 7, save, restore }];

fn save(state: &State, write: &mut dyn FnMut(&[u8])) {
    for query in state.peek_prefix(&PREPARED_QUERIES, &[]) {
        write(&msgpack::to_vec(query));
    }
}

/// Rows keep the indexes they were saved with. A template that this version cannot compile
/// (it has bounds that the server which made the snapshot had not) is kept as a row, and
/// answers to no name.
fn restore(bytes: &[u8], tx: &mut Tx<'_>) -> Result<(), msgpack::Error> {
    let query: PreparedQuery = msgpack::from_slice(bytes)?;
    if let Ok(Some(row)) = compile(&query) {
        tx.put(&TEMPLATES, row);
    }
    tx.put(&PREPARED_QUERIES, query);
    Ok(())
}
