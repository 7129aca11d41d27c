//! Writes the manual pages and the bash completion of `broker` into a directory: what a package ships.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: man DIRECTORY");
        std::process::exit(2);
    };
    std::fs::create_dir_all(&dir)?;
    clap_mangen::generate_to(broker::cli::command(), &dir)?;
    clap_complete::generate_to(
        clap_complete::Shell::Bash,
        &mut broker::cli::command(),
        "broker",
        &dir,
    )?;
    Ok(())
}
