//! `/v1/acl/` (`reference/http-api.md` 2.1).

use http::Method;

use crate::{Client, Error, Request};

/// Tokens and what they may do.
#[derive(Clone, Copy)]
pub struct Acl<'c>(pub &'c Client);

impl Acl<'_> {
    /// Destroys the token of the client, which a login gave.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn logout(&self) -> Result<(), Error> {
        self.0.call(Request::new(Method::POST, "/v1/acl/logout")).await.map(drop)
    }
}
