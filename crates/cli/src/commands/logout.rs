//! `consul logout` (`reference/cli.md` section 13).

use client::Acl;

use crate::ApiFlags;
use crate::command::{Call, Command, Run, no_flags};
use crate::failure::{Outcome, Tried as _};

pub(super) const COMMAND: Command = Command {
    words: "logout",
    synopsis: "Destroy a token that a login gave",
    usage: "logout [options]",
    help: "Destroys the token that the request is made with, which `consul login` gave.\n\n\
           \x20   $ consul logout -token-file=my.token",
    api: ApiFlags::CS,
    flags: no_flags,
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    Acl(&call.client()?).logout().await.tried("Error destroying token")?;
    Ok(0)
}
