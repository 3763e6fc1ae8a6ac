//! What the service manager is told: systemd's `sd_notify` protocol.
//!
//! A unit of `Type=notify` or `Type=notify-reload` counts as started when the agent is
//! [`ready`], which is when its server knows a leader. The variable `NOTIFY_SOCKET` names
//! the datagram socket: a path, or after `@` a name in Linux' abstract namespace. Without
//! the variable nothing is told. (The crate `sd-notify` does not know the second form.)

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::time::{ClockId, clock_gettime};

/// The agent serves; a reload, if one was going on, is over.
pub(crate) fn ready() {
    tell("READY=1\n");
}

/// The agent reads its configuration again. [`ready`] ends it, whatever came of it.
pub(crate) fn reloading() {
    // systemd wants to know when, to tell this message from those that were on the way.
    let now = clock_gettime(ClockId::Monotonic);
    let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\n"));
}

/// The agent is about to end.
pub(crate) fn stopping() {
    tell("STOPPING=1\n");
}

fn tell(message: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
        return;
    };
    if let Err(error) = send(&name, message) {
        let (socket, message) = (name.to_string_lossy(), message.trim_end());
        tracing::warn!(target: "agent", %socket, message, error = %error, "Cannot tell the service manager");
    }
}

fn send(name: &OsStr, message: &str) -> std::io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn a_message_reaches_a_socket_at_a_path_and_one_in_the_abstract_namespace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "READY=1\n").unwrap();
        assert_eq!(received(&socket), "READY=1\n");

        let name = format!("proconsul-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        send(OsStr::new(&format!("@{name}")), "STOPPING=1\n").unwrap();
        assert_eq!(received(&socket), "STOPPING=1\n");
    }

    #[test]
    fn a_socket_that_nobody_listens_at_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(send(folder.path().join("none").as_os_str(), "READY=1\n").is_err());
        assert!(send(OsStr::new("@proconsul-test-none"), "READY=1\n").is_err());
    }
}
