//! `peername explain`, one code for the running broker and for a configuration file: a request and a policy
//! in, the resolver's own steps out (peername 10). It connects to nobody.

use peer::{Addr, Explanation, Policy};

use super::problem::Failure;
use super::views::{ExplainRequest, ExplainView};

/// What this policy makes of the request's bytes and fields.
pub fn answer(policy: &Policy, request: &ExplainRequest) -> Result<ExplainView, Failure> {
    let socket: Addr = request
        .socket
        .parse()
        .map_err(|_| Failure::Usage(format!("socket: `{}` is no address", request.socket)))?;
    let bytes = match &request.proxy_hex {
        Some(text) => unhex(text)
            .ok_or_else(|| Failure::Usage("proxy_hex: pairs of hex digits are wanted".to_owned()))?,
        None => Vec::new(),
    };
    let fields = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let fields: Vec<(&[u8], &[u8])> = fields.collect();
    view(&Explanation::resolve(
        policy,
        &request.listener,
        socket,
        &bytes,
        &fields,
    ))
}

/// An explanation as the API shows it.
pub fn view(explanation: &Explanation<'_>) -> Result<ExplainView, Failure> {
    let json = serde_json::to_value(explanation).map_err(|error| Failure::Internal(error.to_string()))?;
    let serde_json::Value::Object(mut result) = json else {
        return Err(Failure::Internal("an explanation is no object".to_owned()));
    };
    // It stands first, as a field of its own.
    result.remove("outcome");
    let outcome = explanation.outcome().name().to_owned();
    Ok(ExplainView {
        outcome,
        result,
        text: explanation.lines(),
    })
}

/// Hex digits, blanks between them allowed, as bytes.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).map(|digit| digit as u8));
    let digits: Vec<u8> = digits.collect::<Option<_>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(high << 4 | low),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_reads_pairs_only() {
        assert_eq!(unhex("0d0A 0d"), Some(vec![13, 10, 13]));
        for bad in ["0d0", "xy", "é0"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
