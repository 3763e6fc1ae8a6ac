//! Keys on the server port.

use std::sync::Arc;

use bytes::Bytes;
use contract::remote::{
    CommandMethod, QueryMethod, QueryOptions, RemoteCommand, ReplyReader, encode, nil_if_empty,
    reading,
};
use contract::{CallError, MethodDef, ReadFacts};
use serde::{Deserialize, Serialize};
use types::kv::KvEntry;

use super::around::{Around, KvAround};
use super::command::{KvCommand, KvOp, TombstoneReap};
use super::query::{KvGet, KvKeys, KvList};

pub(super) const METHODS: &[MethodDef] = &[
    MethodDef::write::<KvCommand>(),
    MethodDef::read::<KvGet>(),
    MethodDef::read::<KvList>(),
    MethodDef::read::<KvKeys>(),
    MethodDef::read::<KvAround>(),
];

impl CommandMethod for KvCommand {
    fn encode_reply(reply: &bool) -> Bytes {
        encode(reply)
    }

    /// Consul's servers say `false` to what is done whatever was there before.
    fn reply_reader(&self) -> ReplyReader<bool> {
        let unconditional = matches!(self.op, KvOp::Set | KvOp::Delete | KvOp::DeleteTree);
        reading(Self::METHOD, move |done: bool| Ok(done || unconditional))
    }
}

/// Leaders reap for themselves.
impl RemoteCommand for TombstoneReap {}

/// `KeyRequest`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KeyRequest {
    key: Arc<str>,
}

/// `IndexedDirEntries`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DirEntries<R> {
    entries: R,
}

impl QueryMethod for KvGet {
    type Request = KeyRequest;
    type Wire<'r> = DirEntries<Option<[&'r KvEntry; 1]>>;
    type Received = DirEntries<Vec<Arc<KvEntry>>>;

    fn request(&self) -> KeyRequest {
        KeyRequest { key: Arc::clone(&self.key) }
    }

    fn of_request(request: KeyRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self { key: request.key })
    }

    fn wire(reply: &Option<Arc<KvEntry>>) -> Self::Wire<'_> {
        DirEntries { entries: reply.as_deref().map(|entry| [entry]) }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        Ok(received.entries.into_iter().next())
    }
}

impl QueryMethod for KvList {
    type Request = KeyRequest;
    type Wire<'r> = DirEntries<Option<&'r [Arc<KvEntry>]>>;
    type Received = DirEntries<Vec<Arc<KvEntry>>>;

    fn request(&self) -> KeyRequest {
        KeyRequest { key: Arc::clone(&self.prefix) }
    }

    fn of_request(request: KeyRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self { prefix: request.key })
    }

    fn wire(reply: &Vec<Arc<KvEntry>>) -> Self::Wire<'_> {
        DirEntries { entries: nil_if_empty(reply) }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        Ok(received.entries)
    }
}

/// `KeyListRequest`. The field of the separator is misspelled in Consul.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KeyListRequest {
    prefix: Arc<str>,
    #[serde(rename = "Seperator")]
    separator: String,
}

/// `IndexedKeyList`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KeyList<R> {
    keys: R,
}

impl QueryMethod for KvKeys {
    type Request = KeyListRequest;
    type Wire<'r> = KeyList<Option<&'r [Arc<str>]>>;
    type Received = KeyList<Vec<Arc<str>>>;

    fn request(&self) -> KeyListRequest {
        KeyListRequest { prefix: Arc::clone(&self.prefix), separator: self.separator.clone() }
    }

    fn of_request(request: KeyListRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self { prefix: request.prefix, separator: request.separator })
    }

    fn wire(reply: &Vec<Arc<str>>) -> Self::Wire<'_> {
        KeyList { keys: nil_if_empty(reply) }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        Ok(received.keys)
    }
}

impl QueryMethod for KvAround {
    const METHOD: &'static str = "Proconsul.KVAround";
    type Request = KeyRequest;
    type Wire<'r> = &'r Around;
    type Received = Around;

    fn request(&self) -> KeyRequest {
        KeyRequest { key: Arc::clone(&self.key) }
    }

    fn of_request(request: KeyRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self { key: request.key })
    }

    fn wire(reply: &Around) -> &Around {
        reply
    }

    fn of_wire(&self, received: Around, _facts: &ReadFacts) -> Result<Around, CallError> {
        Ok(received)
    }
}
