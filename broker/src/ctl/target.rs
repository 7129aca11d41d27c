//! Where the broker is: `--url`, or the control socket of the configuration file, else of local mode
//! (operator-interface 1). Only `admin.socket` is looked for, so that a broken file does not lock us out.

use std::path::{Path, PathBuf};

use crate::config::LocalPaths;

const DEFAULT_FILE: &str = "/etc/broker/broker.toml";
const DEFAULT_SOCKET: &str = "/run/broker/ctl.sock";

/// The control socket by the configuration file (`--config`, else `BROKER_CONFIG`, else the default), its
/// conf.d and the environment; without any file local mode's.
pub fn socket(file: Option<&Path>) -> PathBuf {
    let var = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let file = file.map(Path::to_path_buf).or_else(|| var("BROKER_CONFIG"));
    find(
        file,
        var("BROKER__ADMIN__SOCKET"),
        Path::new(DEFAULT_FILE),
        &LocalPaths::of_this_user(),
    )
}

fn find(file: Option<PathBuf>, env: Option<PathBuf>, default_file: &Path, local: &LocalPaths) -> PathBuf {
    if let Some(path) = env {
        return path;
    }
    let file = file.unwrap_or_else(|| default_file.to_path_buf());
    let mut parts: Vec<PathBuf> = std::fs::read_dir(file.with_file_name("conf.d"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    parts.sort();
    if parts.is_empty() && !file.exists() {
        let beside = local.state_dir.join("ctl.sock");
        return if !local.socket.exists() && beside.exists() {
            beside
        } else {
            local.socket.clone()
        };
    }
    let named = parts.iter().rev().chain([&file]).find_map(|path| socket_in(path));
    named.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET))
}

fn socket_in(file: &Path) -> Option<PathBuf> {
    let table: toml::Table = std::fs::read_to_string(file).ok()?.parse().ok()?;
    table.get("admin")?.get("socket")?.as_str().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_found_in_the_documented_order() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let local = LocalPaths {
            state_dir: root.join("state"),
            socket: root.join("xdg/ctl.sock"),
        };
        let file = root.join("broker.toml");
        let find = |env: Option<&str>| find(None, env.map(PathBuf::from), &file, &local);
        assert_eq!(find(None), local.socket);
        std::fs::create_dir(root.join("state")).unwrap();
        std::fs::write(root.join("state/ctl.sock"), "").unwrap();
        assert_eq!(find(None), root.join("state/ctl.sock"));
        std::fs::write(&file, "[node]\nname = \"x\"\n").unwrap();
        assert_eq!(find(None), PathBuf::from(DEFAULT_SOCKET));
        std::fs::write(&file, "[admin]\nsocket = \"/a\"\n").unwrap();
        assert_eq!(find(None), PathBuf::from("/a"));
        std::fs::create_dir(root.join("conf.d")).unwrap();
        std::fs::write(root.join("conf.d/10-a.toml"), "admin.socket = \"/b\"\n").unwrap();
        std::fs::write(root.join("conf.d/20-b.toml"), "this is not TOML").unwrap();
        assert_eq!(find(None), PathBuf::from("/b"));
        assert_eq!(find(Some("/c")), PathBuf::from("/c"));
    }
}
