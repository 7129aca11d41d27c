//! The JSON Schema of the configuration file, made from the table of keys: editors complete and check with it.

use serde_json::{Map, Value, json};

use super::keys::{Branch, Key, Kind, LEVELS, Node, Preset, tree};

/// The schema (draft 7, which TOML editors read).
pub fn schema() -> Value {
    let mut root = table(tree());
    if let Value::Object(map) = &mut root {
        map.insert(
            "$schema".to_owned(),
            json!("http://json-schema.org/draft-07/schema#"),
        );
        map.insert("title".to_owned(), json!("broker.toml"));
    }
    root
}

fn table(branch: &Branch) -> Value {
    if let Some(rows) = &branch.rows {
        return json!({ "type": "array", "items": table(rows) });
    }
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, node) in branch
        .named
        .iter()
        .filter(|(_, node)| !matches!(node, Node::Leaf(key) if key.is_reserved()))
    {
        properties.insert((*name).to_owned(), self::node(node));
        if matches!(node, Node::Leaf(key) if key.preset == Preset::Required) {
            required.push(*name);
        }
    }
    let others = match branch.any.as_deref() {
        Some(any) => node(any),
        None => json!(false),
    };
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": others });
    // A listener may be spread over files, so what it needs is asked of the whole, not of one file.
    if !required.is_empty() && !required.contains(&"transport") {
        schema["required"] = json!(required);
    }
    schema
}

fn node(node: &Node) -> Value {
    match node {
        Node::Table(branch) => table(branch),
        Node::Leaf(key) => leaf(key),
    }
}

fn leaf(key: &Key) -> Value {
    let mut schema = kind(key.kind);
    schema["description"] = json!(key.doc);
    if let Some(default) = super::effective::preset_value(key).filter(|_| key.preset != Preset::Hostname) {
        schema["default"] = json!(default);
    }
    schema
}

fn kind(kind: Kind) -> Value {
    let unlimited = super::units::UNLIMITED;
    let duration = "^([0-9]+ *(ms|s|m|h|d|w) *)+$|^0$";
    let size = json!({ "type": "string", "pattern": "^[0-9]+ *(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB)?$" });
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::BoolOr(words) => json!({ "anyOf": [{ "type": "boolean" }, { "enum": words }] }),
        Kind::Int(low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
        Kind::Float(low, high) => json!({ "type": "number", "minimum": low, "maximum": high }),
        Kind::Text | Kind::Path(_) | Kind::Field => json!({ "type": "string" }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Words(words) => json!({ "type": "array", "items": { "enum": words } }),
        Kind::Texts | Kind::Ranges => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Ints(low, high) => {
            json!({ "type": "array", "items": { "type": "integer", "minimum": low, "maximum": high } })
        }
        Kind::Duration(..) => json!({ "type": "string", "pattern": duration }),
        Kind::Size(low, high) => {
            json!({ "anyOf": [{ "type": "integer", "minimum": low, "maximum": high }, size] })
        }
        Kind::Limit(low) => {
            json!({ "anyOf": [{ "type": "integer", "minimum": low }, { "const": unlimited }] })
        }
        Kind::SizeLimit => {
            json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, size, { "const": unlimited }] })
        }
        Kind::Rate => json!({ "type": "string", "pattern": "^([0-9]+ *[A-Za-z]* */ *[smhd]|unlimited)$" }),
        Kind::Bind => json!({ "type": "string", "pattern": "^(unix:/.*|.*:[0-9]+)$" }),
        Kind::AddressOrOff => json!({ "type": "string", "pattern": "^(.*:[0-9]+)?$" }),
        Kind::Mode => json!({ "type": "string", "pattern": "^[0-7]{4}$" }),
        Kind::TextMap => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::LevelMap => json!({ "type": "object", "additionalProperties": { "enum": LEVELS } }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows a path of the schema; a missing part is null.
    fn at<'a>(schema: &'a Value, path: &[&str]) -> &'a Value {
        path.iter().fold(schema, |value, part| &value[*part])
    }

    #[test]
    fn every_key_has_its_place_type_and_text() {
        let schema = schema();
        for key in super::super::keys::available() {
            let mut here = &schema;
            for part in key.path.split('.') {
                here = match part {
                    "*" => &here["additionalProperties"],
                    "[]" => &here["items"],
                    name => &here["properties"][name],
                };
            }
            assert_eq!(here["description"], json!(key.doc), "{}", key.path);
        }
    }

    #[test]
    fn unknown_keys_are_refused_and_defaults_told() {
        let schema = schema();
        assert_eq!(at(&schema, &["additionalProperties"]), &json!(false));
        assert_eq!(
            at(
                &schema,
                &["properties", "mqtt", "properties", "max_qos", "default"]
            ),
            &json!(2)
        );
        assert_eq!(
            at(
                &schema,
                &["properties", "mqtt", "properties", "max_qos", "maximum"]
            ),
            &json!(2)
        );
        let auto = at(
            &schema,
            &["properties", "bans", "properties", "auto", "items", "required"],
        );
        assert!(auto.as_array().unwrap().contains(&json!("window")));
    }
}
