//! Real proxies in the foreground, each with a directory of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::broker::{Printed, printed};
use crate::process::Process;

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    /// The program.
    pub process: Process,
    _dir: tempfile::TempDir,
}

/// Starts NGINX with these `stream` and `http` blocks and waits until it listens on all of these addresses.
///
/// # Panics
/// If it does not.
#[track_caller]
pub fn nginx(blocks: &str, listens: &[SocketAddr]) -> Proxy {
    let dir = tempfile::tempdir().expect("a directory");
    let config = nginx_config(dir.path(), blocks);
    let process = Process::spawn("nginx", &mut nginx_command(dir.path(), &config));
    started(process, dir, listens)
}

/// Runs `nginx -t` on these blocks.
pub fn nginx_test(blocks: &str) -> Printed {
    let dir = tempfile::tempdir().expect("a directory");
    let config = nginx_config(dir.path(), blocks);
    printed(nginx_command(dir.path(), &config).arg("-t"))
}

/// Starts HAProxy with this configuration and waits until it listens on all of these addresses.
///
/// # Panics
/// If it does not.
#[track_caller]
pub fn haproxy(config: &str, listens: &[SocketAddr]) -> Proxy {
    let dir = tempfile::tempdir().expect("a directory");
    let file = haproxy_config(dir.path(), config);
    let process = Process::spawn("haproxy", Command::new("haproxy").arg("-db").arg("-f").arg(file));
    started(process, dir, listens)
}

/// Runs `haproxy -c` on this configuration.
pub fn haproxy_test(config: &str) -> Printed {
    let dir = tempfile::tempdir().expect("a directory");
    let file = haproxy_config(dir.path(), config);
    printed(Command::new("haproxy").arg("-c").arg("-f").arg(file))
}

#[track_caller]
fn started(mut process: Process, dir: tempfile::TempDir, listens: &[SocketAddr]) -> Proxy {
    for addr in listens {
        process.listens(*addr);
    }
    Proxy { process, _dir: dir }
}

fn nginx_command(dir: &Path, config: &Path) -> Command {
    let mut command = Command::new(nginx_binary());
    // -e: before it has read its configuration it would complain about a log directory it may not write.
    command
        .arg("-e")
        .arg("stderr")
        .arg("-p")
        .arg(dir)
        .arg("-c")
        .arg(config);
    command
}

/// Debian keeps it where only root's PATH leads.
fn nginx_binary() -> PathBuf {
    let usual = PathBuf::from("/usr/sbin/nginx");
    if usual.exists() { usual } else { "nginx".into() }
}

/// Writes a whole configuration around these blocks: one process, everything below `dir`.
fn nginx_config(dir: &Path, blocks: &str) -> PathBuf {
    let module = stream_module()
        .map(|module| format!("load_module {};\n", module.display()))
        .unwrap_or_default();
    // Only http knows these; their defaults lie in directories of the system.
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {}/{name};\n", dir.display()))
        .concat();
    let blocks = blocks.replace("http {", &format!("http {{\naccess_log off;\n{temp}"));
    let config = format!(
        "{module}daemon off;\nmaster_process off;\npid {}/nginx.pid;\nerror_log stderr notice;\n\
         events {{ worker_connections 512; }}\n{blocks}\n",
        dir.display()
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, config).expect("a file");
    file
}

/// The stream module, where it is not built in.
fn stream_module() -> Option<&'static Path> {
    static MODULE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let module = MODULE.get_or_init(|| {
        let told = printed(Command::new(nginx_binary()).arg("-V"));
        let built = told.stderr.split_whitespace();
        let modules = built
            .clone()
            .find_map(|word| word.strip_prefix("--modules-path="))?;
        let module = Path::new(modules).join("ngx_stream_module.so");
        module.exists().then_some(module)
    });
    module.as_deref()
}

fn haproxy_config(dir: &Path, config: &str) -> PathBuf {
    let file = dir.join("haproxy.cfg");
    let defaults = "global\n  maxconn 500\ndefaults\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n";
    std::fs::write(&file, format!("{defaults}{config}\n")).expect("a file");
    file
}
