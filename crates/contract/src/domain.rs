//! The descriptor of a domain.

use http::Method;
use store::{AnyTable, State, Tx};

use crate::call::Command;
use crate::erased::AnyCommand;
use crate::error::CallError;
use crate::remote::MethodDef;
use crate::request::Request;
use crate::response::Call;

/// Everything the machinery needs to know about one replicated resource.
pub struct Domain {
    /// The name of the folder.
    pub name: &'static str,
    /// Its tables.
    pub tables: &'static [&'static dyn AnyTable],
    /// How its commands are read from the log.
    pub commands: &'static [CommandDef],
    /// How its rows enter and leave snapshots.
    pub records: &'static [RecordDef],
    /// Its HTTP routes.
    pub routes: &'static [Route],
    /// Its methods on the server port.
    pub methods: &'static [MethodDef],
}

/// Decodes a command from what follows its tag.
pub type DecodeCommand = fn(&[u8]) -> Result<Box<dyn AnyCommand>, types::msgpack::Error>;

/// How a command is read back from the log.
pub struct CommandDef {
    /// First byte of the entry.
    pub tag: u8,
    /// The RPC name.
    pub name: &'static str,
    /// Decodes what follows the tag.
    pub decode: DecodeCommand,
}

impl CommandDef {
    /// The definition of `C`.
    pub const fn of<C: Command>() -> Self {
        Self {
            tag: C::TAG,
            name: C::NAME,
            decode: |bytes| {
                types::msgpack::from_slice::<C>(bytes)
                    .map(|command| Box::new(command) as Box<dyn AnyCommand>)
            },
        }
    }
}

/// Calls the function with the msgpack of each record.
pub type SaveRecords = fn(&State, &mut dyn FnMut(&[u8]));

/// Decodes one record's msgpack and stores its rows.
pub type RestoreRecord = fn(&[u8], &mut Tx<'_>) -> Result<(), types::msgpack::Error>;

/// How rows of one kind are written to a snapshot and read from it
/// (`reference/raft-and-snapshots.md` section 10).
pub struct RecordDef {
    /// First byte of the record.
    pub tag: u8,
    /// Calls the function with each record's msgpack, in key order.
    pub save: SaveRecords,
    /// Decodes one record's msgpack and stores its rows.
    pub restore: RestoreRecord,
}

/// One path of the HTTP API with the methods it answers.
pub struct Route {
    /// The path. One that ends in `/` stands for everything below it.
    pub path: &'static str,
    /// The methods, in the order in which `Allow` lists them.
    pub verbs: &'static [Verb],
}

/// One method of a route.
pub struct Verb {
    /// The method. `None` is any, `OPTIONS` included: the handler answers those that do
    /// not fit.
    pub method: Option<Method>,
    /// Turns the request into a call.
    pub call: fn(&Request) -> Result<Call, CallError>,
}

impl Verb {
    /// Whether it answers this method.
    pub fn fits(&self, method: &Method) -> bool {
        self.method.as_ref().is_none_or(|known| known == method)
    }

    /// GET.
    pub const fn get(call: fn(&Request) -> Result<Call, CallError>) -> Self {
        Self { method: Some(Method::GET), call }
    }

    /// PUT.
    pub const fn put(call: fn(&Request) -> Result<Call, CallError>) -> Self {
        Self { method: Some(Method::PUT), call }
    }

    /// DELETE.
    pub const fn delete(call: fn(&Request) -> Result<Call, CallError>) -> Self {
        Self { method: Some(Method::DELETE), call }
    }

    /// POST.
    pub const fn post(call: fn(&Request) -> Result<Call, CallError>) -> Self {
        Self { method: Some(Method::POST), call }
    }
    /// Any method, for a route whose methods depend on the rest of the path.
    pub const fn any(call: fn(&Request) -> Result<Call, CallError>) -> Self {
        Self { method: None, call }
    }
}
