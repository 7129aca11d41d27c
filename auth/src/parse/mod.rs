//! `acl.conf` as written: lines, groups, includes -> [`Acl`] with file, line and column; all errors at once.
//!
//! No I/O here: the caller passes a [`Loader`]. Rules are read in `rule`, filters in `filter`.

mod filter;
mod group;
mod rule;
#[cfg(test)]
mod tests;

use peer::Range;

use crate::diagnostic::{Code, Diagnostic, Hint, Pos, suggestion};
use crate::lex::{self, Line, Token};
use crate::raw::{Acl, ActionKind, BrokenRule, Effect, RawDefault, SourceFile};

/// How deep includes may be nested.
const MAX_DEPTH: usize = 8;

/// What reads files for the parser. Paths are the including file's directory joined with what is written.
pub trait Loader {
    /// The whole text of a file; the error is the reason for the operator.
    fn read(&self, path: &str) -> Result<String, String>;

    /// The files that fit a pattern (`*` and `?` in the last component); the parser sorts them.
    fn glob(&self, pattern: &str) -> Result<Vec<String>, String>;
}

/// A loader that has no files, for texts that include nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl Loader for NoFiles {
    fn read(&self, _path: &str) -> Result<String, String> {
        Err("no files can be read here".to_owned())
    }

    fn glob(&self, _pattern: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// What the rest of the configuration gives to an ACL file.
#[derive(Debug, Clone)]
pub struct Env {
    /// `[networks]` by name.
    pub networks: Vec<(String, Vec<Range>)>,
    /// All trusted_proxies and header_trusted_proxies: `@proxies` (wildcards are left out).
    pub proxies: Vec<Range>,
    /// Whether usernames are verified (`auth.chain` is not empty); for A206.
    pub names_verified: bool,
}

impl Default for Env {
    fn default() -> Self {
        Self {
            networks: Vec::new(),
            proxies: Vec::new(),
            names_verified: true,
        }
    }
}

/// Reads the file at `path` with everything it includes.
pub fn parse(path: &str, loader: &dyn Loader, env: &Env) -> Acl {
    let mut parser = Parser::new(loader, env);
    match loader.read(path) {
        Ok(text) => parser.file(path.to_owned(), base_name(path).to_owned(), &text),
        Err(reason) => {
            parser.acl.files.push(SourceFile {
                path: path.to_owned(),
                name: base_name(path).to_owned(),
                text: String::new(),
            });
            let pos = Pos {
                file: 0,
                line: 1,
                col: 1,
                width: 1,
            };
            parser.error(
                pos,
                Code::Include,
                format!("cannot read the file: {reason}"),
                note("check acl.file"),
            );
        }
    }
    parser.finish()
}

/// Reads a text that stands alone under `name`: it includes nothing and has no group files.
pub fn parse_text(name: &str, text: &str, env: &Env) -> Acl {
    let mut parser = Parser::new(&NoFiles, env);
    parser.file(name.to_owned(), base_name(name).to_owned(), text);
    parser.finish()
}

fn note(text: impl Into<String>) -> Hint {
    Hint::Note(text.into())
}

fn label(text: impl Into<String>) -> Hint {
    Hint::Label(text.into())
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `rel` as seen from the directory of `file`.
fn join(file: &str, rel: &str) -> String {
    let rel = rel.strip_prefix("./").unwrap_or(rel);
    match file.rfind('/') {
        Some(slash) if !rel.starts_with('/') => {
            format!("{}/{rel}", file.get(..slash).unwrap_or_default())
        }
        _ => rel.to_owned(),
    }
}

struct Parser<'a> {
    loader: &'a dyn Loader,
    acl: Acl,
    /// Paths of the files being read now, the outermost first.
    stack: Vec<String>,
    /// `@name` uses, checked when all groups are known.
    group_uses: Vec<(Pos, String)>,
}

impl<'a> Parser<'a> {
    fn new(loader: &'a dyn Loader, env: &Env) -> Self {
        let acl = Acl {
            groups: group::from_env(env),
            ..Acl::default()
        };
        Self {
            loader,
            acl,
            stack: Vec::new(),
            group_uses: Vec::new(),
        }
    }

    fn finish(mut self) -> Acl {
        let names: Vec<String> = self.acl.groups.keys().cloned().collect();
        for (pos, name) in std::mem::take(&mut self.group_uses) {
            if !self.acl.groups.contains_key(&name) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let hint = label(suggestion(&name, &names));
                self.error(pos, Code::UnknownGroup, format!("unknown group `@{name}`"), hint);
            }
        }
        self.acl.errors.sort_by_key(|d| (d.pos, d.code));
        let mut errors = std::mem::take(&mut self.acl.errors);
        self.acl.quote_sources(&mut errors);
        self.acl.errors = errors;
        self.acl
    }

    fn error(&mut self, pos: Pos, code: Code, message: impl Into<String>, hint: Hint) {
        let file = self.acl.files.get(pos.file as usize);
        // The source line is added at the end, for all of a file together.
        self.acl.errors.push(Diagnostic {
            code,
            message: message.into(),
            file: file.map(|f| f.path.clone()).unwrap_or_default(),
            source: String::new(),
            pos,
            hint,
        });
    }

    fn file(&mut self, path: String, name: String, text: &str) {
        let file = self.acl.files.len() as u32;
        self.acl.files.push(SourceFile {
            path: path.clone(),
            name,
            text: text.to_owned(),
        });
        self.stack.push(path);
        let (lines, open_quotes) = lex::lines(text);
        for quote in &open_quotes {
            let pos = Pos {
                file,
                line: quote.line,
                col: quote.col,
                width: 1,
            };
            self.error(
                pos,
                Code::Quote,
                "this quote is not closed",
                label("no second `\"` on this line"),
            );
        }
        for line in &lines {
            if let Line::Words(words) = line {
                self.line(file, words);
            }
        }
        self.stack.pop();
    }

    fn line(&mut self, file: u32, words: &[Token<'_>]) {
        let Some((first, rest)) = words.split_first() else {
            return;
        };
        match first.raw {
            "allow" => self.rule_line(file, Effect::Allow, words),
            "deny" => self.rule_line(file, Effect::Deny, words),
            "default" => self.default_line(file, first, rest),
            "group" => self.group_line(file, first, rest),
            "include" => self.include_line(file, first, rest),
            other => {
                let words = ["allow", "deny", "default", "group", "include"];
                let hint = label(suggestion(other, &words));
                let pos = first.pos(file);
                self.error(
                    pos,
                    Code::Syntax,
                    format!("`{other}` begins no rule or directive"),
                    hint,
                );
            }
        }
    }

    fn rule_line(&mut self, file: u32, effect: Effect, words: &[Token<'_>]) {
        let before = self.acl.errors.len();
        let rule = self.rule(file, effect, words);
        match rule {
            Some(rule) if self.acl.errors.len() == before => self.acl.rules.push(rule),
            _ => {
                let text: Vec<&str> = words.iter().map(|w| w.raw).collect();
                let pos = words.first().map(|w| w.pos(file)).unwrap_or_default();
                self.acl.broken.push(BrokenRule {
                    pos,
                    text: text.join(" "),
                });
            }
        }
    }

    /// The action word after `allow`, `deny` or `default`.
    fn action(&mut self, file: u32, before: &Token<'_>, token: Option<&Token<'_>>) -> Option<ActionKind> {
        let words = ["connect", "publish", "subscribe", "all"];
        let Some(token) = token else {
            let pos = before.pos(file);
            let hint = label(format!("one of {} must follow", words.join(", ")));
            self.error(
                pos,
                Code::Syntax,
                format!("`{}` without an action", before.raw),
                hint,
            );
            return None;
        };
        match token.raw {
            "connect" => Some(ActionKind::Connect),
            "publish" => Some(ActionKind::Publish),
            "subscribe" => Some(ActionKind::Subscribe),
            "all" => Some(ActionKind::All),
            other => {
                let pos = token.pos(file);
                let hint = label(suggestion(other, &words));
                self.error(pos, Code::Syntax, format!("unknown action `{other}`"), hint);
                None
            }
        }
    }

    fn default_line(&mut self, file: u32, first: &Token<'_>, rest: &[Token<'_>]) {
        let pos = first.pos(file);
        let Some(action) = self.action(file, first, rest.first()) else {
            return;
        };
        let effect = match rest.get(1).map(|t| t.raw) {
            Some("allow") => Effect::Allow,
            Some("deny") => Effect::Deny,
            _ => {
                let at = rest.get(1).or(rest.first()).map_or(pos, |t| t.pos(file));
                self.error(
                    at,
                    Code::Syntax,
                    "`default` ends with allow or deny",
                    label("allow or deny"),
                );
                return;
            }
        };
        if let Some(extra) = rest.get(2) {
            let at = extra.pos(file);
            self.error(
                at,
                Code::Misplaced,
                "`default` has no terms",
                label("write a rule for this"),
            );
            return;
        }
        if !self.acl.rules.is_empty() || !self.acl.broken.is_empty() {
            let hint = label("move it before the first rule");
            self.error(pos, Code::Default, "`default` stands after a rule", hint);
            return;
        }
        let written = RawDefault {
            effect,
            written: action,
            pos,
        };
        let mut twice = None;
        for (kind, slot) in [
            (ActionKind::Connect, &mut self.acl.default_connect),
            (ActionKind::Publish, &mut self.acl.default_publish),
            (ActionKind::Subscribe, &mut self.acl.default_subscribe),
        ] {
            if action.includes(kind) {
                twice = twice.or(slot.map(|old| (kind, old)));
                slot.get_or_insert(written);
            }
        }
        if let Some((kind, old)) = twice {
            let hint = label(format!("already set at {}", self.acl.place(old.pos)));
            self.error(
                pos,
                Code::Default,
                format!("`default {}` is set twice", kind.as_str()),
                hint,
            );
        }
    }

    fn include_line(&mut self, file: u32, first: &Token<'_>, rest: &[Token<'_>]) {
        let [target] = rest else {
            let pos = rest.get(1).map_or_else(|| first.pos(file), |t| t.pos(file));
            let hint = label("write include \"acl.d/*.conf\"");
            self.error(pos, Code::Syntax, "`include` takes one path or pattern", hint);
            return;
        };
        let pos = target.pos(file);
        let written = lex::unquoted(target.raw);
        let here = self.stack.last().cloned().unwrap_or_default();
        let pattern = join(&here, &written);
        let is_glob = written.contains(['*', '?']);
        let mut paths = match is_glob.then(|| self.loader.glob(&pattern)) {
            None => vec![pattern],
            Some(Ok(paths)) => paths,
            Some(Err(reason)) => {
                self.error(
                    pos,
                    Code::Include,
                    format!("cannot list `{written}`: {reason}"),
                    note("check the directory"),
                );
                return;
            }
        };
        paths.sort();
        for path in paths {
            self.include_file(pos, path);
        }
    }

    fn include_file(&mut self, pos: Pos, path: String) {
        if self.stack.contains(&path) {
            let hint = label("a file may not include itself, directly or through others");
            self.error(
                pos,
                Code::Include,
                format!("`{path}` is being read already: a cycle"),
                hint,
            );
            return;
        }
        if self.stack.len() > MAX_DEPTH {
            let hint = label(format!("at most {MAX_DEPTH} levels"));
            self.error(pos, Code::Include, "includes are nested too deep", hint);
            return;
        }
        match self.loader.read(&path) {
            Ok(text) => {
                let main = self.stack.first().cloned().unwrap_or_default();
                let name = relative(&main, &path);
                self.file(path, name, &text);
            }
            Err(reason) => {
                let hint = label("the path is relative to this file");
                self.error(
                    pos,
                    Code::Include,
                    format!("cannot read `{path}`: {reason}"),
                    hint,
                );
            }
        }
    }
}

/// `path` as seen from the directory of the main file, if it lies below it.
fn relative(main: &str, path: &str) -> String {
    let dir = main
        .rfind('/')
        .and_then(|slash| main.get(..=slash))
        .unwrap_or_default();
    path.strip_prefix(dir).unwrap_or(path).to_owned()
}
