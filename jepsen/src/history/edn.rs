//! EDN, the notation of Clojure and thus of Jepsen's own checkers.

use serde_json::Value;

use super::{Event, Kind, Process};

/// An event as a map.
pub(super) fn event(event: &Event) -> String {
    let kind = match event.kind {
        Kind::Invoke => "invoke",
        Kind::Ok => "ok",
        Kind::Fail => "fail",
        Kind::Info => "info",
    };
    let process = match event.process {
        Process::Client(number) => number.to_string(),
        Process::Nemesis => ":nemesis".to_owned(),
    };
    let mut out = format!(
        "{{:index {}, :time {}, :type :{kind}, :process {process}, :f :{}, :value ",
        event.index, event.time, event.f
    );
    value(&event.value, false, &mut out);
    if let Some(error) = &event.error {
        out.push_str(", :error ");
        text(error, &mut out);
    }
    out.push('}');
    out
}

/// The first of a micro-operation `["r", key, value]` is a keyword in EDN, as are the keys of maps; other texts stay texts.
fn value(json: &Value, is_head: bool, out: &mut String) {
    match json {
        Value::Null => out.push_str("nil"),
        Value::Bool(_) | Value::Number(_) => out.push_str(&json.to_string()),
        Value::String(name) if is_head && matches!(name.as_str(), "r" | "w" | "append") => {
            out.push(':');
            out.push_str(name);
        }
        Value::String(found) => text(found, out),
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(' ');
                }
                value(item, place == 0 && items.len() == 3, out);
            }
            out.push(']');
        }
        Value::Object(entries) => {
            out.push('{');
            for (place, (key, item)) in entries.iter().enumerate() {
                if place > 0 {
                    out.push_str(", ");
                }
                out.push(':');
                out.push_str(key);
                out.push(' ');
                value(item, false, out);
            }
            out.push('}');
        }
    }
}

fn text(found: &str, out: &mut String) {
    out.push('"');
    for character in found.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other => out.push(other),
        }
    }
    out.push('"');
}
