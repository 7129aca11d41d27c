//! The result of one scenario: named numbers, as one line of text or one JSON object.

use serde_json::{Map, Value, json};

/// Named numbers in the order they were added; names end in their unit.
#[derive(Clone, Debug, Default)]
pub struct Report {
    values: Vec<(String, f64)>,
}

impl Report {
    /// Adds a number.
    pub fn put(&mut self, name: &str, value: f64) -> &mut Self {
        self.values.push((name.to_owned(), value));
        self
    }

    /// Adds a number that may not have been measured.
    pub fn put_if(&mut self, name: &str, value: Option<f64>) -> &mut Self {
        if let Some(value) = value {
            self.put(name, value);
        }
        self
    }

    /// The number of that name.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.values
            .iter()
            .find(|(have, _)| have == name)
            .map(|(_, value)| *value)
    }

    /// `scenario  name=value …`
    pub fn text(&self, scenario: &str) -> String {
        let mut line = format!("{scenario:<10}");
        for (name, value) in &self.values {
            let shown = if value.abs() >= 1000.0 {
                format!("{value:.0}")
            } else {
                format!("{value:.3}")
            };
            line.extend([" ", name, "=", &shown]);
        }
        line
    }

    /// One JSON object with `scenario` and each number.
    pub fn json(&self, scenario: &str) -> Value {
        let mut object = Map::new();
        object.insert("scenario".into(), json!(scenario));
        for (name, value) in &self.values {
            object.insert(name.clone(), json!(value));
        }
        Value::Object(object)
    }

    /// Reads back what [`Report::json`] wrote; `None` if it is no object.
    pub fn parse(text: &str) -> Option<Self> {
        let Value::Object(object) = serde_json::from_str(text).ok()? else {
            return None;
        };
        let values = object
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_f64()?)))
            .collect();
        Some(Self { values })
    }
}
