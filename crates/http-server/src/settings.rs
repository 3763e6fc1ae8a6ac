//! What operators set about HTTP.

use std::sync::Arc;

use contract::AgentFacts;
use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use types::SecretId;

use crate::Ui;

/// Settings that apply to every request; replaced as a whole on reload.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// `http_config.response_headers`, set first on every response.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
    /// `http_config.block_endpoints`: beginnings of paths that answer 403.
    pub block_endpoints: Vec<String>,
    /// `http_config.allow_write_http_from`; empty for everybody.
    pub allow_write_from: Vec<IpNet>,
    /// `disable_http_unprintable_char_filter`.
    pub allow_unprintable: bool,
    /// `acl.default_policy`, told on every API response.
    pub default_acl_policy: &'static str,
    /// `translate_wan_addrs`, told on every API response.
    pub translate_wan_addrs: bool,
    /// `acl.tokens.default`: the token of requests that bring none.
    pub default_token: SecretId,
    /// The UI, `None` when it is off.
    pub ui: Option<Ui>,
    /// What handlers may know of the agent.
    pub facts: Arc<AgentFacts>,
}
