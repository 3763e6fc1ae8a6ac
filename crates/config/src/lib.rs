//! Every option of the agent, defined once: HCL, JSON and flags, merged and
//! validated.
//!
//! The way of a setting: [`hcl`] or [`json`] reads a source into a [`Value`];
//! [`options`] says which keys exist, their types, defaults and old spellings;
//! [`settings`] merges the sources by those rules; `build` turns the merged
//! settings into the [`RuntimeConfig`], made of one small struct per component.
//! [`load()`] is that whole way. The facts are those of `reference/config.md`.
//!
//! Nothing here reads a file, an interface or the environment by itself: files
//! come through the [`FileSystem`] trait and the rest through [`Environment`].
//! The one exception is [`file_system::Disk`], the real implementation of that
//! trait.

mod build;
mod decode;
pub mod file_system;
pub mod flags;
pub mod hcl;
pub mod json;
pub mod load;
pub mod node_id;
pub mod options;
pub mod reload;
pub mod runtime;
pub mod settings;
mod sources;
pub mod template;
pub mod value;

pub use build::encrypt_key;
pub use file_system::{Disk, FileSystem};
pub use flags::{AGENT_FLAGS, AgentFlag, FlagKind, FlagTarget, Instead};
pub use load::{Environment, InterfaceAddr, LoadError, Loaded, Sources, load, validate};
pub use reload::{ReloadPart, ReloadPlan, Reloaded};
pub use runtime::RuntimeConfig;
pub use settings::Settings;
pub use value::Value;
