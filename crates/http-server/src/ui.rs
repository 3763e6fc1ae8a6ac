//! The web interface: files of the operator's own (`ui_config.dir`), or a page that says that
//! there is none in this build.
//!
//! It is an application of one page: what is no file is a place within it, and gets that page.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use contract::{Body, Response};
use http::StatusCode;

use crate::Reply;

/// The page of the application.
const INDEX: &str = "index.html";

/// Most bytes of a file.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// What the web interface is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ui {
    /// Where it lives: `/ui/`.
    pub path: String,
    /// Files that are served; `None` for what is built in.
    pub dir: Option<PathBuf>,
}

impl Ui {
    /// Answers for what is below [`Self::path`]; `rest` is what follows that, decoded and
    /// without `..`.
    pub(crate) async fn answer(&self, rest: &str) -> Reply {
        let Some(dir) = self.dir.clone() else { return built_in() };
        let rest = rest.to_owned();
        let read = tokio::task::spawn_blocking(move || read(&dir, &rest)).await;
        match read.map_err(io::Error::other).and_then(|read| read) {
            Ok((content_type, bytes)) => page(content_type, bytes.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Response::text(StatusCode::NOT_FOUND, "404 page not found\n").into()
            }
            Err(error) => {
                let error = error.to_string();
                let text = "The web interface cannot be read; see the log of the agent\n";
                let response = Response::text(StatusCode::INTERNAL_SERVER_ERROR, text);
                Reply { error: Some(error), ..response.into() }
            }
        }
    }
}

/// The file, else the page of the application.
fn read(dir: &Path, rest: &str) -> io::Result<(&'static str, Vec<u8>)> {
    let wanted = rest.trim_matches('/');
    let is_hidden = wanted.split('/').any(|part| part.starts_with('.'));
    if !wanted.is_empty() && !is_hidden {
        let path = dir.join(wanted);
        // What cannot be opened, such as a name that no file can have, is no file.
        if path.is_file() {
            return Ok((content_type(wanted), read_file(&path)?));
        }
    }
    Ok((content_type(INDEX), read_file(&dir.join(INDEX))?))
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let text = format!("{} is larger than {FILE_BYTES_MAX} bytes", path.display());
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

/// What stands where the UI will be.
fn built_in() -> Reply {
    let text = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Consul</title>\
                <p>The web UI is not part of this build of Proconsul yet. \
                The HTTP API is at <a href=\"/v1/catalog/services\">/v1/</a>.</p></html>\n";
    page(content_type(INDEX), Bytes::from_static(text.as_bytes()))
}

fn page(content_type: &'static str, bytes: Bytes) -> Reply {
    let body = Body::Bytes { content_type, bytes };
    Response { status: StatusCode::OK, headers: Vec::new(), body }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(ui: &Ui, rest: &str) -> (u16, &'static str, String) {
        let response = ui.answer(rest).await.response;
        let Body::Bytes { content_type, bytes } = response.body else { panic!("{rest}: bytes") };
        (response.status.as_u16(), content_type, String::from_utf8_lossy(&bytes).into_owned())
    }

    #[tokio::test]
    async fn files_are_served_and_everything_else_is_the_page() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("ui");
        std::fs::create_dir_all(dir.join("assets")).expect("a folder");
        for (name, text) in [
            ("ui/index.html", "page"),
            ("ui/assets/app.js", "code"),
            ("ui/.hidden", "hidden"),
            ("outside", "secret"),
        ] {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        let ui = Ui { path: "/ui/".to_owned(), dir: Some(dir.clone()) };
        let html = "text/html; charset=utf-8";
        for rest in ["", "index.html", "dc1/services", "assets", "assets/", ".hidden", "a\0b"] {
            assert_eq!(answer(&ui, rest).await, (200, html, "page".to_owned()), "{rest}");
        }
        let script = (200, "text/javascript; charset=utf-8", "code".to_owned());
        assert_eq!(answer(&ui, "assets/app.js").await, script);
        // The path was cleaned before; should it ever not be, it leads nowhere.
        assert_eq!(answer(&ui, "../outside").await.2, "page");
        assert_eq!(answer(&ui, "/etc/hostname").await.2, "page");

        std::fs::remove_file(dir.join(INDEX)).expect("it is there");
        assert_eq!(answer(&ui, "dc1/services").await.0, 404);
    }

    #[tokio::test]
    async fn without_files_a_page_says_so() {
        let ui = Ui { path: "/ui/".to_owned(), dir: None };
        let (status, _, text) = answer(&ui, "dc1").await;
        assert_eq!((status, text.contains("/v1/catalog/services")), (200, true));
    }
}
