//! Groups: `group NAME = ...`, `group NAME from PATH`, those of `[networks]` and the built-in ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use peer::Range;

use super::{Env, Parser, join, label, note};
use crate::diagnostic::{Code, Pos};
use crate::lex::{self, Token};
use crate::nets::{LOCAL, LOOPBACK, NetError, NetSet, parse_net};
use crate::raw::{Group, GroupOrigin, SourceFile};

/// A group with more ranges than this is named in messages without them.
const LISTED_MAX: usize = 4;

impl Group {
    fn new(origin: GroupOrigin, nets: Vec<IpNet>, unix: bool) -> Self {
        let set = Arc::new(NetSet::new(nets.iter().copied(), unix));
        let few = nets.len() <= LISTED_MAX && matches!(origin, GroupOrigin::Inline(_) | GroupOrigin::Config);
        Self {
            origin,
            set,
            listed: if few { nets } else { Vec::new() },
        }
    }
}

/// The groups that exist before the file is read.
pub(super) fn from_env(env: &Env) -> BTreeMap<String, Group> {
    let mut groups = BTreeMap::new();
    for (name, ranges) in &env.networks {
        let (nets, unix) = split(ranges.iter().copied());
        groups.insert(name.clone(), Group::new(GroupOrigin::Config, nets, unix));
    }
    // A wildcard would make @proxies everybody.
    let (proxies, unix) = split(env.proxies.iter().copied().filter(|r| !r.is_wildcard()));
    let built_in = [
        ("loopback", LOOPBACK.to_vec(), true),
        ("private", LOCAL.to_vec(), false),
        ("proxies", proxies, unix),
    ];
    for (name, nets, unix) in built_in {
        groups.insert(name.to_owned(), Group::new(GroupOrigin::BuiltIn, nets, unix));
    }
    groups
}

fn split(ranges: impl Iterator<Item = Range>) -> (Vec<IpNet>, bool) {
    let mut nets = Vec::new();
    let mut unix = false;
    for range in ranges {
        match range {
            Range::Unix => unix = true,
            Range::Net(net) => nets.push(net),
        }
    }
    (nets, unix)
}

impl Parser<'_> {
    pub(super) fn group_line(&mut self, file: u32, first: &Token<'_>, rest: &[Token<'_>]) {
        let (Some(name), Some(sign)) = (rest.first(), rest.get(1)) else {
            let pos = first.pos(file);
            let hint = label("write group NAME = CIDR ... or group NAME from PATH");
            self.error(pos, Code::Syntax, "`group` needs a name and its ranges", hint);
            return;
        };
        let name_pos = name.pos(file);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !name.raw.chars().all(plain) {
            let hint = label("letters, digits, `_`, `-` and `.`; a blank before `=`");
            self.error(
                name_pos,
                Code::Syntax,
                format!("`{}` is no group name", name.raw),
                hint,
            );
            return;
        }
        let values = rest.get(2..).unwrap_or_default();
        let group = match sign.raw {
            "=" => {
                let nets = values.iter().filter_map(|t| {
                    let pos = t.pos(file);
                    self.net(pos, t.raw)
                });
                Some(Group::new(GroupOrigin::Inline(name_pos), nets.collect(), false))
            }
            "from" => self
                .group_file(file, sign, values)
                .map(|nets| Group::new(GroupOrigin::File(name_pos), nets, false)),
            other => {
                let pos = sign.pos(file);
                self.error(
                    pos,
                    Code::Syntax,
                    format!("unexpected `{other}`"),
                    label("`=` or `from`"),
                );
                None
            }
        };
        if let Some(origin) = self.acl.groups.get(name.raw).map(|g| g.origin) {
            let by = match origin {
                GroupOrigin::Inline(pos) | GroupOrigin::File(pos) => {
                    format!("defined at {}", self.acl.place(pos))
                }
                GroupOrigin::Config => "defined in [networks]".to_owned(),
                GroupOrigin::BuiltIn => "built in".to_owned(),
            };
            let message = format!("group `{}` is defined twice", name.raw);
            self.error(name_pos, Code::GroupTwice, message, label(by));
            return;
        }
        // A group with errors is still known, so that its uses are not errors as well.
        let group = group.unwrap_or_else(|| Group::new(GroupOrigin::File(name_pos), Vec::new(), false));
        self.acl.groups.insert(name.raw.to_owned(), group);
    }

    /// One CIDR a line; `#` and `;` begin a comment (the form of published block lists).
    fn group_file(&mut self, file: u32, from: &Token<'_>, values: &[Token<'_>]) -> Option<Vec<IpNet>> {
        let [target] = values else {
            let pos = values.get(1).map_or_else(|| from.pos(file), |t| t.pos(file));
            self.error(
                pos,
                Code::Syntax,
                "`from` takes one path",
                label("write group NAME from \"PATH\""),
            );
            return None;
        };
        let path = join(
            self.stack.last().map_or("", String::as_str),
            &lex::unquoted(target.raw),
        );
        let text = match self.loader.read(&path) {
            Ok(text) => text,
            Err(reason) => {
                let pos = target.pos(file);
                let hint = label("the path is relative to this file");
                self.error(
                    pos,
                    Code::Include,
                    format!("cannot read `{path}`: {reason}"),
                    hint,
                );
                return None;
            }
        };
        let list = self.acl.files.len() as u32;
        let name = super::relative(self.stack.first().map_or("", String::as_str), &path);
        self.acl.files.push(SourceFile {
            path,
            name,
            text: String::new(),
        });
        let mut nets = Vec::new();
        let mut failed = false;
        for (line, whole) in (1u32..).zip(text.strip_prefix('\u{FEFF}').unwrap_or(&text).lines()) {
            let body = whole.split(['#', ';']).next().unwrap_or_default();
            let trimmed = body.trim();
            if trimmed.is_empty() {
                continue;
            }
            let col = 1 + body.chars().take_while(|c| c.is_whitespace()).count() as u32;
            let pos = Pos {
                file: list,
                line,
                col,
                width: trimmed.chars().count() as u32,
            };
            if !failed && parse_net(trimmed).is_err() {
                // Lists may be long: the text is kept only for messages.
                failed = true;
                if let Some(file) = self.acl.files.get_mut(list as usize) {
                    file.text.clone_from(&text);
                }
            }
            nets.extend(self.net(pos, trimmed));
        }
        Some(nets)
    }

    /// A CIDR or address, or an error at its place.
    pub(super) fn net(&mut self, pos: Pos, text: &str) -> Option<IpNet> {
        match parse_net(text) {
            Ok(net) => Some(net),
            Err(NetError::HostBits(net, host)) => {
                let hint = note(format!("write {net} for the network, or {host} for the host"));
                self.error(pos, Code::HostBits, format!("`{text}` has host bits set"), hint);
                None
            }
            Err(error @ (NetError::Syntax | NetError::Length)) => {
                let message = match error {
                    NetError::Length => format!("`{text}`: {error}"),
                    _ => format!("`{text}` is {error}"),
                };
                self.error(
                    pos,
                    Code::BadAddress,
                    message,
                    label("write 10.0.0.0/8 or 2001:db8::/32"),
                );
                None
            }
        }
    }
}
