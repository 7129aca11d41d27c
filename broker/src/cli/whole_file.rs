//! Writing a file whole: beside the old one, then moved there, so that no reader ever sees half of it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Replaces the file. An old one keeps its permissions and owner; a new one gets `mode` and its directory's group, so
/// that what root writes into the broker's directory the broker can read.
pub(super) fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    // Through a symbolic link, so that the link stays one.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let old = path.metadata().ok();
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let beside = directory.join(name);
    let written = fill(&beside, text).and_then(|()| {
        let (owner, group, mode) = match &old {
            Some(old) => (Some(old.uid()), old.gid(), old.mode() & 0o7777),
            None => (None, directory.metadata()?.gid(), mode),
        };
        // Only root and members may give a file away; everybody else keeps it as it is.
        let given = std::os::unix::fs::chown(&beside, owner, Some(group)).is_ok();
        // What is not given to the group is not opened to another one either.
        let mode = if given { mode } else { mode & 0o7707 };
        std::fs::set_permissions(&beside, Permissions::from_mode(mode))?;
        std::fs::rename(&beside, &path)?;
        File::open(&directory)?.sync_all()
    });
    if written.is_err() {
        // It may not exist, and there is nothing better to do about it.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn fill(path: &Path, text: &str) -> io::Result<()> {
    // Nobody else reads it before it has its own permissions.
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o777
    }

    #[test]
    fn permissions_and_links_stay() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("passwd");
        write(&file, "a\n", 0o640).unwrap();
        assert_eq!(
            (std::fs::read_to_string(&file).unwrap().as_str(), mode(&file)),
            ("a\n", 0o640)
        );
        std::fs::set_permissions(&file, Permissions::from_mode(0o604)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, "b\n", 0o640).unwrap();
        assert_eq!(
            (std::fs::read_to_string(&file).unwrap().as_str(), mode(&file)),
            ("b\n", 0o604)
        );
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            2,
            "nothing is left beside"
        );
        assert!(write(&dir.path().join("none/x"), "", 0o600).is_err());
    }
}
