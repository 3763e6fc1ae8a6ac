//! Telling the shells of a user to ask `consul` for completions.
//!
//! A shell counts as there when its start-up file, or for fish its folder, is there.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The start-up files of bash, of which the first that exists is taken.
const BASH_FILES: [&str; 4] = [".bashrc", ".bash_profile", ".bash_login", ".profile"];

/// What makes zsh understand the words of bash.
const ZSH_PREPARATION: &str = "autoload -U +X bashcompinit && bashcompinit";

/// Where a user keeps settings, and the program that completes.
pub(super) struct Place {
    home: PathBuf,
    config_home: PathBuf,
    program: PathBuf,
}

/// Does something in the place of whoever runs this.
pub(super) fn of_this_user(work: fn(&Place) -> Result<(), String>) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let home = home().ok_or("Did not find the home directory of this user")?;
    let config_home = std::env::var_os("XDG_CONFIG_HOME").filter(|path| !path.is_empty());
    let config_home = config_home.map_or_else(|| home.join(".config"), PathBuf::from);
    work(&Place { home, config_home, program })
}

/// The home directory by the user database, else by the environment.
fn home() -> Option<PathBuf> {
    let user = rustix::process::getuid().as_raw().to_string();
    let database = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = database.lines().find_map(|line| {
        let columns: Vec<&str> = line.split(':').collect();
        (columns.get(2) == Some(&user.as_str())).then(|| columns.get(5).map(PathBuf::from))?
    });
    found.or_else(|| std::env::var_os("HOME").map(PathBuf::from)).filter(|path| path.is_absolute())
}

/// Adds completion to every shell that is there.
pub(super) fn install(place: &Place) -> Result<(), String> {
    let mut outcome = Outcome::default();
    for shell in shells(place) {
        outcome.add(shell.install());
    }
    outcome.finish()
}

/// Takes it away again.
pub(super) fn remove(place: &Place) -> Result<(), String> {
    let mut outcome = Outcome::default();
    for shell in shells(place) {
        outcome.add(shell.remove());
    }
    outcome.finish()
}

/// Lines in a start-up file, or a file of their own.
enum Shell {
    /// The lines are added to the file; the first ones stay when the last is removed.
    Lines { file: PathBuf, preparation: Option<&'static str>, line: String },
    /// The file is made with its folder, and removed.
    File { folder: PathBuf, file: PathBuf, text: String },
}

fn shells(place: &Place) -> Vec<Shell> {
    let program = place.program.display();
    let mut shells = Vec::new();
    let bash = BASH_FILES.iter().map(|name| place.home.join(name)).find(|file| file.exists());
    if let Some(file) = bash {
        let line = format!("complete -C {program} consul");
        shells.push(Shell::Lines { file, preparation: None, line });
    }
    let file = place.home.join(".zshrc");
    if file.exists() {
        let line = format!("complete -o nospace -C {program} consul");
        shells.push(Shell::Lines { file, preparation: Some(ZSH_PREPARATION), line });
    }
    let folder = place.config_home.join("fish");
    if folder.is_dir() {
        // The line up to the cursor, with the blank that fish leaves out at its end.
        let text = format!(
            "function __complete_consul\n    set -lx COMP_LINE (commandline -cp)\n    test -z \
             (commandline -ct)\n    and set COMP_LINE \"$COMP_LINE \"\n    {program}\nend\ncomplete \
             -f -c consul -a \"(__complete_consul)\"\n"
        );
        let file = folder.join("completions/consul.fish");
        shells.push(Shell::File { folder, file, text });
    }
    shells
}

impl Shell {
    fn install(&self) -> Result<(), String> {
        match self {
            Shell::Lines { file, preparation, line } => {
                let text = read(file)?;
                if has_line(&text, line) {
                    return Err(format!("already installed in {}", file.display()));
                }
                let preparation = preparation.filter(|preparation| !has_line(&text, preparation));
                let mut added = String::new();
                for line in preparation.into_iter().chain([line.as_str()]) {
                    added.push_str(line);
                    added.push('\n');
                }
                let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
                append(file, &format!("{end}{added}"))
            }
            Shell::File { file, text, .. } => {
                if file.exists() {
                    return Err(format!("already installed at {}", file.display()));
                }
                let folder = file.parent().unwrap_or(Path::new("/"));
                fs::create_dir_all(folder).map_err(|error| trouble(folder, &error))?;
                fs::write(file, text).map_err(|error| trouble(file, &error))
            }
        }
    }

    fn remove(&self) -> Result<(), String> {
        match self {
            Shell::Lines { file, line, .. } => {
                let text = read(file)?;
                if !has_line(&text, line) {
                    return Err(format!("does not installed in {}", file.display()));
                }
                let kept = text.split_inclusive('\n').filter(|kept| kept.trim_end() != line);
                replace(file, &kept.collect::<String>())
            }
            Shell::File { folder, file, .. } => {
                if !file.exists() {
                    return Err(format!("does not installed in {}", folder.display()));
                }
                fs::remove_file(file).map_err(|error| trouble(file, &error))
            }
        }
    }
}

fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|found| found.trim_end() == line)
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| trouble(file, &error))
}

fn append(file: &Path, text: &str) -> Result<(), String> {
    let appended = fs::OpenOptions::new()
        .append(true)
        .open(file)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    appended.map_err(|error| trouble(file, &error))
}

/// A start-up file is never half written. A link to it, as those have who keep such files
/// elsewhere, stays one.
fn replace(file: &Path, text: &str) -> Result<(), String> {
    let replaced = || -> std::io::Result<()> {
        let file = fs::canonicalize(file)?;
        let beside = file.with_extension("proconsul-tmp");
        fs::write(&beside, text)?;
        fs::set_permissions(&beside, fs::metadata(&file)?.permissions())?;
        fs::rename(&beside, &file)
    };
    replaced().map_err(|error| trouble(file, &error))
}

fn trouble(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// What became of each shell, in the form in which Consul tells several errors.
#[derive(Default)]
struct Outcome {
    shells: usize,
    errors: Vec<String>,
}

impl Outcome {
    fn add(&mut self, done: Result<(), String>) {
        self.shells += 1;
        self.errors.extend(done.err());
    }

    fn finish(self) -> Result<(), String> {
        let noun = match (self.shells, self.errors.len()) {
            (0, _) => return Err("Did not find any shells to install".to_owned()),
            (_, 0) => return Ok(()),
            (_, 1) => "1 error occurred".to_owned(),
            (_, count) => format!("{count} errors occurred"),
        };
        let bullets: String = self.errors.iter().map(|error| format!("\t* {error}\n")).collect();
        Err(format!("{noun}:\n{bullets}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_owned();
        let config_home = home.join(".config");
        (folder, Place { home, config_home, program: "/opt/consul".into() })
    }

    #[test]
    fn the_shells_that_are_there_learn_to_complete_and_forget_it_again() {
        let (_folder, place) = place();
        assert_eq!(install(&place), Err("Did not find any shells to install".to_owned()));
        let path = |name: &str| place.home.join(name);
        fs::write(path(".profile"), "# not this one\n").unwrap();
        fs::write(path(".bash_profile"), "# mine").unwrap();
        fs::write(path("dotfiles-zshrc"), "# zsh\n").unwrap();
        std::os::unix::fs::symlink("dotfiles-zshrc", path(".zshrc")).unwrap();
        fs::create_dir_all(path(".config/fish")).unwrap();

        assert_eq!(install(&place), Ok(()));
        let text = |name: &str| fs::read_to_string(path(name)).unwrap();
        assert_eq!(text(".bash_profile"), "# mine\ncomplete -C /opt/consul consul\n");
        assert_eq!(text(".profile"), "# not this one\n");
        let zsh = "# zsh\nautoload -U +X bashcompinit && bashcompinit\ncomplete -o nospace -C \
                   /opt/consul consul\n";
        assert_eq!(text(".zshrc"), zsh);
        let fish = text(".config/fish/completions/consul.fish");
        assert!(fish.contains("\n    /opt/consul\nend\n"), "{fish}");

        let again = install(&place).unwrap_err();
        let home = place.home.display();
        assert_eq!(
            again,
            format!(
                "3 errors occurred:\n\t* already installed in {home}/.bash_profile\n\t* already \
                 installed in {home}/.zshrc\n\t* already installed at \
                 {home}/.config/fish/completions/consul.fish\n\n"
            )
        );

        assert_eq!(remove(&place), Ok(()));
        assert_eq!(text(".bash_profile"), "# mine\n");
        assert_eq!(text(".zshrc"), "# zsh\nautoload -U +X bashcompinit && bashcompinit\n");
        assert!(fs::symlink_metadata(path(".zshrc")).unwrap().is_symlink());
        assert!(!path(".config/fish/completions/consul.fish").exists());
        let error = remove(&place).unwrap_err();
        assert!(error.starts_with("3 errors occurred:\n\t* does not installed in "), "{error}");
        // What stayed of zsh's lines is not added twice.
        assert_eq!(install(&place), Ok(()));
        assert_eq!(text(".zshrc"), zsh);
    }

    #[test]
    fn one_shell_of_several_is_one_error() {
        let (_folder, place) = place();
        fs::write(place.home.join(".bashrc"), "complete -C /opt/consul consul\n").unwrap();
        fs::write(place.home.join(".zshrc"), "").unwrap();
        let error = install(&place).unwrap_err();
        let file = place.home.join(".bashrc");
        assert_eq!(
            error,
            format!("1 error occurred:\n\t* already installed in {}\n\n", file.display())
        );
        assert!(fs::read_to_string(place.home.join(".zshrc")).unwrap().contains("/opt/consul"));
    }
}
